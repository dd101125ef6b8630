import numpy as np
import pytest

from ray_audit import rle
from ray_audit.evaluation.region_detection import (
    ALL_KINDS,
    PlantedRegion,
    ProposedRegion,
    average_precision,
    components_of,
    evaluate_regions,
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
    assert (nothing.average_precision, nothing.precision, nothing.recall) == (0.0, 0.0, 0.0)
    right = overall(evaluate_regions([proposed(0.9, 0, 0, 5, 5)], []))
    assert np.isnan([right.average_precision, right.recall]).all()


def test_average_precision_over_distinct_scores():
    values = average_precision(np.array([True, False]), np.array([1.0, 1.0]), 1)
    assert values == 0.5


def test_components_touch_along_an_edge_and_are_not_tiny():
    mask = np.zeros(SIZE, bool)
    mask[:5, :5] = mask[5:10, 5:10] = mask[30, 30] = True
    assert [rle.area(runs) for runs in components_of(mask)] == [25, 25]
