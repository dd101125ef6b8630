#!/usr/bin/env bash
# Ray Data: what a generator yields waits for the end of its task, unless blocks are to be tiny.
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
import time

import pyarrow as pa
import ray
from ray.data import DataContext

NUM_YIELDS, PAUSE_S = 5, 0.5


def slowly(table):
    for index in range(NUM_YIELDS):
        time.sleep(PAUSE_S if index else 0)
        yield pa.table({"number": [index], "yielded_at": [time.time()]})


def run(target):
    """Blocks of the output, and seconds from the first yield to when its row came."""
    context = DataContext.get_current()
    context.target_max_block_size = target
    context.enable_progress_bars = False
    made = ray.data.range(1, override_num_blocks=1).map_batches(slowly, batch_format="pyarrow")
    rows = iter(made.iter_rows())
    yielded_at = next(rows)["yielded_at"]
    waited_s = time.time() - yielded_at
    assert len(list(rows)) == NUM_YIELDS - 1
    return made.materialize().num_blocks(), waited_s


ray.init(
    num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR,
    object_store_memory=100 * 2**20,
)
logging.getLogger("ray.data").setLevel(logging.ERROR)
default = DataContext.get_current().target_max_block_size
try:
    seen = {target: run(target) for target in (default, 1)}
finally:
    ray.shutdown()

print(f"Python {platform.python_version()}, Ray {ray.__version__}, pyarrow {pa.__version__}")
print(f"input: map_batches of a generator that yields {NUM_YIELDS} small tables, {PAUSE_S} s apart")
print("guess: each yield is handed to the next operator when it is made")
for target, (num_blocks, waited_s) in seen.items():
    name = "not set" if target == default else f"{target}"
    print(f"seen:  target_max_block_size {name} ({target} bytes): {num_blocks} block(s); the first")
    print(f"       row came {waited_s:.1f} s after it was yielded")
print("       no public option says 'a yield is a block': blocks are cut by size alone, and a target")
print("       of one byte cuts after every row")
whole_s = PAUSE_S * (NUM_YIELDS - 1)
assert seen[default][0] == 1 and seen[default][1] >= whole_s, "small yields are handed on now"
assert seen[1][0] == NUM_YIELDS and seen[1][1] < whole_s, "a target of one holds them back now"
print("unchanged: set a target of one byte, and yield tables of one row")
PYTHON
RAY_USAGE_STATS_ENABLED=0 "$work/venv/bin/python" "$work/show.py"
