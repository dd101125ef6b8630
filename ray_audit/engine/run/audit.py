"""Runs an audit from specification to manifest."""

import contextlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from ray_audit import storage
from ray_audit.config import AuditConfig, EngineConfig
from ray_audit.engine.backends.base import Backend
from ray_audit.engine.backends.stages import StageSettings, recount_set
from ray_audit.engine.ledger import record_sets
from ray_audit.engine.ledger.attempts import Attempts
from ray_audit.engine.ledger.heartbeat import Heartbeat
from ray_audit.engine.planning.plan import Inputs, Plan, make_plan, read_inputs
from ray_audit.engine.reduce.draft import Draft, facts_of
from ray_audit.engine.reduce.load import UnitFiles
from ray_audit.engine.reduce.recount import Recounted, finish_recount, recount_plan
from ray_audit.engine.reduce.summary import Summary
from ray_audit.engine.reduce.write_tables import (
    first_failures,
    publish,
    records_of,
    summarise_dataset,
)
from ray_audit.engine.run.calibrate import calibrated
from ray_audit.engine.run.outcome import tell_outcome
from ray_audit.engine.run.preflight import check_model
from ray_audit.engine.run.progress import Progress, Tally
from ray_audit.errors import FailureBudgetError, RayAuditError, RunError, redacted
from ray_audit.metrics import RunResult
from ray_audit.scores.recount import Recount
from ray_audit.tables.manifest import FAILURE, MANIFEST, Manifest


class Reporter(Protocol):
    """Where a run tells how it goes."""

    def phase(self, text: str) -> None:
        """A new step begins."""
        ...

    def plan(self, plan: Plan) -> None:
        """The plan, before anything starts."""
        ...

    def progress(self, progress: Progress) -> None:
        """Numbers so far; called for every receipt."""
        ...


class SilentReporter:
    """Tells nobody."""

    def phase(self, text: str) -> None:
        """Ignore."""

    def plan(self, plan: Plan) -> None:
        """Ignore."""

    def progress(self, progress: Progress) -> None:
        """Ignore."""


@dataclass(frozen=True)
class RunOutcome:
    """A complete run.

    Attributes:
        run_id: its name.
        run_uri: its folder.
        counts: entered, scored, filtered, failed.
        duration_s: of this call.
        reused: whether an earlier call had completed it already.
        manifest: all the rest.
    """

    run_id: str
    run_uri: str
    counts: dict[str, Any]
    duration_s: float
    reused: bool
    manifest: Manifest


def today() -> str:
    """The logical date of a run that is given none: today, UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%d")


def run_audit(
    config: AuditConfig,
    *,
    address: str | None = None,
    local: bool = False,
    limit: int | None = None,
    logical_date: str | None = None,
    reporter: Reporter | None = None,
) -> RunOutcome:
    """Audit a dataset, reusing what is committed already.

    Args:
        config: the specification.
        address: Ray cluster; None starts one on this machine, unless one is connected.
        local: run in this process, without Ray.
        limit: take only the first shards.
        logical_date: date of the run, `YYYY-MM-DD`; today in UTC where absent.
        reporter: told of the plan and the progress.

    Raises:
        SpecificationError: nothing was started.
        RunError: the run failed; what was committed is reused by the next one.
    """
    with contextlib.ExitStack() as stack:
        return run_on(
            # Opened only when the specification has proved right and there is work to do.
            lambda: stack.enter_context(opened_backend(config.engine, address, local)),
            config,
            limit,
            logical_date or today(),
            reporter or SilentReporter(),
        )


@contextlib.contextmanager
def opened_backend(config: EngineConfig, address: str | None, local: bool) -> Iterator[Backend]:
    """Give an engine, and stop the Ray that was started for it."""
    if local:
        from ray_audit.engine.backends.local import LocalBackend

        yield LocalBackend()
        return
    # ray is imported only where it is used
    from ray_audit.engine.backends.ray import connection
    from ray_audit.engine.backends.ray.pipeline import RayBackend

    started = connection.connect(address)
    try:
        yield RayBackend(config)
    finally:
        if started:
            connection.disconnect()


def run_on(
    open_engine: Callable[[], Backend],
    config: AuditConfig,
    limit: int | None,
    logical_date: str,
    reporter: Reporter,
) -> RunOutcome:
    """Audit a dataset on an engine that is opened once the inputs are known to be sound."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ray-audit-") as folder:
        index_dir = Path(folder)
        reporter.phase("listing shards, labels and checkpoints")
        inputs = read_inputs(config, index_dir, limit, logical_date)
        if storage.exists(storage.join(inputs.run_uri, MANIFEST)):
            manifest = Manifest.read(inputs.run_uri)
            return outcome_of(inputs, manifest, time.monotonic() - started, reused=True)
        check_model(config, inputs.checkpoints)
        engine = open_engine()
        plan = make_plan(inputs, engine.resources())
        if config.engine.calibrate:
            reporter.phase("timing one batch at each checkpoint")
            plan = calibrated(plan, str(index_dir), engine.resources())
        reporter.plan(plan)
        attempts = Attempts.below(config.output)
        index_uri = publish_index(config.output, inputs.listing.labels_digest, index_dir)
        settings = _settings(plan, index_uri, attempts)
    heartbeat = Heartbeat(inputs.run_uri, config.engine, len(plan.work))
    try:
        manifest, is_ours = _execute(engine, plan, settings, reporter, started, heartbeat)
    except Exception as error:
        _write_failure(inputs, error, time.monotonic() - started)
        raise
    finally:
        with contextlib.suppress(RayAuditError):
            attempts.remove()
        heartbeat.end()
    return outcome_of(inputs, manifest, time.monotonic() - started, reused=not is_ours)


