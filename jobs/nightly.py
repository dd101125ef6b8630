"""`python nightly.py SPEC ...` is `ray-audit night SPEC ...`."""

import sys

from ray_audit.cli import main

if __name__ == "__main__":
    sys.exit(main(["night", *sys.argv[1:]]))
