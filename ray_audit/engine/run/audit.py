"""Runs an audit from specification to manifest."""

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from ray_audit import storage, trust
from ray_audit.config import AuditConfig, EngineConfig
from ray_audit.engine.backends.base import Backend
from ray_audit.engine.backends.stages import StageSettings, recount_set
from ray_audit.engine.ledger import record_sets
from ray_audit.engine.ledger.attempts import Attempts
from ray_audit.engine.ledger.heartbeat import Heartbeat
from ray_audit.engine.ledger.leftovers import leftovers_removed
from ray_audit.engine.planning.batches import keep_batches, with_gpu_batches
from ray_audit.engine.planning.plan import Plan, committed, make_plan, read_inputs
from ray_audit.engine.reduce.draft import facts_of
from ray_audit.engine.reduce.load import UnitFiles
from ray_audit.engine.reduce.second_pass import Recounted, finish_recount, recount_plan
from ray_audit.engine.reduce.summary import Summary
from ray_audit.engine.reduce.write_tables import (
    publish,
    records_of,
    summarise_dataset,
)
from ray_audit.engine.run.calibrate import calibrated
from ray_audit.engine.run.conclusion import (
    FailureRecord,
    check_any_sound,
    check_count,
    complete,
    completed_before,
)
from ray_audit.engine.run.conclusion import RunOutcome as RunOutcome
from ray_audit.engine.run.preflight import check_model
from ray_audit.engine.run.progress import Progress, ProgressCounter
from ray_audit.engine.run.sample import look_at_samples, remember_notes, seen_before
from ray_audit.errors import RayAuditError, RunError
from ray_audit.processes import collection_waits, use_few_arenas
from ray_audit.scores.recount import Recount


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
    trust.remember(config.model)
    if local:
        use_few_arenas()  # before listing and the look at samples start threads
    with contextlib.ExitStack() as stack:

        def open_engine() -> Backend:
            """Called when the specification has proved right and there is work to do."""
            # The first to begin and the last to end: workers are gone by then.
            stack.enter_context(leftovers_removed(config.output))
            return stack.enter_context(opened_backend(config.engine, address, local))

        return run_on(
            open_engine, config, limit, logical_date or today(), reporter or SilentReporter()
        )


@contextlib.contextmanager
def opened_backend(config: EngineConfig, address: str | None, local: bool) -> Iterator[Backend]:
    """Give an engine, and stop the Ray that was started for it."""
    if local:
        from ray_audit.engine.backends.local import LocalBackend

        yield LocalBackend(config.stall_timeout_s)
        return
    # ray is imported only where it is used
    from ray_audit.engine.backends.ray import connection

    started = connection.connect(address)
    try:
        # After that: workers and agents of a Ray that was just started come up meanwhile.
        with collection_waits():
            from ray_audit.engine.backends.ray.pipeline import RayBackend

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
    must_be_sound: bool = True,
) -> RunOutcome:
    """Audit a dataset on an engine that is opened once the inputs are known to be sound.

    Where it `must_be_sound`, it ends soon if the first samples all fail.
    """
    started = time.monotonic()
    folder = tempfile.TemporaryDirectory(prefix="ray-audit-")
    with folder:
        index_dir = Path(folder.name)
        reporter.phase("listing shards, labels and checkpoints")
        inputs = read_inputs(config, index_dir, limit, logical_date)
        done = completed_before(inputs, started)
        if done is not None:
            return done
        with FailureRecord(inputs, started) as record:
            config = inputs.config
            model = check_model(config, inputs.checkpoints)
            done_before = committed(inputs)
            # An earlier run has looked, and a night without news shall read no data.
            seen = seen_before(config) if done_before else None
            if not done_before:
                reporter.phase("looking at a few samples")
                seen = look_at_samples(inputs, model, str(index_dir))
            del model
            notes = [*_output_notes(config.output), *(seen.notes if seen else ())]
            engine = open_engine()
            resources = engine.resources()
            sized = with_gpu_batches(config, resources)
            if sized != config and not done_before:
                make_plan(inputs, resources, done_before)  # refused with nothing written
                reporter.phase("listing once more: batches follow the memory of the GPUs")
                keep_batches(sized)
                index_dir = Path(tempfile.mkdtemp(dir=folder.name))
                # From where they are kept: of two runs at once both take those of the first.
                inputs = record.inputs = read_inputs(config, index_dir, limit, logical_date)
                done_before = committed(inputs)
            config = inputs.config
            plan = replace(make_plan(inputs, resources, done_before), seen=seen)
            if config.engine.calibrate:
                reporter.phase("timing one batch at each checkpoint")
                plan = calibrated(plan, str(index_dir), resources)
            reporter.plan(plan)
            record.has_begun = True
            if seen is not None and not done_before:
                remember_notes(config, seen)
            index_uri = publish_index(config.output, inputs.listing.labels_digest, index_dir)
            folder.cleanup()  # it may be large, and the run long
            must_be_sound = must_be_sound and not plan.num_reused
            return _run(engine, plan, index_uri, reporter, started, notes, must_be_sound)


