#!/usr/bin/env bash
# Ray: ray.init puts a handler of its own in the place of the program's; ray.shutdown does not undo it.
set -euo pipefail
work=$(mktemp -d /tmp/surprise.XXXXXX) # sockets of Ray need short paths
trap 'rm -rf "$work"' EXIT
unset PYTHONPATH RAY_ADDRESS
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check "ray==2.60.0"
cat > "$work/show.py" <<'PYTHON'
import logging
import platform
import signal
import sys

import ray


def mine(number, frame):
    """The program's own: it would clear up, and end with 0."""


def ends_with(handler):
    try:
        handler(signal.SIGTERM, None)
    except SystemExit as error:
        return f"ends the program with exit code {error.code}"
    return "lets it go on"


signal.signal(signal.SIGTERM, mine)
signal.signal(signal.SIGHUP, mine)
ray.init(
    num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR,
    object_store_memory=100 * 2**20, _temp_dir=f"{sys.argv[1]}/ray",
)
during = signal.getsignal(signal.SIGTERM)
ray.shutdown()
after = signal.getsignal(signal.SIGTERM)
print(f"Python {platform.python_version()}, Ray {ray.__version__}")
print("input: a program that has a handler for SIGTERM calls ray.init, and later ray.shutdown")
print("guess: its handler stays, as those for other signals do, or is put back at the end")
print(f"seen:  while Ray runs the handler is {during.__module__}.{during.__qualname__};")
print(f"       called, it {ends_with(during)}")
print(f"       after ray.shutdown the program's own is there again: {after is mine}")
assert signal.getsignal(signal.SIGHUP) is mine
assert during is not mine and after is not mine, "the handler is left alone now"
print("unchanged: keep the handlers around ray.init, and put them back")
PYTHON
RAY_USAGE_STATS_ENABLED=0 "$work/venv/bin/python" "$work/show.py" "$work"
