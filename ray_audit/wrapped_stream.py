"""A binary stream around another, for those that change what single calls do."""

import io
from typing import IO


class WrappedStream(io.BufferedIOBase):
    """Does as the stream below, and closes it.

    Attributes:
        name: some readers look for one.
    """

    def __init__(self, stream: IO[bytes], name: str = "") -> None:
        self._stream = stream
        self.name = name

    def readable(self) -> bool:
        """See `io.IOBase`."""
        return self._stream.readable()

    def seekable(self) -> bool:
        """See `io.IOBase`."""
        return self._stream.seekable()

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """See `io.IOBase`."""
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        """See `io.IOBase`."""
        return self._stream.tell()

    def close(self) -> None:
        """See `io.IOBase`."""
        try:
            self._stream.close()
        finally:
            super().close()
