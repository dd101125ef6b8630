"""Sets that say next to nothing: each score is null or right, none infinite or by file order."""

import json
import math

import numpy as np
import pytest
from PIL import Image

from ray_audit.engine.run.audit import run_audit
from tests.support import knowing, poor_sets, small_sets
from tests.support.echoes import echoes, logits, repeated
from tests.support.tables import rows_of

TABLES = ("scores", "trajectories", "findings", "class_stats", "class_pairs")


def audited(config):
    found = run_audit(config, local=True, logical_date="2026-01-31")
    assert_finite(found)
    return found


def assert_finite(found):
    """No number of any table or of the manifest is infinite or NaN."""
    json.loads(json.dumps(found.manifest.__dict__, default=vars, allow_nan=False))
    for name in TABLES:
        table = rows_of(found, name)
        for column in table.column_names:
            for value in table[column].to_pylist():
                for item in value if isinstance(value, list) else [value]:
                    assert not isinstance(item, float) or math.isfinite(item), (name, column, item)


def random_sequence(num, num_classes, seed=0):
    true = np.random.default_rng(seed).integers(0, num_classes, num)
    return true, logits(true, num_classes, seed=seed)


@pytest.mark.parametrize("protocol", ["training", "held_out"])
@pytest.mark.parametrize(
    ("lengths", "num_classes", "scales"),
    [
        pytest.param([12, 9], 1, (0.5, 1.0), id="one class"),
        pytest.param([30], 3, (0.5, 1.0), id="one video"),
        pytest.param([2], 2, (0.5, 1.0), id="two samples"),
        pytest.param([1], 2, (0.5, 1.0), id="one sample"),
        pytest.param([1, 1, 1], 3, (0.5, 1.0), id="one frame a video"),
        pytest.param([20, 20], 3, (1.0, 1.0, 1.0), id="equal checkpoints"),
        pytest.param([20, 20], 3, (1.0,), id="one checkpoint"),
    ],
)
def test_sequences(tmp_path, protocol, lengths, num_classes, scales):
    pairs = [random_sequence(num, num_classes, seed) for seed, num in enumerate(lengths)]
    given, seen = zip(*pairs, strict=True)
    scores = ["csl", "vog"]
    found = audited(
        echoes(tmp_path, given, seen, num_classes, scales, protocol=protocol, scores=scores)
    )
    assert found.counts["scored"] == sum(lengths)
    assert not found.manifest.order["used"]
    table = rows_of(found, "scores")
    if len(scales) == 1:
        assert table["vog"].null_count == table["late_loss"].null_count == table.num_rows
        assert any("there is 1 checkpoint" in note for note in found.manifest.notes)
    if num_classes == 1:
        assert table["suggested"].null_count == table["aum"].null_count == table.num_rows
        assert rows_of(found, "findings").num_rows == 0
        assert found.manifest.top == []


def test_a_class_with_one_sample(tmp_path):
    true = repeated([0, 1, 2], [20, 20, 1])
    found = audited(echoes(tmp_path, [true], [logits(true, 3)], 3, scores=["csl", "vog"]))
    lone = rows_of(found, "scores").to_pylist()[-1]
    assert lone["vog"] is not None
    assert lone["vog_z"] is None


@pytest.mark.parametrize("make", [small_sets.class_folders, small_sets.masked_images])
def test_equal_images_tie(make, tmp_path):
    small = make(tmp_path)
    for path in (tmp_path / "data").rglob("*.png"):
        pixels = np.full((16, 16), 1) if path.parent.name == "masks" else np.full((16, 16, 3), 90)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    if make is small_sets.class_folders:
        small.values["dataset"]["classes"] = ["a", "b", "c"]
        for name in ("b", "c"):
            for path in (tmp_path / "data" / name).iterdir():
                path.unlink()
    found = audited(small.config())
    table = rows_of(found, "scores")
    assert len(set(table["suspicion"].to_pylist())) == 1
    assert found.manifest.top == []
    assert any("all samples tie" in note for note in found.manifest.notes)
    assert len({row["rank"] for row in rows_of(found, "findings").to_pylist()}) <= 1


@pytest.mark.parametrize("num", [1, 2])
@pytest.mark.parametrize("make", [small_sets.class_folders, small_sets.masked_images])
def test_one_or_two_images(make, num, tmp_path):
    small = make(tmp_path, num)
    found = audited(small.config(scores=["csl", "vog"]))
    assert found.counts["scored"] == (3 * num if make is small_sets.class_folders else num)


