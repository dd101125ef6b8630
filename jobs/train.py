"""`python train.py SPEC ...` is `ray-audit train SPEC ...`."""

import sys

from ray_audit.cli import run

if __name__ == "__main__":
    run(["train", *sys.argv[1:]])
