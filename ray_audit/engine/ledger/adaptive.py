"""Adaptive audits: clips and images that are certain after a few checkpoints leave the relay.

Checkpoints are visited in an order that spreads over the training at every length, the last one
first: so what is known of a sample that left is comparable with the rest. Who leaves depends on
the batch alone.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from ray_audit.config import AdaptiveConfig
from ray_audit.measures import measures
from ray_audit.measures.gradients import MOMENTS
from ray_audit.measures.trajectory import REACHED
from ray_audit.samples import Batch
from ray_audit.task import Task

_CUTS = "adaptive/cuts"

Turns = Mapping[int, Any]
"""What each model does, by its place: the probes' own business."""

Observe = Callable[[Batch, Turns], dict[str, np.ndarray]]


def visiting_order(num_checkpoints: int) -> tuple[int, ...]:
    """All positions, the last first; every beginning of the order is spread over the training.

    The sequence of van der Corput (1935), counted from the end.

    >>> visiting_order(8)
    (7, 3, 5, 1, 6, 2, 4, 0)
    """
    order: dict[int, None] = {}
    number = 0
    while len(order) < num_checkpoints:
        fraction, digit, left = 0.0, 0.5, number
        while left:
            fraction += digit * (left & 1)
            left, digit = left >> 1, digit / 2
        order.setdefault(math.ceil((1.0 - fraction) * num_checkpoints) - 1)
        number += 1
    return tuple(order)


@dataclass(frozen=True)
class LeavingRule:
    """When what leaves the relay.

    Attributes:
        num_checkpoints: E.
        num_first: checkpoints that everything visits; then the certain ones of a batch leave.
        stay_share: share of a batch that goes on to all checkpoints.
        num_undivided: checkpoints of a batch of which nothing would go on.
    """

    num_checkpoints: int
    num_first: int
    stay_share: float
    num_undivided: int

    @classmethod
    def of(cls, config: AdaptiveConfig, num_checkpoints: int) -> Self:
        """Spend at most `config.budget` of all passes in each batch, whole clips and images."""
        allowed = config.budget * num_checkpoints
        undivided = max(1, math.floor(allowed + 1e-9))
        first = min(max(1, math.ceil(config.first * num_checkpoints - 1e-9)), undivided)
        rest = num_checkpoints - first
        share = max(0.0, (allowed - first) / rest) if rest else 1.0
        return cls(num_checkpoints, first, share, undivided)

    @property
    def order(self) -> tuple[int, ...]:
        """Positions of the checkpoints as they are visited."""
        return visiting_order(self.num_checkpoints)

    def num_staying(self, num_cuts: int) -> int:
        """How many of so many clips or images go on."""
        return math.floor(self.stay_share * num_cuts + 1e-9)

    def stretches(self, num_visited: int, turns: Turns) -> Iterator[Turns]:
        """The turns in their order, cut where something may leave."""
        stretch: dict[int, Any] = {}
        for index in sorted(turns):
            stretch[index] = turns[index]
            num_visited += 1
            if num_visited in (self.num_first, self.num_undivided):
                yield stretch
                stretch = {}
        if stretch:
            yield stretch


def observed(batch: Batch, turns: Turns, rule: LeavingRule, observe: Observe) -> Batch:
    """Take the batch through some checkpoints; only what has not left is run."""
    for stretch in rule.stretches(_num_visited(batch), turns):
        batch = _after(batch, stretch, observe)
        batch = _left(batch, rule)
    return batch


def _num_visited(batch: Batch) -> int:
    losses = batch.arrays.get("trajectory/loss")
    return 0 if losses is None else losses.shape[1]


def _after(batch: Batch, turns: Turns, observe: Observe) -> Batch:
    arrays = batch.arrays
    if _CUTS not in arrays:
        arrays = observe(batch, turns)
        num_visited = arrays["trajectory/loss"].shape[1]
        reached = np.full(batch.samples.num_rows, num_visited, np.int32)
        return batch.with_arrays(arrays | {REACHED: reached})
    rows = np.flatnonzero(np.isin(batch.samples["cut"].to_numpy(), arrays[_CUTS]))
    seen = observe(_remaining(batch, rows), turns) if len(rows) else {}
    return batch.with_arrays(_merged(arrays, seen, rows, turns))


