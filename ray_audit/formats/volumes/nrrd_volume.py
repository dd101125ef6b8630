"""NRRD files (`.nrrd`, `.nhdr` with its data beside it) as pynrrd describes them."""

import bz2
import io
import math
import zlib
from typing import IO, Any

import numpy as np

from ray_audit.errors import SampleError, SpecificationError
from ray_audit.formats.damage import is_damage
from ray_audit.formats.volumes.nifti_volume import read_exactly
from ray_audit.formats.volumes.placed_values import PlacedValues
from ray_audit.formats.volumes.volume import Volume, VolumeHeader, check_claimed, check_inflated

_HEADER_BYTES = 2**20
_MISSING = "NRRD files need pynrrd: pip install 'ray-audit[medical]'"
_PACKED = {"gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2"}
_TO_RAS = {
    "left-posterior-superior": (-1, -1, 1),
    "LPS": (-1, -1, 1),
    "right-anterior-superior": (1, 1, 1),
    "RAS": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1),
    "LAS": (-1, 1, 1),
}
_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": (
        *("longlong", "long long", "long long int"),
        *("signed long long", "signed long long int", "int64", "int64_t"),
    ),
    "u8": (
        *("ulonglong", "unsigned long long", "unsigned long long int"),
        *("uint64", "uint64_t"),
    ),
    "f4": ("float",),
    "f8": ("double",),
}
_SPATIAL = ("domain", "space")


def pynrrd() -> Any:
    """The library, imported where it is first needed.

    Raises:
        SpecificationError: it is not installed.
    """
    try:
        import nrrd
    except ImportError as error:
        raise SpecificationError(_MISSING) from error
    return nrrd


class NrrdVolume(Volume):
    """An NRRD; its array is pynrrd's, (x, y, z), with slices along the last axis.

    Args:
        stream: of the file, seekable.
        uri: of the file; that with the values may lie beside it.
        size_bytes: of the file.

    Raises:
        SampleError: it is none, or too large.
        StorageError: the file with the values is not there.
    """

    name = "NRRD"

    def __init__(self, stream: IO[bytes], uri: str, size_bytes: int) -> None:
        self.uri = uri
        lines, self._head = _read_lines(stream)
        self._sizes = [int(size) for size in lines["sizes"]]
        self._channel_axis, self.header = _described(lines, self._sizes)
        self._packing = _PACKED.get(lines["encoding"])
        self._placed = PlacedValues(stream, uri, self._head, size_bytes, _data_uri(uri, lines))
        num_bytes = math.prod(self._sizes) * self.header.dtype.itemsize
        first, size_bytes = self._placed.first, self._placed.size_bytes
        self._offset = first
        if self._packing is None:
            skipped = int(lines.get("byte skip", 0))
            self._offset += max(0, size_bytes - num_bytes - first) if skipped == -1 else skipped
            check_claimed(self._offset + num_bytes, size_bytes)
        else:
            check_inflated(num_bytes, size_bytes, self.header.shape)
        self._num_bytes = num_bytes
        self._values: np.ndarray | None = None

    def stored(self, channel: int = 0) -> np.ndarray:
        """See `Volume.stored`."""
        if self._values is None:
            stream = self._placed.stream
            stream.seek(self._offset)
            if self._packing is None:
                content = read_exactly(stream, self._num_bytes)
            else:
                try:
                    content = _unpacked(stream.read(), self._num_bytes, self._packing)
                except (zlib.error, OSError, EOFError) as error:
                    if not is_damage(error):
                        raise
                    raise SampleError("decode", f"its packed values are damaged: {error}") from None
            self._values = content.view(self.header.dtype).reshape(self._sizes, order="F")
        values = self._values
        if self._channel_axis is not None:
            values = np.take(values, channel, self._channel_axis)
        return values.reshape(self.header.shape)

    def write(self, stored: np.ndarray, to_uri: str) -> None:
        """See `Volume.write`."""
        content = np.asarray(stored, self.header.dtype).tobytes(order="F")
        end = None
        if self._packing is None:
            end = self._offset + self._num_bytes
        elif self._packing == "gzip":
            packer = zlib.compressobj(wbits=31)  # without the time of day
            content = packer.compress(content) + packer.flush()
        else:
            content = bz2.compress(content)
        self._placed.write(to_uri, self._head, content, self._offset, end)

    def copy(self, to_uri: str) -> None:
        """See `Volume.copy`: the values' file too."""
        self._placed.copy(to_uri)

    def close(self) -> None:
        """See `Volume.close`."""
        self._placed.close()


def _read_lines(stream: IO[bytes]) -> tuple[dict[str, Any], bytes]:
    """Fields of a header, and its bytes to the empty line behind it.

    Raises:
        SampleError: `decode`: it is none.
    """
    content = io.BytesIO(stream.read(_HEADER_BYTES))
    try:
        lines = dict(pynrrd().read_header(content))
        missing = [key for key in ("type", "sizes", "encoding") if key not in lines]
        if missing:
            raise ValueError(f"{', '.join(missing)} is not there")
    except SpecificationError:
        raise
    except Exception as error:  # pynrrd raises many kinds
        raise SampleError("decode", f"no readable NRRD header: {error}") from error
    return lines, content.getvalue()[: content.tell()]


