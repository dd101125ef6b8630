"""What is to become of each finding: from the findings and the reviewers' decisions to intents.

Pure: tables in, intents out. Where a label changes in the end is up to `segments`, `masks` and the
writers.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ray_audit.errors import LabelError
from ray_audit.findings.decisions import Decision, MergedDecisions

Rule = Literal["findings", "flagged", "adele", "decisions"]
Outcome = Literal["changed", "kept", "rejected", "disputed", "refused", "conflict", "unmatched"]
"""`changed`: written. `kept`: not confident enough. `rejected`: by a reviewer. `disputed`:
reviewers disagree. `refused`: it would change too much of the sample, or empty it. `conflict`: two
findings want different labels for the same frames. `unmatched`: the labels there are not the given
ones, or there is no class to write."""

MOVED_KINDS = ("swapped_classes", "shifted_boundary")
"""Kinds whose region holds labels of both classes, each to become the other."""

WHOLE_MASK = "wrong_mask"
"""Kind of masks that are wrong somewhere: no one class is right for all of their pixels."""

WHOLE_SEGMENTS = ("mislabel", "disorder")
"""Kinds of segments that are wrong from their first frame to their last."""


@dataclass(frozen=True)
class Gate:
    """How sure the checkpoints must be.

    Attributes:
        confidence: 0-1, to be exceeded.
        memorised: the given labels were learnt: their own probability says nothing, and the
            suggested class is held against the other classes.
        unlearnt: class names that no checkpoint has learnt: labels of these stay, since a model
            that never predicts a class cannot tell its right labels from its wrong ones.
        kinds: of findings that may change labels; all where None.
        of_segments: to be exceeded by segments that are wrong as a whole; as all others where None.
        prior: share of labels that are wrong, 0-1: what is held against the gate is then the
            probability that the label is; without it where None.
        weighed_by: share of labels taken to be wrong, 0-1, where the probabilities of findings are
            those that a class is right, the label itself taken into account (`unseen_labels`);
            None where they are what the checkpoints say.
        sureness: beside that, to be exceeded by p(suggested) / (p(suggested) + p(given)) as the
            last checkpoint says them.
        samples: in which findings may change labels; all where None.
        least_p: of the suggested class of a segment, to be exceeded.
        whole_masks: whether findings of whole masks may change them, wherever in them.
    """

    confidence: float
    memorised: bool = False
    unlearnt: frozenset[str] = frozenset()
    kinds: frozenset[str] | None = None
    of_segments: float | None = None
    prior: float | None = None
    weighed_by: float | None = None
    sureness: float = 0.0
    samples: frozenset[str] | None = None
    least_p: float = 0.0
    whole_masks: bool = False

    def needed(self, finding: Mapping[str, Any]) -> float:
        """What a finding must exceed: a row with `kind` and `start_frame`."""
        is_segment = finding["start_frame"] is not None and finding["kind"] in WHOLE_SEGMENTS
        return self.of_segments if is_segment and self.of_segments is not None else self.confidence

    def of(self, p_given: float | None, p_suggested: float | None) -> float | None:
        """What is held against `confidence`, 0-1; None where a probability is unknown.

        p(suggested) / (p(suggested) + p(given)); where memorised p(suggested) / (1 - p(given)).
        With a prior both are weighed by it, as two hypotheses: the label is wrong, or right.

        >>> gates = Gate(0.8), Gate(0.8, memorised=True)
        >>> round(gates[0].of(0.1, 0.3), 3), round(gates[1].of(0.1, 0.45), 3)
        (0.75, 0.5)
        """
        if p_given is None or p_suggested is None:
            return None
        if self.prior is not None:
            p_suggested *= self.prior
            p_given *= 1 - self.prior
        against = 1.0 - p_given if self.memorised else p_given + p_suggested
        # A probability is a mean of float32 values: a rounding error must not make it 1.0000001.
        return min(1.0, p_suggested / against) if against > 0 else None


@dataclass(frozen=True)
class Intent:
    """A label that is to change, or that is to be left alone.

    Attributes:
        sample_id: the image, or the first frame of the segment.
        shard: value of the shard column.
        given: class name of the label there.
        suggested: class name to write; None where there is none.
        by: `decisions` where a reviewer said so, else the rule.
        outcome: why it is not to be applied; None where it is.
        confidence: what was held against the gate.
        evidence: a sentence with the numbers.
        finding_id: the finding, if there is one.
        kind: of the finding.
        rank: of the finding; the better goes first.
        start_frame: first frame of a segment.
        end_frame: frame after the last.
        mask_rle: region of a mask.
        mask_size_px: height and width of the image.
        p_given: mean probability of the given class.
        p_suggested: mean probability of the class to write, where it is the suggested one.
        reach_before: frames; those of the given class before the span change along where their
            segment begins less than this many before it: 0 for none.
        reach_after: whether those of the given class after the span change along.
    """

    sample_id: str
    shard: str
    given: str
    suggested: str | None
    by: Rule
    outcome: Outcome | None
    confidence: float | None
    evidence: str
    finding_id: str | None = None
    kind: str = ""
    rank: int = 0
    start_frame: int | None = None
    end_frame: int | None = None
    mask_rle: str | None = None
    mask_size_px: tuple[int, int] | None = None
    p_given: float | None = None
    p_suggested: float | None = None
    reach_before: float = 0.0
    reach_after: bool = False

    @property
    def is_decided(self) -> bool:
        """A reviewer's word stands behind it, or several do not agree: no rule touches it."""
        return self.by == "decisions" or self.outcome in ("rejected", "disputed")


