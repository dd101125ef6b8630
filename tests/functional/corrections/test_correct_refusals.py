"""What a correction refuses, before any work or for one label."""

import pyarrow.parquet as pq
import pytest

from ray_audit.engine.run.audit import run_audit
from ray_audit.errors import CheckpointError, SpecificationError
from tests.support import knowing
from tests.support.audits import audit
from tests.support.corrected import corrected, labels_at, labels_of, masks_at
from tests.support.label_sets import files_of
from tests.support.small_sets import class_folders, mask, masked_images, picture


def test_what_is_refused_before_any_work(tmp_path):
    small = knowing.masks(tmp_path)
    audit(small)
    before = files_of(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/a.txt").write_text("mine")
    with pytest.raises(SpecificationError, match="is not empty"):
        corrected(small, "full")
    with pytest.raises(SpecificationError, match="needs --flagged-fraction"):
        corrected(small, rule="flagged")
    with pytest.raises(SpecificationError, match=r"onset is not to be trusted .*3 epochs known"):
        corrected(small, rule="adele")
    with pytest.raises(SpecificationError, match="--class zebra"):
        corrected(small, rule="adele", classes=("zebra",))
    with pytest.raises(SpecificationError, match="--kind zebra: expected some of mislabel"):
        corrected(small, kinds=("zebra",))
    with pytest.raises(SpecificationError, match="--confidence 2"):
        corrected(small, confidence=2.0)
    (tmp_path / "checkpoints/epoch_2.safetensors").rename(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match=r"epoch_2.*deleted since the run"):
        corrected(small)
    (tmp_path / "elsewhere").rename(tmp_path / "checkpoints/epoch_2.safetensors")
    (tmp_path / "full/a.txt").unlink()
    assert files_of(tmp_path) == before


def test_another_checkpoint_under_the_same_name_is_refused(tmp_path):
    small = knowing.masks(tmp_path)
    audit(small)
    knowing.knows(small, 1.0, 1.0, 1.0)
    with pytest.raises(CheckpointError, match="not the one that was audited"):
        corrected(small)


@pytest.mark.parametrize("form", ["images", "parquet"])
def test_labels_that_changed_since_the_run_are_refused(tmp_path, form):
    small, *_ = knowing.images(tmp_path, form)
    audit(small)
    if form == "images":
        path = tmp_path / "labels.csv"
        path.write_text(path.read_text().replace(",b\n", ",c\n", 1).replace(",b\r\n", ",c\r\n", 1))
    else:
        table = pq.read_table(tmp_path / "data/p.parquet")
        pq.write_table(table.slice(0, 11), tmp_path / "data/p.parquet")
    with pytest.raises(SpecificationError, match="labels have changed since run"):
        corrected(small)


def test_a_correction_that_changes_too_much_of_a_mask_is_refused_for_that_mask(tmp_path):
    small = knowing.masks(tmp_path)
    done = corrected(small, max_changed_fraction=0.1)
    assert done.num_changed == 0
    assert done.outcomes["refused"] == 2
    assert "more than 10%" in done.named["refused"][0]
    assert masks_at(done, "files")[1].tolist() == knowing.given_mask(1, (1,)).tolist()
    assert corrected(small, "all", max_changed_fraction=None).num_changed == 180


def test_many_changed_images_are_refused_at_once(tmp_path):
    small, *_ = knowing.images(tmp_path, wrong=range(8))
    with pytest.raises(SpecificationError, match="8 of 12 labels would change"):
        corrected(small)
    assert not (tmp_path / "to").exists()
    assert corrected(small, max_changed_fraction=None).num_changed == 8


def test_a_limited_run_corrects_what_it_saw(tmp_path):
    small, *_ = knowing.images(tmp_path)
    run_audit(small.config(), local=True, limit=6)
    done = corrected(small)
    assert done.num_changed == 1


@pytest.mark.parametrize("make", [class_folders, masked_images, knowing.masks])
def test_a_correction_by_a_limited_run_keeps_the_labels_of_all_files(tmp_path, make):
    small = make(tmp_path)
    run_audit(small.config(), local=True, limit=2)
    given = labels_of(small)
    done = corrected(small, rule="decisions")
    assert len(labels_at(done)) == len(given)
    assert any("audited the first 2 of" in note for note in done.notes)
    assert corrected(small, "dry", rule="decisions", dry_run=True).notes == done.notes


def test_files_that_came_after_a_run_are_kept_by_its_correction(tmp_path):
    small = class_folders(tmp_path)
    audit(small)
    picture(tmp_path / "data/c/9.png", seed=9)
    done = corrected(small, rule="decisions")
    assert len(labels_at(done)) == 13
    assert any("audited the first 12 of 13 files" in note for note in done.notes)


def test_labels_that_changed_since_a_limited_run_are_refused(tmp_path):
    small = masked_images(tmp_path)
    run_audit(small.config(), local=True, limit=2)
    mask(tmp_path / "data/masks/i5.png", seed=9)  # not audited
    assert corrected(small, rule="decisions", dry_run=True)
    mask(tmp_path / "data/masks/i1.png", seed=9)
    with pytest.raises(SpecificationError, match="labels have changed since run"):
        corrected(small)
