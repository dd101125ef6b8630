"""Formats of volumes: a file each, each slice along one axis a sample."""

from collections.abc import Iterator
from typing import ClassVar

from ray_audit.config import LabelsConfig
from ray_audit.errors import SpecificationError
from ray_audit.formats.base import Format, Item
from ray_audit.formats.job import UnitContext
from ray_audit.formats.mask_files import TIFF_ENDINGS
from ray_audit.formats.volumes.dicom_volume import pydicom
from ray_audit.formats.volumes.nifti_volume import nibabel
from ray_audit.formats.volumes.nrrd_volume import pynrrd
from ray_audit.formats.volumes.volume_files import ENDINGS
from ray_audit.formats.volumes.volume_slices import Slices, num_lost
from ray_audit.sample_ids import Owner
from ray_audit.samples import Shard


class VolumeFiles(Format):
    """A volume a file, each slice along one axis a sample."""

    kind = "images"
    is_volume = True

    def check(self, shard: Shard, labels: LabelsConfig) -> None:
        """Refuse labels that are no volumes; say what to install."""
        masks = str(labels.masks).lower()
        endings = (*ENDINGS, *TIFF_ENDINGS, *((".dcm",) if self.name == "DICOM" else ()))
        if labels.has_mask_table:
            return
        if labels.form != "masks" or not masks.endswith(endings):
            given = f"labels.{labels.form}" + (f" {labels.masks}" if labels.masks else "")
            raise SpecificationError(
                f"{given} does not go with {shard.key}: slices of volumes have masks; give "
                "labels.masks, a template of label volumes such as labels/{stem}.nii.gz "
                f"({', '.join(endings)})"
            )
        if masks.endswith((".nii", ".nii.gz")):
            nibabel()
        if masks.endswith((".nrrd", ".nhdr")):
            pynrrd()

    def read(self, shards: tuple[Shard, ...], job: UnitContext) -> Iterator[Item]:
        """Slices in order; a volume that cannot be read is a failure of all its slices."""
        for shard in shards:
            sizes: list[int] = []  # numbers of slices, by the headers that were read
            try:
                slices = Slices(shard, job, sizes)
            except Exception as error:
                num = num_lost(shard, job, sizes)
                job.tally.fail(shard.key, error, stage="read", num_samples=num)
                continue
            with slices:
                for index in range(slices.num_slices):
                    yield _item(shard, slices, index)


def _item(shard: Shard, slices: Slices, index: int) -> Item:
    name = Owner(shard.key).frame(index)
    if slices.masks is None:
        return Item(name, shard.key)
    try:
        image, mask = slices.pixels(index)[:, :, None], slices.masks.mask(index)
    except Exception as error:  # of this slice alone
        return Item(name, shard.key, mask_uri=shard.label_uri, error=error)
    return Item(name, shard.key, image=image, mask=mask, mask_uri=shard.label_uri)


class NiftiFiles(VolumeFiles):
    """NIfTI, 1 and 2, compressed or not."""

    name: ClassVar[str] = "NIfTI"
    extensions: ClassVar[tuple[str, ...]] = ("nii", "nii.gz")

    def check(self, shard: Shard, labels: LabelsConfig) -> None:
        """See `VolumeFiles.check`."""
        nibabel()
        super().check(shard, labels)


class MetaImageFiles(VolumeFiles):
    """MetaImage: one file, or a header with its values beside it."""

    name: ClassVar[str] = "MetaImage"
    extensions: ClassVar[tuple[str, ...]] = ("mha", "mhd")


class NrrdFiles(VolumeFiles):
    """NRRD: one file, or a header with its values beside it."""

    name: ClassVar[str] = "NRRD"
    extensions: ClassVar[tuple[str, ...]] = ("nrrd", "nhdr")

    def check(self, shard: Shard, labels: LabelsConfig) -> None:
        """See `VolumeFiles.check`."""
        pynrrd()
        super().check(shard, labels)


class PagedFiles(VolumeFiles):
    """TIFF and GIF of several pages, where the dataset has `volume`: a page a slice."""

    name: ClassVar[str] = "pages"


class DicomFiles(VolumeFiles):
    """DICOM: a folder of slices is one volume, and so is a file of several frames."""

    name: ClassVar[str] = "DICOM"
    extensions: ClassVar[tuple[str, ...]] = ("dcm",)

    def check(self, shard: Shard, labels: LabelsConfig) -> None:
        """See `VolumeFiles.check`."""
        pydicom()
        super().check(shard, labels)
