"""Label volumes that are damaged or do not fit: counted and told by plan, run and correct."""

import gzip

import nibabel as nib
import numpy as np
import pytest

import ray_audit
from tests.support.audits import assert_counts_add_up, audit
from tests.support.corrected import corrected, rows_at
from tests.support.tables import rows_of
from tests.support.volumes import NUM_SLICES, save_volume, seen_volumes, slices_first


def cut_off(path):
    content = path.read_bytes()
    is_packed = path.suffix == ".gz"
    content = gzip.compress(gzip.decompress(content)[:-40]) if is_packed else content[:-40]
    path.write_bytes(content)


def broken_off(path):
    path.write_bytes(path.read_bytes()[:-40])


def empty(path):
    path.write_bytes(b"")


def of_other_shape(path):
    save_volume(path, slices_first(1)[:, :-1].astype(np.uint8))


def of_fractions(path):
    values = slices_first(1).transpose(2, 1, 0).astype(np.float32) + 0.5
    nib.save(nib.Nifti1Image(values, nib.load(path).affine), path)


CASES = [
    (".nii.gz", cut_off),
    (".nii.gz", broken_off),
    (".nii.gz", of_other_shape),
    (".nii.gz", of_fractions),
    (".mha", cut_off),
    (".mha", empty),
    (".mha", of_other_shape),
]


@pytest.mark.parametrize(("suffix", "damage"), CASES)
def test_a_damaged_label_volume_costs_its_own_slices_and_is_told(tmp_path, suffix, damage):
    small = seen_volumes(tmp_path, ".nii.gz", suffix, num=3, wrong=((), (1,), ()))
    small.values["failures"] = {"max_fraction": 1.0}
    damaged = tmp_path / f"data/labels/v0{suffix}"
    damage(damaged)
    (note,) = [
        note for note in ray_audit.plan(small.config(), local=True).seen.notes if "failed" in note
    ]
    assert note.startswith(f"{NUM_SLICES} samples failed, such as v0.nii.gz")
    assert "(its label, " in note
    outcome = audit(small)
    assert_counts_add_up(outcome)
    assert (outcome.counts["scored"], outcome.counts["failed"]) == (2 * NUM_SLICES, NUM_SLICES)
    errors = rows_of(outcome, "errors").to_pylist()
    assert {(row["shard"], row["stage"]) for row in errors} == {("v0.nii.gz", "labels")}
    done = corrected(small)
    assert [row["sample_id"] for row in rows_at(done) if row["outcome"] == "changed"] == [
        "v1.nii.gz#1"
    ]
    copies = {path.name: path for path in (tmp_path / "to/labels").iterdir()}
    assert {f"v1{suffix}", f"v2{suffix}"} <= set(copies)
    if damaged.name in copies:  # it is read slice by slice, and kept as it was
        assert copies[damaged.name].read_bytes() == damaged.read_bytes()
    else:
        (row,) = [row for row in rows_at(done) if row["sample_id"] == "v0.nii.gz"]
        assert row["evidence"].startswith("left out of the copy: its masks cannot be read")
