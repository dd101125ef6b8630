import gc
import os
import subprocess
import time
from pathlib import Path

from ray_audit.engine.ledger import record_sets
from ray_audit.engine.ledger.attempts import Attempts, given_up_unit
from ray_audit.processes import loaded_for_good, own_name
from ray_audit.samples import Shard, WorkUnit


def shard(key, num_labelled):
    return Shard(key, f"/{key}", 1, "etag", num_labelled=num_labelled)


def test_each_try_that_is_not_survived_is_counted(tmp_path):
    attempts = Attempts.below(str(tmp_path))
    assert [attempts.begin("unit/set/decode") for _ in range(4)] == [0, 1, 2, 3]
    assert attempts.begin("other/set/decode") == 0


def test_what_is_survived_leaves_nothing(tmp_path):
    attempts = Attempts.below(str(tmp_path))
    attempts.begin("unit")
    attempts.survived("unit", attempts.begin("unit"))
    assert attempts.begin("unit") == 0


def test_signs_of_life_are_others_each_time_and_leave_one_a_process(tmp_path):
    attempts = Attempts.below(str(tmp_path))
    seen = {attempts.beats()}
    for number in (1, 2, 3):
        attempts.beat("one", number)
        seen.add(attempts.beats())
    attempts.beat("other", 1)
    assert len(seen | {attempts.beats()}) == 5
    assert len(attempts.beats()) == 2


def test_two_calls_do_not_count_together_and_leave_nothing(tmp_path):
    first, other = (Attempts.below(str(tmp_path)) for _ in range(2))
    first.begin("unit")
    assert other.begin("unit") == 0
    first.remove()
    other.remove()
    assert list((tmp_path / "attempts").iterdir()) == []


def counted(shard):
    return shard.key != "other"


def test_a_unit_that_is_given_up_loses_its_labelled_samples():
    unit = WorkUnit("id", (shard("a", 5), shard("b", 0), shard("c", None)))
    failures = given_up_unit(unit, counted).failures
    assert [(f.shard, f.num_samples, f.attempts) for f in failures] == [("a", 5, 3), ("c", 1, 3)]
    assert "at least 1" in failures[1].message
    assert "at least" not in failures[0].message


def test_a_unit_without_labels_that_is_given_up_is_named():
    (failure,) = given_up_unit(WorkUnit("id", (shard("a", 0),)), counted).failures
    assert (failure.shard, failure.num_samples) == ("a", 0)


def test_what_another_fold_counts_is_named_here_too():
    unit = WorkUnit("id", (shard("other", 5), shard("a", 2)))
    failures = given_up_unit(unit, counted).failures
    assert [(f.shard, f.num_samples) for f in failures] == [("other", 0), ("a", 2)]


def test_what_was_given_up_is_tried_again_by_a_later_run():
    unit = WorkUnit("id", (shard("a", 5),))
    assert record_sets.may_pass(given_up_unit(unit, counted).failures)


def test_markers_of_a_process_of_this_machine_that_was_killed_are_removed(tmp_path, monkeypatch):
    ended = subprocess.Popen(["true"])
    ended.wait()
    here = own_name().partition("-")[0]
    for name in (f"{here}-{ended.pid}", f"ffffffff-{ended.pid}", own_name()):
        monkeypatch.setattr("ray_audit.engine.ledger.attempts.own_name", lambda name=name: name)
        Attempts.below(str(tmp_path)).begin("unit/set/decode")
    Attempts.remove_old(str(tmp_path))
    left = {path.name.rpartition("-")[0] for path in (tmp_path / "attempts").iterdir()}
    assert left == {f"ffffffff-{ended.pid}", own_name()}


def test_markers_of_a_call_that_was_killed_a_day_ago_are_removed(tmp_path):
    killed, alive = (Attempts.below(str(tmp_path)) for _ in range(2))
    for attempts in (killed, alive):
        attempts.begin("unit/set/decode")
        attempts.begin("other/set/decode")
    long_ago_s = time.time() - 90_000
    for path in Path(killed.uri).rglob("*"):
        os.utime(path, (long_ago_s, long_ago_s))
    os.utime(next(Path(alive.uri).rglob("0")), (long_ago_s, long_ago_s))
    Attempts.remove_old(str(tmp_path))
    assert [path.name for path in (tmp_path / "attempts").iterdir()] == [Path(alive.uri).name]


def test_what_is_loaded_for_good_is_looked_through_no_more():
    assert gc.isenabled()
    num_before = gc.get_freeze_count()
    try:
        with loaded_for_good():
            assert not gc.isenabled()
            kept = [[] for _ in range(1000)]
        assert gc.isenabled()
        assert gc.get_freeze_count() >= num_before + len(kept)
    finally:
        gc.unfreeze()
