"""Work that hangs is left behind by name; work that goes on is waited for."""

import threading
import time

import pytest

from ray_audit.errors import StalledError
from ray_audit.supervisor import Supervisor, is_any_left_behind, step, stepwise, supervised

LIMIT_S = 0.3


@pytest.fixture
def gate():
    """What hangs waits for it; opened at the end, so that no thread stays."""
    gate = threading.Event()
    yield gate
    gate.set()
    until = time.monotonic() + 10
    while is_any_left_behind():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_what_work_gives_or_raises_is_handed_on():
    assert supervised(60, "work", lambda: 3) == 3
    with pytest.raises(KeyError, match="x"):
        supervised(60, "work", lambda: {}["x"])
    with pytest.raises(TimeoutError, match="its own"):
        supervised(60, "work", lambda: (_ for _ in ()).throw(TimeoutError("its own")))


def test_silence_ends_the_wait_and_says_where_the_work_stood(gate):
    def work():
        step("probe", "checkpoint epoch_2")
        gate.wait()

    said = r"0\.3 s \(engine\.stall_timeout_s\) in probe, at checkpoint epoch_2\."
    with pytest.raises(StalledError, match=said):
        supervised(LIMIT_S, "work", work)
    assert is_any_left_behind()


def test_work_that_makes_steps_may_take_longer_than_the_limit():
    def work():
        for number in range(8):
            step("train", f"batch {number}")
            time.sleep(LIMIT_S / 4)
        return threading.current_thread().name

    assert supervised(LIMIT_S, "work", work) == "supervised"


def test_what_was_left_behind_does_nothing_more_when_it_wakes_up(gate):
    done, ended = [], threading.Event()

    def work():
        try:
            gate.wait()
            step("train", "the next batch")
            done.append("wrote")
        finally:
            ended.set()

    with pytest.raises(StalledError):
        supervised(LIMIT_S, "work", work)
    gate.set()
    assert ended.wait(10)
    assert done == []


def test_who_is_interrupted_waits_for_the_step_under_way_and_no_further(monkeypatch):
    steps, ended = [], []

    def items():
        try:
            for number in range(100):
                step("probe", str(number))
                steps.append(number)
                time.sleep(0.05)
                yield number
        finally:
            ended.append(threading.current_thread().name)

    waits = iter([False, True])

    def interrupted(supervisor):
        if len(steps) == 3 and next(waits, False):
            raise KeyboardInterrupt
        return 0.01

    monkeypatch.setattr(Supervisor, "_left_s", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(Supervisor(60, "work").each(items()))
    assert steps == [0, 1, 2]
    assert ended == ["supervised"]
    assert not is_any_left_behind()


def test_items_are_made_in_one_thread_as_they_are_asked_for():
    made = []

    def items():
        for number in range(3):
            made.append(threading.current_thread())
            yield number

    each = Supervisor(60, "work").each(stepwise(items(), "decode", "a file"))
    assert next(each) == 0
    assert len(made) == 1
    each.close()
    assert len(set(made)) == 1
    made[0].join(10)
    assert not made[0].is_alive()


def test_supervised_work_within_supervised_work_is_done_where_it_is():
    def outer():
        return supervised(60, "work", threading.current_thread), threading.current_thread()

    inner, own = supervised(60, "work", outer)
    assert inner is own


def test_without_a_limit_there_is_no_thread():
    assert supervised(None, "work", threading.current_thread) is threading.current_thread()
    assert list(Supervisor(None, "work").each(iter("ab"))) == ["a", "b"]
