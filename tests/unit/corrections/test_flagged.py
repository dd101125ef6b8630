import numpy as np
import pyarrow as pa
import pytest

from ray_audit.corrections.flagged import below_one, is_flagged
from ray_audit.scores.ranking import RankHistogram


def flags(values, num):
    column = pa.chunked_array([pa.array(values, pa.float64(), from_pandas=True)])
    histogram = RankHistogram.empty().observe(below_one(column))
    return is_flagged(column, histogram, num).tolist()


@pytest.mark.parametrize("num", range(6))
def test_the_most_suspicious_are_flagged(num):
    values = np.array([0.5, 0.999, 0.1, 1.0, 0.75])
    assert flags(values, num) == (values >= np.sort(values)[::-1][:num].min(initial=2)).tolist()


def test_equal_ones_that_do_not_all_fit_and_unknown_ones_are_left_out():
    values = [0.9, 0.5, 0.5, np.nan, 0.1]
    assert flags(values, 1) == [True, False, False, False, False]
    assert flags(values, 2) == [True, False, False, False, False]
    assert flags(values, 3) == [True, True, True, False, False]
    assert flags(values, 5) == [True, True, True, False, True]


def test_parts_are_judged_by_the_whole():
    values = np.random.default_rng(0).permutation(np.linspace(0, 1, 101))
    whole = RankHistogram.empty().observe(values - 1)
    parts = [pa.chunked_array([part]) for part in np.array_split(values, 3)]
    found = np.concatenate([is_flagged(part, whole, 10) for part in parts])
    assert found.sum() == 10
    assert values[found].min() == pytest.approx(0.91)