FINDING_COLUMNS = (
    "finding_id",
    "rank",
    "kind",
    "shard",
    "sample_id",
    "start_frame",
    "end_frame",
    "side",
    "mask_rle",
    "mask_size_px",
    "given",
    "suggested",
    "p_given",
    "p_suggested",
)
"""Columns of the `findings` table that are read."""


def check_decisions(decisions: MergedDecisions, classes: Sequence[str]) -> None:
    """Refuse labels that are no class.

    Raises:
        LabelError: names the finding.
    """
    for finding_id, decision in decisions.agreed.items():
        if decision.label is not None and decision.label not in classes:
            raise LabelError(
                f"decisions: finding {finding_id} is to become {decision.label!r}, which is none "
                f"of {', '.join(classes)}"
            )


def intents_of(
    findings: Sequence[dict[str, Any]],
    decisions: MergedDecisions,
    rule: Rule,
    gate: Gate,
    writable: Collection[str],
) -> Iterator[Intent]:
    """What is to become of findings: rejected ones stay, accepted ones are always applied.

    Args:
        findings: rows with `FINDING_COLUMNS`.
        decisions: of the reviewers.
        rule: findings that nobody decided have an intent with the rule `findings` only.
        gate: for those; of masks it is asked pixel by pixel later.
        writable: class names that a label can have.
    """
    for row in findings:
        agreed = decisions.agreed.get(row["finding_id"])
        several = decisions.disputed.get(row["finding_id"], ())
        if several and _is_one_word(row, several):
            yield _decided(row, several[0], writable)
        elif several:
            yield _intent(row, row["suggested"], "decisions", "disputed", _disputed(several))
        elif agreed is not None and not _is_left_to_rule(row, agreed, rule):
            yield _decided(row, agreed, writable)
        elif rule == "findings":
            yield _proposed(row, gate, writable)


def _is_one_word(row: dict[str, Any], several: Sequence[Decision]) -> bool:
    """Whether those who accept, and those who name the class themselves, want the same one."""
    if row["kind"] == WHOLE_MASK or any(d.decision == "reject" for d in several):
        return False
    return len({d.label or row["suggested"] for d in several}) == 1


def _is_left_to_rule(row: dict[str, Any], decision: Decision, rule: Rule) -> bool:
    """Whether a reviewer only said that a mask is wrong, and the rule may say how."""
    return (row["kind"], decision.decision, rule) == (WHOLE_MASK, "accept", "findings")


