"""Making one item ahead: what is slow to make and what is slow to use overlap."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

Item = TypeVar("Item")


def one_ahead(items: Iterator[Item], waits: Callable[[], None] = lambda: None) -> Iterator[Item]:
    """The same items, with the next one made in a thread while this one is worked on.

    Args:
        items: made one after another, each in that thread.
        waits: called before each wait for an item that is not made yet.
    """
    # A supervisor of who takes the items sees the thread's steps: see `supervisor`.
    context = copy_context()
    with ThreadPoolExecutor(1, "one ahead") as pool:
        upcoming = pool.submit(context.run, _next, items)
        while True:
            if not upcoming.done():
                waits()
            if (found := upcoming.result()) is None:
                return
            upcoming = pool.submit(context.run, _next, items)
            yield found[0]
            del found  # or it would stay while the one after next is made


def _next(items: Iterator[Item]) -> tuple[Item] | None:
    for item in items:
        return (item,)
    return None
