import math
import os
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
import pytest

from ray_audit.scores.durations import NUM_BINS, duration_nll
from ray_audit.scores.order import DURATION_WEIGHT, OrderStatistics
from ray_audit.scores.suggested_order import LEAD, MARGIN, OrderJudge, suggest_order

SHARED = Path(os.environ.get("RAY_AUDIT_SHARED_DATA", Path(__file__).parents[4] / "shared/data"))
K = 6


def statistics(videos, num_classes=K):
    found = OrderStatistics.empty(num_classes)
    for labels in videos:
        found = found.observe(np.asarray(labels))
    return found


def ordered_videos(num=30, seed=0):
    rng = np.random.default_rng(seed)
    return [np.repeat(np.arange(K), rng.integers(8, 12, K)) for _ in range(num)]


def suggested(path, others, num_frames=None):
    path = np.array(path)
    num_frames = np.full(len(path), 10) if num_frames is None else np.array(num_frames)
    return suggest_order(path, num_frames, others)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5]),
        ([0, 2, 1, 3, 4, 5], [0, 1, 2, 3, 4, 5]),
        ([0, 4, 2, 3, 1, 5], [0, 1, 2, 3, 4, 5]),
        ([0, 1, 5, 3, 4, 5], [0, 1, 2, 3, 4, 5]),
        ([0, 4, 3, 2, 1, 5], [0, 1, 2, 3, 4, 5]),
        ([5, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5]),
        ([1, 0, 2, 3, 5, 4], [0, 1, 2, 3, 4, 5]),
    ],
)
def test_planted_disorder_is_undone(given, expected):
    actual = suggested(given, statistics(ordered_videos()))
    assert actual.classes.tolist() == expected
    assert (actual.nll_after < actual.nll_before - MARGIN) == (given != expected)


def test_a_video_that_lacks_a_phase_stays_as_it_is():
    result = suggested([0, 1, 3, 4, 5], statistics(ordered_videos()))
    assert result.classes.tolist() == [0, 1, 3, 4, 5]
    assert result.nll_before == result.nll_after


def test_where_two_answers_are_as_good_none_is_given():
    videos = [np.repeat([0, middle, 5], 10) for middle in (1, 2) for _ in range(20)]
    assert suggested([0, 4, 5], statistics(videos)).classes.tolist() == [0, 4, 5]
    assert suggested([0, 4, 5], statistics(videos[:20])).classes.tolist() == [0, 1, 5]


@pytest.mark.parametrize("path", [[], [3]])
def test_videos_without_a_step_and_statistics_of_nothing(path):
    result = suggested(path, OrderStatistics.empty(K))
    assert result.classes.tolist() == path
    assert result.nll_before == result.nll_after


def slow_nll(path, num_frames, others):
    """Of a path whose equal neighbours are one, by hand."""
    runs = [
        (k, sum(n for _, n in g))
        for k, g in groupby(zip(path, num_frames, strict=True), key=lambda pair: pair[0])
    ]
    total, counts = 0.0, others.transitions
    for a, b in pairwise([K, *(k for k, _ in runs), K]):
        total -= math.log((counts[a, b] + 1) / (counts[a].sum() + K + 1))
    for k, n in runs:
        share = min(round(8 * math.log2(sum(num_frames) / n)), NUM_BINS - 1)
        nll = duration_nll(np.array([k]), np.array([share]), others.durations)
        total += DURATION_WEIGHT * nll[0]
    return total


@pytest.mark.parametrize("seed", range(12))
def test_no_single_edit_is_clearly_better_than_the_answer(seed):
    rng = np.random.default_rng(seed)
    others = statistics(ordered_videos())
    path = np.arange(K)
    for _ in range(rng.integers(3)):
        path[rng.integers(K)] = rng.integers(K)
    num_frames = rng.integers(5, 15, K)
    result = suggest_order(path, num_frames, others)
    assert result.nll_before == pytest.approx(slow_nll(path.tolist(), num_frames, others))
    assert result.nll_after == pytest.approx(slow_nll(result.classes.tolist(), num_frames, others))
    assert OrderJudge(num_frames, others).nll(path) == result.nll_before
    rest = {}
    for at in range(K):
        for other in range(K):
            left = result.classes.tolist()
            left[at] = other
            rest[tuple(left)] = slow_nll(left, num_frames, others)
            left = result.classes.tolist()
            left[at], left[other] = left[other], left[at]
            rest[tuple(left)] = slow_nll(left, num_frames, others)
    rest.pop(tuple(result.classes.tolist()))
    first, second = sorted(rest.values())[:2]
    assert result.nll_after - first < MARGIN or second - first < LEAD


@pytest.mark.real_data
def test_disorder_in_golf_poses_is_undone():
    path = SHARED / "golf_poses" / "sequences.npz"
    if not path.exists():
        pytest.skip(f"no shared data at {path}")
    with np.load(path) as arrays:
        videos = [arrays[n].astype(int) for n in sorted(arrays.files) if n.endswith("_label")]
    rng, given, true_paths = np.random.default_rng(0), [], []
    for index, labels in enumerate(videos):
        starts = np.flatnonzero(np.diff(labels, prepend=-1))
        segments, path = np.cumsum(np.diff(labels, prepend=labels[0]) != 0), labels[starts]
        true_paths.append(path.copy())
        path = path.copy()
        if index % 3 == 0:
            i, j = rng.choice(len(path), 2, replace=False)
            path[i], path[j] = path[j], path[i]
        given.append((path, np.bincount(segments)))
    labels = [np.repeat(path, num_frames) for path, num_frames in given]
    whole = statistics(labels, 9)
    right = [
        suggest_order(*item, whole.without(frames)).classes.tolist() == true.tolist()
        for item, frames, true in zip(given, labels, true_paths, strict=True)
    ]
    assert np.mean(right) >= 0.95


def test_what_one_segment_adds_is_the_difference_of_both_paths():
    rng = np.random.default_rng(0)
    others = statistics([np.repeat(rng.integers(0, K, 9), rng.integers(1, 9, 9)) for _ in range(9)])
    for length in (1, 2, 3, 12):
        path = [int(rng.integers(K))]
        while len(path) < length:
            path += [item for item in [int(rng.integers(K))] if item != path[-1]]
        judge = OrderJudge(rng.integers(1, 30, length), others)
        for at in range(length):
            for label in range(K):
                changed = [*path[:at], label, *path[at + 1 :]]
                added = judge.added(np.array(path), at, label)
                assert added == pytest.approx(judge.nll(changed) - judge.nll(path), abs=1e-9)
