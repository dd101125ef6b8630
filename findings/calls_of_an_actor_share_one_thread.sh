#!/usr/bin/env bash
# Ray Data: calls of an actor in a pool do not overlap, though `max_concurrency` lets two in.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset PYTHONPATH
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check \
  'ray[data]==2.60.0' numpy==2.4.6 pandas==3.1.1 pyarrow==26.0.1
cat > "$work/show.py" <<'PYTHON'
import logging
import platform
import threading
import time

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext

NUM_CALLS, PAUSE_S = 6, 0.5


class Sleeper:
    """Says when a call began and ended, and in which thread."""

    def __call__(self, table):
        began_s = time.time()
        time.sleep(PAUSE_S)  # as one that waits for a store, without Python's lock
        thread = threading.get_ident()
        return pa.table({"began_s": [began_s], "ended_s": [time.time()], "thread": [thread]})


def run(**options):
    """The most calls that were under way at once, and threads that they had."""
    pool = ActorPoolStrategy(size=1, max_tasks_in_flight_per_actor=4, **options)
    rows = ray.data.range(NUM_CALLS, override_num_blocks=NUM_CALLS)
    made = rows.map_batches(
        Sleeper, batch_format="pyarrow", batch_size=None, compute=pool, num_cpus=1, max_concurrency=2
    )
    calls = made.take_all()
    assert len(calls) == NUM_CALLS
    at_once = max(
        sum(other["began_s"] <= call["began_s"] < other["ended_s"] for other in calls)
        for call in calls
    )
    return at_once, len({call["thread"] for call in calls})


ray.init(
    num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR,
    object_store_memory=100 * 2**20,
)
logging.getLogger("ray.data").setLevel(logging.ERROR)
DataContext.get_current().enable_progress_bars = False
try:
    plain = run()
    threaded = run(enable_true_multi_threading=True)
finally:
    ray.shutdown()

print(f"Python {platform.python_version()}, Ray {ray.__version__}, pyarrow {pa.__version__}")
print(f"input: map_batches of a class that sleeps {PAUSE_S} s a call, {NUM_CALLS} blocks, one actor")
print("       that was asked for with max_concurrency=2")
print("guess: two calls are under way at once, as in any actor of that concurrency")
print(f"seen:  {plain[0]} at once, in {plain[1]} thread(s): the class is wrapped, and its calls wait")
print("       for each other; only what Ray does before and after them overlaps")
print(f"       with enable_true_multi_threading=True: {threaded[0]} at once, in {threaded[1]} threads")
assert plain == (1, 1), "calls overlap now"
assert threaded[0] == 2, "they do not overlap with enable_true_multi_threading"
print("unchanged: set enable_true_multi_threading, and put a lock around what must run alone")
PYTHON
RAY_USAGE_STATS_ENABLED=0 "$work/venv/bin/python" "$work/show.py"