def outcome_of(inputs: Inputs, manifest: Manifest, duration_s: float, reused: bool) -> RunOutcome:
    """What a caller gets of a complete run."""
    return RunOutcome(inputs.run_id, inputs.run_uri, manifest.counts, duration_s, reused, manifest)


def publish_index(output: str, labels_digest: str, index_dir: Path) -> str:
    """Put the label index where every worker can read it; gives its folder."""
    uri = storage.join(output, "labels", labels_digest or "none")
    for file in sorted(p for p in index_dir.rglob("*") if p.is_file()):
        target = storage.join(uri, file.relative_to(index_dir).as_posix())
        if not storage.exists(target):
            storage.write_bytes(target, file.read_bytes())
    return uri


def _settings(plan: Plan, index_uri: str, attempts: Attempts) -> StageSettings:
    inputs = plan.inputs
    gpus = plan.layout.gpus_per_actor if plan.layout else 0
    device = "cuda" if gpus else "cpu"
    return StageSettings(
        inputs.config,
        inputs.checkpoints,
        inputs.wanted,
        index_uri,
        device,
        attempts=attempts,
    )


def _execute(
    engine: Backend,
    plan: Plan,
    settings: StageSettings,
    reporter: Reporter,
    started: float,
    heartbeat: Heartbeat,
) -> tuple[Manifest, bool]:
    """Run and publish; the manifest that is there then, and whether it is this call's."""
    inputs, config = plan.inputs, plan.inputs.config
    heartbeat.beat(0, force=True)
    record_sets.write_sets(config.output, {plan.set_of(work) for work in plan.work})
    tally = Tally(plan)
    if plan.work:
        reporter.phase("starting the pools")
        for receipt in engine.relay(plan, settings):
            if receipt.fatal:
                raise RunError(receipt.fatal)
            progress = tally.add(receipt)
            reporter.progress(progress)
            heartbeat.beat(progress.num_units)
            _check_count(config, tally.num_failed, tally.num_expected)
    reporter.phase("reducing records to tables")
    heartbeat.beat(len(plan.work), force=True)
    relay_s = time.monotonic() - started
    records = records_of(inputs)
    summary = summarise_dataset(engine, config, [records])
    files = [one for of_unit in records.files for one in of_unit]
    recounted = _recounted(engine, plan, settings, reporter, files, summary)
    draft = publish(engine, inputs, [records], summary, recounted)
    draft.notes.extend(sorted(tally.notes))
    timing = tally.timing() | {"relay_s": relay_s, "total_s": time.monotonic() - started}
    return complete(draft, facts_of(plan), timing)


def complete(draft: Draft, plan: dict[str, Any], timing: dict[str, Any]) -> tuple[Manifest, bool]:
    """Write the manifest, if the outcome is within the budget; whether it is this call's.

    Raises:
        FailureBudgetError: too many samples failed.
    """
    inputs, counts = draft.inputs, draft.counts
    config = inputs.config
    if config.failures.exceeded(counts["failed"], counts["entered"]):
        _refuse(config, counts["failed"], counts["entered"], counts)
    breached = breached_gates(config, counts, draft.findings)
    manifest = draft.manifest(plan, timing, breached)
    manifest.notes.extend(_tell(manifest, config, inputs.run_uri))
    published = manifest.publish(inputs.run_uri)
    if published is not manifest:
        _tell(published, config, inputs.run_uri)  # ours told of tables that nobody will see
    storage.remove(storage.join(inputs.run_uri, FAILURE))
    return published, published is manifest


