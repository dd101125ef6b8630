"""What a recipe prepares for one seed: data, given labels, the truth, and what trains on what."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

IGNORE = -1


@dataclass(frozen=True)
class Part:
    """One training and the audit of its checkpoints.

    Attributes:
        name: folder of its checkpoints.
        uri: what is audited.
        trained: positions of the items that the model learns.
        audited: positions of the items that are audited.
        model_seed: added to the recipe's seed, so that folds differ.
    """

    name: str
    uri: str | list[str]
    trained: np.ndarray
    audited: np.ndarray
    model_seed: int = 0


@dataclass(frozen=True)
class Case:
    """A dataset with known errors. An item is an image, a sequence or a video.

    Attributes:
        dataset: the specification's section, without `uri`.
        model: the specification's section.
        inputs: of each item, as the audit gives them to the model: (C, H, W), or (T, ...).
        targets: of each item: (H, W) or (T,) int64, or a scalar.
        keys: of each item; an image's sample id, or a frame's without `#<frame>`.
        truth: a truth table.
        parts: one, or one a fold.
        true_masks: (N, H, W), where labels are masks.
        clip_frames: frames that the model is given at once; None: the whole item.
        extras: facts about the data for the result.
    """

    dataset: dict[str, Any]
    model: dict[str, Any]
    inputs: Sequence[Tensor]
    targets: Sequence[Tensor]
    keys: list[str]
    truth: pa.Table
    parts: list[Part]
    true_masks: np.ndarray | None = None
    clip_frames: int | None = None
    extras: dict[str, float] = field(default_factory=dict)

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.dataset["classes"])


@dataclass(frozen=True)
class Training:
    """How a recipe trains: AdamW, cross-entropy.

    Attributes:
        num_epochs: each leaves a checkpoint.
        learning_rate: the largest one.
        batch_size: items, or clips of videos.
        one_cycle: whether the rate rises and falls; else it is constant.
        is_flipped: half of the images mirrored, another half each epoch.
        is_weighted: classes weighted by the inverse square root of their frequency.
    """

    num_epochs: int
    learning_rate: float
    batch_size: int
    one_cycle: bool = True
    is_flipped: bool = False
    is_weighted: bool = False


@dataclass(frozen=True)
class ItemBatches:
    """Items in another order each epoch; shorter sequences are padded with zeros, unlabelled."""

    case: Case
    positions: np.ndarray
    batch_size: int
    seed: int
    is_flipped: bool

    def __call__(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Give inputs and targets; the last batch may be smaller."""
        rng = np.random.default_rng([self.seed, epoch])
        order = rng.permutation(self.positions)
        for first in range(0, len(order), self.batch_size):
            chosen = order[first : first + self.batch_size].tolist()
            inputs = _stacked([self.case.inputs[i] for i in chosen], 0)
            targets = _stacked([self.case.targets[i] for i in chosen], IGNORE)
            if self.is_flipped:
                flipped = torch.from_numpy(rng.random(len(chosen)) < 0.5)
                inputs[flipped] = inputs[flipped].flip(-1)
                if targets.ndim == 3:
                    targets[flipped] = targets[flipped].flip(-1)
            if inputs.ndim == 4:
                # Convolutions run faster so, and give the same numbers.
                inputs = inputs.contiguous(memory_format=torch.channels_last)
            yield inputs, targets


def _stacked(items: Sequence[Tensor], padding: int) -> Tensor:
    if all(item.shape == items[0].shape for item in items):
        return torch.stack(list(items))
    return torch.nn.utils.rnn.pad_sequence(
        list(items), batch_first=True, padding_value=float(padding)
    )


def class_weights(case: Case, positions: np.ndarray) -> list[float]:
    """K weights of the loss, 1 / sqrt(frequency), with mean 1 over the classes that occur."""
    counts = np.zeros(case.num_classes)
    for i in positions.tolist():
        labels = case.targets[i].flatten()
        counts += np.bincount(labels[labels != IGNORE], minlength=case.num_classes)
    weights = np.where(counts > 0, 1 / np.sqrt(np.maximum(counts, 1)), 0)
    return (weights / weights[counts > 0].mean()).tolist()


def folds(num_items: int, num_folds: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Random folds: positions to train on, and the others to audit, ascending."""
    fold_of = np.random.default_rng([seed, 77]).permutation(num_items) % num_folds
    return [
        (np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold))
        for fold in range(num_folds)
    ]
