"""Where the values of a volume lie: behind its header, or in a file beside it."""

import io
from typing import IO

from ray_audit import storage
from ray_audit.formats.closeable import Closeable


class PlacedValues(Closeable):
    """The file with the values of a volume, opened.

    Args:
        stream: of the file with the header, seekable.
        uri: of that file.
        head: its bytes to the end of the header.
        size_bytes: of that file.
        data_uri: of the file with the values; None where they follow the header.

    Attributes:
        stream: of the file with the values.
        size_bytes: of that file.
        first: its first byte behind the header.

    Raises:
        StorageError: the file with the values is not there.
    """

    def __init__(
        self, stream: IO[bytes], uri: str, head: bytes, size_bytes: int, data_uri: str | None
    ) -> None:
        self._uri, self._data_uri = uri, data_uri
        self._streams = [stream]
        self.size_bytes, self.first = size_bytes, len(head)
        if data_uri is not None:
            self._streams.append(storage.open_read(data_uri))
            self.size_bytes, self.first = self._streams[-1].seek(0, io.SEEK_END), 0
        self.stream = self._streams[-1]

    def write(
        self, to_uri: str, head: bytes, content: bytes, begin: int, end: int | None = None
    ) -> None:
        """A copy with other values; what lies before and behind them stays.

        Args:
            to_uri: of the header's file.
            head: of the copy.
            content: the other values, as they are stored.
            begin: first byte of the values that were there.
            end: the byte behind them; None: nothing behind them is kept.
        """
        self.stream.seek(self.first)
        content = self.stream.read(begin - self.first) + content
        if end is not None:
            self.stream.seek(end)
            content += self.stream.read()
        if self._data_uri is None:
            storage.write_bytes(to_uri, head + content)
            return
        storage.write_bytes(_beside(to_uri, self._data_uri), content)
        storage.write_bytes(to_uri, head)

    def copy(self, to_uri: str) -> None:
        """A copy, byte for byte: of the values' file too."""
        if self._data_uri is not None:
            storage.copy(self._data_uri, _beside(to_uri, self._data_uri))
        storage.copy(self._uri, to_uri)

    def close(self) -> None:
        """See `Closeable.close`."""
        for stream in self._streams:
            stream.close()


def _beside(uri: str, other_uri: str) -> str:
    """The name of another file, in the folder of this one."""
    return uri[: uri.rfind("/") + 1] + other_uri.rpartition("/")[2]
