import gc
import os
import platform
import subprocess
import sys

import pytest

from ray_audit.processes import collection_waits, few_arenas_in_children

_MANY_THREADS = """
import ctypes, threading
from ray_audit.processes import use_few_arenas

use_few_arenas()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
all_there = threading.Barrier(8)


def hold():
    libc.malloc(ctypes.c_size_t(1000))
    all_there.wait()


threads = [threading.Thread(target=hold) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc.malloc_stats()
"""


pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="heaps of glibc")


def num_arenas(**env):
    """Heaps of a process whose eight threads all need memory at once, as glibc tells them."""
    done = subprocess.run(
        [sys.executable, "-c", _MANY_THREADS],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | env,
    )
    return done.stderr.count("Arena ")


def test_threads_share_two_heaps():
    assert num_arenas() == 2


def test_a_number_of_heaps_that_the_user_set_is_left():
    assert num_arenas(MALLOC_ARENA_MAX="5") == 5


def test_processes_that_are_started_share_two_heaps_and_the_environment_is_as_it_was(monkeypatch):
    monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)
    with few_arenas_in_children():
        assert os.environ["MALLOC_ARENA_MAX"] == "2"
    assert "MALLOC_ARENA_MAX" not in os.environ
    monkeypatch.setenv("MALLOC_ARENA_MAX", "5")
    with few_arenas_in_children():
        assert os.environ["MALLOC_ARENA_MAX"] == "5"
    assert os.environ["MALLOC_ARENA_MAX"] == "5"


@pytest.mark.parametrize("is_on", [True, False])
def test_garbage_waits_for_imports_and_is_collected_as_before_then(is_on):
    num_frozen = gc.get_freeze_count()
    (gc.enable if is_on else gc.disable)()
    try:
        with collection_waits():
            assert not gc.isenabled()
        assert gc.isenabled() == is_on
        assert gc.get_freeze_count() == num_frozen
    finally:
        gc.enable()
