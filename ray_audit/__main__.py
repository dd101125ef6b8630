"""`python -m ray_audit` is `ray-audit`."""

import sys

from ray_audit.cli import main

if __name__ == "__main__":
    sys.exit(main())
