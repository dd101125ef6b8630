"""`python correct.py OUTPUT --to URI ...` is `ray-audit correct OUTPUT --to URI ...`."""

import sys

from ray_audit.cli import main

if __name__ == "__main__":
    sys.exit(main(["correct", *sys.argv[1:]]))
