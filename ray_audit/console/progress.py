"""How far a run or another command is."""

import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ray_audit.console.lines import LINE, SafeConsole
from ray_audit.console.plan import plan_table
from ray_audit.engine.planning.plan import Plan
from ray_audit.engine.run.progress import Progress as RunProgress

_EVERY_S = 10.0


class ConsoleReporter(AbstractContextManager["ConsoleReporter"]):
    """Tells of a run on standard error: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, console: Console | None = None, quiet: bool = False) -> None:
        self._console = console or SafeConsole(stderr=True)
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
            self._console.print(f"[dim]{time.strftime('%H:%M:%S')}[/] {text}", **LINE)

    def plan(self, plan: Plan) -> None:
        """The plan, before anything starts."""
        if not self._quiet:
            self._console.print(plan_table(plan))
            for note in plan.inputs.listing.notes:
                self._console.print(f"[yellow]note[/] {escape(note)}", **LINE)

    def progress(self, progress: RunProgress) -> None:
        """Show the numbers so far."""
        if self._quiet:
            return
        if self._console.is_terminal:
            self._show_bar(progress)
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + _EVERY_S
            self._console.print(_line(progress), markup=False, **LINE)

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
        self._console = console or SafeConsole(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )
        self._task: Any = None
        self._next_line = time.monotonic() + _EVERY_S

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
                self._next_line = time.monotonic() + _EVERY_S
                line = f"{time.strftime('%H:%M:%S')} {what}: {num_done} of {num_total}"
                self._console.print(line, markup=False, **LINE)
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