def _decided(row: dict[str, Any], decision: Decision, writable: Collection[str]) -> Intent:
    said = f"{decision.reviewer}: {decision.decision} ({decision.time})"
    if decision.decision == "reject":
        return _intent(row, row["suggested"], "decisions", "rejected", said)
    if row["kind"] == WHOLE_MASK:
        why = f"{said}; no one class is right for a whole mask: draw it anew"
        return _intent(row, None, "decisions", "unmatched", why)
    label = decision.label or row["suggested"]
    outcome: Outcome | None = None if label in writable else "unmatched"
    return _intent(row, label, "decisions", outcome, said)


def _disputed(several: Sequence[Decision]) -> str:
    said = (f"{d.reviewer}: {d.decision}{f' to {d.label}' if d.label else ''}" for d in several)
    return "reviewers disagree: " + "; ".join(said)


def _proposed(row: dict[str, Any], gate: Gate, writable: Collection[str]) -> Intent:
    label = row["suggested"]
    if row["kind"] != WHOLE_MASK and label not in writable:
        return _intent(row, label, "findings", "unmatched", f"{label!r} cannot be written")
    why_kept = _why_kept(row, gate)
    if why_kept is not None:
        return _intent(row, label, "findings", "kept", why_kept)
    if row["mask_rle"] is not None:
        return _intent(row, label, "findings", None, f"rank {row['rank']}, {row['kind']}")
    confidence = gate.of(row["p_given"], row["p_suggested"])
    if confidence is None:
        return _intent(row, label, "findings", "kept", "no probabilities are known")
    if row["start_frame"] is not None and not row["p_suggested"] > gate.least_p:
        why = f"{label!r} has a mean probability of {row['p_suggested']:.2f} only"
        return _intent(row, label, "findings", "kept", why, confidence)
    needed = gate.needed(row)
    said = sentence(row["p_given"], row["p_suggested"])
    if gate.weighed_by is not None:
        said = f"right with probability {row['p_suggested']:.2f}, as given {row['p_given']:.2f}"
    why = (
        f"rank {row['rank']}, {row['kind']}; {said}; "
        f"confidence {confidence:.2f}, gate {needed:g}"
        f"{' (labels are memorised)' if gate.memorised else ''}"
    )
    outcome: Outcome | None = None if confidence > needed else "kept"
    return _intent(row, label, "findings", outcome, why, confidence)


def _why_kept(row: dict[str, Any], gate: Gate) -> str | None:
    """Why a finding changes no label, whatever the checkpoints say; None where they may."""
    if gate.kinds is not None and row["kind"] not in gate.kinds:
        return f"{row['kind']} is none of the kinds"
    if row["given"] in gate.unlearnt:
        return f"{row['given']!r} was never learnt"
    if gate.weighed_by is not None and not row.get("sureness", 0.0) > gate.sureness:
        return f"the last checkpoint is not sure of it, gate {gate.sureness:g}"
    if gate.samples is not None and row["sample_id"] not in gate.samples:
        return "the mask's loss is like that of the others"
    if row["kind"] == WHOLE_MASK and not gate.whole_masks:
        return "no region tells which of its pixels are wrong"
    return None


def sentence(p_given: float, p_suggested: float) -> str:
    """Both probabilities, for evidence."""
    return f"mean probability {p_suggested:.2f} against {p_given:.2f} of the given class"


def _intent(
    row: dict[str, Any],
    label: str | None,
    by: Rule,
    outcome: Outcome | None,
    evidence: str,
    confidence: float | None = None,
) -> Intent:
    size = row["mask_size_px"]
    # Where frames are thinned out, the ends of a segment lie beyond those that were looked at.
    is_whole = row["kind"] in WHOLE_SEGMENTS
    return Intent(
        sample_id=row["sample_id"],
        shard=row["shard"],
        given=row["given"],
        suggested=label,
        by=by,
        outcome=outcome,
        confidence=confidence,
        evidence=evidence,
        finding_id=row["finding_id"],
        kind=row["kind"],
        rank=row["rank"],
        start_frame=row["start_frame"],
        end_frame=row["end_frame"],
        mask_rle=row["mask_rle"],
        mask_size_px=None if size is None else (size[0], size[1]),
        p_given=row["p_given"],
        p_suggested=row["p_suggested"] if label == row["suggested"] else None,
        reach_before=math.inf if is_whole or row["side"] == "start" else 0.0,
        reach_after=is_whole or row["side"] == "end",
    )
