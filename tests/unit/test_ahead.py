"""One item is made, or finished, while another is used; order, errors and bounds stay."""

import threading

import pytest

from ray_audit.ahead import one_ahead, one_behind

LIMIT_S = 30


def test_items_come_in_order_each_made_in_one_other_thread():
    makers = []

    def items():
        for number in range(5):
            makers.append(threading.current_thread())
            yield number

    assert list(one_ahead(items())) == [0, 1, 2, 3, 4]
    assert len(set(makers)) == 1
    assert threading.current_thread() not in makers


def test_the_next_item_is_made_while_one_is_used_and_no_more_than_that():
    made = [threading.Event() for _ in range(4)]

    def items():
        for number, event in enumerate(made):
            event.set()
            yield number

    for number in one_ahead(items()):
        if number + 1 < len(made):
            assert made[number + 1].wait(LIMIT_S)
        assert not any(event.is_set() for event in made[number + 2 :])


def test_an_error_comes_after_the_items_that_were_made_before_it():
    def items():
        yield 1
        raise OSError("no more")

    taken = one_ahead(items())
    assert next(taken) == 1
    with pytest.raises(OSError, match="no more"):
        next(taken)


def test_what_is_not_made_yet_is_said_to_be_awaited():
    go_on, said = threading.Event(), []

    def items():
        assert go_on.wait(LIMIT_S)
        yield 1

    def waits():
        said.append("waits")
        go_on.set()

    assert list(one_ahead(items(), waits))[:1] == [1]
    assert said[0] == "waits"


def test_who_takes_no_more_ends_the_making():
    ended = threading.Event()

    def items():
        try:
            yield from range(100)
        finally:
            ended.set()

    taken = one_ahead(items())
    assert next(taken) == 0
    taken.close()
    del taken
    assert ended.wait(LIMIT_S)


def nothing():
    """Where nobody asks whether something is awaited."""


def test_an_item_is_finished_while_the_next_one_is_made():
    finished = [threading.Event() for _ in range(3)]

    def items():
        yield 0
        for number in (1, 2):
            assert finished[number - 1].wait(LIMIT_S)
            yield number

    def finish(number):
        finished[number].set()
        return number, threading.current_thread()

    results = list(one_behind(items(), finish, nothing))
    assert [number for number, _ in results] == [0, 1, 2]
    assert {thread for _, thread in results} != {threading.current_thread()}


def test_nothing_is_finished_after_one_that_failed():
    begun = []

    def finish(number):
        begun.append(number)
        if number == 1:
            raise OSError("no room")
        return number

    taken = one_behind(range(4), finish, nothing)
    assert next(taken) == 0
    with pytest.raises(OSError, match="no room"):
        next(taken)
    assert begun == [0, 1]


def test_who_takes_no_more_has_no_more_finished():
    begun = []
    taken = one_behind(range(4), begun.append, nothing)
    assert next(taken) is None
    taken.close()
    assert begun == [0]


def test_what_was_made_before_an_error_is_finished():
    finished = []

    def items():
        yield 0
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        list(one_behind(items(), finished.append, nothing))
    assert finished == [0]
