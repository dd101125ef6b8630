"""Making an item ahead, and finishing one behind: work on different devices overlaps."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


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
            if (found := _awaited(upcoming, waits)) is None:
                return
            upcoming = pool.submit(context.run, _next, items)
            yield found[0]
            del found  # or it would stay while the one after next is made


def one_behind(
    items: Iterable[Item], finish: Callable[[Item], Result], waits: Callable[[], None]
) -> Iterator[Result]:
    """Each item finished in a thread, while the next one is made.

    One at a time and in order: nothing is begun after one that failed, nor once no more is taken.

    Args:
        items: made in the thread of who takes the results.
        finish: called with each of them, in the other thread.
        waits: called before each wait for one that is not finished yet.
    """
    context = copy_context()
    finishing: Future[Result] | None = None
    with ThreadPoolExecutor(1, "one behind") as pool:
        for item in items:
            if finishing is not None:
                yield _awaited(finishing, waits)
            finishing = pool.submit(context.run, finish, item)
            del item  # or it would stay while the next one is made
        if finishing is not None:
            yield _awaited(finishing, waits)


def _awaited(future: "Future[Result]", waits: Callable[[], None]) -> Result:
    if not future.done():
        waits()
    return future.result()


def _next(items: Iterator[Item]) -> tuple[Item] | None:
    for item in items:
        return (item,)
    return None
