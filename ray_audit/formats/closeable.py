"""What holds something open, and lets go of it at the end of a `with`."""

from types import TracebackType
from typing import Self


class Closeable:
    """Closes itself when its `with` ends."""

    def close(self) -> None:
        """Let go of what is held open; by default there is nothing."""
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: object, trace: TracebackType | None
    ) -> None:
        self.close()
