"""Regions, unlabelled components and VoG by class from cuts to tables, without Ray."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ray_audit import rle
from ray_audit.config import AuditConfig, TileConfig
from ray_audit.engine.ledger.record_sets import RecordSet
from ray_audit.engine.reduce.region_table import regions_table
from ray_audit.engine.reduce.unit_scores import unit_scores
from ray_audit.samples import IGNORE
from tests.support.audited_masks import CLASSES, REQUIRED, SCALE, SURE, audited, picture

CONFIG = AuditConfig.parse(
    {
        "dataset": {
            "kind": "images",
            "uri": "x/*.png",
            "labels": {"masks": "m/{stem}.png"},
            "classes": CLASSES,
        },
        "model": {"factory": "x:y"},
        "checkpoints": "c/*.safetensors",
        "output": "out",
    }
)


def two_pictures():
    """A square of c that crosses tiles, a strip, and unlabelled blocks with and without a class."""
    given = np.zeros((60, 70), int)
    given[:, 50:] = 1
    shown = given.copy()
    shown[20:45, 10:37] = 2
    shown[:, 46:50] = 1
    given[3:15, 3:40] = IGNORE
    shown[3:15, 3:40] = 2
    second = np.full((60, 70), 1)
    second[40:, :40] = IGNORE
    mixed = np.tile([0, 1, 2, 0, 1, 2, 0], (60, 10))
    return [
        picture("p0", given, shown),
        picture("p1", second, np.where(second == IGNORE, mixed, 1)),
    ]


def rows(samples):
    return regions_table(samples, {}).to_pylist()


def test_regions_are_described_in_pixels_of_the_image(tmp_path):
    found = rows(audited(tmp_path, two_pictures()))
    assert [(r["sample_id"], r["region"], r["given"], r["suggested"]) for r in found] == [
        ("p0", 0, 0, 2),
        ("p0", 1, -1, 2),
        ("p0", 2, 0, 1),
    ]
    square, void, strip = found
    assert (square["box"], square["num_px"]) == ([10, 20, 37, 45], 25 * 27)
    assert (square["component"], square["component_px"]) == ("0,0", 60 * 50 - 12 * 37)
    assert square["contact_px"] == 0
    p = np.exp([4.0, 0.0]) / (np.exp(4) + 3)
    assert [square["p_suggested"], square["p_given"]] == pytest.approx(p, rel=1e-5)
    assert square["loss"] == pytest.approx(-np.log(p[1]), rel=1e-5)
    assert (strip["box"], strip["num_px"]) == ([46, 0, 50, 60], 240)
    assert (strip["outline_px"], strip["contact_px"]) == (120, 60)
    assert (void["box"], void["num_px"], void["component"]) == ([3, 3, 40, 15], 12 * 37, "3,3")
    assert void["p_suggested"] == pytest.approx(p[0], rel=1e-5)
    assert [void[name] for name in ("loss", "p_given", "contact_px")] == [None] * 3
    expected = np.zeros((60, 70), bool)
    expected[20:45, 10:37] = True
    assert np.array_equal(rle.decode(square["mask_rle"], (60, 70)), expected)


@pytest.mark.parametrize(("size", "overlap"), [(16, 0), (24, 8), (33, 5)])
def test_regions_of_tiles_are_those_of_the_whole_image(tmp_path, size, overlap):
    whole = rows(audited(tmp_path, two_pictures()))
    samples = audited(tmp_path, two_pictures(), tile=TileConfig(size=size, overlap=overlap))
    tiled = rows(samples)
    assert len(tiled) == len(whole)
    for first, other in zip(tiled, whole, strict=True):
        for name in set(first) - {"outline_px", "contact_px"}:
            if other["given"] == -1 and name != "suggested":
                continue  # a tile without a label is never looked at
            is_float = isinstance(other[name], float)
            expected = pytest.approx(other[name], rel=1e-5) if is_float else other[name]
            assert first[name] == expected, name
    square = tiled[0]
    assert square["outline_px"] == pytest.approx(whole[0]["outline_px"], rel=0.3)


@pytest.mark.parametrize("tile", [None, TileConfig(size=32, overlap=4)])
def test_unlabelled_regions_with_one_class_have_evidence(tmp_path, tile):
    samples = audited(tmp_path, two_pictures(), tile=tile)
    scores = unit_scores(samples, CONFIG)
    p = float(np.exp(3) / (np.exp(3) + 3))
    assert scores["void_evidence"][0] == pytest.approx(p, rel=1e-5)
    # A mixture of classes: each has a third or so of the probability.
    assert scores["void_evidence"][1] < 0.5
    labelled = [picture("p2", np.zeros((20, 20), int), np.zeros((20, 20), int))]
    assert np.isnan(unit_scores(audited(tmp_path, labelled), CONFIG)["void_evidence"]).all()


def test_one_more_checkpoint_gives_the_numbers_of_a_run_over_all(tmp_path):
    once = audited(tmp_path, two_pictures())
    later = audited(tmp_path, two_pictures(), sets=((0, 1, 2), (3,)))
    assert rows(later) == rows(once)
    for first, other in zip(later.values["voids"], once.values["voids"], strict=True):
        assert np.array_equal(first.top_p, other.top_p)
        assert np.array_equal(first.top_class, other.top_class)


@pytest.mark.parametrize("tile", [None, TileConfig(size=32, overlap=0)])
def test_vog_by_class_is_the_mean_over_the_pixels_of_each_class(tmp_path, tile):
    pictures = two_pictures()
    samples = audited(tmp_path, pictures, tile=tile)
    for index, item in enumerate(pictures):
        labelled = item.targets != IGNORE
        maps = []
        for logit in SURE:
            p = np.exp(logit * np.array(SCALE) * item.pixels / 255.0)
            p /= p.sum(-1, keepdims=True)
            error = p - np.eye(4)[item.targets.clip(0)]
            # d loss / d input of a diagonal model, of the mean over the labelled pixels.
            gradient = logit * (np.array(SCALE) * error).mean(-1)
            maps.append(gradient / labelled.sum() * labelled)
        std = np.std(maps, axis=0)
        for label in range(4):
            here = item.targets == label
            result = samples.values["vog_by_class"][index, label]
            if not here.any():
                assert np.isnan(result)
            else:
                assert result == pytest.approx(std[here].mean(), rel=1e-3)
                assert result > 1e-7


def test_vog_by_class_is_a_column_of_lists_with_nulls(tmp_path):
    column = unit_scores(audited(tmp_path, two_pictures()), CONFIG)["vog_by_class"]
    assert np.isnan(column).tolist() == [[False, False, True, True], [True, False, True, True]]


def test_a_failed_sample_has_no_regions(tmp_path):
    samples = audited(tmp_path, two_pictures())
    samples.values["loss"][0, 1] = np.nan
    assert {row["sample_id"] for row in rows(samples)} <= {"p1"}


def test_sets_without_the_last_checkpoint_hold_no_regions():
    assert REQUIRED.set_for((0, 1)) == RecordSet(("d0", "d1"), None, None)


def test_structures_dropped_to_void_are_told_from_unlabelled_clutter(tmp_path):
    rng = np.random.default_rng(0)
    pictures = []
    for index in range(12):
        shown = rng.integers(0, 4, (32, 32))
        top, left = rng.integers(0, 16, 2)
        block = np.s_[top : top + 16, left : left + 16]
        is_drop = index % 2 == 0
        given = shown.copy()
        given[block] = IGNORE
        if is_drop:
            shown[block] = np.where(rng.random(shown[block].shape) < 0.8, 2, shown[block])
        pictures.append(picture(f"p{index:02d}", given, shown))
    samples = audited(tmp_path, pictures)
    evidence = unit_scores(samples, CONFIG)["void_evidence"]
    assert roc_auc_score(np.arange(12) % 2 == 0, evidence) == 1
    found = [row["sample_id"] for row in rows(samples) if row["given"] == -1]
    assert found == [f"p{index:02d}" for index in range(0, 12, 2)]
