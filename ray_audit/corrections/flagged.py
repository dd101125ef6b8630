"""The most suspicious samples of a run, whatever its findings."""

from collections.abc import Collection, Iterator

import numpy as np
import pyarrow as pa

from ray_audit.corrections.intents import Gate, Intent, Outcome, sentence
from ray_audit.scores.ranking import RankHistogram

COLUMNS = (
    "sample_id",
    "shard",
    "frame_index",
    "label_name",
    "suggested_name",
    "confidence",
    "p_suggested",
    "suspicion",
)
"""Columns of the `scores` table that are read for labels of frames, images and videos."""


def below_one(suspicion: pa.ChunkedArray) -> np.ndarray:
    """Suspicion - 1, NaN where unknown: the histogram's bins are narrow around zero."""
    values: np.ndarray = suspicion.to_numpy().astype(np.float64) - 1.0
    return values


def is_flagged(suspicion: pa.ChunkedArray, all_of_them: RankHistogram, num: int) -> np.ndarray:
    """Which of some samples are among the `num` most suspicious of a run, (N,) bool.

    Equal suspicions of which not all would fit are left out, and unknown ones.

    Args:
        suspicion: of the samples.
        all_of_them: suspicion - 1 of all samples of the run.
        num: how many.
    """
    values = below_one(suspicion)
    total = int(all_of_them.counts.sum())
    num_above = all_of_them.num_above(values)
    # The rank is (lower + not higher) / 2 total: what is as suspicious or more is what is left.
    num_not_above = total - num_above
    num_lower = np.rint(2 * total * np.nan_to_num(all_of_them.cdf(values))) - num_not_above
    flagged: np.ndarray = ~np.isnan(values) & (total - num_lower <= num)
    return flagged


def flagged_intents(
    scores: pa.Table, gate: Gate, writable: Collection[str], every: int
) -> Iterator[Intent]:
    """What is to become of flagged frames, images or videos.

    Args:
        scores: their rows, with `COLUMNS`.
        gate: how sure the checkpoints must be.
        writable: class names that a label can have.
        every: a frame stands for this many, up to the next that was looked at; the first of a
            segment also for those before it.
    """
    for row in scores.select(COLUMNS).to_pylist():
        label, frame = row["suggested_name"], row["frame_index"]
        confidence = gate.of(row["confidence"], row["p_suggested"])
        outcome: Outcome | None = None
        if label not in writable:
            outcome = "unmatched"
        elif (
            confidence is None
            or confidence <= gate.confidence
            or row["label_name"] in gate.unlearnt
        ):
            outcome = "kept"
        why = f"suspicion {row['suspicion']:.3f}"
        if row["label_name"] in gate.unlearnt:
            why += f"; {row['label_name']!r} was never learnt"
        if confidence is not None:
            said = sentence(row["confidence"], row["p_suggested"])
            why += f"; {said}; confidence {confidence:.2f}, gate {gate.confidence:g}"
        yield Intent(
            sample_id=row["sample_id"],
            shard=row["shard"],
            given=row["label_name"],
            suggested=label,
            by="flagged",
            outcome=outcome,
            confidence=confidence,
            evidence=why,
            start_frame=frame,
            end_frame=None if frame is None else frame + every,
            p_given=row["confidence"],
            p_suggested=row["p_suggested"],
            # Nobody looked at the frames before the first of a segment that was looked at.
            reach_before=float(every),
        )
