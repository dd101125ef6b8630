"""Columns of the tables, declared once: type, unit, definition, direction and source."""

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

SCHEMA_VERSION = "1"

Direction = Literal["higher", "lower", "none", ""]

_LOSS_KNOWS = "Alwis et al. 2026, arXiv 2602.15154"
_LAD = "Lad and Mueller 2023, arXiv 2307.05080"
_CARTOGRAPHY = "Swayamdipta et al. 2020"


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


def _score(name: str, definition: str, unit: str, direction: Direction, source: str = "") -> Column:
    return Column(name, pa.float64(), definition, unit, direction, source)


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

TRAJECTORY = (
    _score("csl", "mean loss over all checkpoints", "nat", "higher", _LOSS_KNOWS),
    _score("final_loss", "loss at the last checkpoint", "nat", "higher"),
    _score("early_loss", "mean loss over the first half of the checkpoints", "nat", "higher"),
    _score("late_loss", "mean loss over the rest; null with one checkpoint", "nat", "higher"),
    _score("loss_std", "population spread of the loss over checkpoints", "nat", "none"),
    _score("loss_max", "largest loss over checkpoints", "nat", "higher"),
    Column("num_checkpoints", pa.int32(), "checkpoints that scored the sample", "count"),
    _score(
        "el2n",
        "mean norm of probabilities minus one-hot label",
        "1",
        "higher",
        "Paul et al. 2021, arXiv 2107.07075",
    ),
    _score(
        "correctness", "checkpoints that predict the given label", "count", "lower", _CARTOGRAPHY
    ),
    _score(
        "learning_time",
        "first checkpoint (from 1) from which on the label is always predicted; null if never",
        "checkpoint",
        "higher",
        "our definition",
    ),
    _score(
        "csg",
        "sum over checkpoints of the squared norm of the loss's input gradient",
        "1",
        "higher",
        "Memorization Through the Lens of Sample Gradients, ICLR 2026",
    ),
    _score("confidence", "mean probability of the given label", "fraction", "lower", _CARTOGRAPHY),
    _score(
        "variability",
        "population spread of the given label's probability",
        "fraction",
        "none",
        _CARTOGRAPHY,
    ),
    _score(
        "aum",
        "mean margin of the given label's logit over the best other",
        "logit",
        "lower",
        "Pleiss et al. 2020, arXiv 2001.10528",
    ),
    _score("prob_margin", "mean margin of the given label's probability", "fraction", "lower"),
    _score(
        "forgetting",
        "transitions from right to wrong between checkpoints; null for dense labels",
        "count",
        "none",
        "Toneva et al. 2019, arXiv 1812.05159",
    ),
)

SUGGESTED = (
    Column(
        "suggested",
        pa.int32(),
        "class other than the given with most probability over checkpoints; null for dense labels",
        source="our definition",
    ),
    Column("suggested_name", pa.string(), "suggested class"),
    Column(
        "p_suggested",
        pa.float64(),
        "its probability, mean over checkpoints (0 where it is not the best other class)",
        "fraction",
    ),
)

_VOG_SOURCE = "Agarwal et al. 2022, arXiv 2008.11600"


def vog_columns(target: str) -> tuple[Column, ...]:
    """VoG columns; only the spread of the loss's gradient has a direction."""
    direction: Direction = "higher" if target == "loss" else "none"
    what = f"mean over pixels of the spread over checkpoints of the input gradient ({target})"
    return (
        _score("vog", what, "1", direction, _VOG_SOURCE),
        _score("vog_z", "vog in standard deviations within its label", "1", direction, _VOG_SOURCE),
    )


VOG_BY_CLASS = (
    Column(
        "vog_by_class",
        pa.list_(pa.float64()),
        "vog over the pixels of each given class, in class order; null where it has none",
        "1",
        "none",
        _VOG_SOURCE,
    ),
)

SEQUENCE = (
    _score(
        "csl_segment", "csl averaged over the given-label segment of the frame", "nat", "higher"
    ),
    _score(
        "order_nll",
        "how unusual the steps into and out of the frame's segment, and its duration, are; labels "
        "only",
        "nat",
        "higher",
        "our definition",
    ),
    _score(
        "boundary_shift",
        "how far the checkpoints see the neighbouring segment's class from its boundary to here",
        "fraction",
        "higher",
        "our definition",
    ),
    Column(
        "boundary_frame",
        pa.int64(),
        "where the nearest boundary would then be: first frame of the later segment; null where "
        "nothing speaks for a shift",
        "frame",
    ),
)

