"""How a dataset is cut: clips, tiles, slices of volumes, folds; parts of the section `dataset`."""

import math
from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    model_validator,
)

from ray_audit.config.section import Auto, Count, Section, Uri


class ClipConfig(Section):
    """How a video or a sequence is cut: lengths in sampled frames."""

    frames: Count | None = 32
    """Frames of a clip; null gives the whole sequence to the model as one unpadded clip. With masks
    on frames 1 where absent: each frame is an image by itself."""
    stride: Count | None = None
    """Frames between the starts of two clips; half a clip where absent, so that each frame sees
    its neighbours; a whole one where `model.input.layout` gives the model single frames."""
    every: Count = 1
    """Take each n-th frame; the others are filtered as not sampled."""
    slice_frames: Auto | Count | None = "auto"
    """Videos of at least twice as many frames are decoded in slices by several tasks, with equal
    results; null: never; auto: about a minute of decoding (6e9 pixels, at least 16 clips), for mp4
    and mov files of 64 MiB and more."""

    @property
    def step(self) -> int:
        """Sampled frames between clip starts; half a clip where `stride` is absent."""
        if self.stride is not None:
            return self.stride
        return max(1, (self.frames or 2) // 2)

    @model_validator(mode="after")
    def _stride_leaves_no_gap(self) -> Self:
        if self.frames is not None and self.step > self.frames:
            raise ValueError(
                f"stride {self.step} is larger than frames {self.frames}: frames between clips "
                "would be lost; use `every` to sample"
            )
        return self


class TileConfig(Section):
    """How a large image with a mask is cut into square tiles."""

    size: Count
    """Side of a tile, in pixels."""
    overlap: Annotated[int, Field(ge=0)] = 0
    """Pixels that neighbouring tiles share; below `size`."""

    @model_validator(mode="after")
    def _overlap_below_size(self) -> Self:
        if self.overlap >= self.size:
            raise ValueError(f"overlap {self.overlap} must be smaller than size {self.size}")
        return self


class VolumeConfig(Section):
    """How a volume is cut into slices, each a sample `<key>#<index>`, and which values it has."""

    axis: Annotated[int, Field(ge=0, le=2)] | None = None
    """Along which axis of the array slices lie, from 0; height and width of a slice are the other
    two, in their order. NIfTI and NRRD have (x, y, z) and slices along 2, MetaImage, DICOM and
    pages have (z, y, x) and slices along 0, where absent."""
    window: tuple[float, float] | None = None
    """The values (scaled as the header says) that become 0 and 1, such as `[-160, 240]`; what lies
    beyond is cut off. Unsigned values of 8 or 16 bits need none."""
    channel: Annotated[int, Field(ge=0)] | None = None
    """Which volume along the fourth axis is read, from 0, where there are several."""

    @model_validator(mode="after")
    def _window_is_a_range(self) -> Self:
        if self.window is not None:
            low, high = self.window
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise ValueError(f"window [{low:g}, {high:g}] is no range; expected low < high")
        return self


class EpisodesConfig(Section):
    """Videos that lie one after another in video files: a table with a row for each of them."""

    uri: Uri
    """The table (CSV, JSON or Parquet), or a pattern of several."""
    video: str = "video"
    """The column that names the file: its key, file name or stem; or a name that is made of
    columns, with zeros before numbers, such as `chunk-{chunk_index:03}/file-{file_index:03}`."""
    episode: str = "episode"
    """The column with the episode's name, which follows the file's key: `<key>/<episode>`."""
    start_s: str = "start_s"
    """The column that says when it begins in its file, in seconds."""
    end_s: str = "end_s"
    """The column that says when it ends, exclusive."""
    match: str | None = None
    """A regular expression over the files' keys; its groups are `{1}`, `{2}` in the names above."""


class FoldConfig(Section):
    """Part of a dataset, for models that never saw a sample; written by `train --folds`."""

    num: Annotated[int, Field(ge=2)]
    """How many folds there are."""
    index: Annotated[int, Field(ge=0)]
    """Which of them, from 0."""
    part: Literal["held_out", "rest"] = "held_out"
    """held_out: the fold itself; rest: all others."""
    seed: int = 0
    """Of the hash that deals samples out to folds."""
    group: str | None = None
    """A regular expression: samples whose names match alike stay in one fold."""

    @model_validator(mode="after")
    def _index_below_num(self) -> Self:
        if self.index >= self.num:
            raise ValueError(f"fold {self.index} of {self.num}: folds count from 0")
        return self
