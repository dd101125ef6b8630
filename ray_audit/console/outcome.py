"""The last screen of a run: counts, judgements, and what to look at first."""

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ray_audit.api.run import Run
from ray_audit.console.lines import LINE, SafeConsole, human_s
from ray_audit.errors import RunError
from ray_audit.tables.manifest import Manifest


def summary(run: Run) -> dict[str, Any]:
    """A run for programs; `top` is what the last screen shows first."""
    manifest = run.manifest
    return {
        "run_id": run.run_id,
        "state": manifest.state,
        "counts": run.counts,
        "duration_s": None if run.duration_s is None else round(run.duration_s, 3),
        "manifest": f"{run.uri}/manifest.json",
        "findings": manifest.findings,
        "memorisation": manifest.memorisation,
        "order": manifest.order,
        "breached_gates": run.breached_gates,
        "notes": run.notes,
        "top": manifest.top_findings or manifest.top,
    }


def print_outcome(run: Run, console: Console | None = None) -> None:
    """The last screen: how many, how long, the most suspicious, and where the tables lie."""
    console = console or SafeConsole(stderr=True)
    counts = run.counts
    took = "" if run.duration_s is None else f"took {human_s(run.duration_s)}"
    done = "was complete already" if run.reused else took
    console.print(f"\n[bold]Run {run.run_id}[/] {done}.", **LINE)
    console.print(
        f"{counts['entered']} samples entered: {counts['scored']} scored, "
        f"{counts['filtered']} filtered{_by_reason(counts)}, {counts['failed']} failed.",
        **LINE,
    )
    for note in run.notes:
        console.print(f"[yellow]note[/] {escape(note)}", **LINE)
    for gate in run.breached_gates:
        console.print(f"[bold red]gate breached[/] {escape(gate)}", **LINE)
    for line in _judgements(run.manifest):
        console.print(line, markup=False, **LINE)
    if run.manifest.top_findings:
        print_findings(run.manifest.top_findings, console)
    elif run.manifest.top:
        console.print(top_table(run.manifest.top))
    console.print("Tables:", **LINE)
    for name, files in run.manifest.tables.items():
        rows = sum(file.num_rows for file in files)
        console.print(f"  {run.uri}/{name}/  {rows} rows", markup=False, **LINE)


def _by_reason(counts: dict[str, Any]) -> str:
    reasons = counts.get("filtered_by_reason", {})
    shown = ", ".join(f"{number} {reason}" for reason, number in sorted(reasons.items()))
    return f" ({shown})" if shown else ""


_BY_FOLDS = (
    " As a rule more are; for a number: `ray-audit train --folds 3`, then `ray-audit run --folds`."
)


def _judgements(manifest: Manifest) -> Iterator[str]:
    """What the run as a whole says of the labels, a sentence each."""
    findings = manifest.findings
    by_kind = ", ".join(f"{num} {kind}" for kind, num in findings["by_kind"].items())
    if findings["total"]:
        yield f"{findings['total']} findings in {findings['num_samples']} samples: {by_kind}."
    else:
        yield "No findings: nowhere do the checkpoints prefer another label."
    estimate = manifest.estimate
    if estimate:
        between = ""
        if estimate["low"] is not None:
            between = f"{estimate['low']:.0f} to {estimate['high']:.0f}, "
        # Runs of earlier versions do not tell why.
        why = estimate.get("no_interval")
        yield (
            f"About {estimate['num_wrong']:.0f} {estimate['unit']} are estimated to be labelled "
            f"wrongly ({between}{estimate['fraction']:.1%} of all{'; no interval: ' if why else ''}"
            f"{why or ''}).{_BY_FOLDS if manifest.protocol == 'training' else ''}"
        )
    yield from manifest.judgements()


def print_findings(rows: list[dict[str, Any]], console: Console) -> None:
    """The first findings, each with the sentence that says why; those of one image together."""
    console.print("\n[bold]Look at these first[/]", **LINE)
    for row, is_first in _by_image(rows):
        where = row["sample_id"]
        if row["start_frame"] is not None:
            first, last = row["start_frame"], row["end_frame"] - 1
            frames = f"frames {first}-{last}" if last > first else f"frame {first}"
            where = f"{row['shard']} {frames}"
        where = where if is_first else "  and there"
        labels = f"{row['given']} -> {row['suggested'] or '?'}"
        console.print(f"{row['rank']:>4}  {where}  {row['kind']}: {labels}", markup=False, **LINE)
        console.print(Padding(Text(row["reason"], style="dim"), (0, 0, 0, 6)))


def _by_image(rows: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], bool]]:
    """Rows in their order, further ones of an image or a frame after its first; whether first."""
    together: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        key = (row["sample_id"], row["start_frame"], row["end_frame"])
        together.setdefault(key, []).append(row)
    for of_image in together.values():
        for number, row in enumerate(of_image):
            yield row, number == 0


def top_table(top: list[dict[str, Any]]) -> Table:
    """The most suspicious samples."""
    table = Table(title="Most suspicious", title_justify="left")
    names = [name for name in top[0] if any(row[name] is not None for row in top)]
    for name in names:
        is_text = isinstance(top[0][name], str)
        table.add_column(name, justify="left" if is_text else "right", overflow="fold")
    for row in top:
        table.add_row(*(_cell(row[name]) for name in names))
    return table


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value))


def require_scored(counts: dict[str, Any]) -> None:
    """Refuse the outcome of a run of which nothing was scored; its tables say why.

    Raises:
        RunError: the message says what became of the samples.
    """
    if counts["scored"]:
        return
    by_reason = counts.get("filtered_by_reason", {}).items()
    reasons = ", ".join(f"{num} {reason}" for reason, num in by_reason)
    raise RunError(
        f"nothing was scored: of {counts['entered']} samples {counts['filtered']} were filtered"
        f"{f' ({reasons})' if reasons else ''} and {counts['failed']} failed. The tables "
        "`filtered` and `errors` of the run name them: check that the labels name these shards, "
        "and what dataset.void takes"
    )
