import numpy as np
import pytest
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from ray_audit.scores.class_losses import PRIOR_LABELS, USUAL_QUANTILE, ClassLosses
from tests.support.states import assert_same_state


def losses_of(seed=0, num=3000, num_classes=5, rate=0.1):
    """Losses of classes of which some are harder, wrong ones above the usual of their class."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, num_classes, num)
    is_wrong = rng.random(num) < rate
    losses = rng.gamma(2.0, 0.1, num) + 0.8 * classes + 1.0 * is_wrong
    return losses, classes, is_wrong


def state_of(losses, classes, num_classes=5):
    return ClassLosses.of(losses, classes, np.bincount(classes, minlength=num_classes))


def ranks_of(losses, classes, num_classes=5):
    return state_of(losses, classes, num_classes).finish().ranks(losses, classes)


@pytest.mark.parametrize("seed", range(3))
def test_ranks_are_in_the_order_of_losses_less_the_usual_one_of_their_class(seed):
    losses, classes, _ = losses_of(seed)
    found = state_of(losses, classes).finish()
    excess = losses - found.usual[classes]
    ranks = found.ranks(losses, classes)
    in_order = np.argsort(excess)
    assert (np.diff(ranks[in_order]) >= 0).all()
    assert (np.diff(ranks[in_order])[np.diff(excess[in_order]) > 1e-5] > 0).all()
    assert ranks == pytest.approx((rankdata(excess) - 0.5) / len(excess), abs=0.02)
    assert 0 < ranks.min() < ranks.max() < 1


def test_the_usual_loss_is_a_quantile_of_the_class_drawn_towards_that_of_all():
    losses, classes, _ = losses_of()
    overall = np.quantile(losses, USUAL_QUANTILE)
    for class_, usual in enumerate(state_of(losses, classes).finish().usual):
        own = losses[classes == class_]
        share = len(own) / (len(own) + PRIOR_LABELS)
        expected = overall + share * (np.quantile(own, USUAL_QUANTILE) - overall)
        assert usual == pytest.approx(expected, abs=0.03)


def test_wrong_labels_of_easy_classes_are_found_before_right_ones_of_hard_classes():
    losses, classes, is_wrong = losses_of()
    assert roc_auc_score(is_wrong, losses) < 0.75
    assert roc_auc_score(is_wrong, ranks_of(losses, classes)) > 0.98


def test_a_class_of_which_half_is_wrong_keeps_them_suspicious():
    losses, classes, is_wrong = losses_of()
    half = (classes == 2) & (np.arange(len(losses)) % 2 == 0)
    losses, is_wrong = np.where(half & ~is_wrong, losses + 1.0, losses), is_wrong | half
    assert roc_auc_score(is_wrong, ranks_of(losses, classes)) > 0.97


def test_a_class_with_one_label_is_held_to_all_others():
    losses, classes = np.append(np.linspace(0.1, 0.3, 40), 2.0), np.append(np.zeros(40, int), 1)
    assert ranks_of(losses, classes, 2).argmax() == 40
    low = np.append(losses[:40], 0.05)
    assert ranks_of(low, classes, 2).argmin() == 40


def test_equal_losses_of_a_class_tie_and_where_all_are_equal_all_do():
    losses, classes = np.repeat([0.5, 0.7], [6, 4]), np.array([0, 1] * 5)
    ranks = ranks_of(losses, classes, 2)
    for class_ in (0, 1):
        for loss in (0.5, 0.7):
            assert len(set(ranks[(classes == class_) & (losses == loss)])) <= 1
    assert ranks_of(np.full(10, 0.5), classes, 2) == pytest.approx(np.full(10, 0.5))
    uneven = np.array([0] * 9 + [1])
    assert len(set(ranks_of(np.full(10, 0.5), uneven, 2))) == 1


def test_equal_samples_of_several_classes_tie_whatever_rounding_makes_of_them():
    classes = np.repeat([0, 1, 2], 40)
    losses = np.float32(0.0049452) + np.float32(1.2e-7) * (classes == 2)
    losses[7] = 6.0
    ranks = ranks_of(losses, classes, 3)
    assert ranks.argmax() == 7
    assert len(set(np.delete(ranks, 7))) == 1


def test_one_class_is_ranked_by_its_losses():
    losses = np.random.default_rng(0).gamma(1.0, 1.0, 200)
    ranks = ranks_of(losses, np.zeros(200, int), 1)
    assert (np.diff(ranks[np.argsort(losses)]) >= 0).all()
    assert len(np.unique(ranks)) > 195


def test_parts_add_up_in_any_order():
    losses, classes, _ = losses_of()
    parts = [state_of(losses[i::3], classes[i::3]) for i in range(3)]
    one = parts[0].merge(parts[1]).merge(parts[2])
    other = parts[2].merge(parts[0].merge(parts[1]))
    assert_same_state(one, other)
    assert_same_state(one, state_of(losses, classes))


@pytest.mark.parametrize("extreme", [0.0, 1e-12, 1e9])
def test_losses_of_any_size_have_finite_ranks(extreme):
    losses, classes = np.append(np.linspace(0.1, 0.3, 40), extreme), np.append(np.zeros(40, int), 1)
    ranks = ranks_of(losses, classes, 2)
    assert np.isfinite(ranks).all()
    assert (ranks > 0).all()
    assert (ranks < 1).all()


def test_unknown_losses_have_no_rank_and_nothing_observed_none():
    losses, classes = np.array([0.1, np.nan, 0.3]), np.zeros(3, int)
    assert np.isnan(ranks_of(losses, classes, 1)).tolist() == [False, True, False]
    nothing = ClassLosses.of(losses[:0], classes[:0], np.zeros(1, np.int64)).finish()
    assert np.isnan(nothing.ranks(losses, classes)).all()


def test_many_classes_take_a_moment():
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 2000, 40_000)
    losses = rng.gamma(1.0, 1.0, 40_000)
    found = state_of(losses, classes, 2000).finish()
    excess = losses - found.usual[classes]
    in_order = found.ranks(losses, classes)[np.argsort(excess)]
    assert (np.diff(in_order) >= 0).all()
