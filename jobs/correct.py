"""Corrected labels as a Ray job: `python correct.py OUTPUT --to URI [more options]`."""

import sys

from ray_audit.cli import app

if __name__ == "__main__":
    app(["correct", *sys.argv[1:]])
