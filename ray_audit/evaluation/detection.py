"""Detection metrics of scores against known errors, overall and for each kind of error."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from ray_audit.errors import SpecificationError

ALL_KINDS = "all"
_NAN = float("nan")


@dataclass(frozen=True)
class Detection:
    """How well one score finds the errors of one kind.

    Attributes:
        score: name of the score column.
        direction: which values are suspicious, `higher` or `lower`.
        kind: of the errors, held against the right samples; `all` for all errors.
        num_samples: samples with a score (right ones, and errors of this kind).
        num_errors: errors among them.
        num_missing: samples left out because their score is null.
        auroc: area under the ROC curve; 0.5 is chance.
        auprc: average precision; the error rate is chance.
        fpr_at_95_tpr: share of right samples that must be looked at to find 95% of the errors.
        precision: share of errors among the `num_errors` most suspicious samples.
        lift: precision over the error rate.
        reason: why the numbers are not a number; empty where they are.
    """

    score: str
    direction: str
    kind: str
    num_samples: int
    num_errors: int
    num_missing: int
    auroc: float = _NAN
    auprc: float = _NAN
    fpr_at_95_tpr: float = _NAN
    precision: float = _NAN
    lift: float = _NAN
    reason: str = ""


def evaluate_scores(
    score_columns: Mapping[str, np.ndarray],
    directions: Mapping[str, str],
    is_error: np.ndarray,
    kinds: Sequence[str | None] | np.ndarray | None = None,
) -> list[Detection]:
    """Measure how well each score finds the errors.

    Args:
        score_columns: name -> (N,) float; NaN (null) samples are left out of that score, counted.
        directions: name -> `higher` or `lower`, for each score.
        is_error: (N,) bool.
        kinds: (N,) kind of each error; values of right samples do not count.

    Returns:
        For each score one row over all errors, then one a kind, in alphabetical order.

    Raises:
        SpecificationError: lengths differ, or a score has no direction.
    """
    errors = np.asarray(is_error, dtype=bool)
    groups = {ALL_KINDS: np.ones(len(errors), dtype=bool)}
    if kinds is not None:
        _check_length("kinds", kinds, errors)
        named = np.array([kind or "" for kind in kinds], dtype=object)
        for kind in sorted(set(named[errors].tolist()) - {""}):
            groups[kind] = ~errors | (named == kind)
    rows = []
    for name, values in score_columns.items():
        _check_length(f"score {name}", values, errors)
        suspicion = _oriented(name, values, directions)
        for kind, members in groups.items():
            found = _detection(suspicion[members], errors[members])
            rows.append(Detection(name, directions[name], kind, **found))
    return rows


def _check_length(what: str, values: Sequence[object] | np.ndarray, errors: np.ndarray) -> None:
    if len(values) != len(errors):
        raise SpecificationError(
            f"evaluation: {what} has {len(values)} rows, is_error has {len(errors)}; join them by "
            "sample_id first"
        )


def _oriented(name: str, values: np.ndarray, directions: Mapping[str, str]) -> np.ndarray:
    """The score with larger values more suspicious."""
    direction = directions.get(name)
    if direction not in ("higher", "lower"):
        raise SpecificationError(
            f"evaluation: score {name} has direction {direction!r}, expected higher or lower; "
            "leave out scores without a stable sign"
        )
    oriented = np.asarray(values, dtype=np.float64)
    return oriented if direction == "higher" else -oriented


def _detection(suspicion: np.ndarray, errors: np.ndarray) -> dict[str, Any]:
    """Counts and metrics of one score and one kind of error, by the names of `Detection`."""
    present = ~np.isnan(suspicion)
    suspicion, errors = suspicion[present], errors[present]
    num_errors = int(errors.sum())
    counts = {
        "num_samples": len(errors),
        "num_errors": num_errors,
        "num_missing": int((~present).sum()),
    }
    if len(errors) == 0:
        return counts | {"reason": "no sample has this score"}
    if num_errors in (0, len(errors)):
        return counts | {"reason": "every sample is an error" if num_errors else "no errors"}
    # Ranks change none of the metrics, and take infinite scores as they are.
    ranks = rankdata(suspicion, method="dense")
    precision = precision_at(ranks, errors, num_errors)
    return counts | {
        "auroc": float(roc_auc_score(errors, ranks)),
        "auprc": float(average_precision_score(errors, ranks)),
        "fpr_at_95_tpr": fpr_at_tpr(ranks, errors, 0.95),
        "precision": precision,
        "lift": precision / (num_errors / len(errors)),
    }


def precision_at(suspicion: np.ndarray, is_error: np.ndarray, count: int) -> float:
    """Share of errors among the `count` most suspicious; ties count by their mean.

    Args:
        suspicion: (N,), higher is more suspicious, without NaN.
        is_error: (N,) bool.
        count: from 1 to N.

    >>> precision_at(np.array([3, 2, 2, 1]), np.array([True, True, False, False]), 2)
    0.75
    """
    threshold = np.sort(suspicion)[-count]
    above, tied = suspicion > threshold, suspicion == threshold
    expected = is_error[above].sum() + (count - above.sum()) * is_error[tied].mean()
    return float(expected / count)


def fpr_at_tpr(suspicion: np.ndarray, is_error: np.ndarray, tpr: float) -> float:
    """Smallest false positive rate at which at least `tpr` of the errors are found.

    >>> fpr_at_tpr(np.array([3, 1, 2, 0]), np.array([True, True, False, False]), 0.95)
    0.5
    """
    false_rates, true_rates, _ = roc_curve(is_error, suspicion, drop_intermediate=False)
    return float(false_rates[np.argmax(true_rates >= tpr - 1e-12)])
