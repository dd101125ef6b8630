"""What is asked of a correction, as it is typed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self, get_args

from ray_audit.corrections.extent import MAX_CHANGED_FRACTION
from ray_audit.corrections.intents import Rule
from ray_audit.errors import SpecificationError
from ray_audit.metrics import FINDING_KINDS


@dataclass(frozen=True)
class CorrectionOptions:
    """How labels are to be corrected.

    Attributes:
        rule: what may change; `auto` for `findings`, or for `flagged` where the errors of masks
            were memorised and their losses tell which are wrong.
        confidence: of the gate, 0-1; None for that of the rule, and of the kind of finding.
        flagged_fraction: share of the samples that `flagged` may change; None for the run's
            estimate of wrong labels.
        max_changed_fraction: what a rule may change of a video, of a mask, or of all images;
            None for everything, even if it empties a mask.
        classes: that `adele` corrects; None for all but the background.
        background: class whose spreading empties a mask, and which `adele` may always write; None
            for the first one.
        kinds: of findings that the rule `findings` applies; None for all.
    """

    rule: Rule | Literal["auto"] = "auto"
    confidence: float | None = None
    flagged_fraction: float | None = None
    max_changed_fraction: float | None = MAX_CHANGED_FRACTION
    classes: Sequence[str] | None = None
    background: str | None = None
    kinds: Sequence[str] | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is left to the run what changes, if anything."""
        return self.rule == "auto" and self.flagged_fraction is None

    @classmethod
    def parse(
        cls,
        rule: str,
        confidence: float | None,
        flagged_fraction: float | None,
        max_changed_fraction: float | None,
        classes: Sequence[str] | None,
        background: str | None = None,
        kinds: Sequence[str] | None = None,
    ) -> Self:
        """As typed on a command line.

        Raises:
            SpecificationError: an unknown rule, or a value outside its range.
        """
        rules = ("auto", *get_args(Rule))
        if rule not in rules:
            raise SpecificationError(f"--rule {rule}: expected one of {', '.join(rules)}")
        known: Rule | Literal["auto"] = rule  # type: ignore[assignment]
        return cls(
            known, confidence, flagged_fraction, max_changed_fraction, classes, background, kinds
        )

    def __post_init__(self) -> None:
        fractions = {
            "--confidence": self.confidence,
            "--flagged-fraction": self.flagged_fraction,
            "--max-changed-fraction": self.max_changed_fraction,
        }
        for name, value in fractions.items():
            if value is not None and not 0 <= value <= 1:
                raise SpecificationError(f"{name} {value:g}: expected 0 to 1")
        if self.flagged_fraction is not None and self.rule not in ("auto", "flagged"):
            raise SpecificationError("--flagged-fraction goes with --rule flagged")
        if self.classes is not None and self.rule not in ("auto", "adele"):
            raise SpecificationError("--class goes with --rule adele")
        if self.kinds is not None and self.rule not in ("auto", "findings"):
            raise SpecificationError("--kind goes with --rule findings")
        unknown = [kind for kind in self.kinds or () if kind not in FINDING_KINDS]
        if unknown:
            raise SpecificationError(
                f"--kind {', '.join(unknown)}: expected some of {', '.join(FINDING_KINDS)}"
            )
