"""Columns of the tables, declared once: type, unit, definition, direction and source."""

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

SCHEMA_VERSION = "1"

Direction = Literal["higher", "lower", "none", ""]


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: as in the file.
        type: Arrow type.
        definition: what it is, in one sentence.
        unit: nat, px, s, count, fraction, ...
        direction: which values are suspicious; `none` where it has no stable sign, empty where
            the column is no score.
        source: where the definition is from.
    """

    name: str
    type: pa.DataType
    definition: str
    unit: str = ""
    direction: Direction = ""
    source: str = ""

    def field(self) -> pa.Field:
        """Arrow field with the declaration as its metadata."""
        metadata = {
            "definition": self.definition,
            "unit": self.unit,
            "direction": self.direction,
            "source": self.source,
        }
        return pa.field(self.name, self.type, metadata={k: v for k, v in metadata.items() if v})


IDENTITY = (
    Column("sample_id", pa.string(), "stable name of the sample"),
    Column("shard", pa.string(), "key of the shard that holds it"),
    Column("frame_index", pa.int64(), "position in decoding order", "frame"),
    Column("pts_s", pa.float64(), "presentation time", "s"),
    Column("label", pa.int32(), "given class index; null for dense labels"),
    Column("label_name", pa.string(), "given class"),
    Column("predicted", pa.int32(), "class of the last checkpoint's largest logit"),
    Column("predicted_name", pa.string(), "predicted class"),
)

FINDINGS = (
    Column("finding_id", pa.string(), "stable over nights while the label stays as it is"),
    Column("rank", pa.int64(), "1 = look first; equal suspicions share a rank"),
    Column(
        "kind",
        pa.string(),
        "mislabel | disorder | boundary | missing_segment | missing_region | swapped_classes | "
        "shifted_boundary | wrong_mask",
    ),
    Column("shard", pa.string(), "key of the shard"),
    Column("sample_id", pa.string(), "the image, or the first frame of the segment"),
    Column("start_frame", pa.int64(), "first frame of the segment", "frame"),
    Column("end_frame", pa.int64(), "frame after the last", "frame"),
    Column("side", pa.string(), "boundary: which end of the given segment moves: start | end"),
    Column(
        "shift_frames",
        pa.int64(),
        "boundary: frames by which it moves, below 0 where to an earlier frame",
        "frame",
    ),
    # Not of a fixed size: before 26, pyarrow reads no file in which such a list is null
    # (findings/null_lists_of_a_fixed_size_cannot_be_read.sh).
    Column("box", pa.list_(pa.int32()), "x0, y0, x1, y1, exclusive", "px"),
    Column("mask_rle", pa.string(), "region as compressed COCO RLE counts (column-major)"),
    Column("mask_size_px", pa.list_(pa.int32()), "height and width of the image", "px"),
    Column("num_px", pa.int64(), "pixels of the region", "px"),
    Column("given", pa.string(), "given class"),
    Column("suggested", pa.string(), "class that the evidence speaks for"),
    Column(
        "suspicion",
        pa.float64(),
        "the higher, the sooner to be looked at",
        "fraction",
        "higher",
    ),
    Column("loss", pa.float64(), "mean loss of the given label there", "nat"),
    Column("p_given", pa.float64(), "mean probability of the given class there", "fraction"),
    Column("p_suggested", pa.float64(), "mean probability of the suggested class", "fraction"),
    Column("reason", pa.string(), "a sentence with the numbers"),
    Column("evidence", pa.list_(pa.string()), "samples to look at"),
)

CORRECTIONS = (
    Column("sample_id", pa.string(), "the image, or the first frame of the segment"),
    Column("shard", pa.string(), "key of the shard"),
    Column("start_frame", pa.int64(), "first frame of the segment", "frame"),
    Column("end_frame", pa.int64(), "frame after the last", "frame"),
    Column("finding_id", pa.string(), "the finding; null where the rule needs none"),
    Column("rule", pa.string(), "findings | flagged | adele | decisions"),
    Column(
        "outcome",
        pa.string(),
        "changed | kept | rejected | disputed | refused | conflict | unmatched",
    ),
    Column("given", pa.string(), "class before"),
    Column("corrected", pa.string(), "class after, or the one that was asked for"),
    Column("num_changed", pa.int64(), "changed pixels, frames or images", "count"),
    Column("confidence", pa.float64(), "what was held against the gate", "fraction"),
    Column("p_given", pa.float64(), "mean probability of the class before", "fraction"),
    Column("p_corrected", pa.float64(), "mean probability of the class after", "fraction"),
    Column("num_harmed", pa.float64(), "expected right labels among the changed", "count"),
    Column("evidence", pa.string(), "a sentence with the numbers"),
)

_COMPARED = frozenset(
    [
        "finding_id",
        "rank",
        "kind",
        "shard",
        "sample_id",
        "start_frame",
        "end_frame",
        "box",
        "mask_rle",
        "given",
        "suggested",
        "suspicion",
        "reason",
    ]
)
DIFF = (
    Column("change", pa.string(), "new | recurring | fixed (found no more)"),
    *(column for column in FINDINGS if column.name in _COMPARED),
    Column("finding_id_before", pa.string(), "its name in the earlier run"),
    Column("suspicion_before", pa.float64(), "its suspicion in the earlier run", "fraction"),
    Column("iou", pa.float64(), "overlap, where that and not the name matched them", "fraction"),
)

REGIONS = (
    Column("sample_id", pa.string(), "the image"),
    Column("shard", pa.string(), "key of the shard"),
    Column("region", pa.int32(), "position among the regions of the image, largest first"),
    Column("given", pa.int32(), "class index of most of its pixels; -1 where void"),
    Column("suggested", pa.int32(), "class index that the last checkpoint sees there"),
    Column("box", pa.list_(pa.int32()), "x0, y0, x1, y1, exclusive", "px"),
    Column("mask_rle", pa.string(), "as compressed COCO RLE counts (column-major)"),
    Column("mask_size_px", pa.list_(pa.int32()), "height and width of the image", "px"),
    Column("num_px", pa.int64(), "its pixels", "px"),
    Column("loss", pa.float64(), "mean loss of the given label in it", "nat"),
    Column("p_given", pa.float64(), "mean probability of the given class in it", "fraction"),
    Column("p_suggested", pa.float64(), "mean probability of the suggested class", "fraction"),
    Column("component", pa.string(), "x,y of the first pixel of the given-label component"),
    Column("component_px", pa.int64(), "pixels of that component", "px"),
    Column("outline_px", pa.int64(), "its pixels beside one that is not of it", "px"),
    Column(
        "contact_px",
        pa.int64(),
        "outline pixels at most 2 px up, down or aside of one given the suggested class",
        "px",
    ),
)

AREAS = (
    Column("sample_id", pa.string(), "the image"),
    Column("shard", pa.string(), "key of the shard"),
    Column("area", pa.int32(), "position among the areas of the image, most suspicious first"),
    Column(
        "suspicion",
        pa.float64(),
        "of the image, times 1 - p_given, times f / (f + 0.01), f its share of the image",
        "fraction",
        "higher",
        "our definition",
    ),
    Column("box", pa.list_(pa.int32()), "x0, y0, x1, y1, exclusive", "px"),
    Column("mask_rle", pa.string(), "as compressed COCO RLE counts (column-major)"),
    Column("mask_size_px", pa.list_(pa.int32()), "height and width of the image", "px"),
    Column("num_px", pa.int64(), "its pixels", "px"),
    Column("loss", pa.float64(), "mean loss of the given labels in it", "nat"),
    Column("p_given", pa.float64(), "mean probability of the given classes", "fraction"),
)

CLASS_PAIRS = (
    Column("checkpoint", pa.int32(), "position of the checkpoint, from 0"),
    Column("given", pa.string(), "given class"),
    Column("predicted", pa.string(), "another class that the checkpoint predicts"),
    Column("num", pa.int64(), "labelled elements (pixels, frames, images)", "count"),
)

ERRORS = (
    Column("shard", pa.string(), "key of the shard"),
    Column("sample_id", pa.string(), "the sample, or null where the rest of the shard is lost"),
    Column("stage", pa.string(), "read | decode | labels | probe | scores"),
    Column("error_class", pa.string(), "short name of what went wrong"),
    Column("message", pa.string(), "what was got, what was expected, what to do"),
    Column("num_samples", pa.int64(), "labelled samples lost by it", "count"),
    Column("attempts", pa.int32(), "how often it was tried", "count"),
)

FILTERED = (
    Column("sample_id", pa.string(), "stable name of the sample"),
    Column("shard", pa.string(), "key of the shard"),
    Column("frame_index", pa.int64(), "position in decoding order", "frame"),
    Column("reason", pa.string(), "unlabelled | void | not_sampled"),
)

CLASS_STATS = (
    Column("checkpoint", pa.int32(), "position of the checkpoint, from 0"),
    Column("class", pa.string(), "given class"),
    Column("num_given", pa.int64(), "labelled elements (pixels, frames, images)", "count"),
    Column("num_predicted", pa.int64(), "elements predicted as this class", "count"),
    Column("num_correct", pa.int64(), "elements of this class predicted as it", "count"),
    Column("iou", pa.float64(), "intersection over union of given and predicted", "fraction"),
    Column(
        "predicted_as",
        pa.list_(pa.int64()),
        "row of the confusion matrix; null of more than 1,000 classes (see class_pairs)",
        "count",
    ),
    Column(
        "threshold",
        pa.float64(),
        "mean probability of the class over its elements, above which confident learning counts "
        "an element as it; dense labels: at the last checkpoint only",
        "fraction",
        source="Northcutt et al. 2021, arXiv 1911.00068",
    ),
    Column(
        "onset_epoch",
        pa.int32(),
        "first checkpoint (from 1) past the onset of memorisation; the same in all rows of a class",
        "checkpoint",
        source="Liu et al. 2022, arXiv 2110.03740",
    ),
    Column("onset_reason", pa.string(), "how the onset was found, or why there is none"),
)


def arrow_schema(columns: list[Column], metadata: dict[str, str]) -> pa.Schema:
    """Arrow schema with column and file metadata."""
    return pa.schema([column.field() for column in columns], metadata=metadata)
