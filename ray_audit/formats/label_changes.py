"""What a writer is given, and what it gives back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from ray_audit.config import DatasetConfig
from ray_audit.sample_ids import Owner

MaskOf = Callable[[Owner], np.ndarray | None]
TimesOf = Callable[[Owner], tuple[np.ndarray, np.ndarray]]
Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True)
class FrameChange:
    """New labels of some frames of one video or sequence.

    Attributes:
        frames: (R,) int64 frame indices, ascending.
        labels: (R,) int32 class indices.
    """

    frames: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        if self.frames.shape != self.labels.shape or (np.diff(self.frames) <= 0).any():
            raise ValueError(f"frames {self.frames.shape}, labels {self.labels.shape}")

    def at(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions in `frames` (any order, unique) that get a new label, and these labels."""
        found = np.searchsorted(self.frames, frames)
        found[found == len(self.frames)] = 0
        positions = np.flatnonzero(self.frames[found] == frames) if len(self.frames) else found[:0]
        return positions, self.labels[found[positions]]


@dataclass(frozen=True)
class LabelChanges:
    """New labels; every sample that is not named keeps its label.

    An owner is what labels belong to: a shard key, and the array or member in it. Only labels
    that exist can change: a void or missing one stays.

    Attributes:
        frames: new labels per frame, of videos and sequences.
        classes: new class index, of images and of videos with one label.
        mask: gives the new mask, (H, W) upright as `read_mask` gives it, or None where it stays.
            Asked once an owner in the order of the listing, so that an iterator can stand behind
            it and one mask at a time is in memory.
        stored: gives a mask as it is, where masks that are drawn have to be written anew.
        times: when each frame is shown, in decoding order, and its middle, (T,) float64 seconds
            each; needed where segments are in seconds.
        left_out: shards, or `shard key#array`, whose labels cannot be read, and why; such shards
            are not copied.
    """

    frames: Mapping[Owner, FrameChange] = field(default_factory=dict)
    classes: Mapping[Owner, int] = field(default_factory=dict)
    mask: MaskOf = lambda owner: None
    stored: MaskOf | None = None
    times: TimesOf | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class WrittenLabels:
    """A copy of a dataset's labels.

    Attributes:
        dataset: the dataset section of a specification that reads the copy; `uri` differs where
            the labels lie in the data themselves.
        renamed: shard keys that changed: of the images that moved to another class folder.
        left_out: shards, or `shard key#member`, that are not in the copy or not corrected, and why.
    """

    dataset: DatasetConfig
    renamed: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def notes(self) -> list[str]:
        """A sentence for each of them."""
        return [f"Left out: {name}: {why}" for name, why in self.left_out.items()]
