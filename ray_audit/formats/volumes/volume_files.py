"""Volumes by their endings."""

import io
from typing import IO

from ray_audit.errors import SampleError, SpecificationError, StorageError
from ray_audit.formats.accounting import UnitAccounting
from ray_audit.formats.damage import is_damage
from ray_audit.formats.volumes.array_volumes import NpyVolume, NpzVolume
from ray_audit.formats.volumes.dicom_segmentation import DicomSegmentation, is_segmentation
from ray_audit.formats.volumes.dicom_volume import DicomVolume
from ray_audit.formats.volumes.metaimage import MetaImageVolume
from ray_audit.formats.volumes.nifti_volume import NiftiVolume
from ray_audit.formats.volumes.nrrd_volume import NrrdVolume
from ray_audit.formats.volumes.page_stack import ENDINGS as PAGED
from ray_audit.formats.volumes.page_stack import PageStack
from ray_audit.formats.volumes.volume import Volume

_Streamed = NiftiVolume | MetaImageVolume | NrrdVolume | NpyVolume | NpzVolume | PageStack
_OF_ENDING: dict[str, type[_Streamed]] = {
    ".nii": NiftiVolume,
    ".nii.gz": NiftiVolume,
    ".mha": MetaImageVolume,
    ".mhd": MetaImageVolume,
    ".nrrd": NrrdVolume,
    ".nhdr": NrrdVolume,
    ".npy": NpyVolume,
    ".npz": NpzVolume,
}
ENDINGS = tuple(_OF_ENDING)
"""Endings of files that hold a volume of labels, and nothing else."""

_OF_ENDING |= dict.fromkeys(PAGED, PageStack)


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
    name = uri.lower()
    kind = next(
        (candidate for ending, candidate in _OF_ENDING.items() if name.endswith(ending)), None
    )
    if kind is None:  # the files of a series may have any names
        return DicomVolume(uri, tally)
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


def open_dicom_labels(uri: str, image: Volume, tally: UnitAccounting) -> Volume:
    """Open labels in a DICOM file: a segmentation in the grid of its image, or a volume.

    Raises:
        SampleError: the image is no DICOM, or they do not go together.
        StorageError: it cannot be read.
    """
    if not is_segmentation(uri, tally):
        return DicomVolume(uri, tally, is_labels=True)
    if not isinstance(image, DicomVolume):
        raise SampleError(
            "mask_format",
            f"{uri} is a DICOM segmentation, which goes with the DICOM images that it was drawn "
            f"upon, and {image.uri} is {image.name}",
        )
    return DicomSegmentation(uri, image, tally)
