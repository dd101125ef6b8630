"""What a person sees: the plan, the progress and the last screen of a run."""

import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from ray_audit import storage
from ray_audit.engine.plan import Plan
from ray_audit.engine.progress import Progress as RunProgress
from ray_audit.engine.run import RunOutcome
from ray_audit.engine.status import OutputStatus
from ray_audit.tables.diff import Diff
from ray_audit.tables.manifest import Manifest

_LINE_EVERY_S = 10.0
# A sentence stays on one line: a log is searched, and a terminal wraps by itself.
_LINE: dict[str, Any] = {"highlight": False, "soft_wrap": True}
_NUM_IGNORED = 10
_COUNTS = ("entered", "scored", "filtered", "failed")


def human_bytes(num_bytes: float) -> str:
    """Bytes with a binary unit.

    >>> human_bytes(1536)
    '1.5 KiB'
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if num_bytes < 1024:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1024
    return f"{num_bytes:.1f} TiB"


def human_s(seconds: float) -> str:
    """Seconds as people say them.

    >>> human_s(3725), human_s(8.24)
    ('1 h 2 min', '8.2 s')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min {int(seconds % 60)} s"
    return f"{minutes // 60} h {minutes % 60} min"


class ConsoleReporter(AbstractContextManager["ConsoleReporter"]):
    """Tells of a run on standard error: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, console: Console | None = None, quiet: bool = False) -> None:
        self._console = console or Console(stderr=True)
        self._quiet = quiet
        self._bar: Progress | None = None
        self._task: Any = None
        self._next_line = 0.0

    def __enter__(self) -> Self:
        """Nothing is shown until something happens."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the bar away."""
        self._end_bar()

    def phase(self, text: str) -> None:
        """A new step begins."""
        self._end_bar()
        if not self._quiet:
            self._console.print(f"[dim]{time.strftime('%H:%M:%S')}[/] {text}", **_LINE)

    def plan(self, plan: Plan) -> None:
        """The plan, before anything starts."""
        if not self._quiet:
            self._console.print(plan_table(plan))
            for note in plan.inputs.listing.notes:
                self._console.print(f"[yellow]note[/] {escape(note)}", **_LINE)

    def progress(self, progress: RunProgress) -> None:
        """Show the numbers so far."""
        if self._quiet:
            return
        if self._console.is_terminal:
            self._show_bar(progress)
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + _LINE_EVERY_S
            self._console.print(_line(progress), markup=False, **_LINE)

    def _show_bar(self, progress: RunProgress) -> None:
        if self._bar is None:
            self._bar = Progress(
                TextColumn("auditing"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("units · {task.fields[rate]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._task = self._bar.add_task("", total=progress.num_units_total, rate="")
            self._bar.start()
        rate = f"{progress.num_samples} samples, {progress.samples_per_s:.1f}/s"
        self._bar.update(self._task, completed=progress.num_units, rate=rate)

    def _end_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class StepReporter(AbstractContextManager["StepReporter"]):
    """Tells of steps on standard error: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )
        self._task: Any = None
        self._next_line = time.monotonic() + _LINE_EVERY_S

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the bar away."""
        self._bar.stop()

    def __call__(self, what: str, num_done: int, num_total: int) -> None:
        """Show what is being done, and how far it is."""
        if not self._console.is_terminal:
            if time.monotonic() >= self._next_line:
                self._next_line = time.monotonic() + _LINE_EVERY_S
                line = f"{time.strftime('%H:%M:%S')} {what}: {num_done} of {num_total}"
                self._console.print(line, markup=False, **_LINE)
            return
        if self._task is None:
            self._task = self._bar.add_task("")
            self._bar.start()
        self._bar.update(self._task, description=what, completed=num_done, total=num_total)


def _line(progress: RunProgress) -> str:
    return (
        f"{time.strftime('%H:%M:%S')} {progress.num_units}/{progress.num_units_total} units, "
        f"{progress.num_samples} samples, {progress.samples_per_s:.1f}/s, "
        f"{progress.num_failed} failed"
    )


def plan_table(plan: Plan) -> Table:
    """The plan as two columns: what, and how much."""
    inputs, layout = plan.inputs, plan.layout
    table = Table(title=f"Plan of {inputs.run_id}", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    names = [checkpoint.name for checkpoint in inputs.checkpoints]
    table.add_row("shards", f"{len(inputs.listing.shards)} in {len(inputs.units)} work units")
    table.add_row("checkpoints", f"{len(names)}: {names[0]} … {names[-1]}")
    table.add_row("protocol", inputs.config.protocol)
    table.add_row("to run", f"{plan.num_new} unit-checkpoint pairs")
    table.add_row("reused", f"{plan.num_reused} unit-checkpoint pairs")
    for note in vog_notes(plan):
        table.add_row("VoG", note)
    if layout is None:
        table.add_row("relay", "nothing to run: tables are made from committed records")
        return table
    table.add_row(
        "relay",
        f"{len(layout.hops)} hop(s), {len(layout.hops[0])} checkpoint(s) per actor, "
        f"{layout.actors_per_pool} actor(s) per pool",
    )
    gpus = f", {layout.gpus_per_actor:g} GPU" if layout.gpus_per_actor else ""
    table.add_row("each actor", f"{layout.cpus_per_actor:g} CPU{gpus}")
    table.add_row("decoders", f"{layout.num_decoders} of {layout.cpus_per_decoder:g} CPU")
    table.add_row("bytes to read", human_bytes(plan.bytes_to_read))
    in_flight = layout.in_flight_bytes(plan.payload_bytes)
    table.add_row("batches under way", f"up to {human_bytes(in_flight)} of object store")
    models = layout.num_actors * len(layout.hops[0]) * inputs.checkpoints[0].size_bytes
    table.add_row("weights in memory", human_bytes(models))
    duration = plan.expected_s
    table.add_row("duration", "unknown" if duration is None else f"about {human_s(duration)}")
    for index, reason in enumerate(layout.reasons):
        table.add_row("why" if index == 0 else "", reason)
    return table


def vog_notes(plan: Plan) -> list[str]:
    """What VoG costs over the nights: pairs that run again for it, and moments that are kept."""
    notes = []
    keeps = plan.inputs.wanted.keep_moments
    if plan.num_again and plan.inputs.wanted.vog is not None:
        notes.append(
            f"{plan.num_again} committed unit-checkpoint pairs run again: its spread is taken over "
            "all checkpoints, and no moments are kept that the new ones continue"
            + ("" if keeps else " (vog.keep_moments: true keeps them from now on)")
        )
    continued = sum(work.kept is not None for work in plan.work)
    if continued:
        notes.append(f"{continued} work unit(s) continue kept moments")
    if plan.work and keeps and plan.inputs.wanted.vog is not None:
        size = plan.moments_bytes
        about = "of unknown size" if size is None else f"of about {human_bytes(size)}"
        notes.append(f"moments {about} are kept, 8 bytes a pixel a sample")
    return notes


def print_outcome(outcome: RunOutcome, console: Console | None = None) -> None:
    """The last screen: how many, how long, the most suspicious, and where the tables lie."""
    console = console or Console(stderr=True)
    counts = outcome.counts
    done = "was complete already" if outcome.reused else f"took {human_s(outcome.duration_s)}"
    console.print(f"\n[bold]Run {outcome.run_id}[/] {done}.", **_LINE)
    console.print(
        f"{counts['entered']} samples entered: {counts['scored']} scored, "
        f"{counts['filtered']} filtered{_by_reason(counts)}, {counts['failed']} failed.",
        **_LINE,
    )
    for note in outcome.manifest.notes:
        console.print(f"[yellow]note[/] {escape(note)}", **_LINE)
    for gate in outcome.manifest.breached_gates:
        console.print(f"[bold red]gate breached[/] {gate}", **_LINE)
    for line in _judgements(outcome.manifest):
        console.print(line, **_LINE)
    if outcome.manifest.top_findings:
        print_findings(outcome.manifest.top_findings, console)
    elif outcome.manifest.top:
        console.print(top_table(outcome.manifest.top))
    console.print("Tables:", **_LINE)
    for name, files in outcome.manifest.tables.items():
        rows = sum(file.num_rows for file in files)
        console.print(f"  {outcome.run_uri}/{name}/  {rows} rows", markup=False, **_LINE)


def _by_reason(counts: dict[str, Any]) -> str:
    reasons = counts.get("filtered_by_reason", {})
    shown = ", ".join(f"{number} {reason}" for reason, number in sorted(reasons.items()))
    return f" ({shown})" if shown else ""


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
        yield (
            f"About {estimate['num_wrong']:.0f} {estimate['unit']} are estimated to be labelled "
            f"wrongly ({estimate['low']:.0f} to {estimate['high']:.0f}, "
            f"{estimate['fraction']:.1%} of all)."
        )
    yield from manifest.judgements()


def print_findings(rows: list[dict[str, Any]], console: Console) -> None:
    """The first findings, each with the sentence that says why."""
    console.print("\n[bold]Look at these first[/]", **_LINE)
    for row in rows:
        where = row["sample_id"]
        if row["start_frame"] is not None:
            where = f"{row['shard']} frames {row['start_frame']}-{row['end_frame'] - 1}"
        labels = f"{row['given']} -> {row['suggested'] or '?'}"
        console.print(f"{row['rank']:>4}  {where}  {row['kind']}: {labels}", markup=False, **_LINE)
        console.print(Padding(Text(row["reason"], style="dim"), (0, 0, 0, 6)))


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


def print_diff(diff: Diff, to: str | None, num_shown: int = 10) -> None:
    """What changed, in counts and the first rows that are not recurring."""
    console = Console()
    if not diff.is_comparable:
        console.print("Not compared: the settings differ, and so would most findings.", **_LINE)
        for change in diff.changed_settings:
            console.print(f"  {change}", markup=False, **_LINE)
        return
    counts = ", ".join(f"{number} {change}" for change, number in diff.totals().items())
    console.print(f"{diff.run_a} -> {diff.run_b}: {counts}.", **_LINE)
    for match in [m for m in diff.matches if m.change != "recurring"][:num_shown]:
        row = match.after or match.before or {}
        what = f"{row['kind']}: {row['given']} -> {row['suggested'] or '?'}"
        console.print(f"  {match.change:<5}  {row['sample_id']}  {what}", markup=False, **_LINE)
    if to is not None:
        console.print(f"Table: {escape(to)}", **_LINE)


def print_status(output: str, status: OutputStatus) -> None:
    """Runs as a table on standard output, and the records that they share."""
    console = Console()
    if not status.runs:
        console.print(f"{output} has no finished run.", markup=False, **_LINE)
    else:
        table = Table("run", "state", *_COUNTS, "took")
        for one in status.runs:
            counts = [
                str(one.counts.get(k, "-")) for k in ("entered", "scored", "filtered", "failed")
            ]
            took = "-" if one.duration_s is None else human_s(one.duration_s)
            table.add_row(one.run_id, one.state, *counts, took)
        console.print(table)
        for one in status.runs:
            if one.message:
                console.print(f"{one.run_id}: {escape(one.message)}", **_LINE)
    console.print(
        f"Committed: {status.num_units} work units, {status.num_parts} batches of records.",
        **_LINE,
    )


def print_report(uri: str, num_findings: int, num_bundles: int, notes: tuple[str, ...]) -> None:
    """Where the report lies and what it holds."""
    console = Console(stderr=True)
    for note in notes:
        console.print(f"[yellow]note[/] {escape(note)}", **_LINE)
    what = f"{num_findings} findings, pictures of {num_bundles} images or videos"
    console.print(f"Report ({what}): {escape(uri)}", **_LINE)


def say(message: str) -> None:
    """A line on standard error."""
    Console(stderr=True).print(escape(message), **_LINE)


def print_injection(
    done: dict[str, Any], limit: int | None, console: Console | None = None
) -> None:
    """What was planted where, and what to type next."""
    console = console or Console(stderr=True)
    items = {"frames": "sequences", "masks": "masks", "classes": "samples"}[done["labels"]]
    num_planted = sum(done["kinds"].values())
    verb = "Would plant" if done["spec"] is None else "Planted"
    console.print(f"{verb} errors in {num_planted} of {done['num_items']} {items}:", **_LINE)
    for kind, number in done["kinds"].items():
        console.print(f"  {kind:<12} {number}", **_LINE)
    for note in done["notes"]:
        console.print(f"[yellow]note[/] {escape(note)}", **_LINE)
    if done["spec"] is None:
        console.print("A dry run: nothing was written.", **_LINE)
        return
    only = f" --limit {limit}" if limit else ""
    model = _model_beside(done["spec"])
    for line in (
        f"{done['num_errors']} of {done['num_samples']} samples have a wrong label now.",
        f"Truth:         {done['truth']}",
        f"Specification: {done['spec']}",
        "Train a model on these labels (your own: name its checkpoints in the specification):",
        f"  ray-audit train {shlex.quote(done['spec'])} --to {shlex.quote(model)}",
        f"  ray-audit run {shlex.quote(storage.join(model, 'spec.yaml'))}{only}",
        f"  ray-audit evaluate {shlex.quote(storage.join(model, 'audit'))} "
        f"--truth {shlex.quote(done['truth'])}",
    ):
        console.print(line, markup=False, **_LINE)


def _model_beside(spec: str) -> str:
    """Folder for a model that is trained by a copy of a specification."""
    return storage.join(spec.rpartition("/")[0], "model")


def print_correction(done: dict[str, Any], console: Console | None = None) -> None:
    """What was changed, what was not and why, and what to type next."""
    console = console or Console(stderr=True)
    unit = {"dense": "pixels", "frames": "frames", "class": "labels"}[done["labels"]]
    verb = "Would change" if done["spec"] is None else "Changed"
    lines = [
        f"{verb} {done['num_changed']} {unit} by run {done['run_id']}, rule {done['rule']}, "
        f"confidence above {done['confidence']:g}:"
    ]
    lines += [f"  {p['given']} -> {p['corrected']}  {p['num']}" for p in done["pairs"]]
    lines.append(
        f"About {done['num_harmed']:.1f} of them may have been right (an estimate from the "
        "probabilities, without what reviewers decided)."
    )
    lines += [f"{number} {outcome}" for outcome, number in done["outcomes"].items()]
    for outcome, named in done["named"].items():
        lines += [f"  {outcome}: {one}" for one in named]
    if done["ignored_decisions"]:
        few = ", ".join(done["ignored_decisions"][:_NUM_IGNORED])
        num = len(done["ignored_decisions"])
        lines.append(f"{num} decisions are of findings that this run does not have: {few}")
    lines += [f"note: {note}" for note in done["notes"]]
    if done["spec"] is None:
        lines.append("A dry run: nothing was written.")
    else:
        model = _model_beside(done["spec"])
        lines += [
            f"Corrections:   {done['table']}",
            f"Specification: {done['spec']}",
            "The given labels are as they were. Train on the new ones, then audit them:",
            f"  ray-audit train {shlex.quote(done['spec'])} --to {shlex.quote(model)}",
            f"  ray-audit run {shlex.quote(storage.join(model, 'spec.yaml'))}",
        ]
    for line in lines:
        console.print(line, markup=False, **_LINE)


def print_export(done: dict[str, Any], console: Console | None = None) -> None:
    """What was written where, and what was left out."""
    console = console or Console(stderr=True)
    for note in done["notes"]:
        console.print(f"[yellow]note[/] {escape(note)}", **_LINE)
    lines = [f"{done['num_findings']} findings of {done['run_id']} as {done['format']}:"]
    lines += [f"  {done['to'].rstrip('/')}/{name}" for name in done["files"][:_NUM_IGNORED]]
    if len(done["files"]) > _NUM_IGNORED:
        lines.append(f"  and {len(done['files']) - _NUM_IGNORED} more")
    for line in lines:
        console.print(line, markup=False, **_LINE)


def fail(message: str) -> None:
    """Say on standard error why a command stops."""
    Console(stderr=True).print(f"[bold red]error[/] {escape(message)}", **_LINE)


def write_json(text: str) -> None:
    """One object on standard output, for programs."""
    sys.stdout.write(text + "\n")
