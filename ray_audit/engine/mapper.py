"""The part of an engine that reductions need."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Mapper(Protocol):
    """Runs a function on many items, somewhere."""

    def map(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        on_gpu: bool = False,
    ) -> Iterator[Result]:
        """Apply a function to each item; results in the items' order.

        Args:
            function: of one item.
            items: what it is applied to.
            on_gpu: each call gets `engine.num_gpus`, if there are any.
        """
        ...
