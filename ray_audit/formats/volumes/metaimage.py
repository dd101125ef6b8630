"""MetaImage files (`.mha`, `.mhd` with its data beside it): lines of text, then the values.

Read here and not by SimpleITK, which brings 60 MB for what is a header of lines, and cannot write
a file back with the header that it had.
"""

import math
import re
import zlib
from typing import IO

import numpy as np

from ray_audit.errors import SampleError
from ray_audit.formats.volumes.nifti_volume import read_exactly
from ray_audit.formats.volumes.placed_values import PlacedValues
from ray_audit.formats.volumes.volume import Volume, VolumeHeader, check_claimed, check_inflated

_HEADER_BYTES = 2**16
_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i8",
    "MET_ULONG": "u8",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_LOCAL = "LOCAL"
_SIZE_LINE = re.compile(rb"(?m)^CompressedDataSize *= *(\d+)[^\r\n]*")


class MetaImageVolume(Volume):
    """A MetaImage; its array is SimpleITK's, (z, y, x), with slices along the first axis.

    Args:
        stream: of the file, seekable.
        uri: of the file; that with the values lies beside it.
        size_bytes: of the file.

    Raises:
        SampleError: it is none, or too large.
        StorageError: the file with the values is not there.
    """

    name = "MetaImage"

    def __init__(self, stream: IO[bytes], uri: str, size_bytes: int) -> None:
        self.uri = uri
        lines, self._head = read_lines(stream)
        self.header = _described(lines)
        self._is_packed = _flag(lines, "CompressedData")
        data_uri = _data_uri(uri, lines["ElementDataFile"])
        self._placed = PlacedValues(stream, uri, self._head, size_bytes, data_uri)
        self._offset = self._begin(lines)
        claimed = self._offset + self._num_bytes
        if self._is_packed:
            check_inflated(claimed, self._placed.size_bytes, self.header.shape)
        else:
            check_claimed(claimed, self._placed.size_bytes)
        self._values: np.ndarray | None = None

    @property
    def _num_bytes(self) -> int:
        header = self.header
        return math.prod(header.shape) * header.num_channels * header.dtype.itemsize

    def _begin(self, lines: dict[str, str]) -> int:
        """Byte of the data's file at which the values begin."""
        first = self._placed.first
        skipped = int(_numbers(lines, "HeaderSize", [0])[0])
        if skipped == -1 and not self._is_packed:  # whatever lies before the values
            return max(first, self._placed.size_bytes - self._num_bytes)
        return first + max(0, skipped)

    def stored(self, channel: int = 0) -> np.ndarray:
        """See `Volume.stored`."""
        if self._values is None:
            stream = self._placed.stream
            stream.seek(self._offset)
            if self._is_packed:
                content = _unpacked(stream.read(), self._num_bytes)
            else:
                content = read_exactly(stream, self._num_bytes)
            values = content.view(self.header.dtype)
            self._values = values.reshape(*self.header.shape, self.header.num_channels)
        return self._values[..., channel]

    def write(self, stored: np.ndarray, to_uri: str) -> None:
        """See `Volume.write`."""
        content = np.ascontiguousarray(stored, self.header.dtype).tobytes()
        head, end = self._head, None
        if self._is_packed:
            content = zlib.compress(content)
            head = _SIZE_LINE.sub(b"CompressedDataSize = %d" % len(content), head)
        else:
            end = self._offset + self._num_bytes
        self._placed.write(to_uri, head, content, self._offset, end)

    def copy(self, to_uri: str) -> None:
        """See `Volume.copy`: the values' file too."""
        self._placed.copy(to_uri)

    def close(self) -> None:
        """See `Volume.close`."""
        self._placed.close()


def read_lines(stream: IO[bytes]) -> tuple[dict[str, str], bytes]:
    """Keys and values of a header, and its bytes, to the end of its last line.

    Raises:
        SampleError: `decode`: it is none.
    """
    content = stream.read(_HEADER_BYTES)
    lines: dict[str, str] = {}
    at = 0
    while "ElementDataFile" not in lines:
        end = content.find(b"\n", at)
        line = content[at : end if end >= 0 else len(content)]
        key, is_there, value = line.decode("latin-1").partition("=")
        if not is_there or not key.strip():
            raise SampleError(
                "decode",
                f"no readable MetaImage header: {line[:40]!r} is no line of key and value, and "
                "ElementDataFile did not come before it",
            )
        lines[key.strip()] = value.strip()
        at = len(content) if end < 0 else end + 1
    return lines, content[:at]


