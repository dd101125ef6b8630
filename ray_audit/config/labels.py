"""The section `dataset.labels`: where the labels are, and how they are written."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from ray_audit.config.categories import is_document
from ray_audit.config.mask_numbers import check_number
from ray_audit.config.section import Section, Uri

Overlap = Literal["error", "first", "last", "drop"]

TEMPLATE_FIELDS = ("key", "path", "name", "stem", "folder")
_TEMPLATES = ("frames", "segments", "masks", "arrays", "frame_arrays")
_MASK_TABLES = (".csv", ".tsv", ".txt", ".lst", ".jsonl", ".ndjson", ".parquet", ".pq")
_FIELD = re.compile(r"\{([^{}]*)\}")


class LabelColumns(Section):
    """Names of the columns of a label table."""

    video: str = "video"
    """Which shard a row belongs to: its key, file name, stem or array name."""
    frame: str = "frame"
    """Index of a frame in decoding order, from 0."""
    image: str = "image"
    """Which image a row belongs to."""
    mask: str = "mask"
    """The path of an image's mask, where `labels.masks` is a table."""
    label: str | Annotated[list[str], Field(min_length=2)] = "label"
    """The label: a class name or index; or a list of columns named as the classes are, one of
    which is 1 in each row and the others 0, such as `[MEL, NV, BCC]`."""
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
    duration_frames: str = "duration_frames"
    """Number of a segment's frames, in place of its end."""
    duration_s: str = "duration_s"
    """Duration of a segment, in seconds or as a clock text, in place of its end."""
    duration_ms: str = "duration_ms"
    """Duration of a segment, in milliseconds, in place of its end."""


