"""What storage libraries raise, as errors that say what to do; in the middle of streams too.

Where a store says that it is too busy, or had an error of its own, its libraries raise a plain
`OSError` (s3fs: EBUSY for `SlowDown` and 503, EREMOTEIO for `InternalError`), which a decoder
would take for damage of the file; `findings/slow_down_in_a_stream_is_a_bare_oserror.sh` shows it.
"""

import contextlib
import errno
from collections.abc import Iterator
from typing import IO, Any, cast

from ray_audit.errors import RayAuditError, StorageError
from ray_audit.wrapped_stream import WrappedStream

NO_ROOM = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the quota is used up"}


@contextlib.contextmanager
def explained(action: str, uri: str) -> Iterator[None]:
    """Turn what a storage library raises into a `StorageError` that says what to do."""
    try:
        yield
    except RayAuditError:
        raise
    except FileNotFoundError as error:
        raise StorageError(f"cannot {action} {uri}: it does not exist") from error
    except PermissionError as error:
        raise StorageError(f"cannot {action} {uri}: permission denied ({error})") from error
    except Exception as error:
        name = type(error).__name__
        if name in ("NoCredentialsError", "PartialCredentialsError", "TokenRetrievalError"):
            raise StorageError(
                f"cannot {action} {uri}: no credentials found. Set AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, choose AWS_PROFILE, or run where a role is attached"
            ) from error
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise StorageError(
                f"cannot {action} {uri}: {NO_ROOM[error.errno]} ({error.strerror}). Make "
                "room there, or choose another `output`, and run again: what was committed is "
                "whole, and is reused"
            ) from error
        if isinstance(error, OSError) or name.endswith(("Error", "Exception")):
            message = f"cannot {action} {uri}: {name}: {error}"
            raise StorageError(message, may_pass="://" in uri) from error
        raise


def explained_stream(stream: IO[bytes], action: str, uri: str) -> IO[bytes]:
    """The stream, whose every call raises a `StorageError` where the store or disk fails.

    Args:
        stream: opened for reading or for writing.
        action: what is done with it, for messages: `read` or `write`.
        uri: where it lies.
    """
    return cast("IO[bytes]", _ExplainedStream(stream, action, uri))


class _ExplainedStream(WrappedStream):
    def __init__(self, stream: IO[bytes], action: str, uri: str) -> None:
        super().__init__(stream, getattr(stream, "name", ""))
        self._action = action
        self._uri = uri

    def writable(self) -> bool:
        return self._stream.writable()

    def fileno(self) -> int:
        return self._stream.fileno()

    def read(self, size: int | None = -1, /) -> bytes:
        with explained(self._action, self._uri):
            return self._stream.read(-1 if size is None else size)

    def readinto(self, buffer: Any, /) -> int:
        with explained(self._action, self._uri):
            return self._stream.readinto(buffer)  # type: ignore[attr-defined, no-any-return]

    def read1(self, size: int = -1, /) -> bytes:
        return self.read(size)

    def write(self, content: Any, /) -> int:
        with explained(self._action, self._uri):
            return self._stream.write(content)

    # A seek fetches nothing; zipfile seeks to before the start, and takes OSError for a no.

    def truncate(self, size: int | None = None, /) -> int:
        with explained(self._action, self._uri):
            return self._stream.truncate(size)

    def flush(self) -> None:
        if not self._stream.closed:
            with explained(self._action, self._uri):
                self._stream.flush()

    def close(self) -> None:
        with explained(self._action, self._uri):
            super().close()
