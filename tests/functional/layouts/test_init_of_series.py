"""DICOM series beside label volumes: `init` pairs folders and volumes by what they are called."""

import nibabel as nib
import numpy as np
import pytest
from pydicom.uid import generate_uid

import ray_audit
from ray_audit.formats.accounting import UnitAccounting
from ray_audit.formats.volumes.volume_files import open_volume
from tests.support.drafts import drafted, same
from tests.unit.formats.test_dicom import HU, LABELS, write_slice


def build(root, folder, label, num):
    """Series whose files are in no order, and their labels as NIfTI has them."""
    expected = {}
    for at in range(num):
        place = root / folder.format(f"p{at}")
        uid = generate_uid()
        for number, k in enumerate((2, 0, 3, 1)):
            write_slice(place / f"z{number}.dcm", HU[k], 2.0 * k, SeriesInstanceUID=uid)
        labels = np.roll(LABELS, at)
        affine = open_volume(f"{place}/*.dcm", None, UnitAccounting("t")).header.affine
        path = root / label.format(f"p{at}")
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(labels.transpose(2, 1, 0), affine[:, [2, 1, 0, 3]]), path)
        key = folder.format(f"p{at}") if folder.count("/") > 1 else f"p{at}"
        expected |= {f"{key.removeprefix('data/')}.dcm#{k}": labels[k] for k in range(4)}
    return expected


@pytest.mark.parametrize("num", [1, 3])
@pytest.mark.parametrize(
    ("folder", "label"),
    [("scans/{}", "seg/{}.nii.gz"), ("{}", "{}/mask.nii.gz"), ("scans/{}", "seg/{}-label.nii")],
)
def test_a_folder_is_paired_with_the_volume_that_has_its_name(tmp_path, folder, label, num):
    expected = build(tmp_path, folder, label, num)
    same(drafted(tmp_path), expected)
    draft = ray_audit.init(tmp_path)
    assert draft.what == "DICOM series beside label volumes"
    assert any("volume.window" in question for question in draft.asked)


def test_the_name_may_be_that_of_a_folder_further_up(tmp_path):
    expected = build(tmp_path, "data/{}/ct/series", "labels/{}.nii.gz", 3)
    same(drafted(tmp_path), expected)