@pytest.mark.parametrize("confident", ["histogram", "exact"])
@pytest.mark.parametrize("tile", [None, 16])
def test_masks_of_which_checkpoints_know_nothing_tie(tmp_path, tile, confident):
    # All classes tie in each pixel: neither the order of classes nor areas may rank the masks.
    small = knowing.masks(tmp_path, num=4, sureness=(0.0,) * 2, tile=tile)
    found = audited(small.config(confident=confident))
    assert len(set(rows_of(found, "scores")["suspicion"].to_pylist())) == 1
    assert rows_of(found, "scores")["clc"].to_pylist() == [1.0] * 4
    assert found.manifest.estimate["fraction"] == 0
    assert found.manifest.top == []
    assert any("all samples tie" in note for note in found.manifest.notes)
    assert rows_of(found, "findings").num_rows == rows_of(found, "areas").num_rows == 0


PICTURED = ["clips", "masks of frames", "masks of images", "masks of tiled images"]


def suspicions(found):
    return [row["suspicion"] for row in in_sample_order(found)]


def in_sample_order(found):
    return sorted(rows_of(found, "scores").to_pylist(), key=lambda row: row["sample_id"])


@pytest.mark.parametrize("kind", PICTURED)
def test_pictures_of_one_class_tie_and_none_is_estimated_wrong(kind, tmp_path):
    small = poor_sets.MAKE[kind](tmp_path, [0] * 3, [0] * 3, num_classes=1)
    found = audited(small.config(scores=["csl", "vog", "softmin"]))
    assert suspicions(found) == pytest.approx([0.5] * 3)
    assert found.manifest.top == []
    assert found.manifest.estimate.get("num_wrong", 0) == 0
    assert any("there is one class" in note for note in found.manifest.notes)
    table = rows_of(found, "scores")
    assert all(table[name].null_count == len(table) for name in ("aum", "prob_margin"))


@pytest.mark.parametrize("kind", PICTURED)
def test_of_two_pictures_the_contradicted_one_comes_first(kind, tmp_path):
    small = poor_sets.MAKE[kind](tmp_path, [0, 0], [0, 1], sureness=(6.0,))
    found = audited(small.config(scores=["csl", "vog", "softmin"]))
    first, other = in_sample_order(found)
    assert first["suspicion"] < other["suspicion"]
    assert other["late_loss"] is first["vog"] is None
    assert any("there is 1 checkpoint" in note for note in found.manifest.notes)


@pytest.mark.parametrize("kind", poor_sets.MAKE)
@pytest.mark.parametrize("is_turned", [False, True])
def test_right_samples_tie_beside_a_wrong_one_wherever_it_stands(kind, is_turned, tmp_path):
    true, given = [0, 1, 2, 0, 1, 2, 0], [0, 1, 2, 0, 1, 2, 1]
    if is_turned:
        true, given = true[::-1], given[::-1]
    small = poor_sets.MAKE[kind](tmp_path, true, given, sureness=(6.0,) * 2)
    by_truth = {}
    for value, *pair in zip(suspicions(audited(small.config())), true, given, strict=True):
        by_truth.setdefault(tuple(pair), set()).add(value)
    wrong, right = by_truth.pop((0, 1)), set.union(*by_truth.values())
    assert len(wrong) == 1
    assert max(right) < min(wrong)
    assert all(len(values) == 1 for values in by_truth.values())
    if kind != "features":  # a segment is long or short, and its neighbours right or wrong
        assert len(right) == 1


@pytest.mark.parametrize("kind", poor_sets.MAKE)
def test_an_estimate_says_what_it_leaves_out_where_a_class_labels_nothing(kind, tmp_path):
    small = poor_sets.MAKE[kind](tmp_path, [0, 0, 1, 2], [0] * 4)
    found = audited(small.config(failures={"max_fraction": 1.0}))
    assert found.manifest.estimate["num_wrong"] == 0
    (note,) = [note for note in found.manifest.notes if "the estimate of wrong labels" in note]
    num = 2 * 24 * 24 if kind.startswith("masks") else 2
    assert f"leaves out {num} {found.manifest.estimate['unit']}" in note
    assert "'b', 'c'" in note
