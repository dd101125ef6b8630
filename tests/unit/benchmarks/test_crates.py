import subprocess
import sys
from types import SimpleNamespace

import pytest

from benchmarks.crates import Commits, Cpu, longer


def test_what_both_runs_have_in_common_does_not_count():
    short = {"clock_s": 9.0, "driver_s": 2.0, "all_s": 10.0, "objects": 20}
    long = {"clock_s": 19.0, "driver_s": 3.0, "all_s": 28.0, "objects": 60}
    result = longer(short, long, 2000)
    expected = {"batches_per_s": 200, "driver_ms": 0.5, "all_ms": 9, "cores": 1.8, "objects": 20}
    assert result == pytest.approx(expected)


def test_clock_and_cpu_are_looked_at_with_the_first_and_the_last_batch_alone():
    commits = Commits(6)
    numbers = [0, 0, 2, 4, 6, 6]
    seen = []
    for number in numbers:
        commits.progress(SimpleNamespace(num_batches=number))
        seen.append(len(commits.spent))
    assert seen == [0, 0, 1, 1, 2, 2]


def test_processes_count_while_they_live_and_as_last_seen_once_they_have_ended():
    burn = "import time\nwhile time.process_time() < 0.4: pass\nprint(flush=True)\ninput()"
    cpu = Cpu()
    before = cpu.look()
    child = subprocess.Popen(
        [sys.executable, "-c", burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    child.stdout.readline()
    alive = cpu.look().since(before)
    child.communicate(b"\n")
    ended = cpu.look().since(before)
    assert alive["all_s"] - alive["driver_s"] >= 0.35
    assert ended["all_s"] - ended["driver_s"] >= alive["all_s"] - alive["driver_s"] - 0.01
