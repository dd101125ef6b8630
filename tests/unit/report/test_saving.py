import threading
import time

import pytest

from ray_audit.errors import LabelError, RunError, StorageError
from ray_audit.report.saving import Saver, answered


def test_what_is_saved_is_there_when_it_returns():
    stored, state = [], [1]
    saver = Saver(lambda: stored.append(list(state)))
    saver.save()
    state.append(2)
    saver.save()
    assert stored[-1] == [1, 2]


def test_a_store_that_hangs_is_an_error_in_bounded_time_and_saved_when_it_is_back():
    back, stored = threading.Event(), []

    def write():
        back.wait(30)
        stored.append(True)

    saver = Saver(write, limit_s=0.1)
    start_s = time.monotonic()
    with pytest.raises(RunError, match="not saved yet"):
        saver.save()
    assert time.monotonic() - start_s < 5
    back.set()
    saver.save()
    assert stored


def test_an_error_of_the_store_is_told_and_tried_again():
    errors, stored = [StorageError("503"), StorageError("503")], threading.Event()

    def write():
        if errors:
            raise errors.pop()
        stored.set()

    saver = Saver(write, limit_s=5, retry_s=0.05)
    with pytest.raises(RunError, match="503"):
        saver.save()
    assert stored.wait(10)


def test_a_late_write_never_replaces_a_newer_one():
    state, stored, first = [0], [], threading.Event()

    def write():
        now = state[0]
        if not first.is_set():
            first.set()
            time.sleep(0.3)
        stored.append(now)

    saver = Saver(write, limit_s=0.05)
    state[0] = 1
    with pytest.raises(RunError):
        saver.save()
    state[0] = 2
    saver._limit_s = 10
    saver.save()
    assert stored == [1, 2]


def test_a_call_that_hangs_ends_and_errors_come_through():
    assert answered(5, "x", lambda: 3) == 3
    with pytest.raises(LabelError, match="no such"):
        answered(5, "x", lambda: (_ for _ in ()).throw(LabelError("no such")))
    back = threading.Event()
    with pytest.raises(RunError, match="decisions: no answer of the store"):
        answered(0.1, "decisions", lambda: back.wait(30))
    back.set()
