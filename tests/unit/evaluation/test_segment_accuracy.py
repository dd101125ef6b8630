import numpy as np
import pytest

from ray_audit.errors import SpecificationError
from ray_audit.evaluation.segment_accuracy import GAMMAS, eda, segments_of


def test_segments_end_with_the_label_or_the_video():
    videos = ["a", "a", "a", "b", "b", "b"]
    labels = np.array([0, 0, 1, 1, 0, 0])
    assert segments_of(videos, labels).tolist() == [0, 0, 1, 2, 3, 3]
    assert segments_of([], np.array([])).tolist() == []


def test_hand_computed_sweep():
    # Mean 2, std 2: the thresholds are 0, 2, 4 and 6; the wrong segment's highest frame is 6.
    scores = np.array([1.0, 1.0, 6.0, 1.0, 1.0])
    segments = np.array([0, 0, 1, 1, 2])
    errors = np.array([False, False, False, True, False])
    found = eda(scores, errors, segments, gammas=(-1, 0, 1, 2))
    assert found.by_gamma == pytest.approx((1 / 3, 1, 1, 2 / 3))
    assert (found.mean, found.best) == pytest.approx((0.75, 1))
    assert (found.all_normal, found.all_error) == pytest.approx((2 / 3, 1 / 3))
    assert (found.num_segments, found.num_errors) == (3, 1)


def test_one_frame_above_calls_the_whole_segment():
    scores = np.array([0.0, 0.0, 0.0, 9.0, 0.0, 0.0])
    errors = np.array([False] * 6)
    found = eda(scores, errors, np.array([0, 0, 1, 1, 1, 1]), gammas=(0,))
    assert found.by_gamma == (0.5,)


def test_threshold_comes_from_the_reference_where_there_is_one():
    scores, errors = np.array([5.0, 6.0]), np.array([False, True])
    segments = np.array([0, 1])
    reference = np.array([5.0, 5.0, np.nan])
    assert eda(scores, errors, segments, reference=reference, gammas=(0,)).mean == 1
    assert eda(scores, errors, segments, reference=np.array([0.0]), gammas=(0,)).mean == 0.5


def test_frames_without_a_score_are_never_above():
    scores = np.array([np.nan, np.nan, 1.0, 2.0])
    found = eda(scores, np.array([False] * 4), np.array([0, 0, 1, 1]), gammas=(-2, 0))
    assert found.by_gamma == (0.5, 0.5)


def test_the_sweep_is_that_of_the_paper():
    assert len(GAMMAS) == 41
    assert (GAMMAS[0], GAMMAS[20], GAMMAS[40]) == (-2.0, 0.0, 2.0)


def test_wrong_shapes_and_no_scores_are_refused():
    with pytest.raises(SpecificationError, match="three arrays of one length"):
        eda(np.ones(3), np.ones(2, dtype=bool), np.zeros(3, dtype=int))
    with pytest.raises(SpecificationError, match="no frame has a score"):
        eda(np.array([np.nan]), np.array([True]), np.array([0]))
