"""One run over all folds: each sample by the checkpoints that never saw it, one ranking for all."""

import contextlib
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from ray_audit import storage
from ray_audit.checkpoints.catalog import Checkpoint
from ray_audit.config import AuditConfig, FailuresConfig, GatesConfig
from ray_audit.cuts.batching import AUTO_BATCH_BYTES
from ray_audit.engine.backends.base import Backend
from ray_audit.engine.ledger.leftovers import leftovers_removed
from ray_audit.engine.planning.batches import with_batches, with_kept_batches
from ray_audit.engine.planning.plan import Inputs, read_inputs
from ray_audit.engine.reduce.draft import PLAN_COUNTS
from ray_audit.engine.reduce.write_tables import (
    NUM_FIRST,
    first_failures,
    publish,
    records_of,
    summarise_dataset,
    united_failures,
)
from ray_audit.engine.run.audit import (
    Reporter,
    SilentReporter,
    opened_backend,
    publish_index,
    run_on,
    today,
)
from ray_audit.engine.run.conclusion import (
    FailureRecord,
    RunOutcome,
    complete,
    completed_before,
)
from ray_audit.engine.run.outcome_metrics import untold
from ray_audit.errors import SpecificationError
from ray_audit.samples import ShardFailure
from ray_audit.sources import list_dataset


def run_folds(
    config: AuditConfig,
    parts: Sequence[AuditConfig],
    *,
    address: str | None = None,
    local: bool = False,
    logical_date: str | None = None,
    reporter: Reporter | None = None,
) -> RunOutcome:
    """Audit each fold, then reduce the records of all of them to one run.

    The folds' own runs stay; ranks, thresholds, the estimate and findings of this one are made over
    all samples together, as if one set of checkpoints had scored them.

    Args:
        config: of the whole dataset; its `output` gets the run.
        parts: the folds' specifications, each with an output of its own.
        address: Ray cluster; None starts one on this machine, unless one is connected.
        local: run in this process, without Ray.
        logical_date: date of the run, `YYYY-MM-DD`; today in UTC where absent.
        reporter: told of each fold's plan and progress.

    Raises:
        SpecificationError: nothing was started, or the folds do not go together.
        RunError: a fold failed; what was committed is reused by the next call.
    """
    if config.confident == "exact":
        raise SpecificationError("confident: exact does not go over folds; leave it out")
    started, reporter = time.monotonic(), reporter or SilentReporter()
    date, parts = logical_date or today(), [_without_limits(part) for part in parts]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ray-audit-")))
        engines: list[Backend] = []
        after_workers = stack.enter_context(contextlib.ExitStack())

        def engine(output: str) -> Backend:
            after_workers.enter_context(leftovers_removed(output))
            if not engines:
                opened = opened_backend(config.engine, address, local)
                engines.append(stack.enter_context(opened))
            return engines[0]

        outcomes: list[RunOutcome] = []
        for number, output in enumerate(part.output for part in parts):
            any_sound = any(outcome.counts["scored"] for outcome in outcomes)
            open_engine = partial(engine, output)
            outcomes.append(run_on(open_engine, parts[number], None, date, reporter, not any_sound))
            parts = _with_batches_of_the_first(parts)
        each = [
            read_inputs(part, _folder(folder, str(n)), None, date) for n, part in enumerate(parts)
        ]
        index_dir = _folder(folder, "whole")
        inputs = _united(config, each, index_dir, date)
        done = completed_before(inputs, started)
        if done is not None:
            return done
        failures = partial(_first_failures, each)
        with FailureRecord(inputs, started, failures) as record:
            record.has_begun = True
            reporter.phase(f"reducing the records of {len(parts)} folds to tables")
            publish_index(config.output, inputs.listing.labels_digest, index_dir)
            records = [records_of(part_inputs) for part_inputs in each]
            backend = engine(config.output)
            summary = summarise_dataset(backend, inputs.config, records)
            draft = publish(backend, inputs, records, summary, None)
            counts = {
                name: sum(outcome.manifest.plan[name] for outcome in outcomes)
                for name in PLAN_COUNTS
            }
            timing = {"total_s": time.monotonic() - started}
            plan = counts | {"num_folds": len(parts)}
            return complete(inputs, draft, plan, timing, started, failures)


def _without_limits(part: AuditConfig) -> AuditConfig:
    """A fold is no run by itself here: budget, gates and who is told are those of all together.

    More failures than `max_count` in one fold are more in all: it may stop early.
    """
    max_count = part.failures.max_count
    failures = part.failures if max_count is not None else FailuresConfig(max_fraction=1.0)
    return untold(part).model_copy(update={"failures": failures, "gates": GatesConfig()})


def _first_failures(each: Sequence[Inputs]) -> list[ShardFailure]:
    every = united_failures(failure for inputs in each for failure in first_failures(inputs))
    return every[:NUM_FIRST]


def _with_batches_of_the_first(parts: Sequence[AuditConfig]) -> list[AuditConfig]:
    """Whatever that was run on."""
    first = with_kept_batches(parts[0])
    chosen = first.engine.batch_bytes
    size_bytes = AUTO_BATCH_BYTES if chosen == "auto" else chosen
    return [first, *(with_batches(part, size_bytes) for part in parts[1:])]


def _folder(parent: Path, name: str) -> Path:
    path = parent / name
    path.mkdir()
    return path


def _united(config: AuditConfig, each: Sequence[Inputs], index_dir: Path, date: str) -> Inputs:
    """The whole dataset; a checkpoint stands for those of the same epoch of all folds."""
    numbers = {len(inputs.checkpoints) for inputs in each}
    if len(numbers) > 1:
        raise SpecificationError(
            f"the folds have {', '.join(map(str, sorted(numbers)))} checkpoints: one run over them "
            "needs as many of each; train them alike"
        )
    first = each[0]
    checkpoints = tuple(
        # An address that leads nowhere: no model of one fold may be taken for that of another.
        replace(same[0], uri=", ".join(c.uri for c in same), digest=_digest(same))
        for same in zip(*(inputs.checkpoints for inputs in each), strict=True)
    )
    config = config.model_copy(update={"protocol": "held_out"})
    chosen = first.config.engine.batch_bytes
    config = config if chosen == "auto" else with_batches(config, chosen)
    run_id = f"{date}-{storage.digest('folds', *(inputs.run_id for inputs in each))[:8]}"
    listing = list_dataset(config.dataset, index_dir)
    return Inputs(config, listing, checkpoints, (), first.required, run_id)


def _digest(checkpoints: Sequence[Checkpoint]) -> str:
    return storage.digest(*(checkpoint.digest for checkpoint in checkpoints))
