"""A complete run: its tables, and what can be done with its findings."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # each method loads what it needs: opening a run needs neither ray nor torch
    import pyarrow as pa

    from ray_audit.config import AuditConfig
    from ray_audit.corrections.correct import CorrectionOutcome
    from ray_audit.evaluation.report import Evaluation
    from ray_audit.exports.export import Exported
    from ray_audit.findings.decisions import Decision
    from ray_audit.report.serve import ReviewServer
    from ray_audit.report.write_report import WrittenReport
    from ray_audit.tables.diff import Diff
    from ray_audit.tables.manifest import Manifest
    from ray_audit.tables.run_tables import RunTables

Uri = str | PathLike[str]
Progress = Callable[[str, int, int], None]


class Run:
    """A complete run, as `audit` and `open_run` return it.

    Tables are Arrow tables: `.to_pandas()` makes them DataFrames. Columns tell their unit,
    definition and direction in their field's metadata.

    Attributes:
        output: the `output` of its specification.
        uri: its folder below that.
        tables: its tables part by part, few columns at a time, for large runs.
        duration_s: seconds that the call to `audit` took; None for a run that was opened.
        breached_gates: gates of the specification that the outcome breaks, a sentence each.
        notes: what a reader should know, a sentence each.
        reused: whether that call found the run complete already; True for one that was opened.
    """

    def __init__(
        self,
        output: str,
        tables: "RunTables",
        duration_s: float | None = None,
        reused: bool = True,
        breached_gates: Sequence[str] | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        self.output = output
        self.uri = tables.run_uri
        self.duration_s = duration_s
        self.reused = reused
        breached = tables.manifest.breached_gates if breached_gates is None else breached_gates
        self.breached_gates = list(breached)
        self.notes = [*tables.manifest.notes, *notes]
        self.tables = tables

    def __repr__(self) -> str:
        counts, findings = self.counts, self.manifest.findings["total"]
        return (
            f"Run({self.run_id!r}, {counts['scored']} of {counts['entered']} samples scored, "
            f"{findings} findings, in {self.output!r})"
        )

    @property
    def run_id(self) -> str:
        """`<logical date>-<digest of the inputs>`."""
        return self.manifest.run_id

    @property
    def manifest(self) -> "Manifest":
        """What the run was and made."""
        return self.tables.manifest

    @property
    def config(self) -> "AuditConfig":
        """The specification that the run had."""
        return self.tables.config

    @property
    def counts(self) -> dict[str, Any]:
        """Samples that entered, and were scored, filtered and failed."""
        return self.manifest.counts

    def scores(self, columns: Sequence[str] | None = None) -> "pa.Table":
        """A row for each scored sample, with every score.

        Args:
            columns: only these.

        Raises:
            StorageError: the table cannot be read, or was changed after the run.
        """
        return self._read("scores", columns)

    def trajectories(self, columns: Sequence[str] | None = None) -> "pa.Table":
        """A row for each scored sample: loss, probability of its label, margin, by checkpoint."""
        return self._read("trajectories", columns)

    def findings(self) -> "pa.Table":
        """A row for each finding, the most suspicious first."""
        return self.tables.findings().sort_by("rank")

    def class_stats(self, columns: Sequence[str] | None = None) -> "pa.Table":
        """A row for each checkpoint and class."""
        return self._read("class_stats", columns)

    def errors(self, columns: Sequence[str] | None = None) -> "pa.Table":
        """A row for each sample or shard that failed."""
        return self._read("errors", columns)

    def filtered(self, columns: Sequence[str] | None = None) -> "pa.Table":
        """A row for each sample that was left out, with the reason."""
        return self._read("filtered", columns)

    def _read(self, table: str, columns: Sequence[str] | None) -> "pa.Table":
        chosen = None if columns is None else list(columns)
        return self.manifest.table(self.uri, table, chosen)

    def report(
        self,
        to: Uri | None = None,
        *,
        folder: bool = False,
        num_findings: int | None = None,
        num_pictures: int | None = None,
        against: "str | Run | None" = None,
        address: str | None = None,
        local: bool = False,
    ) -> "WrittenReport":
        """Write the HTML report.

        Args:
            to: file (or folder) to write, local or any URI; in the run's folder by default.
            folder: pictures in files of their own, for runs with many findings.
            num_findings: the first findings that are listed; 5,000 by default.
            num_pictures: images or videos of the first findings that get pictures; 150 by default.
            against: run with which the findings are compared; the date before by default.
            address: Ray cluster that makes the pictures; None starts one on this machine.
            local: make them in this process, without Ray.

        Raises:
            StorageError: the tables cannot be read, or the report cannot be written.
        """
        from ray_audit.engine.run.audit import opened_backend
        from ray_audit.report.write_report import NUM_BUNDLES, NUM_FINDINGS, write_report

        with opened_backend(self.config.engine, address, local) as backend:
            return write_report(
                self.tables,
                backend,
                _path(to),
                folder=folder,
                num_findings=NUM_FINDINGS if num_findings is None else num_findings,
                num_bundles=NUM_BUNDLES if num_pictures is None else num_pictures,
                against=against.run_id if isinstance(against, Run) else against,
            )

    @contextmanager
    def review(
        self,
        reviewer: str | None = None,
        *,
        port: int = 0,
        address: str | None = None,
        local: bool = True,
    ) -> "Iterator[ReviewServer]":
        """The report served on this machine, with decisions saved in the run.

        Args:
            reviewer: whose decisions are saved; the user's name by default.
            port: to listen on; 0 takes a free one.
            address: Ray cluster that makes the pictures, where not `local`.
            local: make them in this process.

        Yields:
            The server: `server.address` is what to open, `server.serve_forever()` serves.
        """
        import getpass

        from ray_audit.engine.run.audit import opened_backend
        from ray_audit.report.serve import Review, ReviewServer

        name = reviewer or getpass.getuser()
        with (
            opened_backend(self.config.engine, address, local) as backend,
            ReviewServer(Review(self.tables, backend, name), port) as server,
        ):
            yield server

    def correct(
        self,
        to: Uri,
        *,
        rule: str = "auto",
        decisions: "Sequence[Uri | Decision]" = (),
        confidence: float | None = None,
        flagged_fraction: float | None = None,
        kinds: Sequence[str] | None = None,
        classes: Sequence[str] | None = None,
        background: str | None = None,
        max_changed_fraction: float | None = 0.5,
        dry_run: bool = False,
        address: str | None = None,
        local: bool = False,
        progress: Progress | None = None,
    ) -> "CorrectionOutcome":
        """Write corrected labels, in the format in which they came; the given ones stay.

        Args:
            to: an empty folder, local or of any store.
            rule: `findings`, `flagged`, `adele` or `decisions`: what may change a label; `auto`
                is `findings`, or `flagged` where the errors of masks were memorised.
            decisions: of reviewers, beside those saved in the run; files, or decisions themselves.
            confidence: how sure the checkpoints must be, 0-1; that of the rule by default.
            flagged_fraction: share of the samples that `flagged` may change, 0-1; by default the
                run's estimate of wrong labels.
            kinds: of finding that `findings` applies; all by default.
            classes: that `adele` corrects; all but the background by default.
            background: of masks, the class that must not take over an image; the first by default.
            max_changed_fraction: what a rule may change of a mask, a video, or of all images, 0-1;
                None lifts the limit.
            dry_run: count the changes; write nothing.
            address: Ray cluster; None starts one on this machine.
            local: work in this process, without Ray.
            progress: told what is done, how much of it, and of how much.

        Raises:
            SpecificationError: refused before any work; the message says why.
            StorageError: something cannot be read or written.
        """
        from ray_audit.corrections.correct import correct
        from ray_audit.corrections.options import CorrectionOptions
        from ray_audit.engine.run.audit import opened_backend
        from ray_audit.findings.decisions import read_decisions

        options = CorrectionOptions.parse(
            rule, confidence, flagged_fraction, max_changed_fraction, classes, background, kinds
        )
        given: list[Decision] = []
        for source in decisions:
            if isinstance(source, str | PathLike):
                given += read_decisions(fspath(source))
            else:
                given.append(source)
        with ExitStack() as stack:
            return correct(
                self.tables,
                lambda: stack.enter_context(opened_backend(self.config.engine, address, local)),
                fspath(to),
                options,
                given,
                dry_run=dry_run,
                progress=progress or _untold,
            )

    def export(
        self,
        format: str,
        to: Uri | None = None,
        *,
        kinds: Sequence[str] | None = None,
        classes: Sequence[str] | None = None,
        min_suspicion: float = 0.0,
        top: int | None = None,
        media_prefix: str | None = None,
    ) -> "Exported":
        """Write findings for another tool; images and videos are pointed at, never copied.

        Args:
            format: `fiftyone`, `labelstudio`, `cvat`, `coco`, `csv` or `parquet`.
            to: folder, local or of any store; `exports/<format>` in the run by default.
            kinds: only findings of these kinds.
            classes: only those given or suggested as one of these.
            min_suspicion: only those at least as suspicious, 0-1.
            top: only the first of them.
            media_prefix: where the tool finds the dataset's files, in place of where they lie.

        Raises:
            SpecificationError: an unknown format, one that does not fit the dataset, or a filter
                that names what is not there.
            StorageError: something cannot be read or written, or a document is there already.
        """
        from ray_audit.exports.export import export
        from ray_audit.exports.selection import Selection

        selection = Selection(kinds, classes, min_suspicion, top)
        return export(self.tables, format, _path(to), selection, media_prefix)

    def evaluate(self, truth: Uri, scores: Sequence[str] | None = None) -> "Evaluation":
        """Measure how well the scores find errors that are known.

        Args:
            truth: a truth file, Parquet or CSV.
            scores: only these; all that have a direction by default.

        Raises:
            StorageError: the truth cannot be read.
            SpecificationError: an unknown score, or no errors to find.
            LabelError: the truth is malformed, or of another dataset.
        """
        from ray_audit.evaluation.report import evaluate_run

        return evaluate_run(self.output, fspath(truth), self.run_id, scores)

    def diff(self, other: "str | Run") -> "Diff":
        """What is new, fixed and recurring in the findings of a later run of the same output.

        Args:
            other: the later run, or its id.

        Raises:
            SpecificationError: it is a run of another output.
            StorageError: there is no such run, or it is not complete.
        """
        from ray_audit.errors import SpecificationError
        from ray_audit.tables.diff import diff_runs

        if isinstance(other, Run) and other.output != self.output:
            raise SpecificationError(
                f"runs of one output can be compared; these are in {self.output} and {other.output}"
            )
        later = other.run_id if isinstance(other, Run) else other
        return diff_runs(self.output, self.run_id, later)


def _path(to: Uri | None) -> str | None:
    return None if to is None else fspath(to)


def _untold(what: str, num_done: int, num_total: int) -> None:
    """Tells nobody."""
