"""The labels that a dataset has, one video, image or mask at a time."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import TypeVar

import numpy as np

from ray_audit.config import DatasetConfig
from ray_audit.errors import LabelError, SampleError
from ray_audit.formats.accounting import UnitAccounting
from ray_audit.formats.base import BrokenOffError, Item
from ray_audit.formats.damage import is_damage, readable
from ray_audit.formats.drawn_masks import StoredMasks
from ray_audit.formats.job import UnitContext
from ray_audit.formats.labels.classes import ClassNames
from ray_audit.formats.labels.clocks import rows_at
from ray_audit.formats.labels.index import index_rows
from ray_audit.formats.labels.timeline import (
    FrameTimeline,
    SegmentTimeline,
    shard_timeline,
    table_timeline,
)
from ray_audit.formats.pixels.encoding import read_labels, targets_of
from ray_audit.formats.pixels.pictures import read_image
from ray_audit.formats.pixels.resize import resize
from ray_audit.formats.registry import format_in, known_format
from ray_audit.formats.stacks.base import MaskStack
from ray_audit.formats.stacks.open_stack import has_stacks, open_stack
from ray_audit.formats.video.frames import frame_times
from ray_audit.formats.video.stills import folder_times, is_folder
from ray_audit.sample_ids import Owner
from ray_audit.samples import IGNORE, Shard

_FEATURE_PX = 8

Value = TypeVar("Value")


class Lazy(Mapping[str, Value]):
    """A mapping that reads a value when it is asked for; the last few stay.

    Args:
        keys: all of them, in order.
        read: gives the value of a key.
    """

    def __init__(self, keys: list[str], read: Callable[[str], Value]) -> None:
        self._keys = dict.fromkeys(keys)
        self._read = lru_cache(maxsize=4)(read)

    def __getitem__(self, key: str) -> Value:
        return self._read(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


class GivenLabels:
    """Reads the labels of listed shards.

    Args:
        dataset: whose labels.
        shards: as listed.
        index_uri: where the label index lies, if there is one.

    Attributes:
        left_out: shards, and arrays in them, whose labels cannot be read, and why.
    """

    def __init__(self, dataset: DatasetConfig, shards: tuple[Shard, ...], index_uri: str) -> None:
        self._dataset = dataset
        self._shards = {shard.key: shard for shard in shards}
        self._index_uri = index_uri
        self._classes = ClassNames.of(dataset)
        self._job = UnitContext(dataset, None, index_uri, UnitAccounting("labels"))
        self.left_out: dict[str, str] = {}
        self._clocks = lru_cache(maxsize=2)(self._times_and_middles)
        self._stacks = lru_cache(maxsize=1)(self._open_stack)

    def sequence_owners(self) -> list[Owner]:
        """Videos and sequences that have labels."""
        return [o for s in self._shards.values() if s.label_digest for o in self._sequences_in(s)]

    def _sequences_in(self, shard: Shard) -> list[Owner]:
        if not known_format(shard.key).holds_several:
            return [Owner(shard.key)]
        if self._dataset.labels.arrays is None:
            rows = index_rows(shard, self._index_uri)
            parts = [] if rows is None else rows["part"].unique().to_pylist()
            return [Owner(shard.key, part) for part in parts]
        found: list[Owner] = []
        with self._leaving_out(shard.key):
            for name, read in known_format(shard.key).timelines(shard, self._job):
                owner = Owner(shard.key, name)
                if not self._job.is_named(owner):
                    continue
                with self._leaving_out(owner.key):
                    read()
                    found.append(owner)
        return found

    @contextmanager
    def _leaving_out(self, name: str) -> Iterator[None]:
        """Leave out what is damaged, and remember why."""
        try:
            yield
        except Exception as error:
            cause = error.cause if isinstance(error, BrokenOffError) else error
            if not is_damage(cause):
                raise
            self.left_out.setdefault(name, str(readable(cause)))

    def sequence(self, owner: Owner) -> tuple[np.ndarray, np.ndarray]:
        """Frames that have a label, (R,) int64 ascending, and their classes, `IGNORE` where void.

        Raises:
            LabelError: the labels of this one are wrong.
        """
        timeline = self._timeline(owner)
        if isinstance(timeline, FrameTimeline):
            frames, middles_s = timeline.frames, timeline.frames.astype(np.float64)
        elif timeline.in_seconds and self._dataset.kind == "sequences":
            middles_s = _uniform(timeline, self._dataset.frame_s)[1]
            frames = np.arange(len(middles_s))
        elif timeline.in_seconds:
            middles_s = self.times(owner)[1]
            frames = np.arange(len(middles_s))
        else:
            last = int(np.ceil(timeline.ends.max(initial=0.0) - 0.5))
            frames, middles_s = np.arange(last), np.arange(last, dtype=np.float64)
        found = [
            timeline.label(frame, middle_s)
            for frame, middle_s in zip(frames.tolist(), middles_s.tolist(), strict=True)
        ]
        kept = [index for index, label in enumerate(found) if label is not None]
        return frames[kept], np.array([found[index] for index in kept], np.int32)

    def label_rows(self, owner: Owner, frames: np.ndarray) -> np.ndarray | None:
        """Which of the labels of a frame table stands for each of the frames, (R,) int64.

        None where labels do not count on a clock of their own: then each frame has its own.
        """
        labels = self._dataset.labels
        if labels.form != "frames" or labels.fps is None:
            return None
        return rows_at(self.times(owner)[1][frames], labels.fps)

    def _timeline(self, owner: Owner) -> FrameTimeline | SegmentTimeline:
        shard = self._shards[owner.shard_key]
        if not owner.member:
            return shard_timeline(shard, self._dataset, self._index_uri)
        if self._dataset.labels.arrays is None:
            rows = index_rows(shard, self._index_uri)
            assert rows is not None
            return table_timeline(rows, owner.member)
        readers = known_format(shard.key).timelines(shard, self._job)
        try:
            return next(read for name, read in readers if name == owner.member)()
        except SampleError as error:
            raise LabelError(f"{owner.shard_key}: {error}") from error

    def times(self, owner: Owner) -> tuple[np.ndarray, np.ndarray]:
        """When each frame is shown, and its middle, (T,) seconds each."""
        return self._clocks(owner)

    def _times_and_middles(self, owner: Owner) -> tuple[np.ndarray, np.ndarray]:
        if self._dataset.kind == "sequences":
            return _uniform(self._timeline(owner), self._dataset.frame_s)
        shard = self._shards[owner.shard_key]
        if is_folder(shard.uri):
            return folder_times(shard.uri, self._dataset)
        return frame_times(shard)

    def class_labels(self) -> Iterator[tuple[Owner, int]]:
        """Class of every image, or video with one label, that has one; void ones left out."""
        for shard in self._shards.values():
            for owner, label in self._classes_in(shard):
                if label is not None and label != IGNORE:
                    yield owner, label

    def _classes_in(self, shard: Shard) -> Iterator[tuple[Owner, int | None]]:
        form = known_format(shard.key)
        if not form.holds_several:
            yield Owner(shard.key), shard.class_index
        elif self._dataset.labels.form == "images":
            rows = index_rows(shard, self._index_uri)
            if rows is not None:
                pairs = zip(rows["part"].to_pylist(), rows["label"].to_pylist(), strict=True)
                yield from ((Owner(shard.key, part), label) for part, label in pairs)
        else:
            found: list[tuple[Owner, object]] = []
            with self._leaving_out(shard.key):
                # All or nothing: a broken file cannot be rewritten.
                found = list(form.labels_in(shard, self._job))
            named = ((owner, label) for owner, label in found if self._job.is_named(owner))
            yield from ((owner, self._parsed(label)) for owner, label in named)

    def _parsed(self, value: object) -> int | None:
        """A label that is none (the audit reports it) counts as missing."""
        try:
            return None if value is None else self._classes.parse(value)
        except ValueError:
            return None

    def image_features(self) -> Iterator[tuple[Owner, np.ndarray]]:
        """Each image as 8 x 8 pixels, (192,) float32 in [0, 1]; unreadable ones are left out."""
        for item in self._images():
            try:
                owner = Owner.of_sample(item.shard, item.sample_id)
                is_there = isinstance(item.image, np.ndarray) or bool(item.image)
                if is_there and item.error is None and self._job.is_named(owner):
                    yield owner, _features(read_image(item.image, self._dataset.max_px))
            except SampleError:
                continue

    def _images(self) -> Iterator[Item]:
        shards = tuple(self._shards.values())
        form = format_in(self._dataset, shards[0].key)
        for group in [shards] if form.is_small else [(shard,) for shard in shards]:
            with self._leaving_out(group[0].key):
                yield from form.read(group, self._job)

    def mask_owners(self) -> list[Owner]:
        """Images that are files and have a mask, or frames with one."""
        shards = [shard for shard in self._shards.values() if shard.label_uri]
        if shards and has_stacks(self._dataset, shards[0]):
            return [owner for shard in shards for owner in self._frames_of(shard)]
        return [Owner(shard.key) for shard in shards]

    def _frames_of(self, shard: Shard) -> list[Owner]:
        with self._leaving_out(shard.key):
            frames = self._stacks(shard).frames.tolist()
            return [Owner(shard.key, str(frame)) for frame in frames]
        return []

    def _open_stack(self, shard: Shard) -> MaskStack:
        return open_stack(shard, self._dataset, self._job.tally)

    def mask(self, owner: Owner) -> np.ndarray:
        """An index mask as `read_mask` gives it.

        Raises:
            SampleError: it cannot be read, or holds values that are no class.
        """
        shard = self._shards[owner.shard_key]
        if has_stacks(self._dataset, shard):
            mask = self._stacks(shard).mask(int(owner.member))
        else:
            stored = StoredMasks(self._dataset, self._index_uri, [shard]).stored(shard)
            assert stored is not None  # as its owner is one of `mask_owners`
            mask = read_labels(stored, self._dataset, self._classes)
        targets_of(mask, self._classes)
        return mask


def _uniform(
    timeline: FrameTimeline | SegmentTimeline, frame_s: float
) -> tuple[np.ndarray, np.ndarray]:
    """Times and middles of a sequence's frames, up to the end of its last segment."""
    assert isinstance(timeline, SegmentTimeline)
    frames = np.arange(int(np.ceil(timeline.ends.max(initial=0.0) / frame_s - 0.5)))
    return frames * frame_s, (frames + 0.5) * frame_s


def _features(pixels: np.ndarray) -> np.ndarray:
    small = resize(pixels, (_FEATURE_PX, _FEATURE_PX))
    return np.broadcast_to(small, (_FEATURE_PX, _FEATURE_PX, 3)).astype(np.float32).ravel()
