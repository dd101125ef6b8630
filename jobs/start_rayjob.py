"""What the CronJob's pod runs: `python start_rayjob.py rayjob.yaml [--date YYYY-MM-DD]`."""

import sys

from ray_audit.kubernetes.starter import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
