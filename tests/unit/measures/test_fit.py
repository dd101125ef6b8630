import hashlib
import itertools

import numpy as np
import pytest
from scipy.special import log_softmax
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from ray_audit.measures import Kind, measures
from ray_audit.measures.fit import RANKED, RULE, TrainingFit, fit_of, weights_of
from ray_audit.measures.order import SegmentOrder
from ray_audit.scores.class_pairs import ClassPairs
from ray_audit.scores.order_evidence import OrderEvidence
from ray_audit.scores.ranking import RankHistogram, combine_ranks
from ray_audit.task import Task

NAN = float("nan")


@pytest.mark.parametrize("task", Task)
@pytest.mark.parametrize("is_held_out", [False, True])
def test_weights_are_of_ranked_scores_and_together_one_whatever_is_known(task, is_held_out):
    for agreement, fitted, gain in itertools.product([NAN, -0.2, 0.0, 0.65, 1.0], repeat=3):
        weights = weights_of(task, TrainingFit(is_held_out, agreement, fitted, gain))
        assert weights.keys() <= RANKED[task].keys()
        assert min(weights.values()) >= 0
        assert sum(weights.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("task", [Task.CLASS, Task.FRAMES])
def test_early_losses_rank_what_was_memorised_and_late_ones_what_was_not(task):
    memorised = weights_of(task, TrainingFit(False, 0.98, 0.7, 0.1))
    fitted = weights_of(task, TrainingFit(False, 0.98, 0.02, 0.1))
    assert memorised["early_loss"] > 0 == memorised["late_loss"]
    assert fitted["late_loss"] > 0 == fitted["early_loss"]


def test_labels_that_checkpoints_never_saw_are_not_memorised():
    weights = weights_of(Task.CLASS, TrainingFit(True, 0.9, 0.8, 0.2))
    assert weights["early_loss"] == 0
    assert weights["confidence"] == 0 < weights["late_loss"]
    stopped = weights_of(Task.CLASS, TrainingFit(True, 0.9, 0.0, -0.1))
    assert stopped["early_loss"] == stopped["late_loss"] == 0 < stopped["confidence"]


def test_a_weak_model_is_asked_less_for_margins_and_whole_segments():
    assert weights_of(Task.CLASS, TrainingFit(False, 0.3, 0.0))["prob_margin"] == 0
    weak = weights_of(Task.FRAMES, TrainingFit(False, 0.3, 0.0))["csl_segment"]
    assert weights_of(Task.CLASS, TrainingFit(False, 0.9, 0.0))["prob_margin"] > 0
    assert 0 < weak < weights_of(Task.FRAMES, TrainingFit(False, 0.95, 0.0))["csl_segment"]


@pytest.mark.parametrize("seed", range(4))
def test_noise_of_single_frames_does_not_hide_a_wrong_segment(seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(8, 30, 30)
    segment = np.repeat(np.arange(30), lengths)
    is_wrong = (np.arange(30) % 5 == 0)[segment]
    logits = rng.normal(0, 1, (len(segment), 10))
    logits[:, 0] += 2.0 * ~is_wrong  # the given class
    logits[:, 1] += 2.0 * is_wrong
    loss = -log_softmax(logits, axis=1)[:, 0]
    by_segment = (np.bincount(segment, loss) / lengths)[segment]
    scores = {"late_loss": loss, "early_loss": loss, "csl_segment": by_segment}
    every = weights_of(Task.FRAMES, TrainingFit(False, 0.43, 0.0))
    weights = {name: weight for name, weight in every.items() if weight}
    ranks = np.stack([rankdata(scores[name]) / len(segment) for name in weights])
    found = combine_ranks(ranks, np.array(list(weights.values())))
    assert roc_auc_score(is_wrong, found) > roc_auc_score(is_wrong, by_segment) - 0.03


@pytest.mark.parametrize("is_held_out", [False, True])
def test_soft_minima_rank_masks_until_their_outlines_are_known(is_held_out):
    weak, good = (weights_of(Task.DENSE, TrainingFit(is_held_out, iou)) for iou in (0.4, 0.9))
    assert weak["softmin_interior"] + weak["softmin"] > 0.6
    assert weak["late_iou"] == 0 < good["late_iou"]
    assert good["softmin_interior"] == 0
    beside_their_class = ("component_doubt", "component_deviation")
    assert all(sum(found[name] for name in beside_their_class) > 0.2 for found in (weak, good))


def test_a_model_that_does_no_better_than_the_commonest_class_compares_within_classes_only():
    lost, unknown, weak = (
        weights_of(Task.DENSE, TrainingFit(True, 0.2, skill=skill)) for skill in (-0.6, NAN, 0.1)
    )
    assert lost["component_deviation"] == 1
    assert unknown == weak
    assert weak["softmin"] > 0
    trained = weights_of(Task.DENSE, TrainingFit(False, 0.2, skill=-0.6))
    assert trained == weights_of(Task.DENSE, TrainingFit(False, 0.2, skill=0.1))


def test_skill_is_what_is_predicted_of_the_pixels_that_the_commonest_class_leaves():
    def skill(counts):
        confusion = ClassPairs.of_matrices(np.array([np.eye(2, dtype=int), counts]))
        return fit_of(Task.DENSE, 2, "held_out", None, confusion).skill

    assert skill([[8, 0], [4, 0]]) == 0  # the first class everywhere
    assert skill([[8, 0], [0, 4]]) == 1
    assert skill([[6, 2], [2, 2]]) == 0
    assert skill([[0, 8], [0, 4]]) == -1
    assert np.isnan(skill([[12, 0], [0, 0]]))


def test_masks_that_are_all_drawn_as_given_are_ranked_by_all_checkpoints():
    good, memorised = (weights_of(Task.DENSE, TrainingFit(False, iou)) for iou in (0.9, 1.0))
    assert good["csl"] == 0 < good["late_iou"]
    assert memorised["late_iou"] == 0 < memorised["csl"]


def test_masks_whose_outlines_were_known_early_are_ranked_by_all_checkpoints():
    early, late, unknown = (
        weights_of(Task.DENSE, TrainingFit(False, 0.8, gain=gain)) for gain in (0.1, 0.3, NAN)
    )
    assert early["late_iou"] == 0 < early["csl"]
    assert late["csl"] == unknown["csl"] == 0 < late["late_iou"] == unknown["late_iou"]
    assert weights_of(Task.DENSE, TrainingFit(True, 0.8, gain=0.1))["csl"] == 0


def test_how_far_masks_are_fitted_is_told_at_the_end_and_by_the_first_half():
    def fit(*num_right):
        # Four pixels of each of two classes; of the first class some are predicted as the second.
        counts = np.array([[[right, 4 - right], [0, 4]] for right in num_right])
        return fit_of(Task.DENSE, 2, "training", None, ClassPairs.of_matrices(counts))

    found = fit(2, 3, 4)
    iou_2, iou_3 = (2 / 4 + 4 / 6) / 2, (3 / 4 + 4 / 5) / 2
    assert found.agreement == 1.0
    assert found.gain == pytest.approx(1.0 - (iou_2 + iou_3) / 2)
    assert np.isnan(fit(4).gain)


def test_a_class_that_was_never_learnt_hides_less_how_well_the_others_are_outlined():
    learnt = np.diag([9, 9, 9, 9])
    learnt[3] = [9, 0, 0, 0]  # predicted as the first
    confusion = ClassPairs.of_matrices(learnt[None])
    ious = [0.5, 1.0, 1.0, 0.0]
    found = fit_of(Task.DENSE, 4, "training", None, confusion).agreement
    assert found == pytest.approx((np.mean(ious) + np.median(ious)) / 2)


@pytest.mark.parametrize("task", Task)
def test_nothing_that_costs_a_pass_back_is_ranked_by_default(task):
    families = frozenset(("csl", "softmin"))
    without = {column.name for column in measures().columns(Kind(task, families))}
    assert RANKED[task].keys() <= without
    assert not without & {"vog", "vog_z"}


def test_weights_change_without_a_jump():
    steps = [weights_of(Task.DENSE, TrainingFit(False, iou / 100)) for iou in range(101)]
    for first, other in itertools.pairwise(steps):
        names = first.keys() | other.keys()
        assert all(abs(first.get(n, 0.0) - other.get(n, 0.0)) < 0.16 for n in names)


WEIGHTS_OF_RULE = {6: "ba4dfd996c12fed5"}
"""Digest of all weights, of each rule: a run keeps the number of its rule, and is named by it."""


def test_whoever_changes_a_weight_raises_the_rule():
    steps = [*np.linspace(-1, 1, 101), NAN]
    found = []
    for task, is_held_out, step in itertools.product(Task, [False, True], steps):
        # Each thing that a run shows, with the others where they decide nothing, and where they do.
        for others in (NAN, 0.0, 0.2, 0.7, 0.98):
            for shown in ("agreement", "fitted", "gain", "skill"):
                values = dict.fromkeys(("agreement", "fitted", "gain", "skill"), others)
                found.append(weights_of(task, TrainingFit(is_held_out, **values | {shown: step})))
    for explained, memorised in itertools.product(np.linspace(0, 1, 41), [0.0, 0.5, 1.0]):
        gains, chance = np.full(3, 1000.0 * explained), np.full(3, 1000.0)
        evidence = OrderEvidence(gains, chance, 1000.0 * (1.0 - explained))
        order = SegmentOrder(None, RankHistogram.empty().observe(np.array([1.0, 2.0])), evidence)
        found.append({"order_nll": order.weight(memorised)})
    told = [f"{name} {weight:.6f}" for weights in found for name, weight in weights.items()]
    assert len(set(told)) > 300
    assert {RULE: hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]} == WEIGHTS_OF_RULE, (
        "weights changed: raise fit.RULE, and keep its digest here"
    )
