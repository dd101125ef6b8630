import faulthandler
import math

import pytest

from ray_audit.engine.backends import time_limit
from ray_audit.engine.backends.time_limit import TimeLimit


@pytest.fixture
def watch(monkeypatch):
    """What is asked of the watch, and a clock that stands still unless it is moved."""
    asked, now = [], [100.0]
    monkeypatch.setattr(
        faulthandler, "dump_traceback_later", lambda later_s, **_: asked.append(later_s)
    )
    monkeypatch.setattr(faulthandler, "cancel_dump_traceback_later", lambda: asked.append("rest"))
    monkeypatch.setattr(time_limit.time, "monotonic", lambda: now[0])
    return asked, now


def test_the_watch_begins_anew_when_a_tenth_of_the_limit_has_passed(watch):
    asked, now = watch
    limit = TimeLimit(10.0)
    for moved_s in (0.0, 0.5, 0.4, 0.2, 0.5):
        now[0] += moved_s
        with limit.around():
            pass
    assert asked == [11.0, 11.0]  # at 0 s and at 1.1 s: any piece has its 10 s


def test_at_rest_nothing_is_watched_and_the_next_piece_is(watch):
    asked, _ = watch
    limit = TimeLimit(10.0)
    limit.rest()
    for _ in range(2):
        with limit.around():
            pass
        limit.rest()
        limit.rest()
    assert asked == [11.0, "rest", 11.0, "rest"]


def test_after_a_piece_that_something_else_follows_nothing_is_watched(watch):
    asked, _ = watch
    limit = TimeLimit(10.0)
    for _ in range(2):
        with limit.around(rests=True):
            pass
    assert asked == [11.0, "rest", 11.0, "rest"]


def test_a_piece_never_has_less_than_its_limit(watch):
    asked, now = watch
    limit, ends_s = TimeLimit(10.0), math.inf
    for _ in range(100):
        num_asked = len(asked)
        with limit.around():
            ends_s = now[0] + asked[-1] if len(asked) > num_asked else ends_s
            assert now[0] + 10.0 <= ends_s <= now[0] + 11.0
        now[0] += 0.37


def test_without_a_limit_nothing_is_watched(watch):
    asked, _ = watch
    limit = TimeLimit(None)
    with limit.around():
        pass
    limit.rest()
    assert asked == []
