"""Hand-made masks and what is seen of them: which findings come of it."""

import numpy as np
import pyarrow as pa
import pytest

from ray_audit import rle
from ray_audit.engine.reduce.region_table import regions_table
from ray_audit.findings.finding import findings_table
from ray_audit.findings.region_findings import MaskContext, region_findings
from ray_audit.samples import IGNORE
from tests.support.audited_masks import CLASSES, audited, picture

SIZE = (60, 80)
CONTEXT = MaskContext(CLASSES, np.array([0.9, 0.6, np.nan, 0.3]))


@pytest.fixture
def found(tmp_path):
    def find(given, shown, suspicion=0.8, context=CONTEXT, **table):
        samples = audited(tmp_path, [picture("p", given, shown)])
        scores = pa.table({"sample_id": ["p"], "suspicion": [suspicion]})
        regions = regions_table(samples, {})
        for name, value in table.items():
            index = regions.schema.get_field_index(name)
            column = pa.array([value] * regions.num_rows, regions.schema.field(name).type)
            regions = regions.set_column(index, regions.schema.field(name), column)
        return region_findings(regions, scores, context)

    return find


def ground():
    return np.zeros(SIZE, int)


def with_block(mask, label, y=slice(20, 40), x=slice(30, 50)):
    changed = mask.copy()
    changed[y, x] = label
    return changed


def pixels(finding):
    return rle.decode(finding.mask_rle, SIZE)


def test_a_mask_that_is_seen_as_given_has_no_finding(found):
    mask = with_block(ground(), 1)
    assert found(mask, mask) == []


def test_a_region_of_a_wrong_class_is_a_mislabel(found):
    given = with_block(ground(), 1)
    shown = with_block(ground(), 2)
    (result,) = found(given, shown)
    assert (result.kind, result.given, result.suggested) == ("mislabel", "b", "c")
    assert (result.box, result.num_px, result.mask_size_px) == ((30, 20, 50, 40), 400, SIZE)
    assert np.array_equal(pixels(result), given == 1)
    assert (result.sample_id, result.shard, result.evidence) == ("p", "p", ("p",))
    assert result.anchor == "30,20"
    assert result.start_frame is None
    assert result.reason == (
        "100% of a b region, 400 px (8.3% of the image), is seen as c: mean p 0.95 against 0.02, "
        "loss 4.05 nat"
    )


def test_a_class_that_the_mask_lacks_is_a_missing_region(found):
    (result,) = found(ground(), with_block(ground(), 2))
    assert (result.kind, result.given, result.suggested) == ("missing_region", "a", "c")
    assert np.array_equal(pixels(result), with_block(ground(), 2) == 2)
    assert "c is seen on 400 px (8.3% of the image) given a" in result.reason


def test_an_unlabelled_region_with_a_class_is_a_missing_region(found):
    (result,) = found(with_block(ground(), IGNORE), with_block(ground(), 2), suspicion=0.1)
    assert (result.kind, result.given, result.suggested) == ("missing_region", "void", "c")
    assert (result.loss, result.p_given, result.num_px) == (None, None, 400)
    assert "400 px (8.3% of the image) without a label" in result.reason
    # The image's own suspicion does not see unlabelled pixels.
    assert result.suspicion > 0.4


def test_two_classes_exchanged_are_one_finding(found):
    shown = with_block(with_block(ground(), 1, x=slice(5, 30)), 2, x=slice(50, 70))
    given = np.choose(shown, [0, 2, 1, 3])
    (result,) = found(given, shown)
    assert (result.kind, result.given, result.suggested) == ("swapped_classes", "b", "c")
    assert np.array_equal(pixels(result), shown > 0)
    assert "b is seen as c and c as b, together 900 px" in result.reason


GROWN = {"y": slice(15, 45), "x": slice(25, 55)}


@pytest.mark.parametrize(
    ("given", "shown", "how", "lacking", "wrong"),
    [
        (with_block(ground(), 1), with_block(ground(), 1, **GROWN), "is too small", 500, 0),
        (with_block(ground(), 1, **GROWN), with_block(ground(), 1), "is too large", 0, 500),
        (
            with_block(ground(), 1),
            with_block(ground(), 1, x=slice(36, 56)),
            "is moved",
            120,
            120,
        ),
        (
            with_block(ground(), 1, x=slice(20, 40)),
            with_block(ground(), 1, x=slice(45, 65)),
            "is moved",
            400,
            400,
        ),
    ],
)
def test_an_outline_drawn_wrongly_is_one_finding(found, given, shown, how, lacking, wrong):
    (result,) = found(given, shown)
    assert result.kind == "shifted_boundary"
    assert {result.given, result.suggested} == {"a", "b"}
    assert np.array_equal(pixels(result), given != shown)
    assert f"the outline of b {how}" in result.reason
    assert f"{lacking} px lack it and {wrong} px have it wrongly" in result.reason


def test_several_missing_regions_of_a_component_are_told_apart_by_their_class(found):
    shown = with_block(with_block(ground(), 1, x=slice(5, 30)), 2, x=slice(50, 70))
    shown = with_block(shown, 2, y=slice(45, 55), x=slice(50, 70))
    findings = found(ground(), shown)
    assert sorted((f.suggested, f.num_px, f.anchor) for f in findings) == [
        ("b", 500, "0,0 1"),
        ("c", 600, "0,0"),
    ]
    assert len({f.finding_id for f in findings}) == 2


def test_every_pixel_is_in_at_most_one_finding(found):
    shown = with_block(with_block(ground(), 1, x=slice(5, 30)), 2, x=slice(50, 70))
    given = np.choose(shown, [0, 2, 1, 3])
    shown = with_block(shown, 3, y=slice(45, 58), x=slice(40, 60))
    findings = found(given, shown)
    assert {f.kind for f in findings} == {"swapped_classes", "missing_region"}
    assert sum(pixels(f).astype(int) for f in findings).max() == 1


def test_small_strips_are_no_finding(found):
    given = with_block(ground(), 1)
    assert found(given, with_block(ground(), 1, x=slice(30, 51))) == []


@pytest.mark.parametrize(
    ("p_suggested", "p_given", "num"), [(0.6, 0.1, 1), (0.4, 0.0, 0), (0.6, 0.5, 0)]
)
def test_the_suggested_class_must_be_clearly_more_likely(found, p_suggested, p_given, num):
    shown = with_block(ground(), 2)
    assert len(found(ground(), shown, p_suggested=p_suggested, p_given=p_given)) == num


def test_a_class_that_is_never_sure_needs_less(found):
    for label, num in ((3, 1), (1, 0)):
        findings = found(ground(), with_block(ground(), label), p_suggested=0.4, p_given=0.1)
        assert len(findings) == num


def test_suspicion_rises_with_the_image_the_gap_and_the_size(found):
    def suspicion(shown, **values):
        (result,) = found(ground(), shown, **values)
        assert 0 <= result.suspicion <= 1
        return result.suspicion

    small = with_block(ground(), 2, x=slice(30, 35))
    large = with_block(ground(), 2)
    assert suspicion(large) > suspicion(small)
    assert suspicion(large) > suspicion(large, suspicion=0.3)
    assert suspicion(large) > suspicion(large, p_suggested=0.7)
    assert suspicion(large, suspicion=None) == 0


def test_findings_make_a_table(found):
    table = findings_table(found(ground(), with_block(ground(), 2)), {})
    (row,) = table.to_pylist()
    assert (row["kind"], row["box"], row["mask_size_px"]) == (
        "missing_region",
        [30, 20, 50, 40],
        list(SIZE),
    )
