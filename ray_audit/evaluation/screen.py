"""Detection metrics as a table for the terminal."""

import math

from rich import box
from rich.table import Table

from ray_audit.evaluation.metrics import ALL_KINDS, Detection


def detection_table(title: str, found: list[Detection]) -> Table:
    """AUROC and AUPRC of each score over all errors, then AUROC for each kind; best score first.

    Args:
        title: above the table.
        found: what `evaluate_scores` returned.
    """
    by_score: dict[str, dict[str, Detection]] = {}
    for row in found:
        by_score.setdefault(row.score, {})[row.kind] = row
    kinds = sorted({row.kind for row in found} - {ALL_KINDS})
    table = Table(title=title, title_justify="left", box=box.SIMPLE)
    if kinds:
        table.caption = "right of lift: AUROC of each kind of error against the right samples"
    table.add_column("score", no_wrap=True)
    for heading in ("AUROC", "AUPRC", "precision", "lift", *kinds):
        table.add_column(heading, justify="right", no_wrap=heading not in kinds)
    for score in sorted(by_score, key=lambda name: _rank(by_score[name][ALL_KINDS])):
        rows = by_score[score]
        overall = rows[ALL_KINDS]
        values = [overall.auroc, overall.auprc, overall.precision, overall.lift]
        values += [rows[kind].auroc if kind in rows else math.nan for kind in kinds]
        table.add_row(score, *(_cell(value) for value in values))
    return table


def _rank(row: Detection) -> float:
    return math.inf if math.isnan(row.auroc) else -row.auroc


def _cell(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"
