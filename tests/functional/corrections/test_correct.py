"""Audits of small sets with planted errors, corrected; the models know the truth."""

import numpy as np
import pytest
from PIL import Image

from ray_audit.config import AuditConfig
from ray_audit.engine.run.audit import run_audit
from ray_audit.tables.run_tables import RunTables
from tests.support import knowing
from tests.support.audits import audit
from tests.support.corrected import (
    REST_P,
    SURE_P,
    corrected,
    decided,
    findings_of,
    labels_at,
    labels_of,
    masks_at,
    rows_at,
)
from tests.support.knowing import SURE, UNSURE
from tests.support.label_sets import files_of


@pytest.mark.parametrize("form", ["images", "folder", "parquet", "tar"])
def test_images_with_a_wrong_label_get_the_right_one(tmp_path, form):
    small, true, _ = knowing.images(tmp_path, form)
    originals = files_of(tmp_path / "data")
    done = corrected(small)
    after = labels_at(done)
    if form == "folder":
        assert {key.rsplit("/", 1)[1]: k for key, k in after.items()} == {
            f"i{index}.png": k for index, k in enumerate(true)
        }
    else:
        before = labels_of(small)
        wrong = {key for key in before if before[key] != after[key]}
        assert len(wrong) == 2
        assert after.keys() == before.keys()
        assert sorted(after.values()) == sorted(true)
        assert wrong == {row["sample_id"] for row in rows_at(done)}
    assert files_of(tmp_path / "data") == originals
    assert (done.num_changed, done.outcomes) == (2, {"changed": 2})
    assert {(p["given"], p["corrected"]) for p in done.pairs} == {("b", "a"), ("a", "c")}
    # p(given) = 1 / (e^6 + 2), p(new) = e^6 / (e^6 + 2)
    assert done.num_harmed == pytest.approx(2 / (np.exp(SURE) + 1), rel=1e-3)


@pytest.mark.parametrize(
    ("form", "tile"), [("files", None), ("files", 16), ("parquet", None), ("tar", None)]
)
def test_missing_regions_are_drawn_into_masks_of_any_container(tmp_path, form, tile):
    small = knowing.masks(tmp_path, form, tile=tile)
    originals = files_of(tmp_path / "data")
    done = corrected(small)
    assert files_of(tmp_path / "data") == originals
    masks = masks_at(done, form)
    assert len(masks) == 6
    for index, mask in enumerate(masks):
        np.testing.assert_array_equal(mask, knowing.given_mask(index, wrong=()), err_msg=str(index))
    missing = [int((knowing.true_mask(index) == 1).sum()) for index in (1, 4)]
    assert done.pairs == [{"given": "a", "corrected": "b", "num": sum(missing)}]
    changed = [row for row in rows_at(done) if row["outcome"] == "changed"]
    assert [row["num_changed"] for row in changed] == missing
    assert all(row["finding_id"] and row["p_corrected"] > 0.99 for row in changed)
    assert done.checkpoints == ("epoch_2.safetensors",)  # the later half of three


@pytest.mark.parametrize(
    "form", ["frames.csv", "frames.parquet", "segments.csv", "segments.json", "npz"]
)
def test_whole_segments_get_the_right_class(tmp_path, form):
    small = knowing.videos(tmp_path, form)
    originals = files_of(tmp_path / "data")
    before = labels_of(small)
    done = corrected(small)
    after = labels_at(done)
    assert after.keys() == before.keys()
    for key, label in after.items():
        assert label == knowing.TRUE_FRAMES[int(key.rpartition("#")[2])]
    assert files_of(tmp_path / "data") == originals
    assert done.pairs == [{"given": "c", "corrected": "a", "num": 8}]
    (row,) = rows_at(done)
    assert (row["start_frame"], row["end_frame"], row["num_changed"]) == (0, 8, 8)


def test_frames_between_sampled_ones_change_with_them(tmp_path):
    small = knowing.videos(tmp_path, every=3)
    done = corrected(small)
    assert set(labels_at(done).values()) == {0, 1, 2}
    assert done.pairs == [{"given": "c", "corrected": "a", "num": 8}]


@pytest.mark.parametrize("rule", ["findings", "flagged", "decisions"])
def test_of_thinned_out_frames_a_wrong_segment_changes_from_its_start_to_its_end(tmp_path, rule):
    # Of the last segment, frames 16 to 23, only 18 and 21 are looked at.
    small = knowing.videos(tmp_path, "segments.csv", segment=2, every=3)
    before = labels_of(small)
    (finding,) = findings_of(small)
    assert (finding["start_frame"], finding["end_frame"]) == (18, 22)
    more = {"findings": {}, "flagged": {"flagged_fraction": 0.07}}
    accepted = {"decisions": [decided(finding)]}
    done = corrected(small, rule=rule, **more.get(rule, accepted))
    after = labels_at(done)
    assert after.keys() == before.keys()
    for key, label in after.items():
        assert label == knowing.TRUE_FRAMES[int(key.rpartition("#")[2])]
    assert done.pairs == [{"given": "a", "corrected": "c", "num": 8}]


def test_the_new_labels_can_be_audited_with_no_change_but_their_path(tmp_path):
    small, *_ = knowing.images(tmp_path)
    done = corrected(small)
    outcome = run_audit(AuditConfig.load(done.spec), local=True)
    assert outcome.manifest.findings["total"] == 0
    old, new = small.config(), AuditConfig.load(done.spec)
    moved = {"uri": old.dataset.uri, "labels": old.dataset.labels}
    assert new.dataset.model_copy(update=moved) == old.dataset
    assert (new.model, new.checkpoints) == (old.model, old.checkpoints)


