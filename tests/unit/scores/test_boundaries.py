from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from ray_audit.scores.boundaries import boundary_shift
from ray_audit.scores.csl import csl, segment_mean

K = 3


def observed(labels, p):
    """p_label, p_other and other of (T, E, K) probabilities."""
    rows = np.arange(len(labels))
    rest = p.copy()
    rest[rows, :, labels] = -1.0
    return p[rows, :, labels], rest.max(-1), rest.argmax(-1)


def slow(labels, p_label, p_other, other):
    """Every boundary, both directions, every length: by brute force."""
    labelled = [t for t, label in enumerate(labels) if label >= 0]
    segments = []
    for t in labelled:
        if segments and labels[segments[-1][-1]] == labels[t]:
            segments[-1].append(t)
        else:
            segments.append([t])
    score = [0.0 if label >= 0 else np.nan for label in labels]
    suggested, boundaries, evidence = [-1] * len(labels), [], []

    def p_of(t, neighbour):
        num = len(other[t])
        return sum(p_other[t][e] for e in range(num) if other[t][e] == neighbour) / num

    for before, after in pairwise(segments):
        best = (0.0, [], after[0])
        for rows, neighbour in ((before[::-1], labels[after[0]]), (after, labels[before[0]])):
            for n in range(1, len(rows) // 2 + 1):
                score[rows[n - 1]] = min(p_of(t, neighbour) for t in rows[:n])
                total = sum(p_of(t, neighbour) - np.mean(p_label[t]) for t in rows[:n])
                if total > best[0] + 1e-12:
                    best = (total, rows[:n], rows[n - 1] if rows[0] < after[0] else rows[n])
        for t in best[1]:
            suggested[t] = best[2]
        boundaries.append([after[0], best[2]])
        evidence.append(best[0])
    return score, suggested, boundaries, evidence


@given(st.lists(st.integers(-1, K - 1), max_size=24), st.integers(1, 3), st.integers(0, 999))
def test_equals_brute_force(labels, num_checkpoints, seed):
    labels = np.array(labels, int)
    p = np.random.default_rng(seed).dirichlet(np.ones(K), (len(labels), num_checkpoints))
    seen = observed(labels, p)
    result = boundary_shift(labels, *seen)
    score, suggested, boundaries, evidence = slow(labels.tolist(), *seen)
    np.testing.assert_allclose(result.score, score, atol=1e-12)
    assert result.suggested.tolist() == suggested
    assert result.boundaries.tolist() == boundaries
    assert result.evidence == pytest.approx(evidence)


@pytest.mark.parametrize("labels", [[], [2], [-1, -1], [1, 1, 1], [0, 1]])
def test_without_a_boundary_that_can_move_nothing_speaks(labels):
    labels = np.array(labels, int)
    p = np.full((len(labels), 2, K), 1 / K)
    result = boundary_shift(labels, *observed(labels, p))
    assert np.isnan(result.score).tolist() == (labels < 0).tolist()
    assert not np.nansum(result.score)
    assert (result.suggested == -1).all()
    assert result.boundaries.shape == (max(len(set(labels.tolist())) - 1, 0), 2)


def moved_boundaries(seed):
    """Videos of three segments, one boundary moved by 2 to 6 frames; a model that half knows."""
    rng = np.random.default_rng(seed)
    for _ in range(30):
        true = np.repeat(np.arange(K), rng.integers(20, 40, K))
        given_labels = true.copy()
        start, by = np.flatnonzero(np.diff(true))[rng.integers(2)] + 1, rng.integers(2, 7)
        if rng.integers(2):
            given_labels[start : start + by] = true[start - 1]
        else:
            given_labels[start - by : start] = true[start]
        p = rng.dirichlet(np.ones(K), (len(true), 5)) * 0.6
        p[np.arange(len(true)), :, true] += 0.4
        yield true, given_labels, p


def test_a_moved_boundary_is_moved_back_and_its_frames_rank_first():
    wrong, scores, of_segment, found = [], [], [], []
    for true, labels, p in moved_boundaries(0):
        seen = observed(labels, p)
        result = boundary_shift(labels, *seen)
        wrong.append(true != labels)
        scores.append(result.score)
        of_segment.append(segment_mean(csl(-np.log(seen[0])), labels))
        found.append(np.abs(result.boundaries[:, 1] - np.flatnonzero(np.diff(true)) - 1).max())
    wrong = np.concatenate(wrong)
    auroc = roc_auc_score(wrong, np.concatenate(scores))
    assert auroc > max(0.97, roc_auc_score(wrong, np.concatenate(of_segment)) + 0.1)
    assert np.mean(np.array(found) <= 1) > 0.8


def test_a_frame_without_probabilities_speaks_for_nothing():
    labels = np.array([0, 0, 0, 0, 1, 1])
    p = np.full((6, 1, K), 1 / K)
    p_label, p_other, other = observed(labels, p)
    result = boundary_shift(labels, p_label * np.nan, p_other * np.nan, other)
    assert result.evidence.tolist() == [0.0]
    assert result.score.tolist() == [0.0] * 6


def test_shapes_that_do_not_belong_together_are_refused():
    with pytest.raises(ValueError, match="2 labels"):
        boundary_shift(np.array([0, 1]), np.ones((3, 1)), np.ones((3, 1)), np.ones((3, 1), int))
