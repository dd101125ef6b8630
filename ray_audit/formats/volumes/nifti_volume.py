"""NIfTI files as nibabel describes them: header first, then bounded bytes."""

import gzip
import io
import math
import shutil
from typing import IO, Any, cast

import numpy as np

from ray_audit import storage
from ray_audit.errors import SampleError, SpecificationError
from ray_audit.formats.volumes.volume import Volume, VolumeHeader, check_claimed, check_inflated

_HEADER_BYTES = 540  # of NIfTI-2; NIfTI-1 has 348
_COPY_BYTES = 2**20
_MISSING = "NIfTI files need nibabel: pip install 'ray-audit[medical]'"


def nibabel() -> Any:
    """The library, imported where it is first needed.

    Raises:
        SpecificationError: it is not installed.
    """
    try:
        import nibabel
    except ImportError as error:
        raise SpecificationError(_MISSING) from error
    return nibabel


class NiftiVolume(Volume):
    """A `.nii` or `.nii.gz` file; its array is nibabel's, (x, y, z), with slices along the last.

    Args:
        stream: of the file, seekable.
        uri: of the file.
        size_bytes: of the file.

    Raises:
        SampleError: it is none, or too large.
    """

    name = "NIfTI"

    def __init__(self, stream: IO[bytes], uri: str, size_bytes: int) -> None:
        self.uri = uri
        self._is_zipped = uri.lower().endswith(".gz")
        self._stream = stream
        if self._is_zipped:
            self._stream = cast("IO[bytes]", gzip.GzipFile(fileobj=stream))
        image = _image_header(self._stream)
        self.header, self._offset = _described(image), int(image.get_data_offset())
        claimed = self._offset + self._channel_bytes * self.header.num_channels
        if self._is_zipped:
            check_inflated(claimed, size_bytes, self.header.shape)
        else:
            check_claimed(claimed, size_bytes)
        self._values: tuple[int, np.ndarray] | None = None

    @property
    def _channel_bytes(self) -> int:
        return math.prod(self.header.shape) * self.header.dtype.itemsize

    def stored(self, channel: int = 0) -> np.ndarray:
        """See `Volume.stored`."""
        if self._values is None or self._values[0] != channel:
            self._stream.seek(self._offset + channel * self._channel_bytes)
            content = read_exactly(self._stream, self._channel_bytes)
            if channel == self.header.num_channels - 1:
                self._stream.read(1)  # the end of a gzip stream, where its checksum is
            values = content.view(self.header.dtype).reshape(self.header.shape, order="F")
            self._values = channel, values
        return self._values[1]

    def write(self, stored: np.ndarray, to_uri: str) -> None:
        """See `Volume.write`."""
        self._stream.seek(0)
        with storage.open_write(to_uri) as sink:
            if not self._is_zipped:
                self._copy_with(stored, sink)
                return
            with gzip.GzipFile(filename="", fileobj=sink, mode="wb", mtime=0) as packed:
                self._copy_with(stored, cast("IO[bytes]", packed))

    def _copy_with(self, stored: np.ndarray, sink: IO[bytes]) -> None:
        sink.write(read_exactly(self._stream, self._offset).tobytes())
        sink.write(stored.astype(self.header.dtype, copy=False).tobytes(order="F"))
        self._stream.seek(self._offset + self._channel_bytes)
        shutil.copyfileobj(self._stream, sink, _COPY_BYTES)

    def close(self) -> None:
        """See `Volume.close`."""
        self._stream.close()


def read_exactly(stream: IO[bytes], num_bytes: int) -> np.ndarray:
    """(num_bytes,) uint8 from where a stream stands.

    Raises:
        SampleError: `decode`: it ends before.
    """
    values = np.empty(num_bytes, np.uint8)
    at = 0
    while at < len(values):
        chunk = stream.read(min(_COPY_BYTES, len(values) - at))
        if not chunk:
            raise SampleError("decode", f"it was cut off: {at} of {len(values)} bytes are there")
        values[at : at + len(chunk)] = np.frombuffer(chunk, np.uint8)
        at += len(chunk)
    return values


def _image_header(stream: IO[bytes]) -> Any:
    nib = nibabel()
    content = stream.read(_HEADER_BYTES)
    is_second = any(content[:4] == (540).to_bytes(4, order) for order in ("little", "big"))
    kind = nib.Nifti2Header if is_second else nib.Nifti1Header
    try:
        image = kind.from_fileobj(io.BytesIO(content))
        image.get_data_dtype()
    except Exception as error:  # nibabel raises many kinds
        raise SampleError("decode", f"no readable NIfTI header: {error}") from error
    if bytes(image["magic"].item())[:2] != b"n+":
        raise SampleError(
            "decode",
            "the NIfTI file has its values in a file of their own (.img); save it as one file",
        )
    return image


def _described(image: Any) -> VolumeHeader:
    try:
        slope, inter = image.get_slope_inter()
        shape = _squeezed(tuple(int(size) for size in image.get_data_shape()))
        dtype, affine = image.get_data_dtype(), image.get_best_affine()
    except Exception as error:  # nibabel raises many kinds
        raise SampleError("decode", f"no readable NIfTI header: {error}") from error
    if not 3 <= len(shape) <= 4 or min(shape) < 1 or dtype.kind not in "iuf":
        raise SampleError(
            "decode",
            f"the volume has shape {shape} and type {dtype}; expected three axes of numbers, or "
            "four with channels",
        )
    return VolumeHeader(
        shape[:3],
        shape[3] if len(shape) == 4 else 1,
        dtype,
        2,
        1.0 if slope is None else float(slope),
        0.0 if inter is None else float(inter),
        affine,
    )


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Three or four axes: writers leave out trailing ones, or add them."""
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return shape + (1,) * (3 - len(shape))
