import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from ray_audit.scores.void import MAX_COMPONENTS, void_components, void_evidence


def test_components_are_numbered_by_size_and_small_ones_left_out():
    labels = np.zeros((30, 40), int)
    labels[1:5, 1:5] = -1  # 16 px
    labels[10:15, 10:15] = -1  # 25 px
    labels[20:23, 20:25] = -1  # 15 px
    labels[15, 15] = -1  # touches the second at a corner only
    result = void_components(labels)
    assert result.dtype == np.uint8
    assert (result[1:5, 1:5] == 2).all()
    assert (result[10:15, 10:15] == 1).all()
    assert result.sum() == 25 + 2 * 16


@given(st.integers(0, 10**6))
def test_the_largest_components_are_kept(seed):
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(-1, 2, (9, 9)), np.ones((4, 4), int))
    numbered, num = ndimage.label(labels == -1)
    sizes = sorted((int((numbered == n + 1).sum()) for n in range(num)), reverse=True)
    result = void_components(labels)
    kept = [int((result == n + 1).sum()) for n in range(result.max(initial=0))]
    assert kept == sizes[:MAX_COMPONENTS]
    assert not (result[labels >= 0]).any()


@pytest.mark.parametrize("labels", [np.zeros((5, 5), int), np.full((1, 1), -1)])
def test_without_a_sizeable_component_there_is_none(labels):
    assert not void_components(labels).any()


def test_a_mask_without_labels_is_one_component():
    assert (void_components(np.full((6, 6), -1)) == 1).all()


@pytest.mark.parametrize(
    ("classes", "p", "expected"),
    [
        ([0, 1, 1, 1], [0.9, 0.9, 0.6, 0.8], (1, 0.6)),
        ([1, 1, 0, 1], [0.9, 0.9, 0.6, 0.8], (1, 0.0)),
        ([0, 1, 1], [0.5, 0.6, 0.7], (1, 0.7)),  # early: the first two of three
        ([2], [0.4], (2, 0.4)),
    ],
)
def test_evidence_is_the_least_of_the_later_half(classes, p, expected):
    seen, evidence = void_evidence(np.array([classes]), np.array([p]))
    assert (int(seen[0]), float(evidence[0])) == expected


def test_no_components_have_no_evidence():
    assert [len(item) for item in void_evidence(np.zeros((0, 3), int), np.zeros((0, 3)))] == [0, 0]