def _remaining(batch: Batch, rows: np.ndarray) -> Batch:
    """The part of a batch that has not left, as a batch of its own."""
    arrays, cuts = batch.arrays, batch.arrays[_CUTS]
    samples = batch.samples.take(rows)
    place = samples.schema.get_field_index("cut")
    renumbered = np.searchsorted(cuts, samples["cut"].to_numpy()).astype(np.int32)
    samples = samples.set_column(place, samples.schema.field(place), [renumbered])
    kept = {"inputs": arrays["inputs"], "targets": arrays["targets"][cuts]}
    if "vog/count" in arrays:
        kept |= {name: arrays[name][rows] for name in MOMENTS}
        kept["vog/count"] = np.broadcast_to(arrays["vog/count"], batch.samples.num_rows)[rows][:1]
    return Batch(batch.unit_id, batch.index, batch.task, samples, kept)


def _merged(
    arrays: dict[str, np.ndarray],
    seen: dict[str, np.ndarray],
    rows: np.ndarray,
    turns: Turns,
) -> dict[str, np.ndarray]:
    """What some rows learnt, put beside the gaps of those that have left."""
    merged = dict(arrays)
    num_rows = len(arrays[REACHED])
    for quantity in measures().quantities.values():
        if not quantity.is_trajectory or quantity.key not in arrays:
            continue
        before, columns = arrays[quantity.key], seen.get(quantity.key)
        num_new = len(turns) if columns is None else columns.shape[-1]
        gap = np.full((*before.shape[:-1], num_new), quantity.gap, before.dtype)
        if columns is not None and quantity.axis == "batch":
            gap[:] = columns
        elif columns is not None:
            of_row = arrays[quantity.along][:, 0] if quantity.along else np.arange(num_rows)
            gap[np.isin(of_row, rows)] = columns
        merged[quantity.key] = np.concatenate([before, gap], axis=-1)
    if "vog/count" in seen:
        for name in MOMENTS:
            merged[name] = arrays[name].copy()
            merged[name][rows] = seen[name]
        merged["vog/count"] = np.broadcast_to(arrays["vog/count"], num_rows).copy()
        merged["vog/count"][rows] = seen["vog/count"]
    merged[REACHED] = arrays[REACHED].copy()
    merged[REACHED][rows] += len(turns)
    return merged


def _left(batch: Batch, rule: LeavingRule) -> Batch:
    """The batch without the pixels of what leaves at this point."""
    arrays, num_visited = batch.arrays, _num_visited(batch)
    if _CUTS in arrays or num_visited == rule.num_checkpoints:
        return batch
    num_cuts = len(arrays["inputs"])
    # Tiles of an image, and clips of a video with one label, may lie in several batches.
    is_divisible = batch.task is not Task.CLIPS and "owned_rect" not in arrays
    num_staying = rule.num_staying(num_cuts) if is_divisible else 0
    if num_visited == rule.num_first and num_staying:
        order = np.argsort(-_mean_loss(batch, num_cuts), kind="stable")
        cuts = np.sort(order[:num_staying])
    elif num_visited == rule.num_undivided:
        cuts = np.zeros(0, np.int64)
    else:
        return batch
    return batch.with_arrays(arrays | {_CUTS: cuts, "inputs": arrays["inputs"][cuts]})


def _mean_loss(batch: Batch, num_cuts: int) -> np.ndarray:
    """Of each clip or image over the checkpoints so far: that of its worst row that has one.

    What is no number fails either way: it must not take the place of what can still be scored.
    """
    loss = batch.arrays["trajectory/loss"].mean(axis=1) / batch.samples["num_labelled"].to_numpy()
    worst = np.full(num_cuts, -np.inf)
    np.maximum.at(
        worst, batch.samples["cut"].to_numpy(), np.where(np.isfinite(loss), loss, -np.inf)
    )
    return worst
