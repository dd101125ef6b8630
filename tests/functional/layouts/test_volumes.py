"""A local audit of two tiny volumes, from NIfTI files to tables."""

import nibabel as nib
import numpy as np

from tests.support.audits import assert_counts_add_up, audit
from tests.support.small_sets import SmallSet
from tests.support.tables import rows_of

SHAPE = (8, 10, 3)


def two_volumes(folder):
    rng = np.random.default_rng(0)
    for name in ("lung_001", "lung_002"):
        for part, values in (
            ("imagesTr", rng.integers(-1024, 1500, SHAPE).astype(np.int16)),
            ("labelsTr", rng.integers(0, 3, SHAPE).astype(np.uint8)),
        ):
            path = folder / f"data/{part}/{name}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(values, np.eye(4)), path)
    dataset = {
        "kind": "images",
        "uri": str(folder / "data/imagesTr/*.nii.gz"),
        "labels": {"masks": str(folder / "data/labelsTr/{stem}.nii.gz")},
        "volume": {"axis": 2, "window": [-160, 240]},
    }
    return SmallSet(folder, dataset, "PixelModel")


def test_two_volumes_are_audited_slice_by_slice(tmp_path):
    outcome = audit(two_volumes(tmp_path))
    assert_counts_add_up(outcome)
    rows = rows_of(outcome, "scores").to_pylist()
    names = [f"lung_00{v}.nii.gz#{k}" for v in (1, 2) for k in range(3)]
    assert sorted(row["sample_id"] for row in rows) == names
    assert {row["num_labelled_px"] for row in rows} == {80}
    assert outcome.counts["failed"] == 0


def test_a_damaged_volume_fails_with_all_its_slices_and_another_window_is_another_record(tmp_path):
    small = two_volumes(tmp_path)
    first = audit(small)
    path = tmp_path / "data/imagesTr/lung_002.nii.gz"
    small.values["dataset"]["volume"]["window"] = [-1000, 1000]
    second = audit(small)
    losses = [rows_of(item, "scores")["final_loss"].to_pylist() for item in (first, second)]
    assert losses[0] != losses[1]
    path.write_bytes(path.read_bytes()[:-40])
    third = audit(small, failures={"max_fraction": 1.0})
    assert_counts_add_up(third)
    assert (third.counts["scored"], third.counts["failed"]) == (3, 3)