def _run(
    engine: Backend,
    plan: Plan,
    index_uri: str,
    reporter: Reporter,
    started: float,
    notes: list[str],
    must_be_sound: bool,
) -> RunOutcome:
    """Do the plan, with a sign of life and markers that are gone when it has ended."""
    inputs, config = plan.inputs, plan.inputs.config
    attempts = Attempts.below(config.output)
    heartbeat = Heartbeat(inputs.run_uri, config.engine, len(plan.work))
    try:
        settings = _settings(plan, index_uri, attempts)
        return _execute(engine, plan, settings, reporter, started, heartbeat, notes, must_be_sound)
    finally:
        heartbeat.end()
        with contextlib.suppress(RayAuditError):
            attempts.remove()


def _output_notes(output: str) -> list[str]:
    """Write, and remove, an object before any work: what is found now costs no night.

    Raises:
        StorageError: nothing can be written there.
    """
    if storage.knows_conditions(output):
        return []
    return [
        f"the store of {output} does not know or does not heed conditional writes "
        "(If-None-Match): two runs at once are told apart by looking before and after"
    ]


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
        inputs.required,
        index_uri,
        device,
        attempts=attempts,
        crate_bytes=plan.crate_bytes,
    )


def _execute(
    engine: Backend,
    plan: Plan,
    settings: StageSettings,
    reporter: Reporter,
    started: float,
    heartbeat: Heartbeat,
    notes: list[str],
    must_be_sound: bool,
) -> RunOutcome:
    """Run and publish."""
    inputs, config = plan.inputs, plan.inputs.config
    heartbeat.beat(0, force=True)
    record_sets.write_sets(config.output, {plan.set_of(work) for work in plan.work})
    tally = ProgressCounter(plan)
    if plan.work:
        reporter.phase("starting the pools")
        with contextlib.closing(engine.relay(plan, settings)) as receipts:
            for receipt in receipts:
                if receipt.fatal:
                    raise RunError(receipt.fatal)
                progress = tally.add(receipt)
                reporter.progress(progress)
                heartbeat.beat(progress.num_units)
                check_count(inputs, tally.num_failed, tally.num_expected)
                if must_be_sound:
                    check_any_sound(inputs, tally.num_failed, tally.num_sound)
    reporter.phase("reducing records to tables")
    heartbeat.beat(len(plan.work), force=True)
    relay_s = time.monotonic() - started
    records = records_of(inputs)
    summary = summarise_dataset(engine, config, [records])
    files = [unit_files for of_unit in records.files for unit_files in of_unit]
    recounted = _recounted(engine, plan, settings, reporter, files, summary)
    draft = publish(engine, inputs, [records], summary, recounted)
    draft.notes.extend([*notes, *sorted(tally.notes)])
    timing = tally.timing() | {"relay_s": relay_s, "total_s": time.monotonic() - started}
    return complete(inputs, draft, facts_of(plan), timing, started)


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
    is_requested = config.confident == "exact" and "softmin" in config.scores
    if not is_requested or "confident" not in summary.states:
        return None
    recount = Recount.of(summary.states["confident"])
    second = recount_plan(inputs, engine.resources(), recount)
    settings = replace(settings, recount=recount, crate_bytes=second.crate_bytes)
    record_sets.write_sets(config.output, [recount_set(recount, inputs.checkpoints[-1])])
    if second.work:
        reporter.phase("counting exactly for confident learning: a second pass")
        tally = ProgressCounter(second)
        with contextlib.closing(engine.relay(second, settings)) as receipts:
            for receipt in receipts:
                if receipt.fatal:
                    raise RunError(receipt.fatal)
                reporter.progress(tally.add(receipt))
    return finish_recount(engine, inputs, files, recount)
