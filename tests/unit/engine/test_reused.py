import numpy as np
import pyarrow as pa

from ray_audit.engine.backends import wire
from ray_audit.engine.backends.reused import ReusedMemory


def place(array):
    return array.__array_interface__["data"][0]


def test_memory_is_used_again_once_nobody_holds_it():
    memory = ReusedMemory(1000)
    first = memory.take(600)
    before = place(first)
    del first
    assert place(memory.take(500)) == before


def test_what_is_held_in_any_way_is_never_given_out_again():
    memory = ReusedMemory(1000)
    kept_view = memory.take(600)[10:20]
    kept_buffer = pa.py_buffer(memory.take(600))
    kept_table = pa.table({"a": wire._binary(memory.take(600))})
    taken = [memory.take(600) for _ in range(4)]
    held = [kept_view, np.frombuffer(kept_buffer, np.uint8)]
    held.append(np.frombuffer(kept_table["a"].chunk(0).buffers()[2], np.uint8))
    for number, array in enumerate([*held, *taken]):
        for other in [*held, *taken][:number]:
            assert not np.shares_memory(array, other)


def test_a_table_that_is_gone_gives_its_memory_back():
    memory = ReusedMemory(1000)
    taken = memory.take(600)
    before, table = place(taken), pa.table({"a": wire._binary(taken)})
    del taken
    assert place(memory.take(600)) != before
    del table
    assert place(memory.take(600)) == before


def test_two_are_kept_and_a_larger_one_takes_the_place_of_the_smallest():
    memory = ReusedMemory(1000)
    one, two = memory.take(100), memory.take(200)
    places = {place(one), place(two)}
    del one, two
    large = memory.take(800)
    assert place(large) not in places
    assert sorted(len(array) for array in memory._kept) == [200, 800]


def test_what_is_too_large_is_not_kept():
    memory = ReusedMemory(1000)
    assert len(memory.take(1001)) == 1001
    assert memory._kept == []
