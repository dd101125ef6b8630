import numpy as np
import pyarrow as pa
import pytest

from ray_audit.engine.reduce.load import Samples
from ray_audit.engine.reduce.unit_scores import sequences_of
from ray_audit.measures.fit import RANKED, TrainingFit
from ray_audit.measures.order import OrderState, SegmentOrder
from ray_audit.measures.ranking import oriented, ranks_nothing, suspicion
from ray_audit.scores.class_losses import ClassLosses
from ray_audit.scores.order_evidence import OrderEvidence
from ray_audit.scores.ranking import RankHistogram, combine_ranks
from ray_audit.task import Task
from tests.support.states import assert_same_state

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
    return Samples(identity, {"loss": np.zeros((len(labels), 1))})


def observed(samples, scored=None):
    shards = np.asarray(samples.identity["shard"].to_pylist())
    scored = np.ones(samples.num_samples, bool) if scored is None else scored
    return OrderState.of(sequences_of(samples), shards, scored, np.arange(NUM_CLASSES))


def nll_of(order, samples):
    return order.nll(sequences_of(samples), np.ones(samples.num_samples, bool))


def state_of(videos):
    return observed(samples_of(videos))


def order_of(videos):
    return state_of(videos).finish()


def ordered_videos(num):
    return {f"v{i}": IN_ORDER for i in range(num)}


def evidence_of(share, num=50):
    return OrderEvidence(np.full(num, 10.0 * share), np.full(num, 10.0), 10.0 * (1 - share))


def test_frames_of_exchanged_segments_stand_out():
    videos = ordered_videos(9) | {"wrong": [1, 1, 0, 0, 2, 2]}
    samples = samples_of(videos)
    nll = nll_of(order_of(videos), samples)
    is_wrong = np.array(samples.identity["shard"].to_pylist()) == "wrong"
    assert nll[is_wrong].min() > nll[~is_wrong].max()


def test_units_add_up_to_the_dataset():
    videos = ordered_videos(4) | {"wrong": [2, 1, 0, 0]}
    whole = order_of(videos)
    parts = OrderState()
    for name, labels in reversed(videos.items()):
        parts = parts.merge(state_of({name: labels}))
    found = parts.finish()
    assert np.array_equal(found.statistics.transitions, whole.statistics.transitions)
    assert_same_state(found.ranks, whole.ranks)
    assert np.array_equal(found.evidence.gains, whole.evidence.gains)


def test_every_ranked_frame_is_counted_once_in_the_ranks():
    videos = ordered_videos(4) | {"wrong": [2, 1, 0, 0]}
    assert order_of(videos).ranks.counts.sum() == 4 * len(IN_ORDER) + 4
    samples = samples_of(videos)
    ranked = np.arange(samples.num_samples) % 2 == 0
    some = observed(samples, ranked).finish()
    assert some.ranks.counts.sum() == ranked.sum()


def test_the_rarest_context_has_the_highest_rank():
    videos = ordered_videos(9) | {"wrong": [1, 1, 0, 0, 2, 2]}
    samples = samples_of(videos)
    order = order_of(videos)
    ranks = order.ranks.cdf(nll_of(order, samples))
    is_wrong = np.array(samples.identity["shard"].to_pylist()) == "wrong"
    assert ranks[is_wrong].min() > 0.9


def test_an_ordered_dataset_is_used_and_a_random_one_is_not():
    rng = np.random.default_rng(0)
    shuffled = {f"v{i}": rng.permutation(NUM_CLASSES).repeat(2).tolist() for i in range(200)}
    assert order_of(ordered_videos(20) | {"wrong": [1, 1, 0, 0, 2, 2]}).is_used
    assert not order_of(shuffled).is_used


def test_an_order_that_all_videos_keep_ranks_nothing_and_says_so():
    found = order_of(ordered_videos(20)).described()
    assert not found["used"]
    assert "every segment fits it alike" in found["reason"]


def test_nothing_observed_has_no_order():
    order = OrderState().finish()
    assert not order.is_used
    assert order.described() == {}
    assert np.isnan(nll_of(order, samples_of(ordered_videos(1)))).all()


def test_a_mask_without_an_interior_is_ranked_by_its_soft_minimum():
    scores = {"softmin_interior": np.array([0.5, np.nan]), "softmin": np.array([0.1, 0.2])}
    assert oriented(scores, "softmin_interior", -1) == pytest.approx([-0.5, -0.2])


@pytest.mark.parametrize("num_cycles", [1, 4])
def test_ranks_are_those_of_the_scores_themselves(num_cycles):
    videos = ordered_videos(5) | {"wrong": [1, 1, 0, 0, 2, 2], "short": [0, 2, 2, 2]}
    # Where classes come back, a video's own steps are many, and none of them counts.
    videos = {name: labels * num_cycles for name, labels in videos.items()}
    samples, segment_order = samples_of(videos), order_of(videos)
    nll = nll_of(segment_order, samples)
    observed = RankHistogram.empty().observe(nll)
    np.testing.assert_allclose(segment_order.ranks.cdf(nll), observed.cdf(nll))
    assert segment_order.ranks.cdf(nll).max() < 1.0


