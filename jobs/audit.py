"""`python audit.py SPEC ...` is `ray-audit run SPEC --gate-passes ...`."""

import sys

from ray_audit.cli import main

if __name__ == "__main__":
    sys.exit(main(["run", "--gate-passes", *sys.argv[1:]]))
