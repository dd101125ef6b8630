"""Targets that were set before the engine was measured, from prototypes of the same recipes."""

from dataclasses import dataclass
from typing import Any

from ray_audit.evaluation.detection import ALL_KINDS


@dataclass(frozen=True)
class Number:
    """One number of a recipe's summary, or one of its extras.

    Attributes:
        score: column or extra.
        metric: auroc or auprc; empty for an extra.
        kind: of error.
    """

    score: str
    metric: str = "auroc"
    kind: str = ALL_KINDS

    def of(self, entry: dict[str, Any]) -> float | None:
        """Mean over the seeds; None where it was not measured."""
        if not self.metric:
            values = [seed["extras"].get(self.score) for seed in entry["seeds"].values()]
            known = [value for value in values if value is not None]
            return sum(known) / len(known) if known else None
        try:
            return float(entry["summary"][self.score][self.kind][self.metric]["mean"])
        except KeyError:
            return None


@dataclass(frozen=True)
class Target:
    """A bound on a number, or on what is left of it when another is taken off.

    Attributes:
        recipe: measured.
        number: first term.
        bound: at least; at most where `is_ceiling`.
        minus: taken off the first term.
        is_ceiling: whether the bound is from above.
        if_missed: the reason as far as it was found.
    """

    recipe: str
    number: Number
    bound: float
    minus: Number | None = None
    is_ceiling: bool = False
    if_missed: str = ""

    def measured(self, entries: dict[str, dict[str, Any]]) -> float | None:
        """The value, or None where something was not measured."""
        entry = entries.get(self.recipe)
        if entry is None:
            return None
        value = self.number.of(entry)
        taken_off = 0.0 if self.minus is None else self.minus.of(entry)
        return None if value is None or taken_off is None else value - taken_off

    def is_met(self, value: float) -> bool:
        """Whether a value, rounded as the page shows it, keeps the bound."""
        return round(value, 3) <= self.bound if self.is_ceiling else round(value, 3) >= self.bound

    @property
    def text(self) -> str:
        """The quantity and its bound."""
        metric = f" {self.number.metric.upper()}" if self.number.metric else ""
        kind = "" if self.number.kind == ALL_KINDS else f" ({self.number.kind})"
        minus = "" if self.minus is None else f" minus that of `{self.minus.score}`"
        sign = "at most" if self.is_ceiling else "at least"
        return f"`{self.number.score}`{metric}{kind}{minus} {sign} {self.bound:g}"


def _auprc(score: str) -> Number:
    return Number(score, "auprc")


_A1, _A2 = "camvid-A1", "camvid-A2"
_TCN, _TCN_HELD = "golf_poses-tcn-training", "golf_poses-tcn-held_out"
_MLP_HELD = "golf_poses-mlp-held_out"
_C1, _C2 = "cifar10n-C1", "cifar10n-C2"
_D = "phantoms-20-training"

TARGETS = (
    Target(_A2, Number("softmin"), 0.85),
    Target(_A2, _auprc("softmin"), 0.75),
    Target(_A2, Number("softmin_interior"), 0.87),
    Target(
        _A2,
        Number("softmin_interior", kind="swap"),
        0.97,
        if_missed="some 19 images a kind: one more or less is .01 to .03; and the errors planted "
        "here are milder (2.0% of all pixels wrong, 2.75% in the prototype)",
    ),
    Target(_A2, Number("softmin"), 0.05, minus=Number("cil")),
    Target(_A1, Number("final_loss"), 0.75),
    Target(_A1, Number("softmin"), 0.74),
    Target(_A1, Number("pixel_final_loss_auroc", ""), 0.95),
    Target(_TCN, Number("csl"), 0.94),
    Target(_TCN, Number("csl_segment"), 0.97),
    Target(_TCN, Number("csl"), 0.05, minus=Number("final_loss")),
    Target(_TCN, Number("order_nll"), 0.99),
    Target(_TCN_HELD, Number("csl"), 0.95),
    Target(_TCN_HELD, Number("csl_segment"), 0.95),
    Target(_TCN_HELD, Number("order_nll"), 0.98),
    Target(_TCN_HELD, Number("suspicion"), 0.98),
    Target(_MLP_HELD, Number("csl"), 0.84),
    Target(_MLP_HELD, Number("csl_segment"), 0.87),
    Target(_C1, Number("csl"), 0.88),
    Target(_C1, _auprc("csl"), 0.68),
    Target(_C1, Number("aum"), 0.89),
    Target(_C1, _auprc("aum"), 0.71),
    Target(_C1, Number("prob_margin"), 0.89),
    Target(_C1, _auprc("prob_margin"), 0.71),
    Target(_C1, Number("vog"), 0.83),
    Target(_C1, Number("vog_logit"), 0.5, is_ceiling=True),
    Target(
        _C2,
        Number("csl"),
        0.85,
        if_missed="this training swings: checkpoints at the constant rate predict .76 of the right "
        "labels at epoch 20 and .42 at epoch 25, and the mean takes the bad ones in; over the "
        "first 12 epochs it is .833, over 20 .823",
    ),
    Target(_C2, Number("csl"), 0.12, minus=Number("final_loss")),
    Target(_C2, Number("final_loss"), 0.75, is_ceiling=True),
    Target(_D, Number("csl"), 0.98),
    Target(
        _D,
        Number("softmin"),
        0.94,
        if_missed="the prototype had no `over` errors, which soft-min hardly sees: the wrong ring "
        "lies along the boundary; without its 1-px band (`softmin_interior`) they are found",
    ),
)
"""In the order of the page."""
