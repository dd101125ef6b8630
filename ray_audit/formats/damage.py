"""Whether a file's content is at fault, or the way to it."""

import errno
import lzma
import struct
import tarfile
import zipfile
import zlib

from ray_audit.errors import SampleError

_OF_CONTENT = (
    *(EOFError, ValueError, OverflowError, SampleError),
    *(RuntimeError, LookupError),  # HDF5's library for a group, or an object, that is damaged
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error),
)


def is_damage(error: Exception) -> bool:
    """Whether an error while a container is read comes from its content.

    A store or a disk gives its errors a number (s3fs: `OSError(16)` for SlowDown), or names them;
    what gzip and Arrow find in a file has none.
    `findings/slow_down_in_a_stream_is_a_bare_oserror.sh` shows it.

    >>> is_damage(OSError("Couldn't deserialize thrift")), is_damage(OSError(5, "Slow Down"))
    (True, False)
    """
    if isinstance(error, OSError):
        of_content = error.errno in (None, errno.EINVAL)  # EINVAL: a seek to before an empty file
        return of_content and not isinstance(error, ConnectionError | TimeoutError)
    return isinstance(error, _OF_CONTENT)


def readable(error: Exception) -> Exception:
    """Say what to do about an array that only a pickle could give."""
    if "pickle" in str(error).lower():
        return SampleError(
            "pickle",
            "the array holds Python objects, which only code in the file could restore; "
            "save it as numbers",
        )
    return error