@pytest.mark.parametrize("make", [lambda f: knowing.images(f)[0], knowing.masks, knowing.videos])
def test_a_dry_run_counts_the_same_and_writes_nothing(tmp_path, make):
    small = make(tmp_path)
    audit(small)
    before = files_of(tmp_path)
    dry = corrected(small, dry_run=True)
    assert files_of(tmp_path) == before
    done = corrected(small)
    assert dry.spec is None
    assert dry.table is None
    for name in ("num_changed", "pairs", "num_harmed", "outcomes"):
        assert getattr(dry, name) == getattr(done, name)
    assert done.num_changed > 0


@pytest.mark.parametrize("make", [lambda f: knowing.images(f, wrong=())[0], knowing.masks])
def test_a_run_without_findings_writes_an_unchanged_copy(tmp_path, make):
    small = make(tmp_path)
    findings = findings_of(small)
    done = corrected(small, rule="decisions")
    assert done.num_changed == 0
    assert done.outcomes == {}
    if not findings:
        assert done.notes == ("The run has no findings",)
        copy, original = small.folder / "to/labels/labels.csv", small.folder / "labels.csv"
        assert copy.read_bytes() == original.read_bytes()
    else:
        copies = files_of(small.folder / "to/labels")
        assert copies == {k.split("/")[-1]: v for k, v in files_of(tmp_path / "data/masks").items()}


def test_two_exchanged_classes_are_exchanged_back(tmp_path):
    small = knowing.masks(tmp_path, wrong=(), num=3)
    path = tmp_path / "data/masks/i1.png"
    mask = knowing.given_mask(1, ())
    knowing.save(np.array([0, 2, 1, *[255] * 253], np.uint8)[mask], path)
    (finding,) = [row for row in findings_of(small) if row["kind"] == "swapped_classes"]
    done = corrected(small, rule="decisions", decisions=[decided(finding)])
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "to/labels/i1.png")), mask)
    other = corrected(
        small, "other", rule="decisions", decisions=[decided(finding, "relabel", "a")]
    )
    after = np.asarray(Image.open(tmp_path / "other/labels/i1.png"))
    # Only what has the given class becomes the third one.
    np.testing.assert_array_equal(after, np.array([0, 2, 0, *[255] * 253], np.uint8)[mask])
    assert done.num_changed == finding["num_px"] > other.num_changed


def test_masks_with_hostile_names(tmp_path):
    small = knowing.masks(tmp_path)
    names = {0: "=cmd|' C calc'!A0", 1: "a b%20c;d", 4: "é#1 $(x)"}
    for index, name in names.items():
        for folder in ("images", "masks"):
            path = tmp_path / f"data/{folder}/i{index}.png"
            path.rename(path.with_name(f"{name}.png"))
    done = corrected(small)
    assert done.num_changed == 180
    for index in (1, 4):
        after = Image.open(tmp_path / f"to/labels/{names[index]}.png")
        np.testing.assert_array_equal(np.asarray(after), knowing.given_mask(index, ()))


def test_unsure_checkpoints_change_nothing(tmp_path):
    small, *_ = knowing.images(tmp_path, sureness=(UNSURE,) * 3)
    assert findings_of(small)
    # e / (e + 1) = 0.73
    assert corrected(small).outcomes.keys() == {"kept"}
    assert corrected(small, "lower", confidence=0.7).num_changed == 2


def test_flagged_images_without_findings_to_them(tmp_path):
    small, true, _ = knowing.images(tmp_path)
    done = corrected(small, rule="flagged", flagged_fraction=2 / 12)
    assert sorted(labels_at(done).values()) == sorted(true)
    assert {row["rule"] for row in rows_at(done)} == {"flagged"}
    assert all(row["finding_id"] is None for row in rows_at(done))
    assert corrected(small, "none", rule="flagged", flagged_fraction=0.0).outcomes == {}


def test_flagged_frames(tmp_path):
    small = knowing.videos(tmp_path)
    done = corrected(small, rule="flagged", flagged_fraction=8 / 96)
    assert done.pairs == [{"given": "c", "corrected": "a", "num": 8}]


def test_memorised_labels_give_way_to_the_best_other_class(tmp_path):
    # A green image is called c. Two checkpoints see green as b, the last one has learnt c.
    learnt = SURE * np.array([[1, 0, 0], [0, 0, 0], [0, 1, 1]])
    small, true, _ = knowing.images(tmp_path, wrong=(1,), num=24, sureness=(SURE, SURE, learnt))
    audit(small)
    done = corrected(small)
    assert RunTables.open(str(small.out)).manifest.memorisation["verdict"] == "early"
    assert done.memorised
    assert "have learnt" in done.notes[0]
    assert sorted(labels_at(done).values()) == sorted(true)
    p_b, p_c = (2 * SURE_P + REST_P) / 3, (2 * REST_P + SURE_P) / 3
    assert p_b / (p_b + p_c) < 0.8  # against the given class it would not do
    (row,) = rows_at(done)
    # p(suggested) leaves out the checkpoint at which b is not the best other class.
    assert row["confidence"] == pytest.approx(p_b / (1 - p_c), abs=2e-3)


def test_a_class_that_was_never_learnt_keeps_its_labels(tmp_path):
    # The model sees everything green (b) as red (a), and is sure of it.
    blind = SURE * np.array([[1, 1, 0], [0, 0, 0], [0, 0, 1]])
    small, _, given = knowing.images(tmp_path, num=24, wrong=(), sureness=(blind,) * 3)
    done = corrected(small)
    assert sorted(labels_at(done).values()) == sorted(given)
    assert done.notes[0].startswith("Never learnt")
    assert done.outcomes["kept"] > 0
