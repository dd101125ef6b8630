import numpy as np
import pyarrow as pa
import pytest

from ray_audit import rle
from ray_audit.evaluation.region_detection import (
    ALL_KINDS,
    PlantedRegion,
    ProposedRegion,
    average_precision,
    components_of,
    evaluate_regions,
    planted_of,
)

SIZE = (40, 40)


def overall(rows):
    first = rows[0]
    assert first.kind == first.size == ALL_KINDS
    return first


def box(x0, y0, x1, y1):
    mask = np.zeros(SIZE, bool)
    mask[y0:y1, x0:x1] = True
    return rle.runs_of(mask)


def planted(*boxes, kind="drop", sample="a"):
    return [PlantedRegion(sample, kind, SIZE, box(*item)) for item in boxes]


def proposed(suspicion, *corners, sample="a"):
    return ProposedRegion(sample, suspicion, box(*corners))


def test_a_proposal_finds_the_component_of_its_image_that_it_overlaps():
    wrong = planted((0, 0, 10, 10), (20, 20, 30, 30))
    found = overall(
        evaluate_regions(
            [
                proposed(0.9, 1, 1, 11, 11),
                proposed(0.8, 20, 20, 30, 30, sample="b"),
                proposed(0.7, 22, 20, 30, 30),
            ],
            wrong,
        )
    )
    assert (found.num_errors, found.num_found, found.num_proposals) == (2, 2, 3)
    assert found.average_precision == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert (found.precision, found.recall, found.f1) == (0.5, 0.5, 0.5)


def test_a_component_is_found_once_and_the_rest_are_false_alarms():
    found = overall(
        evaluate_regions(
            [proposed(0.9, 0, 0, 10, 10), proposed(0.8, 0, 0, 10, 9)], planted((0, 0, 10, 10))
        )
    )
    assert (found.num_found, found.num_proposals, found.average_precision) == (1, 2, 1.0)


def test_of_proposals_that_tie_one_finds_a_component():
    wrong = planted((0, 0, 10, 10))
    row = overall(evaluate_regions([proposed(0.9, 0, 0, 10, 9), proposed(0.9, 0, 0, 10, 8)], wrong))
    assert (row.num_found, row.average_precision) == (1, 0.5)


def test_too_little_overlap_finds_nothing():
    found = overall(evaluate_regions([proposed(0.9, 8, 0, 18, 10)], planted((0, 0, 10, 10))))
    assert (found.num_found, found.average_precision, found.f1) == (0, 0.0, 0.0)


def test_the_order_of_ties_changes_nothing():
    wrong = planted((0, 0, 10, 10), (20, 20, 30, 30))
    tied = [
        proposed(0.5, 0, 0, 10, 10),
        proposed(0.5, 0, 0, 10, 8),
        proposed(0.5, 20, 20, 30, 30),
        proposed(0.5, 31, 31, 39, 39),
    ]
    assert evaluate_regions(tied, wrong) == evaluate_regions(tied[::-1], wrong)


def test_what_finds_another_kind_is_no_false_alarm_of_this_one():
    wrong = planted((0, 0, 10, 10), kind="drop") + planted((20, 20, 23, 22), kind="shift")
    rows = evaluate_regions([proposed(0.9, 0, 0, 10, 10), proposed(0.8, 20, 20, 23, 22)], wrong)
    by_kind = {row.kind: row for row in rows if row.size == "all"}
    assert by_kind["shift"].num_proposals == 1
    assert by_kind["shift"].average_precision == 1.0
    assert {row.size: row.num_errors for row in rows if row.size != "all"} == {
        "small": 1,
        "large": 1,
    }


def test_nothing_proposed_or_nothing_wrong_is_no_error():
    nothing = overall(evaluate_regions([], planted((0, 0, 10, 10))))
    assert (nothing.average_precision, nothing.recall, nothing.f1) == (0.0, 0.0, 0.0)
    assert np.isnan(nothing.precision)  # of no proposals no share is right
    right = overall(evaluate_regions([proposed(0.9, 0, 0, 5, 5)], []))
    numbers = (right.average_precision, right.precision, right.recall, right.f1)
    assert np.isnan(numbers).all()
    assert right.num_proposals == 1


def test_f1_is_the_harmonic_mean_of_precision_and_recall():
    wrong = planted((0, 0, 10, 10), (20, 20, 30, 30), (0, 20, 10, 30))
    proposals = [proposed(0.9, 0, 0, 10, 10), proposed(0.8, 33, 0, 39, 6)]
    row = overall(evaluate_regions(proposals, wrong))
    assert (row.precision, row.recall) == (pytest.approx(1 / 2), pytest.approx(1 / 3))
    assert row.f1 == pytest.approx(2 / (2 + 3))


def test_average_precision_over_distinct_scores():
    values = average_precision(np.array([True, False]), np.array([1.0, 1.0]), 1)
    assert values == 0.5


def test_components_touch_along_an_edge_and_are_not_tiny():
    mask = np.zeros(SIZE, bool)
    mask[:5, :5] = mask[5:10, 5:10] = mask[30, 30] = True
    assert [rle.area(runs) for runs in components_of(mask)] == [25, 25]


@pytest.mark.parametrize(
    "wrong",
    [
        {"mask_size_px": None},
        {"mask_size_px": [40]},
        {"mask_size_px": [40, 0]},
        {"mask_rle": None},
        {"mask_rle": "not a mask"},
        {"sample_id": None},
    ],
)
def test_planted_regions_that_are_none_are_named_by_their_row(wrong):
    row = {"sample_id": "a", "kind": "drop", "mask_size_px": [40, 40]}
    row["mask_rle"] = rle.encode(np.eye(40, dtype=bool))
    columns = {name: [row[name], (row | wrong)[name]] for name in row}
    assert len(planted_of(pa.table(columns).slice(0, 1))) == 1
    with pytest.raises(ValueError, match="row 2"):
        planted_of(pa.table(columns))


def test_a_table_that_holds_no_planted_regions_says_which_columns_are_missing():
    with pytest.raises(ValueError, match="no column kind, mask_rle, mask_size_px"):
        planted_of(pa.table({"sample_id": ["a"]}))
