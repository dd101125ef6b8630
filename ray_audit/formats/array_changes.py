"""Labels in arrays: which array belongs to which, and new labels in one."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ray_audit.config import LabelsConfig
from ray_audit.errors import LabelError
from ray_audit.formats.array_files import (
    ArrayFile,
)
from ray_audit.formats.array_labels import flat_labels
from ray_audit.formats.label_changes import FrameChange, LabelChanges
from ray_audit.formats.labels.classes import ClassNames
from ray_audit.formats.labels.names import fill_template, matched_groups, stem_of_name
from ray_audit.formats.labels.relabel import is_label, relabelled
from ray_audit.sample_ids import Owner
from ray_audit.samples import Shard

Change = Callable[[ArrayFile, np.ndarray, ClassNames], tuple[np.ndarray, int]]
"""Gives the new labels of an array, and how many of them changed."""


def label_changes(
    shard: Shard, names: list[str], labels: LabelsConfig, changes: LabelChanges
) -> dict[str, Change]:
    """Label arrays that change, and how."""
    if labels.form == "masks":
        return {str(labels.masks): partial(_new_masks, shard, labels, changes)}
    if labels.form == "column":
        column = str(labels.column)
        is_changed = any(owner.shard_key == shard.key for owner in changes.classes)
        return {column: partial(_new_classes, shard, labels, changes)} if is_changed else {}
    return {
        companion_array(str(labels.arrays), name, labels): partial(
            _new_frames, name, labels, changes.frames[owner]
        )
        for name in feature_names(names, labels)
        if (owner := Owner(shard.key, name)) in changes.frames
    }


def _new_frames(
    name: str,
    labels: LabelsConfig,
    change: FrameChange,
    file: ArrayFile,
    values: np.ndarray,
    classes: ClassNames,
) -> tuple[np.ndarray, int]:
    frame_array = companion_array(labels.frame_arrays, name, labels) if labels.frame_arrays else ""
    frames = np.arange(len(values))
    if frame_array in file.names:
        frames = flat_labels(file.array(frame_array), frame_array).astype(np.int64)
    positions, new = change.at(frames)
    return _relabelled(values, dict(zip(positions.tolist(), new.tolist(), strict=True)), classes)


def _keys(file: ArrayFile, labels: LabelsConfig, num: int) -> list[str]:
    if labels.key_column is None:
        return [str(index) for index in range(num)]
    return [str(key) for key in flat_labels(file.array(labels.key_column), "key").tolist()]


def _new_masks(
    shard: Shard,
    labels: LabelsConfig,
    changes: LabelChanges,
    file: ArrayFile,
    values: np.ndarray,
    classes: ClassNames,
) -> tuple[np.ndarray, int]:
    new, num_written = values.copy(), 0
    for at, key in enumerate(_keys(file, labels, len(values))):
        mask = changes.mask(Owner(shard.key, key))
        if mask is None:
            continue
        new[at] = mask.reshape(values.shape[1:])
        if not np.array_equal(new[at].reshape(mask.shape), mask):
            raise LabelError(
                f"a mask of {shard.key}#{key} has values up to {mask.max()}, which do not fit "
                f"{values.dtype}"
            )
        num_written += 1
    return new, num_written


def _new_classes(
    shard: Shard,
    labels: LabelsConfig,
    changes: LabelChanges,
    file: ArrayFile,
    values: np.ndarray,
    classes: ClassNames,
) -> tuple[np.ndarray, int]:
    keys = _keys(file, labels, len(values))
    found = {at: changes.classes.get(Owner(shard.key, key)) for at, key in enumerate(keys)}
    return _relabelled(values, {at: new for at, new in found.items() if new is not None}, classes)


def feature_names(names: list[str], labels: LabelsConfig) -> list[str]:
    """Arrays that hold features: those in which `match` is found, but not labels or frames."""
    templates = [t for t in (labels.arrays, labels.frame_arrays) if t]
    named = [name for name in names if matched_groups(labels.match, name) is not None]
    label_arrays = {
        companion_array(template, name, labels) for template in templates for name in named
    }
    return [name for name in named if name not in label_arrays]


def companion_array(template: str, name: str, labels: LabelsConfig) -> str:
    """The array that a template names for another."""
    return fill_template(template, name, matched_groups(labels.match, name), stem_of_name)


def _relabelled(
    values: np.ndarray, changed: dict[int, int], classes: ClassNames
) -> tuple[np.ndarray, int]:
    new: list[Any] = values.tolist()
    num_written = 0
    for position, label in changed.items():
        if is_label(new[position], classes):
            new[position] = relabelled(new[position], label, classes)
            num_written += 1
    dtype = None if values.dtype.kind in "US" else values.dtype
    try:
        array = np.array(new, dtype=dtype)
    except (OverflowError, ValueError) as error:
        raise LabelError(f"an array of labels of type {values.dtype}: {error}") from error
    return array, num_written
