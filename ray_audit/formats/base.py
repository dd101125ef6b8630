"""What the code of a stored format says and does; `registry` knows which there are."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, ClassVar, NamedTuple, Protocol

import numpy as np

from ray_audit.config import DatasetConfig, LabelsConfig
from ray_audit.formats.job import UnitContext
from ray_audit.formats.label_changes import LabelChanges
from ray_audit.formats.labels.index import index_rows
from ray_audit.formats.labels.timeline import Labels, Timeline
from ray_audit.sample_ids import Owner
from ray_audit.samples import Shard, Slice

Stored = bytes | IO[bytes] | np.ndarray
"""As a file has it; or decoded already, (H, W, C) of an image and (H, W) of a mask."""


@dataclass(frozen=True)
class Item:
    """One image that has not been decoded.

    Attributes:
        sample_id: its name.
        shard: value of the shard column.
        image: as stored.
        label: its label value as stored; None where unlabelled.
        class_index: its label where that is parsed already, `IGNORE` where void.
        mask: its mask as stored; None where unlabelled.
        mask_uri: where a mask that is a file lies.
        error: why it cannot be decoded, found while reading.
    """

    sample_id: str
    shard: str
    image: Stored = b""
    label: object = None
    class_index: int | None = None
    mask: Stored | None = None
    mask_uri: str | None = None
    error: Exception | None = None


@dataclass(frozen=True)
class Frame:
    """One sampled frame.

    Attributes:
        frame_index: position in decoding order (for npz: what the frame array says).
        pts_s: presentation time, or None where the container gives none.
        label: class index, `IGNORE` where void, None where unlabelled.
        values: (C, H, W) pixels, or (D,) features.
    """

    frame_index: int
    pts_s: float | None
    label: int | None
    values: np.ndarray


class BrokenOffError(Exception):
    """The rest of a container cannot be read.

    Args:
        num_left: items in the rest.
        cause: why.
        is_of_fold: whether `num_left` are those of the dataset's fold alone.
    """

    def __init__(self, num_left: int, cause: Exception, is_of_fold: bool = False) -> None:
        super().__init__(num_left, cause)
        self.num_left = num_left
        self.cause = cause
        self.is_of_fold = is_of_fold


class StoredSequence(NamedTuple):
    """A feature sequence with its labels.

    Attributes:
        key: what the names of its frames begin with.
        features: (T, D) float32.
        frames: (T,) int64, the number of each row's frame.
        timeline: its labels.
    """

    key: str
    features: np.ndarray
    frames: np.ndarray
    timeline: Labels


class FrameReader(Protocol):
    """Gives the frames of one video, as far as it can be decoded."""

    def frames(self) -> Iterator[Frame]:
        """Sampled frames in order; an error ends them, and is kept for `report_lost`."""

    @property
    def frame_size(self) -> tuple[int, ...]:
        """Height and width of the frames before they are resized, once one was given."""

    def report_lost(self) -> None:
        """Record labels of frames that were not reached, or do not exist; after the frames."""


class FrameIndex(Protocol):
    """What of a long video is known without decoding it, to cut it into slices."""

    @property
    def num_frames(self) -> int:
        """T."""

    @property
    def frame_s(self) -> float:
        """Seconds a frame."""

    @property
    def middles_s(self) -> np.ndarray:
        """(T,) float64, the middle of each frame's time."""

    @property
    def first(self) -> np.ndarray | None:
        """(H, W, C) its first frame; None where it is too short to be cut."""

    def part(self, number: int, num_slices: int, bounds: "SliceBounds") -> Slice:
        """A slice, with what its decoding needs."""

    def begins_at(self, part: Slice) -> bool:
        """Whether decoding can begin where a slice does."""


class SliceBounds(NamedTuple):
    """Frames of a slice: the first that is decoded, its own, and the end of what it needs."""

    first_frame: int
    own_start: int
    own_stop: int
    stop_frame: int


