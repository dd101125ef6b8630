"""The section `dataset`: what is audited, and where its labels are."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    model_validator,
)

from ray_audit.config.class_files import named_classes
from ray_audit.config.cutting import ClipConfig, FoldConfig, TileConfig, VolumeConfig
from ray_audit.config.section import Section, Uri
from ray_audit.layouts import Expansion, expanded
from ray_audit.task import Task

Overlap = Literal["error", "first", "last", "drop"]

TEMPLATE_FIELDS = ("key", "path", "name", "stem", "folder")
_Classes = Annotated[list[str | int], Field(min_length=1)] | dict[str, str | int] | str
_TEMPLATES = ("frames", "segments", "masks", "arrays", "frame_arrays")
_FIELD = re.compile(r"\{([^{}]*)\}")


class LabelColumns(Section):
    """Names of the columns of a label table."""

    video: str = "video"
    """Which shard a row belongs to: its key, file name, stem or array name."""
    frame: str = "frame"
    """Index of a frame in decoding order, from 0."""
    image: str = "image"
    """Which image a row belongs to."""
    label: str = "label"
    """The label: a class name or index."""
    start_frame: str = "start_frame"
    """First frame of a segment."""
    end_frame: str = "end_frame"
    """End of a segment, exclusive."""
    start_s: str = "start_s"
    """Start of a segment, in seconds or as a clock text (`01:02:03.45`)."""
    end_s: str = "end_s"
    """End of a segment, in seconds, exclusive."""
    start_ms: str = "start_ms"
    """Start of a segment, in milliseconds."""
    end_ms: str = "end_ms"
    """End of a segment, in milliseconds, exclusive."""


class LabelsConfig(Section):
    """Where the labels are: exactly one of the forms `frames` to `arrays`."""

    frames: Uri | None = None
    """A table with a row per frame (`video, frame, label`), CSV, JSON or Parquet; or a template
    such as `{stem}.csv`, one file per video without the video column. Goes with video and
    sequences.
    """
    segments: Uri | None = None
    """A table with a row per segment: `video, start_frame, end_frame` (exclusive) or
    `start_s, end_s`, and `label`; or a template. Goes with video and sequences."""
    videos: Uri | None = None
    """A table with one label per video (`video, label`). Goes with video."""
    masks: Uri | None = None
    """Index masks by template, such as `masks/{stem}.png`. Goes with images; and with video, where
    it names the masks of frames: `masks/{stem}/*.png`, a volume or a lossless video."""
    images: Uri | None = None
    """A table with a row per image (`image, label`). Goes with images."""
    folder: bool = False
    """Whether the folder of an image or video names its class. Goes with images and video."""
    column: str | None = None
    """The label's column in Parquet and Arrow, its extension in tar (or its path in a JSON member:
    `json.label`), or its array in npz, HDF5 and MATLAB files. Goes with images."""
    image_column: str = "image"
    """The image's column in Parquet, beside `column`; or the array of all images."""
    key_column: str | None = None
    """The column or array that names a sample, beside `column`; the row's number where absent."""
    arrays: str | None = None
    """The label array beside the feature array in npz, HDF5 and MATLAB files, such as `{key}_label`
    or `{folder}/labels`. Goes with sequences."""
    frame_arrays: str | None = None
    """The array of frame indices, beside `arrays`, such as `{key}_frame`."""
    match: Annotated[str, Field(min_length=1)] | None = None
    """A regular expression that is searched for in the key of each file. A template uses its groups
    as `{1}`, `{2}` or by name; in a table the first group is what a row calls the file. With
    `arrays`, it is searched for in the name of each array: those without it are no features."""
    columns: LabelColumns = LabelColumns()
    """Names of the columns, where they are other than the usual."""
    header: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)] | None = None
    """Names of the fields of a text table that has no line with them, such as `[video, label]`.
    Where there is one file per video and no frame among them, each row is a frame."""
    delimiter: Literal["comma", "semicolon", "tab", "blanks"] | None = None
    """What parts the fields of a text table; its first line tells where absent."""
    comment: Annotated[str, Field(min_length=1)] | None = None
    """What begins a line of a text table to leave out, such as `#`."""
    rows: Annotated[str, Field(min_length=1)] | None = None
    """Where the rows of a JSON document lie: names with dots between them, `*` for every element
    or value, `{video}` for every value of an object whose name is a column, such as
    `database.{video}.annotations.*`. The columns are paths then, too: `segment.0`; one with `*`
    gives a row for each element. Goes with tables."""
    values: dict[int | str, int | str] | Uri | None = None
    """What stored values mean: a mapping from a number, a text, a colour (`#804080`) or a range
    (`0..10`) to a class name or `void`; or a CSV or JSON file of it. What is not listed is an
    error."""
    first_value: int | None = None
    """The stored number of the first class, where numbers do not count from 0; void values stay
    those that are stored."""
    channel: Annotated[int, Field(ge=0, le=3)] | None = None
    """Which channel of a colour mask holds the class, from 0. Goes with masks."""
    variable: Annotated[str, Field(min_length=1)] | None = None
    """Which array of a mask's npz, HDF5 or MATLAB file is the mask, such as `GTcls.Segmentation`;
    the only one where absent. Goes with masks."""
    fps: Annotated[float, Field(gt=0)] | None = None
    """Frames a second of the labels' own clock, where frame numbers of the table are not those of
    the video: number n stands for the time from n / fps to (n + 1) / fps. Goes with frames and
    segments."""
    first_frame: Annotated[int, Field(ge=0)] = 0
    """The number of the first frame, where the table does not count from 0. Goes with frames and
    segments, and with masks whose file names hold numbers."""
    ends: Literal["exclusive", "inclusive"] = "exclusive"
    """Whether `end_frame` is the frame behind a segment, or its last one. Goes with segments."""
    overlap: Overlap = "error"
    """What holds where rows claim one frame: the first or the last of them in the table, no label
    (drop), or it is an error. Goes with frames and segments."""

    @property
    def form(self) -> str:
        """The one form that is given, e.g. `frames` or `masks`."""
        return self._forms()[0]

    def _forms(self) -> list[str]:
        forms = ("frames", "segments", "videos", "masks", "images", "folder", "column", "arrays")
        return [form for form in forms if getattr(self, form)]

    @model_validator(mode="after")
    def _templates_use_known_fields(self) -> Self:
        known = list(TEMPLATE_FIELDS)
        if self.match is not None:
            known += _groups(self.match)
            if self._forms() and self.form in ("folder", "column"):
                raise ValueError(f"match does not go with {self.form}: those labels have no names")
        for key in _TEMPLATES:
            for name in _FIELD.findall(getattr(self, key) or ""):
                if name not in known:
                    fields = ", ".join(f"{{{one}}}" for one in known)
                    raise ValueError(
                        f"{key}: {{{name}}} is no field of a template; known are {fields}"
                        + ("" if self.match else ", and the groups of match")
                    )
        return self

    @model_validator(mode="after")
    def _exactly_one_form(self) -> Self:
        forms = self._forms()
        if len(forms) != 1:
            got = ", ".join(forms) or "none"
            raise ValueError(
                "give exactly one of frames, segments, videos, masks, images, folder, column, "
                f"arrays; got {got}"
            )
        if self.values is not None and self.first_value is not None:
            raise ValueError("give values or first_value, not both")
        is_timed = self.frames is not None or self.segments is not None
        if not is_timed and (self.fps or self.overlap != "error"):
            raise ValueError("fps and overlap go with frames or segments")
        if not is_timed and self.first_frame and "*" not in (self.masks or ""):
            raise ValueError(
                "first_frame goes with frames or segments, or with masks in a file each (`*`)"
            )
        if self.ends != "exclusive" and self.segments is None:
            raise ValueError("ends goes with segments: other labels have none")
        is_table = is_timed or self.videos is not None or self.images is not None
        if not is_table and (self.header or self.delimiter or self.comment or self.rows):
            raise ValueError("header, delimiter, comment and rows go with tables of labels")
        if self.header and len(set(self.header)) != len(self.header):
            raise ValueError("header: names must be unique; name the others as you like")
        if self.variable is not None and self.masks is None:
            raise ValueError("variable goes with masks only: it is the array that is the mask")
        if self.channel is not None and self.masks is None:
            raise ValueError("channel goes with masks only: it is the channel of a colour mask")
        return self


