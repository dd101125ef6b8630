#!/usr/bin/env bash
# Ray: ray.init puts a handler of its own in the place of the program's, and shutdown does not undo it.
set -euo pipefail
work=$(mktemp -d /tmp/surprise.XXXXXX) # sockets of Ray need short paths
trap 'rm -rf "$work"' EXIT
unset PYTHONPATH RAY_ADDRESS
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check "ray==2.60.0"
cat > "$work/show.py" <<'PYTHON'
import logging
import os
import platform
import signal
import sys

import ray

told = []
signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
mine = signal.getsignal(signal.SIGTERM)
ray.init(
    num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR,
    object_store_memory=100 * 2**20, _temp_dir=f"{sys.argv[1]}/ray",
)
during = signal.getsignal(signal.SIGTERM)
ray.shutdown()
after = signal.getsignal(signal.SIGTERM)
print(f"Python {platform.python_version()}, Ray {ray.__version__}")
print("input: a program that handles SIGTERM, then calls ray.init and ray.shutdown")
print("guess: its own handler is called, as before")
print(f"seen:  while Ray runs the handler is {during.__module__}.{during.__qualname__},")
print(f"       after ray.shutdown it is {getattr(after, '__module__', after)};", end=" ")
try:
    os.kill(os.getpid(), signal.SIGTERM)
    ended = "nothing"
except SystemExit as error:
    ended = f"SystemExit({error.code})"
print(f"SIGTERM then raises {ended}, and tells the program's own handler {len(told)} times")
assert during is not mine and after is not mine and not told, "the handler is left alone now"
print("unchanged: keep the handlers around ray.init, and put them back")
PYTHON
RAY_USAGE_STATS_ENABLED=0 "$work/venv/bin/python" "$work/show.py" "$work"