class Format:
    """A stored format: one instance, in the registry.

    What is damaged raises what its library raises; who calls makes it a row of `errors`, and
    leaves the file out of corrected labels. Sizes are bounded before anything is decoded
    (`storage.inflates_too_far`, `dataset.max_px`). A file is never held whole where it can be
    streamed.

    Attributes:
        name: of the format, in messages.
        kind: of the datasets that it goes with: video, images or sequences.
        kinds: all of these, where it goes with several.
        extensions: endings of file names, in lower case, without the dot.
        forms: forms of `dataset.labels` that lie in the files themselves (or in their paths).
        holds_several: whether a file holds several samples that labels name one by one; others
            are one sample, or one sequence, by the file's own name.
        is_small: whether files are so small that they are read in groups.
        is_volume: whether a file is one sample by its name, of which each slice is an image with a
            mask, `<shard key>#<index>`; `dataset.volume` says how it is cut.
        takes_window: whether `dataset.volume` says how its values become pixels, all the same.
    """

    name: ClassVar[str]
    kind: ClassVar[str]
    extensions: ClassVar[tuple[str, ...]]
    forms: ClassVar[frozenset[str]] = frozenset()
    holds_several: ClassVar[bool] = False
    is_small: ClassVar[bool] = False
    is_volume: ClassVar[bool] = False
    takes_window: ClassVar[bool] = False

    def check(self, shard: Shard, labels: LabelsConfig) -> None:
        """Look at the first file of a dataset, before anything is read.

        Raises:
            SpecificationError: the dataset's keys do not fit what is in it.
        """

    def names(self, shard: Shard, labels: LabelsConfig) -> Iterator[str]:
        """Names of the samples in a file that holds several, without reading their content.

        They are what follows the shard key in a sample's name. A damaged file gives those that
        come before the damage, then raises.
        """
        return iter(())

    def read(self, shards: tuple[Shard, ...], job: UnitContext) -> Iterator[Item]:
        """Images of some files, in order, not decoded; labels and masks beside or within them.

        Args:
            shards: several where `is_small`, else one.
            job: the dataset, and the tally that takes what cannot be read.

        Raises:
            BrokenOffError: the rest of a file cannot be read, and how many samples it has.
        """
        raise TypeError(f"{self.name} holds no images")

    def sequences(self, shard: Shard, job: UnitContext) -> Iterator[StoredSequence]:
        """Feature sequences of a file; what cannot be read is recorded in the job's tally."""
        raise TypeError(f"{self.name} holds no feature sequences")

    def frames(self, shard: Shard, job: UnitContext, timeline: Timeline | None) -> FrameReader:
        """Reads the frames of a video.

        Args:
            shard: the video.
            job: the dataset, the part that is read, and the tally that takes what is no sample.
            timeline: labels of its frames; None where it has one label.
        """
        raise TypeError(f"{self.name} holds no frames")

    def is_indexed(self, shard: Shard) -> bool:
        """Whether the frames of a video are known without reading all of it."""
        return False

    def frame_index(self, shard: Shard, dataset: DatasetConfig, least_frames: int) -> FrameIndex:
        """Looks at a video that may be cut into slices, if it has so many frames."""
        raise TypeError(f"{self.name} holds no frames")

    def timelines(
        self, shard: Shard, job: UnitContext
    ) -> Iterator[tuple[str, Callable[[], Labels]]]:
        """Names of the sequences whose labels lie in a file, and what reads these.

        A reader works until the next name is asked for.
        """
        raise TypeError(f"labels of sequences do not lie in files of {self.name}")

    def labels_in(self, shard: Shard, job: UnitContext) -> Iterator[tuple[Owner, object]]:
        """Labels that lie in a file, as stored."""
        for item in self.read((shard,), job):
            yield Owner.of_sample(shard.key, item.sample_id), item.label

    def write(
        self,
        shard: Shard,
        dataset: DatasetConfig,
        changes: LabelChanges,
        to_uri: str,
        left_out: dict[str, str],
    ) -> int:
        """Copy a file with new labels in it; everything else stays as it is.

        Args:
            shard: the file.
            dataset: its labels lie in the file.
            changes: the new labels; without any, what a copy must not have is left out all the
                same.
            to_uri: of the copy, which appears whole or not at all.
            left_out: takes what is not in the copy, by `shard key#member`, and why.

        Returns:
            How many new labels were written.

        Raises:
            LabelError: a new label does not fit the format.
        """
        raise TypeError(f"labels do not lie in files of {self.name}")

    def class_names(self, shard: Shard, labels: LabelsConfig) -> list[str]:
        """What a file itself says that stored numbers stand for, in their order, if it does."""
        return []

    def not_written(self, shard: Shard, labels: LabelsConfig) -> str | None:
        """Why labels that lie in this file cannot be written back; None where they can."""
        return None

    def is_clean(self, shard: Shard) -> bool:
        """Whether a file in which no label changes may be copied byte for byte."""
        return True

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of the datasets that it goes with."""
        return (self.kind,)

    @property
    def endings(self) -> tuple[str, ...]:
        """Endings of its file names, with the dot."""
        return tuple(f".{extension}" for extension in self.extensions)


def table_labels(shard: Shard, job: UnitContext) -> dict[str, int]:
    """Labels of the images in a container, from the index of a label table."""
    if job.dataset.labels.form != "images":
        return {}
    rows = index_rows(shard, job.index_uri)
    if rows is None:
        return {}
    return dict(zip(rows["part"].to_pylist(), rows["label"].to_pylist(), strict=True))
