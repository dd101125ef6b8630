"""Labels against the right ones, and a checkpoint against held-out data."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ray_audit.config import AuditConfig
from ray_audit.engine.run.predict import Predicted, Predictor
from ray_audit.formats.labels.given import GivenLabels
from ray_audit.sample_ids import Owner
from ray_audit.samples import IGNORE
from ray_audit.sources import group_units, list_dataset

Labels = Mapping[Owner, np.ndarray]
"""Of each image (H, W) or a scalar, of each sequence (T,); int."""


@dataclass(frozen=True)
class LabelChange:
    """What a correction did to labels; shares of all labelled pixels, frames or images.

    Attributes:
        wrong_before: wrong among the given ones.
        wrong_after: wrong afterwards.
        damaged: right before, wrong afterwards, as a share of those that were right.
        changed: with another label than before.
    """

    wrong_before: float
    wrong_after: float
    damaged: float
    changed: float


def compare(true: Labels, before: Labels, after: Labels) -> LabelChange:
    """Hold labels against the right ones; elements without a right label do not count."""
    keys = sorted(true)
    right, old, new = (
        np.concatenate([labels[key].ravel() for key in keys]) for labels in (true, before, after)
    )
    labelled = right != IGNORE
    right, old, new = right[labelled], old[labelled], new[labelled]
    was_right = old == right
    return LabelChange(
        wrong_before=float(np.mean(~was_right)),
        wrong_after=float(np.mean(new != right)),
        damaged=float(np.mean(new[was_right] != right[was_right])),
        changed=float(np.mean(new != old)),
    )


def labels_of(config: AuditConfig, index_dir: Path) -> dict[Owner, np.ndarray]:
    """All labels of a dataset."""
    listing = list_dataset(config.dataset, index_dir)
    given = GivenLabels(config.dataset, listing.shards, str(index_dir))
    if config.dataset.labels.masks:
        return {owner: given.mask(owner).astype(np.int64) for owner in given.mask_owners()}
    if config.dataset.kind == "images":
        return {owner: np.array(label) for owner, label in given.class_labels()}
    return {owner: given.sequence(owner)[1] for owner in given.sequence_owners()}


def predictions(
    config: AuditConfig, form: str, checkpoint: str, index_dir: Path
) -> list[Predicted]:
    """What a checkpoint sees in every labelled image or frame of a dataset."""
    requested = sample_ids(labels_of(config, index_dir), form)
    listing = list_dataset(config.dataset, index_dir)
    predictor = Predictor(config, (checkpoint,), str(index_dir))
    return [
        predicted
        for unit in group_units(listing.shards, "benchmark")
        for predicted in predictor.predict(unit, requested)
    ]


def sample_id(owner: Owner, frame: int | None = None) -> str:
    """The audit's name of an image or of one frame."""
    return "#".join([*filter(None, owner), *([] if frame is None else [str(frame)])])


def sample_ids(labels: Labels, form: str) -> list[str]:
    """Of all images or frames, in order."""
    if form != "frames":
        return [sample_id(owner) for owner in labels]
    return [sample_id(owner, t) for owner, frames in labels.items() for t in range(len(frames))]


def held_out_scores(found: list[Predicted], unscored: int | None) -> dict[str, float]:
    """Accuracy, and of masks mean IoU and Dice over the classes that occur.

    Args:
        found: predictions for held-out data; their targets are right.
        unscored: class whose elements do not count, and which has no IoU of its own.
    """
    num_classes = len(found[0].p)
    confusion = np.zeros((num_classes, num_classes), np.int64)
    for item in found:
        target, predicted = (
            np.atleast_1d(item.targets),
            item.p.reshape(num_classes, -1).argmax(axis=0),
        )
        target = target.ravel()
        kept = (target != IGNORE) & (target != unscored)
        np.add.at(confusion, (target[kept], predicted[kept]), 1)
    right, given, seen = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    scores = {"accuracy": float(right.sum() / confusion.sum())}
    if found[0].p.ndim == 3:
        occurs = given > 0
        scores["miou"] = float(np.mean(right[occurs] / (given + seen - right)[occurs]))
        scores["dice"] = float(np.mean(2 * right[occurs] / (given + seen)[occurs]))
    return scores
