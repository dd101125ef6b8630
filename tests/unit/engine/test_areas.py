"""Areas that seem wrong from cuts to their table, without Ray."""

import numpy as np
import pytest

from ray_audit import rle
from ray_audit.config import TileConfig
from ray_audit.engine.reduce.area_table import areas_table
from ray_audit.samples import IGNORE
from tests.support.audited_masks import audited, picture


def two_pictures():
    """A block seen as two other classes that crosses tiles, a thin strip, and unlabelled pixels."""
    given = np.zeros((60, 70), int)
    given[:, 50:] = 1
    shown = given.copy()
    shown[20:33, 10:37] = 2
    shown[33:45, 10:37] = 1
    shown[:, 49:50] = 1
    given[3:15, 3:40] = IGNORE
    right = np.full((60, 70), 1)
    return [picture("p0", given, shown), picture("p1", right, right)]


def rows(samples, suspicion=(0.8, 0.1)):
    finite = np.ones(len(suspicion), bool)
    return areas_table(samples, np.array(suspicion), finite, {}).to_pylist()


def test_an_area_holds_all_classes_and_thin_strips_and_is_ranked_by_doubt_and_size(tmp_path):
    found = rows(audited(tmp_path, two_pictures()))
    assert [(item["sample_id"], item["area"], item["num_px"]) for item in found] == [
        ("p0", 0, 25 * 27),
        ("p0", 1, 60),
    ]
    p = float(1.0 / (np.exp(4.0) + 3))
    block, strip = found
    assert block["p_given"] == pytest.approx(p, rel=1e-5)
    assert block["loss"] == pytest.approx(-np.log(p), rel=1e-5)
    for item in found:
        share = item["num_px"] / (60 * 70)
        assert item["suspicion"] == pytest.approx(0.8 * (1 - p) * share / (share + 0.01), rel=1e-5)
    expected = np.zeros((60, 70), bool)
    expected[20:45, 10:37] = True
    assert np.array_equal(rle.decode(block["mask_rle"], (60, 70)), expected)
    assert strip["box"] == [49, 0, 50, 60]


@pytest.mark.parametrize(("size", "overlap"), [(16, 0), (24, 8), (33, 5)])
def test_areas_of_tiles_are_those_of_the_whole_image(tmp_path, size, overlap):
    whole = rows(audited(tmp_path, two_pictures()))
    tiled = rows(audited(tmp_path, two_pictures(), tile=TileConfig(size=size, overlap=overlap)))
    assert [first["mask_rle"] for first in tiled] == [first["mask_rle"] for first in whole]
    for first, other in zip(tiled, whole, strict=True):
        for name in ("suspicion", "loss", "p_given"):
            assert first[name] == pytest.approx(other[name], rel=1e-5)


def test_a_sample_that_is_not_scored_has_no_areas_and_an_unknown_suspicion_is_least(tmp_path):
    samples = audited(tmp_path, two_pictures())
    assert areas_table(samples, np.ones(2), np.array([False, True]), {}).num_rows == 0
    assert [row["suspicion"] for row in rows(samples, (np.nan, 0.5))] == [0.0, 0.0]
