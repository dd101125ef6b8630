"""Images of IDX files."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, ClassVar

from ray_audit.formats.array_files import ArrayFile
from ray_audit.formats.arrays import ArrayFiles
from ray_audit.formats.idx import ENDINGS, opened_idx


class IdxFiles(ArrayFiles):
    """Images along the first axis, with labels in a table or in another IDX file."""

    name = "IDX"
    kind = "images"
    extensions = ("idx",)
    forms: ClassVar[frozenset[str]] = frozenset()

    @property
    def kinds(self) -> tuple[str, ...]:
        """Images alone: sequences have several arrays."""
        return ("images",)

    @property
    def endings(self) -> tuple[str, ...]:
        """As MNIST's files are called, too."""
        return ENDINGS

    @contextmanager
    def opened(self, stream: IO[bytes], size_bytes: int) -> Iterator[ArrayFile]:
        """See `ArrayFiles.opened`; packed files are told by their first bytes."""
        mark = stream.read(2)
        stream.seek(0)
        with opened_idx(".gz" if mark == b"\x1f\x8b" else "", stream, size_bytes) as file:
            yield file
