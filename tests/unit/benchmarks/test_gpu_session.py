import importlib.util
from pathlib import Path

from benchmarks.gpu_engine import RUNS, runs_of
from benchmarks.gpu_session import Step, ended, steps

ROOT = Path(__file__).parents[3]


def python(name, code, limit_s=60.0, needs_ray=False):
    return Step(name, ("-c", code), limit_s, needs_ray)


def test_what_fails_or_takes_too_long_keeps_nothing_else_from_running(tmp_path):
    some = [
        python("fails", "print('no'); raise SystemExit(3)"),
        python("hangs", "import time; time.sleep(600)", limit_s=1.0),
        python("on ray", "print('never')", needs_ray=True),
        python("works", "print('yes')"),
    ]
    found = list(ended(some, 60.0, False, tmp_path))
    assert [(e.step.name, e.status) for e in found] == [("fails", 3), ("hangs", None), ("works", 0)]
    assert found[1].took_s < 30
    assert (tmp_path / "4-works.log").read_text() == "yes\n"


def test_no_step_begins_when_the_time_of_all_is_over(tmp_path):
    assert list(ended([python("late", "print()")], 1.0, True, tmp_path)) == []


def test_every_step_is_there_and_those_without_ray_come_first():
    some = steps("cuda", tiny=False)
    for step in some:
        target = step.command[step.command.index("-m") + 1]
        assert importlib.util.find_spec(target) is not None
        assert all((ROOT / part).exists() for part in step.command if part.startswith("tests/"))
    needs = [step.needs_ray for step in some]
    assert needs == sorted(needs)
    assert 0 < needs.index(True) < len(needs)


def test_one_process_reads_both_kinds_of_files_with_one_actor():
    assert {run[0] for run in runs_of("one actor", is_local=True).values()} == {
        "JPEG",
        "ready shards",
    }
    assert runs_of("", is_local=False) == RUNS
    assert set(runs_of("", is_local=True)) == set(runs_of("one actor", is_local=False))
