"""One finding, its stable name, and its row of the `findings` table."""

from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter
from typing import Literal

import pyarrow as pa

from ray_audit.schemas import FINDINGS, arrow_schema
from ray_audit.storage import digest

Kind = Literal[
    "mislabel",
    "disorder",
    "boundary",
    "missing_segment",
    "missing_region",
    "swapped_classes",
    "shifted_boundary",
    "wrong_mask",
]
"""`mislabel`: a wrong class. `disorder`: a segment out of the dataset's order. `boundary`: a
segment that begins or ends too early or too late. `missing_segment`: a stretch within a segment
that is one of another class. `missing_region`: a region of a class that the mask lacks.
`swapped_classes`: two classes of one mask exchanged. `shifted_boundary`: an outline drawn too
small, too large or beside the structure. `wrong_mask`: a mask as a whole, whose losses form a
group apart."""

Side = Literal["start", "end"]
"""Which boundary of a segment."""

MAX_EVIDENCE = 5


@dataclass(frozen=True)
class Finding:
    """Something offered for review.

    Attributes:
        kind: what seems to be wrong.
        shard: shard key.
        sample_id: the image, or the first frame of the segment.
        given: class name of the given label.
        suggested: class name that the evidence speaks for; None where it names none.
        suspicion: 0 to 1, higher = look first.
        reason: a sentence with the numbers.
        anchor: what names the given-label segment or component within the sample: does not
            change as long as the label does not.
        evidence: sample ids to look at, at most `MAX_EVIDENCE`.
        start_frame: first frame (video and sequences); of a mask, its frame or its slice.
        end_frame: frame after the last.
        side: which boundary of the given segment moves (`boundary`).
        shift_frames: frames by which it moves, below 0 where it moves to an earlier frame.
        box: x0, y0, x1, y1, exclusive (masks).
        mask_rle: COCO RLE counts of the region, compressed, over the whole image.
        mask_size_px: height and width of the image.
        num_px: pixels of the region.
        loss: mean loss of the given label there, nat.
        p_given: mean probability of the given class there.
        p_suggested: mean probability of the suggested class there.
    """

    kind: Kind
    shard: str
    sample_id: str
    given: str
    suggested: str | None
    suspicion: float
    reason: str
    anchor: str
    evidence: tuple[str, ...] = ()
    start_frame: int | None = None
    end_frame: int | None = None
    side: Side | None = None
    shift_frames: int | None = None
    box: tuple[int, int, int, int] | None = None
    mask_rle: str | None = None
    mask_size_px: tuple[int, int] | None = None
    num_px: int | None = None
    loss: float | None = None
    p_given: float | None = None
    p_suggested: float | None = None

    @property
    def finding_id(self) -> str:
        """The same on every night on which this label is found wrong in this way."""
        is_segment = self.start_frame is not None and self.mask_rle is None
        where = self.shard if is_segment else self.sample_id
        return digest(where, self.anchor, self.kind, self.given)[:16]


def findings_table(findings: Iterable[Finding], metadata: dict[str, str]) -> pa.Table:
    """Findings as rows of the `findings` table; ranks are given later, over all parts."""
    schema = arrow_schema(list(FINDINGS), metadata)
    known = [name for name in schema.names if name != "rank"]
    rows = list(map(attrgetter(*known), findings))
    columns = dict(zip(known, zip(*rows, strict=True), strict=True)) if rows else {}
    arrays = [pa.array(columns.get(each.name, [None] * len(rows)), each.type) for each in schema]
    return pa.table(arrays, schema=schema)