@pytest.mark.parametrize(
    ("share", "weight"),
    [(-0.1, 0.0), (0.2, 0.0), (1 / 3, 1.0), (0.5, 3.0), (2 / 3, 6.0), (1.0, 6.0)],
)
def test_an_order_weighs_by_the_odds_of_what_it_explains(share, weight):
    ranks = RankHistogram.empty().observe(np.array([1.0, 2.0]))
    assert SegmentOrder(None, ranks, evidence_of(share)).weight() == pytest.approx(weight)


def test_an_order_weighs_more_where_its_violations_were_memorised():
    ranks = RankHistogram.empty().observe(np.array([1.0, 2.0]))
    loose, some = (SegmentOrder(None, ranks, evidence_of(share)) for share in (0.2, 1 / 3))
    assert some.weight(memorised=1.0) == pytest.approx(2.5)
    assert loose.weight(memorised=1.0) == pytest.approx(0.0)


def test_an_order_that_may_be_chance_weighs_nothing():
    ranks = RankHistogram.empty().observe(np.array([1.0, 2.0]))
    gains = np.array([9.0, 1.0, -5.0, 1.0])
    assert SegmentOrder(None, ranks, OrderEvidence(gains, np.full(4, 10.0), 8.0)).weight() == 0.0


KNOWN = TrainingFit(False, 1.0, 0.0)
MEMORISED = TrainingFit(False, 1.0, 1.0)
"""Ranked by early losses and margins alike."""


def test_a_strict_order_outweighs_losses_that_say_nothing():
    videos = ordered_videos(19) | {"wrong": [1, 1, 0, 0, 2, 2]}
    samples, segment_order = samples_of(videos), order_of(videos)
    nll = nll_of(segment_order, samples)
    learnt = np.linspace(1, 0, len(nll))
    scores = {"order_nll": nll, "csl_segment": learnt}
    ranks = {"csl_segment": RankHistogram.empty().observe(learnt)}
    both = np.stack([ranks["csl_segment"].cdf(learnt), segment_order.ranks.cdf(nll)])
    found = suspicion(scores, ranks, segment_order, KNOWN, Task.FRAMES)
    np.testing.assert_allclose(found, combine_ranks(both, np.array([1.0, segment_order.weight()])))
    is_wrong = np.array(samples.identity["shard"].to_pylist()) == "wrong"
    assert found[is_wrong].min() > found[~is_wrong].max()


def test_a_constant_score_ranks_nothing():
    scores = {"early_loss": np.full(4, 0.7), "prob_margin": np.array([0.1, 0.4, 0.2, 0.3])}
    ranks = {
        "early_loss": RankHistogram.empty().observe(scores["early_loss"]),
        "prob_margin": RankHistogram.empty().observe(-scores["prob_margin"]),
    }
    found = suspicion(scores, ranks, None, MEMORISED, Task.CLASS)
    np.testing.assert_allclose(found, ranks["prob_margin"].cdf(-scores["prob_margin"]))
    assert not ranks_nothing(ranks, None, Task.CLASS)


def test_a_score_that_does_not_weigh_speaks_where_nothing_else_can():
    scores = {"late_loss": np.array([0.1, 0.4, 0.2, 0.3])}
    ranks = {"late_loss": RankHistogram.empty().observe(scores["late_loss"])}
    found = suspicion(scores, ranks, None, MEMORISED, Task.CLASS)
    np.testing.assert_allclose(found, ranks["late_loss"].cdf(scores["late_loss"]))


def test_with_one_checkpoint_the_last_loss_stands_for_the_second_half():
    scores = {"late_loss": np.full(2, np.nan), "final_loss": np.array([0.5, 0.2])}
    assert oriented(scores, "late_loss", 1) == pytest.approx([0.5, 0.2])


def test_equal_samples_tie():
    scores = {"early_loss": np.full(4, 0.7), "prob_margin": np.full(4, 0.1)}
    ranks = {
        "early_loss": RankHistogram.empty().observe(scores["early_loss"]),
        "prob_margin": RankHistogram.empty().observe(-scores["prob_margin"]),
    }
    assert suspicion(scores, ranks, None, MEMORISED, Task.CLASS) == pytest.approx(np.full(4, 0.5))
    assert ranks_nothing(ranks, None, Task.CLASS)


def test_the_last_loss_of_a_settled_training_ranks_beside_its_class_and_as_it_is():
    labels = np.repeat([0, 1], 40)
    loss = np.concatenate([np.linspace(0.1, 0.5, 40), np.linspace(2.0, 2.4, 40)])
    loss[0], loss[40] = 1.5, 3.0  # one of each class stands out, less than all of the other class
    names = ("late_loss", "final_loss", "early_loss")
    scores = dict.fromkeys(names, loss) | {"prob_margin": -loss, "confidence": np.exp(-loss)}
    ranks = {
        name: RankHistogram.empty().observe(oriented(scores, name, sign))
        for name, sign in RANKED[Task.CLASS].items()
    }
    excess = dict.fromkeys(names, ClassLosses.of(loss, labels, np.array([40, 40])).finish())

    def found(settled):
        fit = TrainingFit(False, 0.2, 0.0, settled=settled)
        return suspicion(scores, ranks, None, fit, Task.CLASS, excess, labels)

    beside, as_it_is = excess["final_loss"].ranks(loss, labels), ranks["final_loss"].cdf(loss)
    np.testing.assert_allclose(found(0.5), beside)
    np.testing.assert_allclose(found(1.0), 1 - np.sqrt((1 - beside) * (1 - as_it_is)))
    assert set(found(1.0).argsort()[-1:]) == {40}