DENSE = (
    _score("softmin", "soft minimum over pixels of p(given class)", "fraction", "lower", _LAD),
    _score(
        "softmin_interior",
        "soft minimum without the 1-px band along label boundaries",
        "fraction",
        "lower",
        "Lad and Mueller 2023; band: our definition",
    ),
    _score("cil", "mean over pixels of p(given class)", "fraction", "lower", _LAD),
    _score("ccp", "share of pixels predicted as labelled", "fraction", "lower", _LAD),
    _score("tccp", "best agreement of thresholded class maps", "fraction", "lower", "our reading"),
    _score("iou", "mean IoU of prediction and given mask", "fraction", "lower", _LAD),
    _score("coco", "mean p(given class) over components", "fraction", "lower", "our reading"),
    _score("clc", "1 - share of pixels flagged by confident learning", "fraction", "lower", _LAD),
    _score(
        "void_evidence",
        "how surely the later checkpoints see one class in an unlabelled region; null without one",
        "fraction",
        "higher",
        "our definition",
    ),
    Column("num_labelled_px", pa.int64(), "labelled pixels", "px"),
)

SUSPICION = (
    _score(
        "suspicion", "default ranking: the larger, the sooner to be looked at", "fraction", "higher"
    ),
)

FINDINGS = (
    Column("finding_id", pa.string(), "stable over nights while the label stays as it is"),
    Column("rank", pa.int64(), "1 = look first; equal suspicions share a rank"),
    Column(
        "kind",
        pa.string(),
        "mislabel | disorder | boundary | missing_region | swapped_classes | shifted_boundary",
    ),
    Column("shard", pa.string(), "key of the shard"),
    Column("sample_id", pa.string(), "the image, or the first frame of the segment"),
    Column("start_frame", pa.int64(), "first frame of the segment", "frame"),
    Column("end_frame", pa.int64(), "frame after the last", "frame"),
    Column("box", pa.list_(pa.int32(), 4), "x0, y0, x1, y1, exclusive", "px"),
    Column("mask_rle", pa.string(), "region as compressed COCO RLE counts (column-major)"),
    Column("mask_size_px", pa.list_(pa.int32(), 2), "height and width of the image", "px"),
    Column("num_px", pa.int64(), "pixels of the region", "px"),
    Column("given", pa.string(), "given class"),
    Column("suggested", pa.string(), "class that the evidence speaks for"),
    _score("suspicion", "the higher, the sooner to be looked at", "fraction", "higher"),
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
    Column("box", pa.list_(pa.int32(), 4), "x0, y0, x1, y1, exclusive", "px"),
    Column("mask_rle", pa.string(), "as compressed COCO RLE counts (column-major)"),
    Column("mask_size_px", pa.list_(pa.int32(), 2), "height and width of the image", "px"),
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
    Column("predicted_as", pa.list_(pa.int64()), "row of the confusion matrix", "count"),
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


def trajectory_columns(num_checkpoints: int) -> list[Column]:
    """Columns of the `trajectories` table: one list entry a checkpoint, in order."""
    each = pa.list_(pa.float32(), num_checkpoints)
    return [
        IDENTITY[0],
        Column("loss", each, "loss at each checkpoint", "nat", "higher"),
        Column("p_label", each, "probability of the given label", "fraction", "lower"),
        Column("margin", each, "logit margin of the given label", "logit", "lower"),
    ]


def score_columns(dense: bool, sequence: bool, families: list[str], target: str) -> list[Column]:
    """Columns of the `scores` table for a kind of dataset and the families asked for."""
    columns = [*IDENTITY, *TRAJECTORY, *SUGGESTED]
    if "vog" in families:
        columns += vog_columns(target)
        columns += VOG_BY_CLASS if dense else ()
    if sequence:
        columns += SEQUENCE
    if dense:
        columns += DENSE if "softmin" in families else DENSE[-1:]
    return [*columns, *SUSPICION]


def arrow_schema(columns: list[Column], metadata: dict[str, str]) -> pa.Schema:
    """Arrow schema with column and file metadata."""
    return pa.schema([column.field() for column in columns], metadata=metadata)