def values_uri(uri: str, stream: IO[bytes]) -> str | None:
    """Where the values of a header lie; None where they follow it.

    Raises:
        SampleError: it is none, or they do not lie in one file beside it.
    """
    return _data_uri(uri, read_lines(stream)[0]["ElementDataFile"])


def _data_uri(uri: str, name: str) -> str | None:
    """Where the values lie; None where they follow the header.

    Raises:
        SampleError: `decode`: not in one file beside the header.
    """
    if name.upper() == _LOCAL:
        return None
    if name.upper().startswith("LIST") or "%" in name or name in ("", ".", "..") or "\0" in name:
        raise SampleError(
            "decode",
            f"ElementDataFile = {name}: the values lie in a file a slice; save the volume as one",
        )
    if "/" in name or "\\" in name:
        raise SampleError(
            "decode", f"ElementDataFile = {name}: expected the name of a file beside the header"
        )
    return uri[: uri.rfind("/") + 1] + name


def _described(lines: dict[str, str]) -> VolumeHeader:
    sizes = [int(size) for size in _numbers(lines, "DimSize", [])]
    element = lines.get("ElementType", "")
    if not 2 <= len(sizes) <= 4 or min(sizes, default=0) < 1 or element not in _TYPES:
        raise SampleError(
            "decode",
            f"the MetaImage has DimSize {lines.get('DimSize')} and ElementType {element!r}; "
            "expected two to four axes of numbers",
        )
    channels = int(_numbers(lines, "ElementNumberOfChannels", [1])[0])
    if not 1 <= channels <= 2**16 or (len(sizes) == 4 and sizes[3] > 1):
        raise SampleError(
            "decode",
            f"the MetaImage has DimSize {lines['DimSize']} and {channels} channel(s); expected "
            "three axes: save each time by itself",
        )
    is_big = any(_flag(lines, key) for key in ("BinaryDataByteOrderMSB", "ElementByteOrderMSB"))
    dtype = np.dtype((">" if is_big else "<") + _TYPES[element])
    sizes = [*sizes, 1, 1][:3]
    return VolumeHeader(tuple(reversed(sizes)), channels, dtype, 0, affine=_affine(lines))


def _affine(lines: dict[str, str]) -> np.ndarray | None:
    """From (z, y, x) to millimetres, as SimpleITK places voxels, turned to right and anterior."""
    names = {
        "matrix": ("TransformMatrix", "Rotation", "Orientation"),
        "origin": ("Offset", "Position", "Origin"),
        "spacing": ("ElementSpacing", "ElementSize"),
    }
    defaults = {"matrix": np.eye(3).ravel().tolist(), "origin": [0.0] * 3, "spacing": [1.0] * 3}
    found = {}
    for what, keys in names.items():
        values = next((_numbers(lines, key, []) for key in keys if key in lines), defaults[what])
        if len(values) != len(defaults[what]):
            return None  # of two axes, or of four
        found[what] = values
    lps = np.eye(4)
    # A row of the matrix is where an axis of the image points.
    lps[:3, :3] = np.reshape(found["matrix"], (3, 3)).T * np.asarray(found["spacing"])
    lps[:3, 3] = found["origin"]
    turned: np.ndarray = _LPS_TO_RAS @ lps
    return turned[:, [2, 1, 0, 3]]


def _numbers(lines: dict[str, str], key: str, default: list[float]) -> list[float]:
    if key not in lines:
        return default
    try:
        values = [float(text) for text in lines[key].split()]
    except ValueError as error:
        raise SampleError("decode", f"MetaImage header: {key} = {lines[key]}: {error}") from None
    if not values or not np.isfinite(values).all() or max(map(abs, values)) > 2**40:
        raise SampleError("decode", f"MetaImage header: {key} = {lines[key]} holds no such numbers")
    return values


def _flag(lines: dict[str, str], key: str) -> bool:
    return lines.get(key, "False").strip().lower()[:1] in ("t", "1")


def _unpacked(content: bytes, num_bytes: int) -> np.ndarray:
    unpacker = zlib.decompressobj()
    values = unpacker.decompress(content, num_bytes)
    if len(values) < num_bytes:
        raise SampleError("decode", f"it was cut off: {len(values)} of {num_bytes} bytes are there")
    rest = unpacker.decompress(unpacker.unconsumed_tail, 1)  # to the checksum
    if not rest and not unpacker.eof:
        raise SampleError("decode", "it was cut off: the end of its compressed values is not there")
    return np.frombuffer(values, np.uint8)
