"""CAMUS and SegTHOR, tiny in their published layouts: run, report, correct and export."""

import numpy as np
import pytest

import ray_audit
from tests.support.audits import assert_counts_add_up, audit
from tests.support.small_sets import SmallSet
from tests.support.tables import rows_of
from tests.support.volumes import VALUES, read_volume, save_volume, sees_grey, slices_first


def camus(folder):
    """Frames from the end of diastole to that of systole, and their masks beside them."""
    root = folder / "database_nifti"
    for index, patient in enumerate(("patient0001", "patient0002")):
        stem = root / patient / f"{patient}_2CH_half_sequence"
        seen = (VALUES[slices_first(index)] + 1000) // 8
        save_volume(stem.with_name(f"{stem.name}.nii.gz"), seen.astype(np.uint8))
        labels = slices_first(index, (1,) if index == 0 else ()).astype(np.uint8)
        save_volume(stem.with_name(f"{stem.name}_gt.nii.gz"), labels)
    dataset = {
        "uri": str(root / "*/*_half_sequence.nii.gz"),
        "labels": {"masks": str(root / "{path}_gt.nii.gz")},
        "volume": {},
    }
    return dataset, "patient0001/patient0001_2CH_half_sequence", "_gt.nii.gz"


def segthor(folder):
    """CT in Hounsfield units, and a label volume of one name in each folder."""
    for index, patient in enumerate(("Patient_01", "Patient_02")):
        root = folder / "train" / patient
        save_volume(root / f"{patient}.nii.gz", VALUES[slices_first(index)])
        labels = slices_first(index, (1,) if index == 0 else ()).astype(np.uint8)
        save_volume(root / "GT.nii.gz", labels)
    dataset = {
        "uri": str(folder / "train/*/Patient_*.nii.gz"),
        "labels": {"masks": str(folder / "train/{folder}/GT.nii.gz")},
        "volume": {"window": [-1000, 1000]},
    }
    return dataset, "Patient_01/Patient_01", "GT.nii.gz"


@pytest.mark.parametrize("layout", [camus, segthor])
def test_a_published_set_goes_from_its_files_to_corrected_ones(tmp_path, layout):
    dataset, wrong, label_name = layout(tmp_path)
    small = SmallSet(tmp_path, {"kind": "images", "void": [255], **dataset}, "PixelModel")
    outcome = audit(sees_grey(small, sure=60.0))
    assert_counts_add_up(outcome)
    assert (outcome.counts["scored"], outcome.counts["failed"]) == (10, 0)
    (finding,) = [f for f in rows_of(outcome, "findings").to_pylist() if f["given"] != "void"]
    assert (finding["sample_id"], finding["start_frame"]) == (f"{wrong}.nii.gz#1", 1)
    run = ray_audit.open_run(str(small.out))
    assert run.report(tmp_path / "report.html", local=True).num_bundles > 0
    assert run.export("csv", tmp_path / "exported").num_findings >= 1
    done = run.correct(tmp_path / "to", local=True)
    assert done.outcomes["changed"] == 1
    copies = sorted((tmp_path / "to/labels").rglob(f"*{label_name}"))
    assert len(copies) == 2
    for index, path in enumerate(copies):
        np.testing.assert_array_equal(read_volume(path), slices_first(index, ()))
