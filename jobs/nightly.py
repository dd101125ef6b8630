"""`python nightly.py SPEC ...` is `ray-audit night SPEC ...`."""

import sys

from ray_audit.cli import run

if __name__ == "__main__":
    run(["night", *sys.argv[1:]])
