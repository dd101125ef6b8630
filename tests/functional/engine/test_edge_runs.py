"""Datasets at the edge, through the whole engine in one process."""

import numpy as np
import pytest
from PIL import Image

from ray_audit.engine.run.audit import run_audit
from ray_audit.tables.manifest import Manifest
from tests.support import small_sets


def audited(small, **changes):
    outcome = run_audit(small.config(**changes), local=True)
    manifest = Manifest.read(outcome.run_uri)
    return manifest, manifest.table(outcome.run_uri, "scores").to_pandas()


def notes_of(manifest):
    return " ".join(manifest.notes)


@pytest.mark.parametrize("make", [small_sets.masked_images, small_sets.labelled_videos])
def test_one_checkpoint_leaves_columns_null_and_says_why(tmp_path, make):
    small = make(tmp_path)
    only = str(next(small.folder.glob("checkpoints/*")))
    manifest, scores = audited(small, checkpoints=[only])
    assert scores["csl"].notna().all()
    for name in ("vog", "vog_z", "late_loss", "loss_std", "variability"):
        assert scores[name].isna().all()
    assert "vog and vog_z are null" in notes_of(manifest)
    assert "there is 1 checkpoint" in notes_of(manifest)


def test_one_class_suggests_nothing(tmp_path):
    small = small_sets.of_one_class(tmp_path)
    manifest, scores = audited(small)
    assert manifest.findings["total"] == 0
    assert scores["suggested"].isna().all()
    assert "one class" in notes_of(manifest)


def test_a_class_that_nobody_has_is_no_obstacle(tmp_path):
    small = small_sets.class_folders(tmp_path)
    for path in small.folder.glob("data/b/*.png"):
        path.unlink()
    manifest, scores = audited(small)
    assert set(scores["label_name"]) == {"a", "c"}
    assert scores["suspicion"].between(0, 1).all()
    assert manifest.estimate["num_wrong"] >= 0


def test_masks_without_a_label_are_filtered_and_nothing_is_left_to_judge(tmp_path):
    small = small_sets.masked_images(tmp_path)
    for path in small.folder.glob("data/masks/*.png"):
        Image.fromarray(np.full((16, 16), 255, np.uint8)).save(path)
    manifest, scores = audited(small)
    assert (len(scores), manifest.counts["filtered_by_reason"]) == (0, {"void": 6})
    assert manifest.findings["total"] == 0
    assert manifest.memorisation == {}


def test_a_video_of_one_frame_is_scored(tmp_path):
    small = small_sets.labelled_videos(tmp_path, num=2, num_frames=1)
    manifest, scores = audited(small)
    assert len(scores) == 2
    assert scores["csl_segment"].notna().all()
    assert manifest.counts["failed"] == 0


def test_features_that_are_certain_give_finite_scores(tmp_path):
    small = small_sets.feature_sequences(tmp_path)
    with np.load(tmp_path / "data/sequences.npz") as contents:
        arrays = dict(contents)
    for name, values in arrays.items():
        if not name.endswith("_label"):
            arrays[name] = values * 1e4  # probabilities of exactly 0 and 1
    np.savez(tmp_path / "data/sequences.npz", **arrays)
    _, scores = audited(small)
    assert np.isfinite(scores[["csl", "aum", "prob_margin", "suspicion"]]).all().all()
    assert set(scores["confidence"].round(6)) <= {0.0, 0.333333, 0.666667, 1.0}
