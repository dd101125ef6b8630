"""Detection metrics as a table for the terminal."""

import math

from rich import box
from rich.console import Console
from rich.table import Table

from ray_audit.console.lines import SafeConsole
from ray_audit.evaluation.detection import ALL_KINDS, Detection
from ray_audit.evaluation.region_detection import RegionDetection
from ray_audit.evaluation.report import Evaluation, overall

_WIDTH = 100
_SCORE_WIDTH = 20


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


def print_evaluation(
    found: Evaluation, by_kind: bool = False, console: Console | None = None
) -> None:
    """The evaluation in at most 100 columns.

    Args:
        found: what to show.
        by_kind: a table of every metric for each kind; else AUROC only.
        console: where to print; standard output where absent.
    """
    console = console or SafeConsole(width=_WIDTH, highlight=False)
    console.print(
        f"Run {found.run_id} ({found.protocol}): {found.num_samples} samples with a known truth, "
        f"{found.num_errors} of them wrong ({found.num_errors / found.num_samples:.1%})."
    )
    for number, what in (
        (found.num_without_truth, "scored samples are not in the truth file"),
        (found.num_without_score, "samples of the truth file were not scored"),
        (found.num_regions_without_score, "planted regions are of masks that were not scored"),
    ):
        if number:
            console.print(f"Left out: {number} {what}.")
    rows = overall(found)
    console.print(_metric_table("All errors", rows))
    kinds = sorted({row.kind for row in found.detections} - {ALL_KINDS})
    scores = [row.score for row in rows]
    if by_kind:
        for kind in kinds:
            of_kind = {row.score: row for row in found.detections if row.kind == kind}
            console.print(_metric_table(f"Errors of kind {kind}", [of_kind[s] for s in scores]))
    elif len(kinds) > 1:
        for table in _kind_tables(found, kinds, scores):
            console.print(table)
    if found.segments:
        console.print(_segment_table(found))
    if found.regions:
        console.print(_region_table("Findings", found.regions))
    if found.areas:
        console.print(_region_table("Areas", found.areas))
    for reason in dict.fromkeys(found.left_out.values()):
        names = [name for name, why in found.left_out.items() if why == reason]
        console.print(f"Not measured ({reason}): {', '.join(names)}.")


def _metric_table(title: str, rows: list[Detection]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE)
    table.add_column("score", no_wrap=True)
    for heading in ("AUROC", "AUPRC", "FPR at 95% TPR", "precision", "lift", "errors", "no score"):
        table.add_column(heading, justify="right")
    for row in rows:
        numbers = (row.auroc, row.auprc, row.fpr_at_95_tpr, row.precision, row.lift)
        counts = (str(row.num_errors), str(row.num_missing))
        table.add_row(row.score, *(_cell(number) for number in numbers), *counts)
    reasons = sorted({f"{row.score}: {row.reason}" for row in rows if row.reason})
    table.caption = "; ".join(reasons) or None
    return table


def _kind_tables(found: Evaluation, kinds: list[str], scores: list[str]) -> list[Table]:
    """AUROC of each kind against the right samples, as many kinds to a table as fit."""
    auroc = {(row.score, row.kind): row.auroc for row in found.detections}
    groups: list[list[str]] = [[]]
    room = _WIDTH - _SCORE_WIDTH
    for kind in kinds:
        width = max(len(kind), 5) + 3  # with the blanks around it
        if groups[-1] and width > room:
            groups.append([])
            room = _WIDTH - _SCORE_WIDTH
        groups[-1].append(kind)
        room -= width
    tables = []
    for group in groups:
        table = Table(title="AUROC of each kind", title_justify="left", box=box.SIMPLE)
        table.add_column("score", no_wrap=True)
        for kind in group:
            table.add_column(kind, justify="right", no_wrap=True)
        for score in scores:
            table.add_row(score, *(_cell(auroc[score, kind]) for kind in group))
        tables.append(table)
    return tables


def _segment_table(found: Evaluation) -> Table:
    first = next(iter(found.segments.values()))
    title = f"Segments: EDA ({first.num_errors} of {first.num_segments} segments are wrong)"
    table = Table(title=title, title_justify="left", box=box.SIMPLE)
    table.add_column("score", no_wrap=True)
    for heading in ("EDA, mean of thresholds", "best threshold"):
        table.add_column(heading, justify="right")
    for name, accuracy in found.segments.items():
        table.add_row(name, _cell(accuracy.mean), _cell(accuracy.best))
    table.add_row("all called right", _cell(first.all_normal), "")
    table.add_row("all called wrong", _cell(first.all_error), "")
    return table


def _region_table(what: str, rows: list[RegionDetection]) -> Table:
    title = f"{what} held to the components of wrong pixels (overlap of at least 0.25)"
    table = Table(title=title, title_justify="left", box=box.SIMPLE)
    table.add_column("errors", no_wrap=True)
    for heading in ("number", "found", "proposals", "AP", "precision", "recall", "F1"):
        table.add_column(heading, justify="right")
    for row in rows:
        name = row.kind if row.size == ALL_KINDS else row.size
        counts = (row.num_errors, row.num_found, row.num_proposals)
        numbers = (row.average_precision, row.precision, row.recall, row.f1)
        table.add_row(name, *map(str, counts), *(_cell(number) for number in numbers))
    table.caption = "precision, recall and F1 of as many proposals as there are errors"
    return table


def _rank(row: Detection) -> float:
    return math.inf if math.isnan(row.auroc) else -row.auroc


def _cell(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"
