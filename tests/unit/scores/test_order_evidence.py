from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_audit.scores import order, order_evidence
from ray_audit.scores.csl import segment_ids
from ray_audit.scores.order import OrderStatistics
from ray_audit.scores.order_evidence import VideoSample, VideoSegments, judge

PATHS = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=8), min_size=2, max_size=6)


def counted(videos, num_classes):
    statistics = OrderStatistics.empty(num_classes)
    for labels in videos:
        statistics = statistics.observe(np.asarray(labels))
    return statistics


def sample_of(videos, num_classes, names=None):
    found = []
    for i, labels in enumerate(videos):
        frames = np.bincount(segment_ids(np.asarray(labels)))
        name = f"{i:03d}" if names is None else names[i]
        found.append(VideoSegments.of(name, np.asarray(labels), frames, num_classes))
    return VideoSample.of(found)


def judged(videos, num_classes):
    return judge(sample_of(videos, num_classes), counted(videos, num_classes))


def random_videos(rng, num, num_classes, num_segments):
    def path():
        steps = [int(rng.integers(num_classes))]
        while len(steps) < num_segments:
            step = int(rng.integers(num_classes))
            steps += [step] if step != steps[-1] else []
        return steps

    return [path() for _ in range(num)]


def slow_chance(videos, left_out, num_classes):
    """-log P of one video, by weights fitted to the others with a plain loop."""
    paths = [np.asarray(v)[np.flatnonzero(np.diff(v, prepend=-1))] for v in videos]
    others = [path for i, path in enumerate(paths) if i != left_out]
    seen = np.bincount(np.concatenate([*others, []]).astype(int), minlength=num_classes) + 1.0
    weights = seen / seen.sum()
    for _ in range(2000):
        odds = np.full(num_classes, float(len(others) + num_classes))
        for path in others:
            for step in path[:-1]:
                odds += np.where(np.arange(num_classes) == step, 0, 1 / (1 - weights[step]))
        before, weights = weights, seen / odds
        weights /= weights.sum()
        if np.abs(weights - before).max() < 1e-12:
            break
    end = (len(others) + 1) / (sum(map(len, others)) + 2)
    path = paths[left_out]
    nll = -np.log(weights[path[0]]) - np.log(end)
    for before, after in pairwise(path):
        nll -= np.log((1 - end) * weights[after] / (1 - weights[before]))
    return nll


@settings(max_examples=30, deadline=None)
@given(PATHS)
def test_each_video_is_judged_by_the_others_as_order_nll_does(videos):
    statistics, found = counted(videos, 4), judged(videos, 4)
    frames = np.repeat(found.nll, found.num_frames)
    expected = [
        order.order_nll(np.asarray(v), statistics.transitions, durations=statistics.durations)
        for v in videos
    ]
    np.testing.assert_allclose(np.sort(frames), np.sort(np.concatenate(expected)), rtol=1e-12)


@settings(max_examples=20, deadline=None)
@given(PATHS)
def test_chance_is_any_other_class_by_frequency_in_the_other_videos(videos):
    found = judged(videos, 4).evidence
    expected = [slow_chance(videos, i, 4) for i in range(len(videos))]
    np.testing.assert_allclose(found.chance, expected, rtol=2e-3)


def test_the_gain_is_what_the_order_saves_of_each_video():
    videos = [[0, 1, 2], [0, 1, 2], [0, 2, 1], [0, 1, 2]]
    found, statistics = judged(videos, 3).evidence, counted(videos, 3)
    for i, labels in enumerate(videos):
        own = order.transition_counts(np.array(labels), 3)
        nll = (own * order.transition_nll(statistics.transitions - own)).sum()
        assert found.gains[i] == pytest.approx(slow_chance(videos, i, 3) - nll, abs=0.01)
    assert found.gain == pytest.approx(found.gains.mean())
    assert found.standard_error == pytest.approx(found.gains.std(ddof=1) / 2)


def test_a_fixed_order_predicts_and_explains_nearly_all():
    found = judged([list(range(8))] * 30, 8).evidence
    assert found.is_predictive
    assert found.strictness > 0.8


@pytest.mark.parametrize("num_classes", [2, 3, 10])
@pytest.mark.parametrize("num_videos", [2, 3, 4, 6, 40])
@pytest.mark.parametrize("num_segments", [1, 2, 5, 16])
def test_no_order_is_seen_where_there_is_none(num_classes, num_videos, num_segments):
    rng = np.random.default_rng(num_classes * num_videos + num_segments)
    believed = [
        judged(random_videos(rng, num_videos, num_classes, num_segments), num_classes)
        for _ in range(20)
    ]
    assert sum(item.evidence.is_predictive for item in believed) <= 1


def test_a_class_between_all_others_is_chance():
    rng = np.random.default_rng(0)
    videos = [np.ravel([(0, rng.integers(1, 6)) for _ in range(8)]) for _ in range(60)]
    assert not judged(videos, 6).evidence.is_predictive


def test_one_segment_a_video_has_no_order():
    assert not judged([[i % 3] * 4 for i in range(50)], 3).evidence.is_predictive


@pytest.mark.parametrize("videos", [[], [[0, 1, 2]], [[0, 1, 2]] * 2])
def test_fewer_than_three_videos_prove_nothing(videos):
    found = judged(videos, 3).evidence
    assert not found.is_predictive
    assert f"{len(videos)} video" in found.reason


def test_one_class_has_no_order_and_is_no_error():
    found = judged([[0, 0]] * 5, 1)
    assert not found.evidence.is_predictive
    assert np.isfinite(found.nll).all()


@pytest.mark.parametrize("limit", [10, 60, 10_000])
def test_the_sample_does_not_depend_on_how_a_dataset_is_parted(limit, monkeypatch):
    monkeypatch.setattr(order_evidence, "MAX_SEGMENTS", limit)
    rng = np.random.default_rng(0)
    videos = random_videos(rng, 24, 4, 6)
    names = [f"{rng.integers(1 << 30):08x}" for _ in videos]
    whole = sample_of(videos, 4, names)
    for seed in range(5):
        pieces = np.array_split(np.random.default_rng(seed).permutation(24), 1 + seed * 3)
        total = VideoSample()
        for piece in pieces:
            part = sample_of([videos[i] for i in piece], 4, [names[i] for i in piece])
            total = part.merge(total)
        assert [video.name for video in total.videos] == [video.name for video in whole.videos]
    assert [video.name for video in whole.videos] == sorted(names)[: len(whole.videos)]
    assert sum(video.cost for video in whole.videos[:-1]) < limit