def _groups(pattern: str) -> list[str]:
    """Names of a pattern's groups, as a template has them.

    Raises:
        ValueError: it is no pattern, or has no group.
    """
    try:
        compiled = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"match is no regular expression: {error}") from error
    if not compiled.groups:
        raise ValueError("match has no group: put what labels call a file into parentheses")
    return [*map(str, range(1, compiled.groups + 1)), *compiled.groupindex]


class DatasetConfig(Section):
    """The dataset: what is audited, and what its labels are."""

    # Never dumped: a manifest holds what they stand for, whatever a later recipe says.
    layout: Annotated[str, Field(min_length=1)] | None = Field(None, exclude=True)
    """A published layout that stands for the keys below (`ray-audit layouts` lists them), or the
    file of a recipe of your own (`.yaml`). Keys that are given beside it win."""
    root: Uri | None = Field(None, exclude=True)
    """The folder in which a dataset of that layout lies. Goes with layout."""
    kind: Literal["video", "images", "sequences"]
    """What a shard holds; sequences are feature sequences in npy or npz."""
    uri: Uri | list[Uri]
    """A glob, a path or a list of them; local, `s3://`, or any fsspec URI."""
    labels: LabelsConfig
    """Where the labels are."""
    classes: Annotated[
        list[str],
        Field(min_length=1),
        BeforeValidator(lambda given: given, json_schema_input_type=_Classes),
    ]
    """Class names in index order; or a mapping of numbers and names; or a file of either, JSON or
    text with a name a line. Labels may be names or indices (`values` where both)."""
    void: list[int | str] = []
    """Label values that mean "not labelled"."""
    clip: ClipConfig = ClipConfig()
    """How a video or a sequence is cut."""
    tile: TileConfig | None = None
    """How a large image with a mask is cut; the whole image where absent."""
    volume: VolumeConfig | None = None
    """How volumes are cut into slices: NIfTI, MetaImage, NRRD, DICOM; pages of TIFF and GIF only
    where this is given. Goes with images."""
    max_px: Annotated[float, Field(gt=0)] = 3.0e8
    """A larger image, or video frame, is refused before it is decoded, in pixels; so is one of more
    than 256 MiB of pixels and 100 times the stored bytes of its file."""
    split: Uri | None = None
    """A text file that names a key, path, file name or stem a line, as `ImageSets` of PASCAL VOC
    and `.bundle` files do: only these are audited. Goes with one file per sample."""
    fold: FoldConfig | None = None
    """A part of the dataset; everything where absent."""
    orientation: Literal["stored", "display"] = "stored"
    """Of a video's frames. stored: as decoded; display: turned and mirrored by the file's display
    matrix, as players do. Goes with video."""
    axes: Literal["TD", "DT"] = "TD"
    """Of feature arrays. TD: one row per frame; DT: one column per frame. Goes with sequences."""
    fps: Annotated[float, Field(gt=0)] | None = None
    """Frames a second of feature sequences, which gives them a clock for labels in seconds. Goes
    with sequences."""

    _expansion: Expansion | None = PrivateAttr(None)

    @property
    def expansion(self) -> Expansion | None:
        """What `layout` stands for; None where there is none."""
        return self._expansion

    @property
    def frame_s(self) -> float:
        """Seconds a frame of a sequence; 1 where it has no clock, and nothing is in seconds."""
        return 1.0 if self.fps is None else 1.0 / self.fps

    @property
    def is_by_frame(self) -> bool:
        """Whether each image, frame or slice with a mask goes to the model alone, not in a clip."""
        is_alone = self.clip.frames == 1 or (self.kind == "images" and self.volume is None)
        return self.labels.masks is not None and is_alone

    @property
    def task(self) -> Task:
        """What a label of this dataset belongs to."""
        if self.labels.masks is not None:
            return Task.DENSE
        if self.kind == "images":
            return Task.CLASS
        return Task.CLIPS if self.labels.form in ("videos", "folder") else Task.FRAMES

    @model_validator(mode="wrap")
    @classmethod
    def _layout_expanded(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(values, dict) or values.get("layout") is None:
            if isinstance(values, dict) and values.get("root") is not None:
                raise ValueError("root goes with layout, which says how the dataset lies below it")
            return handler(values)
        expansion = expanded(values)
        names = {"layout": values["layout"], "root": expansion.root}
        self = handler({**expansion.values, **names})
        self._expansion = expansion
        return self

    @model_validator(mode="before")
    @classmethod
    def _classes_as_given(cls, values: Any) -> Any:
        """Names in index order; where they come with numbers, labels count from the first."""
        if not isinstance(values, dict) or "classes" not in values:
            return values
        names, first = named_classes(values["classes"])
        values = {**values, "classes": names}
        labels = values.get("labels")
        if not first or not isinstance(labels, dict) or labels.get("values") is not None:
            return values
        if labels.get("first_value") not in (None, first):
            raise ValueError(
                f"classes count from {first}, and labels.first_value is {labels['first_value']}: "
                "give one of them, or labels.values"
            )
        return {**values, "labels": {**labels, "first_value": first}}

    @model_validator(mode="before")
    @classmethod
    def _masks_are_of_single_frames(cls, values: Any) -> Any:
        """Most models of masks look at one frame: a clip of several must be asked for."""
        if not isinstance(values, dict):
            return values
        if values.get("kind") != "video" and values.get("volume") is None:
            return values
        labels, clip = values.get("labels"), values.get("clip", {})
        if not isinstance(labels, dict) or not labels.get("masks") or not isinstance(clip, dict):
            return values
        return {**values, "clip": {"frames": 1, **clip}}

    @model_validator(mode="after")
    def _clock_fits_the_kind(self) -> Self:
        if self.axes != "TD" and self.kind != "sequences":
            raise ValueError(f"axes goes with kind sequences; got kind {self.kind}")
        uris = [self.uri] if isinstance(self.uri, str) else self.uri
        of_folders = self.kind == "video" and any(uri.endswith("/") for uri in uris)
        if self.fps is not None and self.kind != "sequences" and not of_folders:
            raise ValueError(
                f"fps goes with kind sequences, whose arrays have no clock, and with folders of "
                f"frames (uri: frames/*/); got kind {self.kind}"
            )
        if self.fps is None and of_folders:
            raise ValueError("fps is missing: images in folders have no clock; give their rate")
        if self.volume is not None and self.kind != "images":
            raise ValueError(f"volume goes with kind images; got kind {self.kind}")
        if self.orientation != "stored" and self.kind != "video":
            raise ValueError(f"orientation goes with kind video; got kind {self.kind}")
        return self

    @model_validator(mode="after")
    def _labels_fit_the_kind(self) -> Self:
        allowed = {
            "video": ("frames", "segments", "videos", "folder", "masks"),
            "images": ("masks", "images", "folder", "column"),
            "sequences": ("arrays", "frames", "segments"),
        }[self.kind]
        if self.labels.form not in allowed:
            raise ValueError(
                f"labels.{self.labels.form} does not go with kind {self.kind}; "
                f"expected one of {', '.join(allowed)}"
            )
        twice = sorted({name for name in self.classes if self.classes.count(name) > 1})
        if twice:
            raise ValueError(f"classes: names must be unique, and {twice[0]!r} is there twice")
        if self.tile is not None and self.labels.form != "masks":
            raise ValueError("tile goes with labels.masks only: a tile has no label of its own")
        if self.tile is not None and self.kind == "video" and self.clip.frames != 1:
            raise ValueError("tile does not go with clips of several frames; give clip.frames: 1")
        return self