def _tell(manifest: Manifest, config: AuditConfig, run_uri: str) -> list[str]:
    """Metrics of a complete run; what could not be told."""
    by_kind: dict[str, int] = manifest.findings["by_kind"]
    result = RunResult(
        duration_s=manifest.timing["total_s"],
        success_time_s=time.time(),
        counts=manifest.counts,
        findings={(kind, "uncompared"): number for kind, number in by_kind.items()},
        breached=bool(manifest.breached_gates),
    )
    return tell_outcome(config, run_uri, result)


def _recounted(
    engine: Backend,
    plan: Plan,
    settings: StageSettings,
    reporter: Reporter,
    files: list[UnitFiles],
    summary: Summary,
) -> Recounted | None:
    """Second pass over the dataset, where exact confident learning is asked for."""
    inputs, config = plan.inputs, plan.inputs.config
    is_asked = config.confident == "exact" and "softmin" in config.scores
    if not is_asked or summary.confident is None:
        return None
    recount = Recount.of(summary.confident)
    second = recount_plan(inputs, engine.resources(), recount)
    settings = replace(settings, recount=recount)
    record_sets.write_sets(config.output, [recount_set(recount, inputs.checkpoints[-1])])
    if second.work:
        reporter.phase("counting exactly for confident learning: a second pass")
        tally = Tally(second)
        for receipt in engine.relay(second, settings):
            if receipt.fatal:
                raise RunError(receipt.fatal)
            reporter.progress(tally.add(receipt))
    return finish_recount(engine, inputs, files, recount)


def _check_count(config: AuditConfig, failed: int, expected: int | None) -> None:
    """Stop early where the rest of the run cannot mend it; a fraction is known at the end only."""
    if config.failures.max_count is not None and failed > config.failures.max_count:
        _refuse(config, failed, expected)


def _refuse(
    config: AuditConfig, failed: int, entered: int | None, counts: dict[str, Any] | None = None
) -> None:
    budget = config.failures
    limit = (
        f"max_count {budget.max_count}"
        if budget.max_count is not None
        else f"max_fraction {0.01 if budget.max_fraction is None else budget.max_fraction:g}"
    )
    raise FailureBudgetError(
        f"{failed} of {'?' if entered is None else entered} samples failed, more than "
        f"failures.{limit} allows: `failure.json` in the run's folder names the first of them. "
        "Mend the data, or raise the budget; what was committed is reused",
        counts,
    )


def _write_failure(inputs: Inputs, error: Exception, duration_s: float) -> None:
    values: dict[str, Any] = {
        "run_id": inputs.run_id,
        "error_class": type(error).__name__,
        "message": redacted(str(error)),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "first_failures": [],
    }
    with contextlib.suppress(Exception):  # the first error is the one to be told
        values["first_failures"] = [asdict(one) for one in first_failures(inputs)]
    with contextlib.suppress(RayAuditError):
        if storage.exists(storage.join(inputs.run_uri, MANIFEST)):
            return  # another call completed the run meanwhile
        content = json.dumps(values, indent=2).encode()
        storage.write_bytes(storage.join(inputs.run_uri, FAILURE), content)
        counts = error.counts if isinstance(error, FailureBudgetError) else {}
        tell_outcome(inputs.config, inputs.run_uri, RunResult(duration_s, counts=counts))


def breached_gates(
    config: AuditConfig, counts: dict[str, Any], findings: dict[str, Any]
) -> list[str]:
    """The gates of the specification that an outcome breaks, a sentence each."""
    gates = config.gates
    limits = (
        ("max_failed_fraction", gates.max_failed_fraction, counts["failed"], counts["entered"]),
        (
            "max_findings_fraction",
            gates.max_findings_fraction,
            findings["num_samples"],
            counts["scored"],
        ),
    )
    what = {"max_failed_fraction": "failed", "max_findings_fraction": "lie in findings"}
    return [
        f"{num} of {total} samples {what[name]}, gates.{name} is {most:g}"
        for name, most, num, total in limits
        if most is not None and num > most * total
    ]
