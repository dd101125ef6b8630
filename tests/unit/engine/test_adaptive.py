"""Who leaves the relay early, and that the rest is as if nobody had."""

import numpy as np
import pytest

from ray_audit.config import AdaptiveConfig
from ray_audit.engine.ledger import adaptive
from ray_audit.engine.ledger.adaptive import LeavingRule, visiting_order
from ray_audit.samples import IGNORE
from ray_audit.scores.fit_profile import carried_back
from tests.support.batches import class_batch, dense_batch, frames_batch, rows

NUM_CHECKPOINTS = 8


def rule(budget=0.5, first=0.25, num=NUM_CHECKPOINTS):
    return LeavingRule.of(AdaptiveConfig(budget=budget, first=first), num)


class Losses:
    """Stands for the probes: known losses, and a list of what was run."""

    def __init__(self, loss, ids):
        self.loss, self.ids, self.runs = loss, ids, []

    def __call__(self, batch, turns):
        names = batch.samples["sample_id"].to_pylist()
        own = [self.ids.index(name) for name in names]
        assert len(batch.arrays["inputs"]) == len(batch.arrays["targets"])
        self.runs.append((sorted(turns), names))
        arrays = dict(batch.arrays)
        before = arrays.get("trajectory/loss", np.zeros((len(own), 0)))
        seen = self.loss[own][:, sorted(turns)]
        arrays["trajectory/loss"] = np.concatenate([before, seen], axis=1)
        return arrays


def through(batch, losses, the_rule, hops):
    observe = Losses(losses, batch.samples["sample_id"].to_pylist())
    for hop in hops:
        batch = adaptive.observed(batch, dict.fromkeys(hop), the_rule, observe)
    return batch, observe


def images(num):
    return class_batch(np.zeros((num, 3, 2, 2), np.uint8), [0] * num)


def test_each_beginning_of_the_order_is_spread_over_the_training():
    for num in range(1, 40):
        order = visiting_order(num)
        assert sorted(order) == list(range(num))
        assert order[0] == num - 1
        for length in range(2, num + 1):
            gaps = np.diff([-1, *sorted(order[:length])])
            assert gaps.max() <= 2 * np.ceil(num / length)


@pytest.mark.parametrize("num_checkpoints", range(1, 31))
def test_no_batch_spends_more_than_the_budget(num_checkpoints):
    for budget in (0.1, 0.3, 0.5, 0.75, 0.99):
        for first in (0.05, 0.25, 0.6):
            result = rule(budget, first, num_checkpoints)
            for num in (1, 2, 3, 7, 32, 256):
                spent = num * result.num_first + result.num_staying(num) * (
                    num_checkpoints - result.num_first
                )
                if not result.num_staying(num):
                    spent = num * result.num_undivided
                # One checkpoint is the least.
                assert spent <= max(num, budget * num * num_checkpoints + 1e-6)


@pytest.mark.parametrize(
    "hops", [[range(8)], [range(3), range(3, 8)], [[i] for i in range(8)], [range(2), range(2, 8)]]
)
def test_the_images_of_highest_loss_stay_whatever_the_hops(hops):
    losses = np.random.default_rng(0).random((6, NUM_CHECKPOINTS))
    losses[:, :2] = np.array([0.1, 0.9, 0.3, 0.5, 0.2, 0.4])[:, None]
    batch, observe = through(images(6), losses, rule(), hops)
    assert batch.arrays["adaptive/reached"].tolist() == [2, 8, 2, 8, 2, 2]
    passed = np.arange(NUM_CHECKPOINTS) < batch.arrays["adaptive/reached"][:, None]
    expected = np.where(passed, losses, np.nan)
    assert np.array_equal(batch.arrays["trajectory/loss"], expected, equal_nan=True)
    assert len(batch.arrays["inputs"]) == 2
    assert sum(len(turns) * len(names) for turns, names in observe.runs) == 24  # half of 48


def test_of_equal_losses_the_first_stay_and_what_is_no_number_takes_no_place():
    losses = np.ones((4, NUM_CHECKPOINTS))
    batch, _ = through(images(4), losses, rule(), [range(8)])
    assert batch.arrays["adaptive/reached"].tolist() == [8, 2, 2, 2]
    losses[0, 1] = np.nan
    batch, _ = through(images(4), losses, rule(), [range(8)])
    assert batch.arrays["adaptive/reached"].tolist() == [2, 8, 2, 2]


def test_a_clip_leaves_as_a_whole_and_is_as_suspicious_as_its_worst_frame():
    targets = np.zeros((3, 4), int)
    targets[0, 0] = IGNORE
    owned = np.array([[0, 1, 1, 1], [1, 1, 1, 1], [0, 1, 1, 1]], bool)
    batch = frames_batch(np.zeros((3, 4, 3, 2, 2), np.uint8), targets, owned)
    losses = np.full((10, NUM_CHECKPOINTS), 0.5)
    losses[8] = 0.9
    batch, observe = through(batch, losses, rule(), [range(8)])
    assert batch.arrays["adaptive/reached"].tolist() == [2] * 7 + [8] * 3
    assert observe.runs[1][1] == ["v#2.1", "v#2.2", "v#2.3"]


def test_what_cannot_be_divided_leaves_together_at_the_budget():
    tiled = dense_batch(
        np.zeros((6, 3, 2, 2), np.uint8), np.zeros((6, 2, 2), int), owned_rect=np.zeros((6, 4))
    )
    for batch in (images(1), images(2), tiled):
        num = batch.samples.num_rows
        batch, observe = through(batch, np.ones((num, 8)), rule(), [range(3), range(3, 8)])
        assert batch.arrays["adaptive/reached"].tolist() == [4] * num
        assert np.isnan(batch.arrays["trajectory/loss"][:, 4:]).all()
        assert sum(len(turns) for turns, _ in observe.runs) == 4


def test_a_rule_that_leaves_nobody_out_changes_nothing():
    losses = np.random.default_rng(0).random((5, 1))
    batch, _ = through(images(5), losses, rule(num=1), [range(1)])
    assert np.array_equal(batch.arrays["trajectory/loss"], losses)


def test_gaps_are_filled_from_the_checkpoint_that_follows():
    values = np.array([[np.nan, 2.0, np.nan, 4.0], [1.0, 2.0, 3.0, 4.0]])
    filled = carried_back(values, ~np.isnan(values))
    assert filled.tolist() == [[2.0, 2.0, 4.0, 4.0], [1.0, 2.0, 3.0, 4.0]]


def test_rows_of_a_dense_batch_are_weighed_by_their_pixels():
    masks = np.zeros((4, 2, 2), int)
    masks[3, 0] = IGNORE
    batch = dense_batch(np.zeros((4, 3, 2, 2), np.uint8), masks)
    assert rows(1).schema.equals(batch.samples.schema)
    losses = np.full((4, NUM_CHECKPOINTS), 4.0)
    losses[3] = 2.5  # on 2 pixels instead of 4: the largest mean
    batch, _ = through(batch, losses, rule(), [range(8)])
    assert batch.arrays["adaptive/reached"].tolist() == [2, 2, 2, 8]
