import numpy as np
import pytest

from ray_audit.scores.components import _by_class, _by_runs, connected_components


def by_runs(labels):
    is_start = np.ones(labels.shape, bool)
    is_start[:, 1:] = labels[:, 1:] != labels[:, :-1]
    return _by_runs(labels, is_start)


@pytest.mark.parametrize("dtype", [np.int8, np.int16])
@pytest.mark.parametrize("block", [1, 2, 5])
def test_both_ways_give_the_same_numbers(block, dtype):
    rng = np.random.default_rng(block)
    coarse = rng.integers(-1, 4, (13, 17)).astype(dtype)
    labels = coarse.repeat(block, 0).repeat(block, 1)
    expected = _by_class(labels)
    np.testing.assert_array_equal(by_runs(labels), expected)
    np.testing.assert_array_equal(connected_components(labels), expected)
    assert by_runs(labels).dtype == expected.dtype == np.int32


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (1, 1), (1, 40), (40, 1)])
@pytest.mark.parametrize("value", [-1, 0, 3])
def test_masks_of_one_value(shape, value):
    components = connected_components(np.full(shape, value, np.int16))
    assert components.shape == shape
    assert (components == min(value, 0)).all()


def test_a_spiral_is_one_component_and_its_gap_another():
    labels = np.zeros((9, 40), np.int8)
    labels[1, 1:39] = labels[1:8, 38] = labels[7, 3:39] = labels[3:8, 3] = labels[3, 3:30] = 1
    assert connected_components(labels).max() == 1
    np.testing.assert_array_equal(by_runs(labels), _by_class(labels))
