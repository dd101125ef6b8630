"""Errors planted in a dataset's labels: per form, which labels change and what the truth is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from ray_audit.config import DatasetConfig
from ray_audit.errors import SpecificationError
from ray_audit.formats.label_changes import FrameChange, LabelChanges, Progress, WrittenLabels
from ray_audit.formats.labels.classes import ClassNames
from ray_audit.formats.labels.given import GivenLabels, Lazy
from ray_audit.formats.labels.relabel import writable_classes
from ray_audit.formats.pixels.encoding import stored_values, targets_of
from ray_audit.sample_ids import Owner
from ray_audit.samples import IGNORE
from ray_audit.task import Task
from ray_audit.training.noise import (
    CLASS_KINDS,
    FRAME_KINDS,
    MASK_KINDS,
    REGION_SCHEMA,
    MaskNoise,
    TruthRow,
    corrupt_classes,
    frame_truth,
    num_wrong,
    plant_frames,
    plant_masks,
    region_rows,
)
from ray_audit.training.noise.mask_noise import PlantedMasks

KINDS_OF: dict[Task, tuple[str, ...]] = {
    Task.FRAMES: tuple(FRAME_KINDS),
    Task.DENSE: tuple(MASK_KINDS),
    Task.CLASS: CLASS_KINDS,
    Task.CLIPS: CLASS_KINDS,
}
"""What labels belong to -> kinds of error."""
DEFAULT_KINDS: dict[Task, tuple[str, ...]] = {
    task: tuple(kind for kind in kinds if kind not in ("instance", "flip", "merge", "missing"))
    for task, kinds in KINDS_OF.items()
}
"""Without `instance`, which reads every image, what `drop` and `swap` do to whole classes, and what
`mislabel` does where its class is that of a neighbour."""


@dataclass(frozen=True)
class InjectionOptions:
    """What errors are asked for.

    Attributes:
        rate: fraction of sequences, masks or samples with an error.
        kinds: of errors.
        seed: of the errors.
        systematic_class: the class that `under` and `over` change; None for a random one.
    """

    rate: float
    kinds: Sequence[str]
    seed: int
    systematic_class: int | None = None


class Planted(Protocol):
    """Errors that were planted: the changes for the writers, and the truth after writing.

    Attributes:
        changes: new labels.
        kinds: kind of each error: of a sequence, a mask or a sample.
        num_items: sequences, masks or samples that could have carried one.
    """

    changes: LabelChanges
    kinds: list[str]
    num_items: int

    def truth(self, written: WrittenLabels) -> Iterator[list[TruthRow]]:
        """Rows of the truth, a sequence or a few samples at a time."""

    def regions(self) -> pa.Table | None:
        """Components of the wrong pixels; None where labels are no masks."""


def plant(
    dataset: DatasetConfig, given: GivenLabels, options: InjectionOptions, progress: Progress
) -> Planted:
    """Choose where the errors go; writes nothing.

    Raises:
        SpecificationError: the kinds cannot be planted in these labels.
    """
    if dataset.task.is_sequence:
        return _FrameErrors(dataset, given, options, progress)
    if dataset.task.is_dense:
        return _MaskErrors(dataset, given, options, progress)
    return _ClassErrors(dataset, given, options, progress)


class _Classes:
    """Class indices as the noise sees them: without those that are void too."""

    def __init__(self, dataset: DatasetConfig) -> None:
        self.writable = np.array(writable_classes(ClassNames.of(dataset)))
        self._place = np.full(len(dataset.classes) + 1, IGNORE)
        self._place[self.writable] = np.arange(len(self.writable))

    def __len__(self) -> int:
        return len(self.writable)

    def inner(self, labels: np.ndarray) -> np.ndarray:
        """From class indices, `IGNORE` staying: the last place of the table."""
        placed: np.ndarray = self._place[labels]
        return placed

    def outer(self, labels: np.ndarray) -> np.ndarray:
        """Back to class indices; only of labelled samples."""
        indices: np.ndarray = self.writable[labels]
        return indices.astype(np.int32)


class _FrameErrors:
    def __init__(
        self,
        dataset: DatasetConfig,
        given: GivenLabels,
        options: InjectionOptions,
        progress: Progress,
    ) -> None:
        self._given = given
        self._owners = {owner.key: owner for owner in given.sequence_owners()}
        classes = _Classes(dataset)
        labels = Lazy(list(self._owners), lambda key: classes.inner(self._labels(key)[1]))
        progress("planting errors", 0, len(self._owners))
        planted = plant_frames(labels, len(classes), options.rate, options.kinds, options.seed)
        self._kind_of = planted.kinds
        self.kinds = list(planted.kinds.values())
        self.num_items = len(self._owners)
        changes = {}
        for key, changed in planted.changed.items():
            differs = changed != labels[key]
            frames = self._labels(key)[0][differs]
            changes[self._owners[key]] = FrameChange(frames, classes.outer(changed[differs]))
        self.changes = LabelChanges(frames=changes, times=given.times, left_out=given.left_out)

    def _labels(self, key: str) -> tuple[np.ndarray, np.ndarray]:
        return self._given.sequence(self._owners[key])

    def regions(self) -> None:
        """None: these labels have no pixels."""

    def truth(self, written: WrittenLabels) -> Iterator[list[TruthRow]]:
        for key, owner in self._owners.items():
            if owner.shard_key in written.left_out:
                continue
            frames, true = self._labels(key)
            new = true.copy()
            change = self.changes.frames.get(owner)
            if change is not None:
                positions, labels = change.at(frames)
                new[positions] = labels
            yield frame_truth(key, frames, true, new, self._kind_of.get(key))


class _MaskErrors:
    def __init__(
        self,
        dataset: DatasetConfig,
        given: GivenLabels,
        options: InjectionOptions,
        progress: Progress,
    ) -> None:
        self._owners = {owner.key: owner for owner in given.mask_owners()}
        if not self._owners:
            raise SpecificationError(
                "labels.masks: errors are planted in masks that are files, not in those inside "
                "Parquet or tar files; unpack them first"
            )
        num_planned, num_read = num_wrong(len(self._owners), options.rate), count(1)

        def read(key: str) -> np.ndarray:
            progress("planting errors", min(next(num_read), num_planned), num_planned)
            stored = given.mask(self._owners[key])
            if not self._classes.are_indices:
                return targets_of(stored, self._classes)
            return stored.view(np.uint8) if stored.dtype.kind == "b" else stored

        self._given = given
        self._classes = ClassNames.of(dataset)
        void = sorted(self._classes.void_numbers) if self._classes.are_indices else [IGNORE]
        self._masks = Lazy(list(self._owners), read)
        noise = MaskNoise(
            ignored=tuple(void),
            systematic_class=options.systematic_class,
        )
        self._planted: PlantedMasks = plant_masks(
            self._masks, options.rate, options.kinds, options.seed, noise
        )
        self._kind_of = self._planted.kinds
        self._wrong_px: dict[str, int] = {}
        self._regions: dict[str, list[dict[str, Any]]] = {}
        self.kinds = list(self._kind_of.values())
        self.num_items = len(self._owners)
        self.changes = LabelChanges(mask=self._mask, stored=given.mask, left_out=given.left_out)

    def _mask(self, owner: Owner) -> np.ndarray | None:
        key = owner.key
        changed = self._planted.mask(key)
        if changed is not None:
            is_wrong = changed != self._masks[key]
            self._wrong_px[key] = int(is_wrong.sum())
            self._regions[key] = region_rows(key, self._kind_of[key], is_wrong)
        if changed is None or self._classes.are_indices:
            return changed
        return stored_values(self._given.mask(owner), changed, self._classes)

    def truth(self, written: WrittenLabels) -> Iterator[list[TruthRow]]:
        for key, owner in self._owners.items():
            if owner.shard_key in written.left_out:
                continue
            kind = self._kind_of.get(key)
            yield [TruthRow(key, kind is not None, kind, wrong_px=self._wrong_px.get(key, 0))]

    def regions(self) -> pa.Table:
        """The components of the wrong pixels, once the masks are written."""
        rows = [row for key in self._owners for row in self._regions.get(key, [])]
        return pa.Table.from_pylist(rows, schema=REGION_SCHEMA)


class _ClassErrors:
    def __init__(
        self,
        dataset: DatasetConfig,
        given: GivenLabels,
        options: InjectionOptions,
        progress: Progress,
    ) -> None:
        if "instance" in options.kinds and dataset.kind != "images":
            raise SpecificationError(
                "kind instance looks at the pixels of images; choose symmetric or asymmetric here"
            )
        progress("reading labels", 0, 1)
        found = dict(given.class_labels())
        features = None
        if "instance" in options.kinds:
            features, found = _with_features(given, found, progress)
        classes = _Classes(dataset)
        self._true = found
        true = np.array(list(found.values()), np.int64)
        progress("planting errors", 0, len(true))
        planted = corrupt_classes(
            classes.inner(true),
            len(classes),
            options.rate,
            options.kinds,
            options.seed,
            features=features,
        )
        new = classes.outer(planted.labels)
        self._kind_of = {
            owner: str(row.kind)
            for owner, row in zip(found, planted.truth, strict=True)
            if row.is_error
        }
        self.kinds = list(self._kind_of.values())
        self.num_items = len(found)
        self.changes = LabelChanges(
            classes={
                owner: int(label)
                for owner, label in zip(found, new, strict=True)
                if owner in self._kind_of
            },
            left_out=given.left_out,
        )

    def regions(self) -> None:
        """None: these labels have no pixels."""

    def truth(self, written: WrittenLabels) -> Iterator[list[TruthRow]]:
        for owner, label in self._true.items():
            if owner.shard_key in written.left_out:
                continue
            key = written.renamed.get(owner.shard_key, owner.shard_key)
            kind = self._kind_of.get(owner)
            yield [TruthRow(Owner(key, owner.member).key, kind is not None, kind, label)]


def _with_features(
    given: GivenLabels, labels: dict[Owner, int], progress: Progress
) -> tuple[np.ndarray, dict[Owner, int]]:
    """Features of the labelled images, and the labels of those that could be read."""
    rows, kept = [], {}
    for owner, features in given.image_features():
        if owner in labels:
            rows.append(features)
            kept[owner] = labels[owner]
            progress("reading images", len(rows), len(labels))
    return np.stack(rows) if rows else np.empty((0, 1), np.float32), kept
