"""Finished runs: their states, what changed between two, where a report lies."""

from rich.markup import escape
from rich.table import Table

from ray_audit.console.lines import LINE, SafeConsole, human_s
from ray_audit.engine.run.status import OutputStatus
from ray_audit.tables.diff import Diff

_COUNTS = ("entered", "scored", "filtered", "failed")


def print_diff(diff: Diff, to: str | None, num_shown: int = 10) -> None:
    """What changed, in counts and the first rows that are not recurring."""
    console = SafeConsole()
    if not diff.is_comparable:
        console.print("Not compared: the settings differ, and so would most findings.", **LINE)
        for change in diff.changed_settings:
            console.print(f"  {change}", markup=False, **LINE)
        return
    counts = ", ".join(f"{number} {change}" for change, number in diff.totals().items())
    console.print(f"{diff.run_a} -> {diff.run_b}: {counts}.", **LINE)
    for match in [m for m in diff.matches if m.change != "recurring"][:num_shown]:
        row = match.after or match.before or {}
        what = f"{row['kind']}: {row['given']} -> {row['suggested'] or '?'}"
        console.print(f"  {match.change:<5}  {row['sample_id']}  {what}", markup=False, **LINE)
    if to is not None:
        console.print(f"Table: {escape(to)}", **LINE)


def print_status(output: str, status: OutputStatus) -> None:
    """Runs as a table on standard output, and the records that they share."""
    console = SafeConsole()
    if not status.runs:
        console.print(f"{output} has no finished run.", markup=False, **LINE)
    else:
        table = Table("run", "state", *_COUNTS, "took")
        for run in status.runs:
            counts = [str(run.counts.get(name, "-")) for name in _COUNTS]
            took = "-" if run.duration_s is None else human_s(run.duration_s)
            table.add_row(run.run_id, run.state, *counts, took)
        console.print(table)
        for run in status.runs:
            if run.message:
                console.print(f"{run.run_id}: {escape(run.message)}", **LINE)
    console.print(
        f"Committed: {status.num_units} work units, {status.num_parts} batches of records.",
        **LINE,
    )


def print_report(uri: str, num_findings: int, num_bundles: int, notes: tuple[str, ...]) -> None:
    """Where the report lies and what it holds."""
    console = SafeConsole(stderr=True)
    for note in notes:
        console.print(f"[yellow]note[/] {escape(note)}", **LINE)
    what = f"{num_findings} findings, pictures of {num_bundles} images or videos"
    console.print(f"Report ({what}): {escape(uri)}", **LINE)
