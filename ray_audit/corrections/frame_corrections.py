"""New labels of the frames of one video or sequence."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ray_audit.corrections.corrections_table import CorrectionRow, harm, row_of
from ray_audit.corrections.extent import refusal
from ray_audit.corrections.intents import Intent
from ray_audit.formats.labels.clocks import voted


@dataclass(frozen=True)
class CorrectedFrames:
    """New labels of one video or sequence.

    Attributes:
        labels: (R,) classes afterwards.
        rows: what became of each intent.
    """

    labels: npt.NDArray[np.int32]
    rows: list[CorrectionRow]


def correct_frames(
    frames: npt.NDArray[np.int64],
    given: npt.NDArray[np.int32],
    intents: Sequence[Intent],
    classes: Sequence[str],
    max_changed_fraction: float | None,
    label_rows: npt.NDArray[np.int64] | None = None,
) -> CorrectedFrames:
    """Apply intents to one video: whole segments, the reviewers' first, then by rank.

    Only frames that have the intent's given class change. What a reviewer decided is not touched
    by a rule. Where a segment is seen as one class and the order of segments speaks for another,
    it stays as it is.

    Args:
        frames: (R,) frames that have a label, ascending.
        given: (R,) their classes, `IGNORE` where void.
        intents: of this video.
        classes: names in index order.
        max_changed_fraction: what a rule may change of the video, 0-1, None for all of it;
            decisions may change all.
        label_rows: (R,) number of the stored label that each frame has, where one stands for
            several frames: it changes where most of them do. None where each has its own.
    """
    video = _CorrectedVideo(frames, given, list(classes))
    rows = [video.apply(intent, at) for at, intent in enumerate(i for i in intents if i.is_decided)]
    decided = video.labels.copy()
    undecided = sorted(
        (intent for intent in intents if not intent.is_decided),
        key=lambda candidate: (candidate.rank, candidate.sample_id),
    )
    at_odds = _at_odds(undecided)
    automatic = [
        row_of(
            candidate,
            "conflict",
            evidence=f"{candidate.evidence}; the order speaks for another class",
        )
        if candidate.outcome is None and (candidate.start_frame, candidate.end_frame) in at_odds
        else video.apply(candidate, at)
        for at, candidate in enumerate(undecided, len(rows))
    ]
    why = None
    if max_changed_fraction is not None:
        why = refusal(decided, video.labels, None, max_changed_fraction)
    if why is not None:
        automatic = [
            row_of(candidate, "refused", evidence=f"{why} ({candidate.evidence})")
            if row.outcome == "changed"
            else row
            for candidate, row in zip(undecided, automatic, strict=True)
        ]
        video.labels = decided
    rows += automatic
    if label_rows is not None:
        rows = video.settled(label_rows, rows)
    return CorrectedFrames(video.labels, rows)


def _at_odds(intents: Sequence[Intent]) -> set[tuple[int | None, int | None]]:
    """Spans for which a `mislabel` and a `disorder` finding want different classes."""
    new_labels: dict[tuple[int | None, int | None], set[str | None]] = {}
    for intent in intents:
        if intent.kind in ("mislabel", "disorder"):
            new_labels.setdefault((intent.start_frame, intent.end_frame), set()).add(
                intent.suggested
            )
    return {span for span, labels in new_labels.items() if len(labels) > 1}


def _as_settled(row: CorrectionRow, num: int) -> CorrectionRow:
    if row.outcome != "changed" or num == row.num_changed:
        return row
    if not num:
        why = "at most half of the frames that one stored label stands for would change"
        evidence = f"{why} ({row.evidence})"
        return replace(row, outcome="kept", evidence=evidence, num_changed=0, num_harmed=None)
    harmed = None if row.num_harmed is None else row.num_harmed * num / row.num_changed
    return replace(row, num_changed=num, num_harmed=harmed)


class _CorrectedVideo:
    def __init__(
        self, frames: npt.NDArray[np.int64], given: npt.NDArray[np.int32], classes: list[str]
    ) -> None:
        self.labels = given.copy()
        self._frames = frames
        self._given = given
        self._classes = classes
        self._taken = np.zeros(len(given), bool)
        self._held = np.zeros(len(given), bool)
        self._by = np.full(len(given), -1)

    def apply(self, intent: Intent, at: int) -> CorrectionRow:
        """Change the frames of one intent, if it is to be applied; `at` is its number."""
        affected = self._affected(intent)
        if intent.outcome is not None:
            if intent.is_decided:
                self._taken |= affected
                self._held |= affected
            return row_of(intent, intent.outcome)
        new = self._classes.index(str(intent.suggested))
        changes = affected & (self._given == self._classes.index(intent.given))
        if not changes.any():
            return row_of(intent, "unmatched", evidence="no frame there has the given class")
        intent = self._with_span(intent, changes)
        free = changes & ~self._taken
        if (self.labels[changes & self._taken] != new).any():
            return row_of(
                intent, "conflict", evidence=f"{intent.evidence}; another finding comes first"
            )
        self.labels[free] = new
        self._taken[free] = True
        self._by[free] = at
        num = int(np.count_nonzero(free & (self._given != new)))
        known = intent.p_given is not None and intent.p_suggested is not None
        harmed = None
        if known and intent.by != "decisions":
            harmed = harm(float(intent.p_given or 0), float(intent.p_suggested or 0), num)
        return row_of(intent, "changed" if num else "unmatched", num, harmed)

    def settled(
        self, label_rows: npt.NDArray[np.int64], rows: list[CorrectionRow]
    ) -> list[CorrectionRow]:
        """Give all frames of one stored label the class that most of them got, or the old one.

        Returns:
            What became of each intent, `kept` where no label changed for it.
        """
        self.labels, voters = voted(label_rows, self._given, self.labels, self._held)
        nums_written = np.bincount(self._by[voters[voters >= 0]], minlength=len(rows))
        return [_as_settled(row, int(num)) for row, num in zip(rows, nums_written, strict=True)]

    def _affected(self, intent: Intent) -> npt.NDArray[np.bool_]:
        """(R,) rows of an intent: of its span, and on to the ends of the run where it reaches.

        A span knows the frames that were looked at only. Those before the first, and after the
        last, belong to the same segment as far as their given class is the same.
        """
        start, end = np.searchsorted(
            self._frames, (intent.start_frame or 0, intent.end_frame or 0)
        ).tolist()
        affected = np.zeros(len(self._given), bool)
        affected[start:end] = True
        (same,) = np.nonzero(affected & (self._given == self._classes.index(intent.given)))
        if not len(same):
            return affected
        if intent.reach_before:
            first = self._run_start(int(same[0]))
            if self._frames[same[0]] - self._frames[first] < intent.reach_before:
                affected[first : same[0]] = True
        if intent.reach_after:
            affected[same[-1] : self._run_end(int(same[-1]))] = True
        return affected

    def _run_start(self, row: int) -> int:
        """First row of the run of one given class that a row is in."""
        (others,) = np.nonzero(self._given[:row] != self._given[row])
        return int(others[-1]) + 1 if len(others) else 0

    def _run_end(self, row: int) -> int:
        """Row after the last of that run."""
        (others,) = np.nonzero(self._given[row:] != self._given[row])
        return row + int(others[0]) if len(others) else len(self._given)

    def _with_span(self, intent: Intent, changes: npt.NDArray[np.bool_]) -> Intent:
        """The intent with a span that holds all of its frames."""
        frames = self._frames[changes]
        start, end = int(frames[0]), int(frames[-1]) + 1
        return replace(
            intent,
            start_frame=min(start, intent.start_frame or 0),
            end_frame=max(end, intent.end_frame or 0),
        )
