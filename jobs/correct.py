"""`python correct.py OUTPUT --to URI ...` is `ray-audit correct OUTPUT --to URI ...`."""

import sys

from ray_audit.cli import run

if __name__ == "__main__":
    run(["correct", *sys.argv[1:]])