class LabelsConfig(Section):
    """Where the labels are: exactly one of the forms `frames` to `arrays`."""

    frames: Uri | None = None
    """A table with a row per frame (`video, frame, label`), CSV, JSON or Parquet; or a template
    such as `{stem}.csv`, one file per video without the video column; or a pattern of several such
    tables (`data/*/*.parquet`). Goes with video and sequences.
    """
    segments: Uri | None = None
    """A table with a row per segment: `video, start_frame, end_frame` (exclusive) or
    `start_s, end_s`, and `label`; or a template. A duration may stand in place of an end
    (`duration_frames`, `duration_s`). Goes with video and sequences."""
    videos: Uri | None = None
    """A table with one label per video (`video, label`). Goes with video."""
    masks: Uri | None = None
    """Index masks by template, such as `masks/{stem}.png`. Goes with images; and with video, where
    it names the masks of frames: `masks/{stem}/*.png`, a volume or a lossless video. With images,
    `*` stands for several files of one image, whose pixels above 0 are put together (as one class,
    where it stands for a class's name, as it does in all images or in none); in npz, HDF5 and
    MATLAB files it is the array of all masks, beside `image_column`. A COCO document
    (`instances_train2017.json`) of which the masks of images are drawn: later annotations lie above
    earlier ones (`overlap`), crowds below all. A table (`train.csv`, `image, mask`) that names the
    mask file of each image, by a path below the table's folder or one above it."""
    images: Uri | None = None
    """A table with a row per image (`image, label`). Goes with images."""
    folder: bool = False
    """Whether the folder of an image or video names its class, or with `match` the first group of
    it in the key, such as `^([a-z]+)[.]` of `cat.0.jpg`. Goes with images and video."""
    column: str | None = None
    """The label's column in Parquet and Arrow, its extension in tar (or its path in a JSON member:
    `json.label`), or its array in npz, HDF5 and MATLAB files. Goes with images."""
    image_column: str = "image"
    """The image's column in Parquet, beside `column`; or the array of all images."""
    image_axis: Literal["first", "last"] = "first"
    """Along which axis of `image_column` images lie in files of arrays, and masks beside them in
    theirs; last: (H, W, C, N), as in SVHN, and (H, W, N)."""
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
    Where there is one file per video and no frame among them, each row is a frame. A field of two
    frame numbers, such as `1-30`, is `start_frame-end_frame`."""
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
    number: Annotated[str, AfterValidator(check_number)] | None = None
    """Arithmetic that makes the number of a mask's pixel of its channels: R, G and B, or V of one
    channel, whole numbers and `+ - * // %`, such as `R // 10 * 256 + G`. Goes with masks that are
    image files."""
    panoptic: Uri | None = None
    """A COCO panoptic document: the colours of the masks are numbers of segments, and it says what
    category each has. Goes with masks that are image files."""
    variable: Annotated[str, Field(min_length=1)] | None = None
    """Which array of an npz, HDF5 or MATLAB file is the mask, such as `GTcls.Segmentation`, or the
    labels; the only one where absent. Goes with masks and tables."""
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
    """What holds where rows claim one frame, or objects of a COCO document one pixel: the first or
    the last of them in the table, no label (drop), or it is an error (of objects: the last). Goes
    with frames, segments and masks of a COCO document."""

    @property
    def document(self) -> str | None:
        """The COCO document of which masks are drawn, or that says what their numbers are."""
        return self.masks if is_document(self.masks) else self.panoptic

    @property
    def has_mask_table(self) -> bool:
        """Whether `masks` is a table that names the mask of each image."""
        masks = (self.masks or "").lower().removesuffix(".gz")
        return masks.endswith(_MASK_TABLES) and not set("{*") & set(masks)

    @property
    def is_drawn(self) -> bool:
        """Whether masks are made of a document, or their numbers of channels."""
        return self.document is not None or self.number is not None

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
            if self._forms() and self.form == "column":
                raise ValueError("match does not go with column: those labels have no names")
        for key in _TEMPLATES:
            for name in _FIELD.findall(getattr(self, key) or ""):
                if name not in known:
                    fields = ", ".join(f"{{{field}}}" for field in known)
                    raise ValueError(
                        f"{key}: {{{name}}} is no field of a template; known are {fields}"
                        + ("" if self.match else ", and the groups of match")
                    )
        return self

    @model_validator(mode="after")
    def _exactly_one_form(self) -> Self:
        forms = self._forms()
        if len(forms) != 1:
            given = ", ".join(forms) or "none"
            raise ValueError(
                "give exactly one of frames, segments, videos, masks, images, folder, column, "
                f"arrays; got {given}"
            )
        if self.values is not None and self.first_value is not None:
            raise ValueError("give values or first_value, not both")
        is_timed = self.frames is not None or self.segments is not None
        can_overlap = is_timed or is_document(self.masks)
        if (self.fps and not is_timed) or (self.overlap != "error" and not can_overlap):
            raise ValueError("fps and overlap go with frames or segments")
        if not is_timed and self.first_frame and "*" not in (self.masks or ""):
            raise ValueError(
                "first_frame goes with frames or segments, or with masks in a file each (`*`)"
            )
        if self.ends != "exclusive" and self.segments is None:
            raise ValueError("ends goes with segments: other labels have none")
        is_table = is_timed or bool(self.videos or self.images) or self.has_mask_table
        if not is_table and (self.header or self.delimiter or self.comment or self.rows):
            raise ValueError("header, delimiter, comment and rows go with tables of labels")
        if self.header and len(set(self.header)) != len(self.header):
            raise ValueError("header: names must be unique; name the others as you like")
        if self.variable is not None and self.masks is None and not is_table:
            raise ValueError("variable goes with masks and tables: it is the array that is read")
        self._check_drawn()
        if self.channel is not None and self.masks is None:
            raise ValueError("channel goes with masks only: it is the channel of a colour mask")
        return self

    def _check_drawn(self) -> None:
        given = [key for key in ("number", "panoptic", "channel", "variable") if getattr(self, key)]
        is_of_files = self.masks is not None and not is_document(self.masks)
        if (self.number or self.panoptic) and not is_of_files:
            raise ValueError(f"{given[0]} goes with masks that are image files")
        if len(given) > 1 or (given and is_document(self.masks)):
            raise ValueError(f"{' and '.join(given)}: give one way to read masks")


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
