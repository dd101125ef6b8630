"""Audits of volumes with wrong slices: corrected labels lie in the container that they came in."""

import numpy as np
import pytest

from ray_audit.config import AuditConfig
from ray_audit.engine.backends.local import LocalBackend
from ray_audit.formats.accounting import UnitAccounting
from ray_audit.formats.volumes.volume_files import open_volume
from ray_audit.report.write_report import write_report
from ray_audit.tables.run_tables import RunTables
from tests.support.audits import assert_counts_add_up, audit
from tests.support.corrected import corrected, rows_at
from tests.support.label_sets import files_of
from tests.support.tables import rows_of
from tests.support.volumes import inflated, seen_volumes, slices_first


def labels_in(path):
    """(z, y, x), as stored."""
    with open_volume(str(path), None, UnitAccounting("test")) as volume:
        values = volume.stored()
        return values.transpose(2, 1, 0) if volume.header.axis == 2 else np.array(values)


@pytest.mark.parametrize(
    ("suffix", "label_suffix"),
    [
        (".nii.gz", ".nii.gz"),
        (".nii", ".mha"),
        (".mha", ".nii.gz"),
        (".mhd", ".mhd"),
        (".mha", ".tif"),
    ],
)
def test_missing_regions_are_drawn_into_label_volumes(tmp_path, suffix, label_suffix):
    small = seen_volumes(tmp_path, suffix, label_suffix)
    originals = files_of(tmp_path / "data")
    done = corrected(small)
    assert files_of(tmp_path / "data") == originals
    changed = [row["sample_id"] for row in rows_at(done) if row["outcome"] == "changed"]
    assert changed == [f"v0{suffix}#1"]
    for index in range(2):
        copy = tmp_path / f"to/labels/v{index}{label_suffix}"
        before = tmp_path / f"data/labels/v{index}{label_suffix}"
        np.testing.assert_array_equal(labels_in(copy), slices_first(index, ()))
        old, new = inflated(before), inflated(copy)
        if index == 1:
            assert copy.read_bytes() == before.read_bytes()
        elif label_suffix == ".tif":
            assert np.array_equal(labels_in(before), slices_first(0, (1,)))
        elif label_suffix != ".mhd":
            num_wrong = int((slices_first(0, ()) != slices_first(0, (1,))).sum())
            assert len(old) == len(new)
            assert sum(a != b for a, b in zip(old, new, strict=True)) == num_wrong
        else:
            assert old == new  # the header; the values are in the file beside it
    again = audit(_again(small, done))
    assert again.counts["scored"] == 10
    assert not [f for f in rows_of(again, "findings").to_pylist() if f["given"] != "void"]


def _again(small, done):
    small.values["dataset"] = AuditConfig.load(done.spec).dataset.model_dump(exclude_none=True)
    small.values["output"] = str(small.folder / "again")
    return small


def test_slices_have_their_index_and_are_drawn_along_the_axis(tmp_path):
    small = seen_volumes(tmp_path)
    outcome = audit(small)
    assert_counts_add_up(outcome)
    rows = rows_of(outcome, "scores").to_pylist()
    assert [(r["sample_id"], r["frame_index"]) for r in rows] == [
        (f"v{v}.nii.gz#{k}", k) for v in range(2) for k in range(5)
    ]
    (finding,) = [f for f in rows_of(outcome, "findings").to_pylist() if f["given"] != "void"]
    assert (finding["sample_id"], finding["start_frame"]) == ("v0.nii.gz#1", 1)
    tables = RunTables.open(str(small.out))
    done = write_report(tables, LocalBackend(), str(tmp_path / "report.html"))
    assert done.num_bundles > 0
    assert not [note for note in done.notes if "cannot" in note]
