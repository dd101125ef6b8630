"""`python train.py SPEC ...` is `ray-audit train SPEC ...`."""

import sys

from ray_audit.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
