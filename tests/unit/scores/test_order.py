import math
import os
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from ray_audit.scores import order
from ray_audit.scores.durations import LARGEST_NLL, duration_nll

SHARED = Path(os.environ.get("RAY_AUDIT_SHARED_DATA", Path(__file__).parents[4] / "shared/data"))

videos = st.lists(st.lists(st.integers(-1, 2), max_size=12), min_size=1, max_size=4)


def runs(labels):
    return [label for label, _ in groupby(label for label in labels if label >= 0)]


def slow_nll(all_videos, index, num_classes, smoothing):
    counts = np.zeros((num_classes + 1, num_classes + 1))
    for other, labels in enumerate(all_videos):
        path = [num_classes, *runs(labels), num_classes]
        if other != index and len(path) > 2:
            for a, b in pairwise(path):
                counts[a, b] += 1
    path = [num_classes, *runs(all_videos[index]), num_classes]

    def nll(a, b):
        return -math.log((counts[a, b] + smoothing) / (counts[a] + smoothing).sum())

    values, place, previous = [], 0, None
    for label in all_videos[index]:
        if label < 0:
            values.append(math.nan)
            continue
        place += label != previous
        previous = label
        values.append(nll(path[place - 1], path[place]) + nll(path[place], path[place + 1]))
    return values


def counted(all_videos, num_classes):
    return sum(order.transition_counts(np.array(v, int), num_classes) for v in all_videos)


@given(videos)
def test_nll_equals_a_loop_that_leaves_the_video_out(all_videos):
    counts = counted(all_videos, 3)
    for index, labels in enumerate(all_videos):
        result = order.order_nll(np.array(labels, int), counts)
        np.testing.assert_allclose(result, slow_nll(all_videos, index, 3, 1.0), rtol=1e-10)


