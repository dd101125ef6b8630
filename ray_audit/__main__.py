"""`python -m ray_audit` is `ray-audit`."""

import sys
from contextlib import suppress

from ray_audit.cli import run
from ray_audit.processes import working_directory

if __name__ == "__main__":
    # `-m` puts the working directory first, and whatever lies there under a standard module's name.
    with suppress(ValueError):
        sys.path.remove(working_directory())
        sys.path.append(working_directory())
    run()
