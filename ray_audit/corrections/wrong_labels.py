"""How many labels are wrong before a correction and after it, and what that number is worth."""

from dataclasses import dataclass
from typing import Any

from ray_audit.tables.run_tables import RunTables

_FITTED = {
    "early": ", and have learnt wrong ones",
    "mean": ", and have learnt some of the wrong ones",
    "final": ", and hardly tell wrong ones from those that are not learnt yet",
}


@dataclass(frozen=True)
class WrongLabels:
    """Estimated shares of all labels (pixels, frames, images), 0-1.

    Attributes:
        before: wrong as they were given.
        afterwards: wrong after the correction: less those mended, more those harmed. A changed
            label that was wrong counts as mended, as far as no third class is known to be likely.
        low: lower end of the interval of `afterwards`; None where nothing of the kind can be said.
        high: upper end.
        is_lower_bound: whether the checkpoints were trained on these labels: as a rule more are
            wrong, and nobody knows how many.
        sentence: the numbers in words, with what they are worth.
    """

    before: float
    afterwards: float
    low: float | None
    high: float | None
    is_lower_bound: bool
    sentence: str


def wrong_labels(
    tables: RunTables,
    num_changed: int,
    num_harmed: float,
    num_missed: float = 0.0,
    seen_early: tuple[float, float] | None = None,
) -> WrongLabels | None:
    """Of a run and a correction; None where the run does not say.

    Args:
        tables: of the run.
        num_changed: labels that the correction changed.
        num_harmed: expected number of right ones among them.
        num_missed: expected number of wrong ones among them that are wrong afterwards, too; where
            nothing is known of it, none.
        seen_early: of memorised masks: shares of all labels that are wrong in those that change,
            before and afterwards, as early checkpoints see them; the last ones count few.
    """
    manifest = tables.manifest
    estimate = manifest.estimate
    num_wrong, num_labelled = estimate.get("num_wrong"), _num_labelled(tables)
    if num_wrong is None or not num_labelled:
        return None

    def share_afterwards(num_before: float) -> float:
        # Never below what was harmed: the estimate may be less than what a rule or people mended.
        left = max(num_before - (num_changed - num_harmed), 0.0)
        return min(1.0, (left + num_harmed + num_missed) / num_labelled)

    before, after = num_wrong / num_labelled, share_afterwards(num_wrong)
    if seen_early is not None and num_changed and seen_early[0] > before:
        return _by_early(*seen_early)
    if manifest.protocol != "held_out":
        sentence = _bound(before, after, manifest.memorisation)
        return WrongLabels(before, after, None, None, True, sentence)
    ends = [estimate.get(name) for name in ("low", "high")]
    low, high = (None if end is None else share_afterwards(end) for end in ends)
    sentence = f"Wrong labels: about {before:.1%} now and {after:.1%} afterwards"
    if low is not None and high is not None:
        sentence += f" ({low:.1%} to {high:.1%})"
    sentence += ", counted by checkpoints that never saw them"
    return WrongLabels(before, after, low, high, False, sentence)


def _by_early(before: float, after: float) -> WrongLabels:
    sentence = (
        f"Wrong labels: about {before:.1%} now and {after:.1%} afterwards in the masks that look "
        "wrong to early checkpoints, which had not learnt them; wrong masks that do not are not "
        "counted"
    )
    return WrongLabels(before, after, None, None, True, sentence)


def _bound(before: float, after: float, memorisation: dict[str, Any]) -> str:
    why = _FITTED.get(memorisation.get("verdict", ""), "")
    return (
        f"Wrong labels: {before:.1%} are counted now, {after:.1%} afterwards; take this as a lower "
        f"bound that may be far too low: the checkpoints were trained on these labels{why}. For a "
        "number, count by others that never saw them: `ray-audit train --folds`, then `ray-audit "
        "run --folds`"
    )


def _num_labelled(tables: RunTables) -> int:
    """Labelled pixels, frames or images that were scored."""
    if not tables.manifest.tables.get("class_stats"):
        return 0
    rows = tables.whole("class_stats").to_pylist()
    # Of an adaptive audit some have left before others; all pass the last checkpoint.
    last = max((row["checkpoint"] for row in rows), default=None)
    return sum(row["num_given"] for row in rows if row["checkpoint"] == last)
