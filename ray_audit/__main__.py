"""`python -m ray_audit` is `ray-audit`."""

import os
import sys
from contextlib import suppress

from ray_audit.cli import run

if __name__ == "__main__":
    # `-m` puts the working directory first, and whatever lies there under a standard module's name.
    with suppress(ValueError):
        sys.path.remove(os.getcwd())
        sys.path.append(os.getcwd())
    run()
