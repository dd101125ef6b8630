"""Volumes by their endings."""

import io
from typing import IO

from ray_audit.errors import SampleError, SpecificationError, StorageError
from ray_audit.formats.accounting import UnitAccounting
from ray_audit.formats.damage import is_damage
from ray_audit.formats.volumes.array_volumes import NpyVolume, NpzVolume
from ray_audit.formats.volumes.dicom_volume import DicomVolume, is_dicom
from ray_audit.formats.volumes.metaimage import MetaImageVolume
from ray_audit.formats.volumes.nifti_volume import NiftiVolume
from ray_audit.formats.volumes.volume import Volume

_OF_ENDING: dict[str, type[NiftiVolume | MetaImageVolume | NpyVolume | NpzVolume]] = {
    ".nii": NiftiVolume,
    ".nii.gz": NiftiVolume,
    ".mha": MetaImageVolume,
    ".mhd": MetaImageVolume,
    ".npy": NpyVolume,
    ".npz": NpzVolume,
}
ENDINGS = tuple(_OF_ENDING)
"""Endings of files that hold a volume of labels."""


def open_volume(uri: str, size_bytes: int | None, tally: UnitAccounting) -> Volume:
    """Open a volume and read its header.

    Args:
        uri: of the file.
        size_bytes: of the file, where it is known.
        tally: counts what is read.

    Raises:
        SampleError: it is no volume, or is too large.
        StorageError: it cannot be read.
    """
    if is_dicom(uri):
        return DicomVolume(uri, tally)
    name = uri.lower()
    kind = next(volume_type for ending, volume_type in _OF_ENDING.items() if name.endswith(ending))
    stream: IO[bytes] = tally.open_read(uri, size_bytes)
    try:
        if size_bytes is None:
            size_bytes = stream.seek(0, io.SEEK_END)
            stream.seek(0)
        return kind(stream, uri, size_bytes)
    except SampleError as error:
        stream.close()
        raise SampleError(error.error_class, f"{uri}: {error}") from error
    except Exception as error:  # libraries raise many kinds; a store's errors have a number
        stream.close()
        if isinstance(error, StorageError | SpecificationError | MemoryError):
            raise
        if isinstance(error, OSError) and not is_damage(error):
            raise
        raise SampleError("decode", f"{uri}: {str(error) or type(error).__name__}") from error
