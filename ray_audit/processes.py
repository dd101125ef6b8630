"""This process: a name that tells its machine and its number, by which what it left is known."""

import contextlib
import ctypes
import gc
import os
import socket
import zlib
from collections.abc import Iterator


def own_name() -> str:
    """Of this process, e.g. `1a2b3c4d-4711`: its machine's name, shortened, and its number."""
    return f"{_machine()}-{os.getpid()}"


def has_died(name: str) -> bool:
    """Whether a process of this machine had that name and is no more; of others nothing is known.

    A number that the system has given to another process since counts as alive.
    """
    machine, _, number = name.partition("-")
    return machine == _machine() and number.isdecimal() and is_gone(int(number))


def is_gone(pid: int) -> bool:
    """Whether this machine has no process of that number."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:  # it belongs to somebody else: it is there
        return False
    return False


def _machine() -> str:
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


def use_large_pages() -> None:
    """Ask Linux for pages of 2 MiB for torch's tensors on the CPU, as numpy does for its arrays.

    Batches, activations and gradients are new memory each time, and half of what it costs to fill
    them is the first touch of pages of 4 KiB. Torch looks once, when it first needs memory: before
    the first model is made.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


@contextlib.contextmanager
def collection_waits() -> Iterator[None]:
    """Around imports: what they make is no garbage.

    Looking through it takes a fifth of torch's import, and a third of Ray Data's.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextlib.contextmanager
def loaded_for_good() -> Iterator[None]:
    """Around imports of a process of our own: their objects are there until it ends.

    Looking through them for garbage takes a tenth of a second each time later.
    """
    with collection_waits():
        try:
            yield
        finally:
            gc.freeze()


_M_ARENA_MAX = -8  # of glibc's malloc.h
_NUM_ARENAS = 2


def use_few_arenas() -> None:
    """Let the threads of this process share two heaps, where its C library is glibc.

    A batch is made in one thread and given back in another. With a heap for each thread every one
    of them keeps as much as it once held: a tenth of the memory of a run in one process. Before the
    threads start; `MALLOC_ARENA_MAX` of the environment is left as it is.
    """
    if "MALLOC_ARENA_MAX" not in os.environ:
        with contextlib.suppress(AttributeError, OSError, TypeError):  # other systems have none
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _NUM_ARENAS)


@contextlib.contextmanager
def few_arenas_in_children() -> Iterator[None]:
    """While processes are started: they share two heaps among their threads, as above.

    Those of Ray have their threads before they run any code of ours, so that only the environment
    reaches them.
    """
    if "MALLOC_ARENA_MAX" in os.environ:
        yield
        return
    os.environ["MALLOC_ARENA_MAX"] = str(_NUM_ARENAS)
    try:
        yield
    finally:
        os.environ.pop("MALLOC_ARENA_MAX", None)


def working_directory() -> str:
    """Of this process; empty where it was removed: Ray does that to jobs, and people to shells."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""