def values_uri(uri: str, stream: IO[bytes]) -> str | None:
    """Where the values of a header lie; None where they follow it.

    Raises:
        SampleError: it is none, or they do not lie in one file beside it.
    """
    return _data_uri(uri, _read_lines(stream)[0])


def _data_uri(uri: str, lines: dict[str, Any]) -> str | None:
    found = lines.get("data file", lines.get("datafile"))
    if found is None:
        return None
    name = str(found)
    is_list = name.upper().startswith("LIST") or "%" in name or " " in name
    if is_list or "/" in name or "\\" in name or name in ("", ".", "..") or "\0" in name:
        raise SampleError(
            "decode",
            f"data file: {name}: expected the name of one file beside the header; save the volume "
            "as one",
        )
    return uri[: uri.rfind("/") + 1] + name


def _described(lines: dict[str, Any], sizes: list[int]) -> tuple[int | None, VolumeHeader]:
    """The axis of channels, if there is one, and the header."""
    kind, encoding = str(lines["type"]), str(lines["encoding"])
    is_read = encoding == "raw" or encoding in _PACKED
    if not is_read or lines.get("line skip", 0) or int(lines.get("byte skip", 0)) < -1:
        raise SampleError(
            "decode",
            f"the NRRD has encoding {encoding}, line skip {lines.get('line skip', 0)}; expected "
            "raw, gzip or bzip2 values right behind the header, or in a file of their own",
        )
    dtype = _dtype(kind, str(lines.get("endian", "little")))
    channel_axis = _channel_axis(lines, sizes)
    spatial = [size for axis, size in enumerate(sizes) if axis != channel_axis]
    if dtype is None or not 2 <= len(spatial) <= 3 or min(sizes) < 1:
        raise SampleError(
            "decode",
            f"the NRRD has sizes {sizes} and type {kind!r}; expected two or three axes of numbers, "
            "and one more of channels at most",
        )
    shape = tuple([*spatial, 1][:3])
    num = 1 if channel_axis is None else sizes[channel_axis]
    return channel_axis, VolumeHeader(shape, num, dtype, 2, affine=_affine(lines))


def _dtype(kind: str, endian: str) -> np.dtype[Any] | None:
    code = next((code for code, names in _TYPES.items() if kind in names), None)
    if code is None:
        return None
    return np.dtype(code).newbyteorder(">" if endian.strip().lower() == "big" else "<")


def _channel_axis(lines: dict[str, Any], sizes: list[int]) -> int | None:
    """The one axis that does not run through space."""
    kinds = [str(kind).lower() for kind in lines.get("kinds", [])]
    others = [axis for axis, kind in enumerate(kinds) if kind not in (*_SPATIAL, "none", "???")]
    directions = lines.get("space directions")
    if not others and directions is not None:
        rows = [np.atleast_1d(np.asarray(np.nan if row is None else row)) for row in directions]
        others = [axis for axis, row in enumerate(rows) if np.isnan(row.astype(float)).any()]
    if not others and len(sizes) == 4:
        others = [3]
    if len(others) > 1 or (others and others[0] >= len(sizes)):
        raise SampleError("decode", f"the NRRD has kinds {kinds}; expected one axis of channels")
    return others[0] if others else None


def _affine(lines: dict[str, Any]) -> np.ndarray | None:
    """From (x, y, z) to millimetres; None where the file does not say, or not in three axes."""
    turn = _TO_RAS.get(str(lines.get("space", "")))
    directions, origin = lines.get("space directions"), lines.get("space origin")
    if turn is None or directions is None or origin is None:
        return None
    rows = [np.asarray(row, float) for row in directions if row is not None]
    rows = [row for row in rows if row.shape == (3,) and np.isfinite(row).all()]
    if len(rows) != 3 or np.shape(origin) != (3,) or not np.isfinite(origin).all():
        return None
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = np.stack(rows).T, origin
    placed: np.ndarray = np.diag([*turn, 1]) @ affine
    return placed


def _unpacked(content: bytes, num_bytes: int, packing: str) -> np.ndarray:
    """So many bytes, and the checksum behind them."""
    if packing == "gzip":
        unpacker = zlib.decompressobj(wbits=47)
        values = unpacker.decompress(content, num_bytes)
        unpacker.decompress(unpacker.unconsumed_tail, 1)  # to the checksum
        is_whole = unpacker.eof
    else:
        expander = bz2.BZ2Decompressor()
        values = expander.decompress(content, num_bytes)
        if not expander.eof:
            expander.decompress(b"", 1)
        is_whole = expander.eof
    if len(values) < num_bytes or not is_whole:
        raise SampleError("decode", f"it was cut off: {len(values)} of {num_bytes} bytes are there")
    return np.frombuffer(values, np.uint8)
