"""What one pass has made and the next one asks for again."""

from collections.abc import Callable, Hashable
from typing import Any, Generic, Self, TypeVar

MAX_BYTES = 32 * 2**20

Value = TypeVar("Value")


class Kept(Generic[Value]):
    """Values that are asked for twice, as many as fit; the others are made twice.

    In another process it is empty and keeps nothing: what is to get there goes by `taken`.

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

    def taken(self) -> dict[Hashable, Value]:
        """All that is kept, which is let go by that."""
        values, self._values = self._values, {}
        self._left_bytes += sum(map(self._size_of, values.values()))
        return values

    @classmethod
    def holding(cls, size_of: Callable[[Value], int], values: dict[Hashable, Value]) -> Self:
        """One that gives what another has kept, and keeps nothing more."""
        kept = cls(size_of, -1 - sum(map(size_of, values.values())))
        kept._values = values
        return kept

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._size_of, -1)
