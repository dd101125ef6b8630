"""`python audit.py SPEC ...` is `ray-audit run SPEC --gate-passes ...`."""

import sys

from ray_audit.cli import run

if __name__ == "__main__":
    run(["run", "--gate-passes", *sys.argv[1:]])
