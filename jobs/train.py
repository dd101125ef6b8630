"""Reference model as a Ray job: `python train.py SPEC [options of ray-audit train]`."""

import sys

from ray_audit.cli import app

if __name__ == "__main__":
    app(["train", *sys.argv[1:]])
