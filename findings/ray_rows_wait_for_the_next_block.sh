#!/usr/bin/env bash
# Ray Data: a row of `iter_rows` comes when the next block is there, not when its own is.
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

PAUSE_S = 6.0


def made(table):
    """The block of row 1 takes long."""
    if table["id"].to_pylist() == [1]:
        time.sleep(PAUSE_S)
    return pa.table({"made_at": [time.time()]})


def by_rows(dataset):
    for row in dataset.iter_rows():
        yield row["made_at"]


def by_batches(prefetch_batches):
    def read(dataset):
        for block in dataset.iter_batches(
            batch_size=None, batch_format="pyarrow", prefetch_batches=prefetch_batches
        ):
            yield from block["made_at"].to_pylist()

    return read


def waited_s(read):
    """Seconds from when the first block was made to when it was read."""
    dataset = ray.data.range(2, override_num_blocks=2).map_batches(
        made, batch_format="pyarrow", num_cpus=0.5
    )
    times = read(dataset)
    first = next(times)
    seconds = time.time() - first
    assert len(list(times)) == 1
    return seconds


ray.init(
    num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR,
    object_store_memory=100 * 2**20,
)
logging.getLogger("ray.data").setLevel(logging.ERROR)
DataContext.get_current().enable_progress_bars = False
ways = {
    "iter_rows()": by_rows,
    "iter_batches(batch_size=None), which fetches one ahead": by_batches(1),
    "iter_batches(batch_size=None, prefetch_batches=0)": by_batches(0),
}
try:
    waited_s(by_rows)  # the first run starts processes
    seen = {name: waited_s(read) for name, read in ways.items()}
finally:
    ray.shutdown()

print(f"Python {platform.python_version()}, Ray {ray.__version__}, pyarrow {pa.__version__}")
print(f"input: two blocks of one row; the second takes {PAUSE_S:g} s")
print("guess: a row can be had as soon as its block was made; fetching ahead is done beside that")
for name, seconds in seen.items():
    print(f"seen:  {name}: the first row came {seconds:.1f} s after it was made")
print("       `iter_rows` has no option for it")
late, ahead, at_once = seen.values()
assert late > PAUSE_S / 2 and ahead > PAUSE_S / 2, "rows come as soon as they are there now"
assert at_once < PAUSE_S / 2, "without fetching ahead they are late, too, now"
print("unchanged: where each row is news, read blocks and fetch none ahead")
PYTHON
RAY_USAGE_STATS_ENABLED=0 "$work/venv/bin/python" "$work/show.py"
