"""What becomes of the samples that are not sent as a batch, and what reading cost."""

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

import pyarrow as pa

from ray_audit import storage
from ray_audit.errors import LabelError, SampleError, StorageError, redacted
from ray_audit.formats.damage import is_damage
from ray_audit.sample_ids import frame_id
from ray_audit.samples import FILTERED_SCHEMA, IGNORE, Remark, RemarkKind, ShardFailure, Tail
from ray_audit.wrapped_stream import WrappedStream

_WHOLE_BYTES = 16 * 2**20


class UnitAccounting:
    """Counts of one work unit, and its filtered and failed samples."""

    def __init__(self, unit_id: str) -> None:
        self.unit_id = unit_id
        self.bytes_read = 0
        self.num_decoded = 0
        self.num_lead_in = 0
        self.decode_s = 0.0
        self._filtered: dict[str, list[Any]] = {name: [] for name in FILTERED_SCHEMA.names}
        self._failures: list[ShardFailure] = []
        self._remarks: dict[Remark, None] = {}

    def remark(self, kind: RemarkKind, shard: str) -> None:
        """Record what a reader of the outcome should know of a shard."""
        self._remarks[kind, shard] = None

    def filter(self, sample_id: str, shard: str, frame_index: int | None, reason: str) -> None:
        """Record a sample that is left out on purpose."""
        row = (sample_id, shard, frame_index, reason)
        for column, value in zip(self._filtered.values(), row, strict=True):
            column.append(value)

    def filter_frame(self, shard: str, frame_index: int, label: int | None, sampled: bool) -> None:
        """Record why a frame is no sample, if it is none."""
        if not sampled:
            reason = "not_sampled"
        elif label is None:
            reason = "unlabelled"
        elif label == IGNORE:
            reason = "void"
        else:
            return
        self.filter(frame_id(shard, frame_index), shard, frame_index, reason)

    def fail(
        self,
        shard: str,
        error: Exception,
        *,
        sample_id: str | None = None,
        stage: str = "decode",
        num_samples: int | None = 1,
        where: str = "",
        counts: bool = True,
    ) -> None:
        """Record a sample, or (without `sample_id`) a shard or its rest, that cannot be read.

        Where nobody knows how many samples are lost (`num_samples` None) it counts as one. Where
        another fold `counts` them it counts as none.
        """
        stage, error_class = _class_of(error, stage)
        message = where + (redacted(str(error)) or type(error).__name__)
        if num_samples is None:
            message += " (how many samples are lost with it is not known: at least 1)"
            num_samples = 1
        num_samples = num_samples if counts else 0
        attempts = error.attempts if isinstance(error, StorageError) else 1
        self._failures.append(
            ShardFailure(shard, sample_id, stage, error_class, message, num_samples, attempts)
        )

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count the time of the block as reading and decoding."""
        begin_s = time.perf_counter()
        try:
            yield
        finally:
            self.decode_s += time.perf_counter() - begin_s

    def read_bytes(self, uri: str) -> bytes:
        """Read a whole object, counted."""
        content = storage.read_bytes(uri)
        self.bytes_read += len(content)
        return content

    def open_read(self, uri: str, size_bytes: int | None = None) -> IO[bytes]:
        """Open an object for reading; what is read from it is counted.

        A small one is fetched whole, because readers go back and forth in it.
        """
        if size_bytes is not None and size_bytes <= _WHOLE_BYTES:
            return io.BytesIO(self.read_bytes(uri))
        return cast("IO[bytes]", _CountedStream(storage.open_read(uri, size_bytes), self, uri))

    def tail(self, num_batches: int) -> Tail:
        """The end of the unit, after `num_batches` batches."""
        return Tail(
            unit_id=self.unit_id,
            num_batches=num_batches,
            filtered=pa.table(self._filtered, schema=FILTERED_SCHEMA),
            failures=tuple(self._failures),
            bytes_read=self.bytes_read,
            decode_s=self.decode_s,
            num_decoded=self.num_decoded,
            num_lead_in=self.num_lead_in,
            remarks=tuple(self._remarks),
        )


@contextmanager
def of_labels(where: str = "") -> Iterator[None]:
    """What is damaged in the block, or the store does not give, is a label, not what it labels.

    Args:
        where: names the label, for the end of a message.

    Raises:
        SampleError: in place of what a library raised.
        StorageError: as it was, marked.
    """
    try:
        yield
    except StorageError as error:
        error.of_label = True
        raise
    except Exception as error:
        if not (isinstance(error, SampleError) or is_damage(error)):
            raise
        kind = error.error_class if isinstance(error, SampleError) else "decode"
        message = f"{str(error) or type(error).__name__}{where}"
        raise SampleError(kind, message, of_label=True) from error


def _class_of(error: Exception, stage: str) -> tuple[str, str]:
    """Stage and error class: the errors of ray_audit name theirs, a decoder's are `decode`."""
    if isinstance(error, SampleError):
        return "labels" if error.of_label else stage, error.error_class
    if isinstance(error, MemoryError):  # what is too large by its own header is refused before
        return (stage if stage == "labels" else "read"), "memory"
    if isinstance(error, StorageError) and error.of_label:
        return "labels", "read"
    if isinstance(error, (StorageError, ConnectionError, TimeoutError)) or _of_a_store(error):
        return (stage if stage == "labels" else "read"), "read"
    if isinstance(error, LabelError):
        return "labels", "labels"
    return stage, "decode"


def _of_a_store(error: Exception) -> bool:
    """Whether a storage library raised it in the middle of a stream."""
    return type(error).__module__.partition(".")[0] in ("botocore", "aiobotocore", "aiohttp")


class _CountedStream(WrappedStream):
    """A stream whose reads are counted; seeks as the stream below does."""

    def __init__(self, stream: IO[bytes], tally: UnitAccounting, uri: str) -> None:
        super().__init__(stream)
        self._tally = tally
        self._uri = uri

    def read(self, size: int | None = -1, /) -> bytes:
        with storage.explained("read", self._uri):
            content = self._stream.read(-1 if size is None else size)
        self._tally.bytes_read += len(content)
        return content

    def readinto(self, buffer: Any, /) -> int:
        with storage.explained("read", self._uri):
            num: int = self._stream.readinto(buffer)  # type: ignore[attr-defined]
        self._tally.bytes_read += num
        return num
