"""What one pass has made and the next one asks for again, where one process runs both."""

from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

MAX_BYTES = 32 * 2**20

Value = TypeVar("Value")


class Kept(Generic[Value]):
    """Values that are asked for twice, as many as fit; the others are made twice.

    In another process it is empty and keeps nothing: a task on a cluster makes what it needs, and
    leaves nothing in its worker.

    Args:
        size_of: bytes of a value.
        max_bytes: most that are kept.
    """

    def __init__(self, size_of: Callable[[Value], int], max_bytes: int = MAX_BYTES) -> None:
        self._size_of = size_of
        self._left_bytes = max_bytes
        self._values: dict[Hashable, Value] = {}

    def given(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value that was kept, which is let go by that; else made now, and kept if it fits."""
        if key in self._values:
            value = self._values.pop(key)
            self._left_bytes += self._size_of(value)
            return value
        value = make()
        if self._size_of(value) <= self._left_bytes:
            self._left_bytes -= self._size_of(value)
            self._values[key] = value
        return value

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._size_of, -1)