def slow_durations(all_videos, index):
    """Each frame's duration term, from sorted lists of the other videos' shares of time."""

    def shares(labels):
        groups = [(k, len(list(g))) for k, g in groupby(label for label in labels if label >= 0)]
        total = sum(n for _, n in groups)
        return [(k, round(8 * math.log2(total / n)), n) for k, n in groups]

    def lower_median(values):
        return sorted(values)[(len(values) - 1) // 2]

    known = [share for i, v in enumerate(all_videos) if i != index for share in shares(v)]
    values = []
    for own, share, num_frames in shares(all_videos[index]):
        others = [s for k, s, _ in known if k == own]
        nll = 0.0
        if len(others) >= 4:
            median = lower_median(others)
            mad = lower_median([abs(s - median) for s in others])
            spread = max(1.4826 * mad * math.log(2) / 8, 0.2)
            nll = min(((share - median) * math.log(2) / 8 / spread) ** 2 / 2, 4.0)
        values += [nll] * num_frames
    return values


@given(st.lists(st.lists(st.integers(-1, 1), max_size=12), min_size=1, max_size=8))
def test_durations_equal_a_loop_that_leaves_the_video_out(all_videos):
    counts = counted(all_videos, 2)
    durations = sum(order.duration_counts(np.array(v, int), 2) for v in all_videos)
    for index, labels in enumerate(all_videos):
        labels = np.array(labels, int)
        alone = order.order_nll(labels, counts)
        both = order.order_nll(labels, counts, durations=durations)
        result = ((both - alone) / order.DURATION_WEIGHT)[labels >= 0]
        np.testing.assert_allclose(result, slow_durations(all_videos, index), atol=1e-9)


def test_half_of_the_durations_may_be_wrong():
    bins = np.array([16, 16, 16, 16, 16, 40, 60, 80, 100])
    counts = np.bincount(bins, minlength=160)[None]
    classes = np.zeros(len(bins), int)
    result = duration_nll(classes, bins, counts)
    assert result[:5].tolist() == [0.0] * 5
    assert result[5:].tolist() == [LARGEST_NLL] * 4


def test_statistics_add_up_in_any_order_and_round_trip():
    all_videos = [np.array(v) for v in ([0, 0, 1], [1, -1, 0, 0], [2], [-1])]
    whole = parts = order.OrderStatistics.empty(3)
    for labels in all_videos:
        whole = whole.observe(labels)
        parts = order.OrderStatistics.empty(3).observe(labels).merge(parts)
    assert np.array_equal(whole.transitions, parts.transitions)
    assert np.array_equal(whole.durations, parts.durations)
    rest = whole.without(all_videos[0])
    others = sum(order.transition_counts(v, 3) for v in all_videos[1:])
    assert np.array_equal(rest.transitions, others)
    assert (rest.without(np.array([0, 1])).transitions >= 0).all()


def test_a_single_video_knows_nothing():
    labels = np.array([0, 0, 1, 2, 2])
    nll = order.order_nll(labels, order.transition_counts(labels, 3))
    assert nll == pytest.approx(np.full(5, 2 * math.log(4)))


def test_counts_without_the_video_are_refused():
    with pytest.raises(ValueError, match="this one too"):
        order.order_nll(np.array([0, 1]), np.zeros((3, 3), np.int64))


def test_labels_outside_the_classes_are_refused():
    with pytest.raises(ValueError, match="label 3 with 3 classes"):
        order.transition_counts(np.array([3]), 3)


def segments(labels):
    edges = np.flatnonzero(np.diff(labels)) + 1
    return list(zip([0, *edges], [*edges, len(labels)], strict=True))


def with_error(labels, kind, rng, num_classes):
    """Labels with two segments exchanged, or one given another class; and which frames changed."""
    changed, parts = labels.copy(), segments(labels)
    if kind == "mislabel":
        start, end = parts[rng.integers(len(parts))]
        changed[start:end] = rng.choice([k for k in range(num_classes) if k != labels[start]])
    else:
        first = rng.integers(len(parts) - 1)
        second = first + 1
        if kind == "distant":
            second = rng.choice([i for i in range(len(parts)) if abs(i - first) > 1])
        (a, b), (c, d) = parts[first], parts[second]
        changed[a:b], changed[c:d] = labels[c], labels[a]
    return changed, changed != labels


def planted_auroc(sequences, num_classes, rate, seed):
    rng = np.random.default_rng(seed)
    labels, wrong = list(sequences), [np.zeros(len(s), bool) for s in sequences]
    chosen = rng.permutation(len(sequences))[: int(rate * len(sequences))]
    for turn, index in enumerate(chosen):
        kind = ("mislabel", "adjacent", "distant")[turn % 3]
        labels[index], wrong[index] = with_error(sequences[index], kind, rng, num_classes)
    counts = counted(labels, num_classes)
    durations = sum(order.duration_counts(label, num_classes) for label in labels)
    wrong = np.concatenate(wrong)
    alone = np.concatenate([order.order_nll(label, counts) for label in labels])
    both = np.concatenate([order.order_nll(label, counts, durations=durations) for label in labels])
    return [roc_auc_score(wrong, alone), roc_auc_score(wrong, both)]


@pytest.mark.parametrize("seed", range(4))
def test_planted_errors_in_an_ordered_set_are_found(seed):
    rng = np.random.default_rng(seed)
    sequences = [np.repeat(np.arange(6), rng.integers(3, 20, 6)) for _ in range(40)]
    assert min(planted_auroc(sequences, 6, 0.3, seed)) > 0.98


def test_an_error_that_most_videos_share_is_invisible():
    right, swapped = np.repeat([0, 1, 2, 3], 5), np.repeat([0, 2, 1, 3], 5)
    counts = counted([right] * 3 + [swapped] * 9, 4)
    assert order.order_nll(swapped, counts).max() < order.order_nll(right, counts).max()


@pytest.mark.real_data
def test_planted_errors_in_golf_poses_are_found():
    path = SHARED / "golf_poses" / "sequences.npz"
    if not path.exists():
        pytest.skip(f"no shared data at {path}")
    with np.load(path) as arrays:
        sequences = [arrays[n].astype(int) for n in sorted(arrays.files) if n.endswith("_label")]
    values = [planted_auroc(sequences, 9, 0.3, seed) for seed in range(4)]
    alone, both = np.mean(values, axis=0)
    assert alone >= 0.99
    assert both >= alone - 0.0005


def test_all_void_and_empty_videos_have_no_score():
    counts = counted([[0, 1]], 2)
    assert np.isnan(order.order_nll(np.full(3, -1), counts)).all()
    assert order.order_nll(np.empty(0, int), counts).shape == (0,)
