from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from ray_audit.engine.reduce.load import Samples
from ray_audit.engine.reduce.suspicion import (
    STRICT_ORDER,
    SegmentOrder,
    oriented,
    suspicion,
)
from ray_audit.scores.ranking import RankHistogram, combine_ranks
from ray_audit.task import Task

NUM_CLASSES = 3
IN_ORDER = [0, 0, 1, 1, 2, 2]


def samples_of(videos):
    rows = [(name, t, label) for name, labels in videos.items() for t, label in enumerate(labels)]
    shards, frames, labels = (list(column) for column in zip(*rows, strict=True))
    identity = pa.table(
        {
            "sample_id": [f"{s}#{t}" for s, t in zip(shards, frames, strict=True)],
            "shard": shards,
            "frame_index": frames,
            "label": pa.array(labels, pa.int32()),
        }
    )
    return Samples(identity, {}, {})


def order_of(videos):
    return SegmentOrder.of(samples_of(videos), NUM_CLASSES)


def ordered_videos(num):
    return {f"v{i}": IN_ORDER for i in range(num)}


def test_frames_of_exchanged_segments_stand_out():
    videos = ordered_videos(9) | {"wrong": [1, 1, 0, 0, 2, 2]}
    samples = samples_of(videos)
    nll = SegmentOrder.of(samples, NUM_CLASSES).nll(samples)
    is_wrong = np.array(samples.identity["shard"].to_pylist()) == "wrong"
    assert nll[is_wrong].min() > nll[~is_wrong].max()


def test_units_add_up_to_the_dataset():
    videos = ordered_videos(4) | {"wrong": [2, 1, 0, 0]}
    whole = order_of(videos)
    parts = SegmentOrder()
    for name, labels in videos.items():
        parts = parts.merge(order_of({name: labels}))
    assert np.array_equal(parts.statistics.transitions, whole.statistics.transitions)
    assert parts.contexts == whole.contexts


def test_every_frame_is_counted_once_in_the_ranks():
    videos = ordered_videos(4) | {"wrong": [2, 1, 0, 0]}
    assert order_of(videos).ranks.counts.sum() == 4 * len(IN_ORDER) + 4


def test_the_rarest_context_has_the_highest_rank():
    videos = ordered_videos(9) | {"wrong": [1, 1, 0, 0, 2, 2]}
    samples = samples_of(videos)
    order = SegmentOrder.of(samples, NUM_CLASSES)
    ranks = order.ranks.cdf(order.nll(samples))
    is_wrong = np.array(samples.identity["shard"].to_pylist()) == "wrong"
    assert ranks[is_wrong].min() > 0.9


def test_an_ordered_dataset_is_strict_and_a_random_one_is_not():
    rng = np.random.default_rng(0)
    shuffled = {f"v{i}": rng.permutation(NUM_CLASSES).repeat(2).tolist() for i in range(200)}
    assert order_of(ordered_videos(20)).strictness > STRICT_ORDER > order_of(shuffled).strictness


def test_nothing_observed_has_no_order():
    assert np.isnan(SegmentOrder().strictness)
    assert np.isnan(SegmentOrder().nll(samples_of(ordered_videos(1)))).all()


def test_a_mask_without_an_interior_is_ranked_by_its_soft_minimum():
    scores = {"softmin_interior": np.array([0.5, np.nan]), "softmin": np.array([0.1, 0.2])}
    assert oriented(scores, "softmin_interior", -1.0) == pytest.approx([-0.5, -0.2])


def test_ranks_are_those_of_the_scores_themselves():
    videos = ordered_videos(5) | {"wrong": [1, 1, 0, 0, 2, 2], "short": [0, 2, 2, 2]}
    samples, segment_order = samples_of(videos), order_of(videos)
    nll = segment_order.nll(samples)
    observed = RankHistogram.empty().observe(nll)
    np.testing.assert_allclose(segment_order.ranks.cdf(nll), observed.cdf(nll))


@pytest.mark.parametrize(
    ("strictness", "weight"), [(0.49, 0.0), (0.5, 2.0), (0.6, 4.0), (0.7, 6.0), (1.0, 6.0)]
)
def test_an_order_weighs_as_much_as_it_is_strict(strictness, weight, monkeypatch):
    monkeypatch.setattr(SegmentOrder, "strictness", strictness)
    assert SegmentOrder().weight == pytest.approx(weight)


def test_a_strict_order_outweighs_losses_that_say_nothing():
    videos = ordered_videos(9) | {"wrong": [1, 1, 0, 0, 2, 2]}
    samples, segment_order = samples_of(videos), order_of(videos)
    nll = segment_order.nll(samples)
    learnt = np.linspace(1, 0, len(nll))
    scores = {"order_nll": nll, "csl_segment": learnt}
    ranks = {"csl_segment": RankHistogram.empty().observe(learnt)}
    config = SimpleNamespace(dataset=SimpleNamespace(task=Task.FRAMES))
    both = np.stack([ranks["csl_segment"].cdf(learnt), segment_order.ranks.cdf(nll)])
    found = suspicion(scores, ranks, segment_order, config)
    np.testing.assert_allclose(found, combine_ranks(both, np.array([1.0, segment_order.weight])))
    is_wrong = np.array(samples.identity["shard"].to_pylist()) == "wrong"
    assert found[is_wrong].min() > found[~is_wrong].max()
