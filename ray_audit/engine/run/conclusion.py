"""How a run ends: within its budget and published, failed, or interrupted; and what is told of it.

A manifest never changes. What depends on the specification alone and may change on the same date
(budgets, gates) is held against the counts of a complete run whenever it is asked for.
"""

import contextlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Any, NoReturn

from ray_audit import storage
from ray_audit.config import AuditConfig
from ray_audit.engine.planning.plan import Inputs
from ray_audit.engine.reduce.write_tables import first_failures
from ray_audit.engine.run.outcome_metrics import tell_gate, tell_outcome, told_success, untold
from ray_audit.errors import FailureBudgetError, RayAuditError, redacted
from ray_audit.metrics import RunResult
from ray_audit.samples import ShardFailure
from ray_audit.tables.manifest import FAILURE, MANIFEST, Manifest
from ray_audit.tables.store import read_table

_NUM_TELLING = 200  # failures without one sound sample
_NUM_CAUSES = 2
Failures = Callable[[], Sequence[ShardFailure]]
"""Looks up some of the failures of a run."""


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
        breached_gates: gates of the specification that this call had, a sentence each.
        notes: what could not be told of it, a sentence each.
    """

    run_id: str
    run_uri: str
    counts: dict[str, Any]
    duration_s: float
    reused: bool
    manifest: Manifest
    breached_gates: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def completed_before(inputs: Inputs, started: float) -> RunOutcome | None:
    """The outcome of a run that an earlier call completed; None where none did.

    Raises:
        FailureBudgetError: more samples failed than is allowed now.
    """
    if not storage.exists(storage.join(inputs.run_uri, MANIFEST)):
        return None
    manifest = Manifest.read(inputs.run_uri)
    breached, notes = recheck_complete(inputs.config, manifest, inputs.run_uri)
    return _outcome(inputs, manifest, started, True, breached, notes)


def recheck_complete(
    config: AuditConfig, manifest: Manifest, run_uri: str
) -> tuple[list[str], list[str]]:
    """Hold a complete run against the budget and gates of this call's specification.

    Returns:
        Breached gates, and what could not be told of them, a sentence each.

    Raises:
        FailureBudgetError: more samples failed than is allowed now.
    """
    check_budget(config, manifest.counts, lambda: _listed_failures(manifest, run_uri))
    breached = breached_gates(config, manifest.counts, manifest.findings)
    told = told_success(run_uri)
    if told is not None:
        told_at = untold(config) if manifest.is_trial else config
        return breached, tell_gate(told_at, run_uri, told, bool(breached))
    # The call that completed it ended before it could say so.
    return breached, _tell(manifest, config, run_uri, breached)


def complete(
    inputs: Inputs,
    draft: Manifest,
    plan: dict[str, Any],
    timing: dict[str, Any],
    started: float,
    failures: Failures | None = None,
) -> RunOutcome:
    """Publish the manifest, if the outcome is within the budget; then tell of it.

    Args:
        inputs: of the run.
        draft: the manifest without what follows.
        plan: facts about how it was made.
        timing: durations.
        started: when this call began, on the monotonic clock.
        failures: looks up some; by default those of the run's own units.

    Raises:
        FailureBudgetError: too many samples failed.
    """
    config = inputs.config
    check_budget(config, draft.counts, failures or partial(first_failures, inputs))
    breached = breached_gates(config, draft.counts, draft.findings)
    manifest = replace(
        draft,
        plan=plan | draft.plan,
        timing=timing,
        breached_gates=breached,
        published_s=time.time(),
    )
    published = manifest.publish(inputs.run_uri)
    with contextlib.suppress(RayAuditError):  # readers look for the manifest first
        storage.remove(storage.join(inputs.run_uri, FAILURE))
    notes = _tell(published, config, inputs.run_uri, breached)
    return _outcome(inputs, published, started, published is not manifest, breached, notes)


def _outcome(
    inputs: Inputs,
    manifest: Manifest,
    started: float,
    reused: bool,
    breached: Sequence[str],
    notes: Sequence[str],
) -> RunOutcome:
    duration_s = time.monotonic() - started
    return RunOutcome(
        inputs.run_id,
        inputs.run_uri,
        manifest.counts,
        duration_s,
        reused,
        manifest,
        tuple(breached),
        tuple(notes),
    )


def _tell(
    manifest: Manifest, config: AuditConfig, run_uri: str, breached: Sequence[str]
) -> list[str]:
    """Metrics of a complete run; what could not be told."""
    by_kind: dict[str, int] = manifest.findings["by_kind"]
    result = RunResult(
        duration_s=manifest.timing["total_s"],
        # A run that scored nothing is no success, though its tables are there.
        success_time_s=(manifest.published_s or time.time()) if manifest.counts["scored"] else None,
        counts=manifest.counts,
        findings={(kind, "uncompared"): number for kind, number in by_kind.items()},
        breached=bool(breached),
    )
    return tell_outcome(config, run_uri, result, only_file=manifest.is_trial)


class FailureRecord:
    """Around a run: leaves `failure.json` where it fails or is interrupted.

    What is found wrong before anything is started leaves nothing.

    Args:
        inputs: of the run.
        started: when it began, on the monotonic clock.
        failures: looks up some; by default those of the run's own units.
    """

    def __init__(self, inputs: Inputs, started: float, failures: Failures | None = None) -> None:
        self.inputs = inputs
        self._started = started
        self._failures = failures
        self.has_begun = False

    def __enter__(self) -> "FailureRecord":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None or (isinstance(error, Exception) and not self.has_begun):
            return
        failures = self._failures or partial(first_failures, self.inputs)
        _write_failure(self.inputs, error, time.monotonic() - self._started, failures)


def _write_failure(
    inputs: Inputs, error: BaseException, duration_s: float, failures: Failures
) -> None:
    is_interrupted = not isinstance(error, Exception)
    values: dict[str, Any] = {
        "run_id": inputs.run_id,
        "state": "interrupted" if is_interrupted else "failed",
        "error_class": type(error).__name__,
        "message": redacted(str(error)) or type(error).__name__,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "time_s": time.time(),
        "first_failures": [],
    }
    if is_interrupted:
        values["message"] = f"interrupted: {values['message']}; what was committed is reused"
    else:
        with contextlib.suppress(Exception):  # the first error is the one to be reported
            values["first_failures"] = [asdict(failure) for failure in failures()]
    with contextlib.suppress(RayAuditError):
        if storage.exists(storage.join(inputs.run_uri, MANIFEST)):
            return  # another call completed the run meanwhile
        content = json.dumps(values, indent=2).encode()
        storage.write_bytes(storage.join(inputs.run_uri, FAILURE), content)
        counts = error.counts if isinstance(error, FailureBudgetError) else {}
        # Who interrupts a run soon kills it: there is no time for a Pushgateway that is slow.
        only_file = is_interrupted or bool(inputs.listing.num_left_out)
        result = RunResult(duration_s, counts=counts)
        tell_outcome(inputs.config, inputs.run_uri, result, only_file)


def check_count(inputs: Inputs, failed: int, expected: int | None) -> None:
    """Stop early where the rest of the run cannot mend it; a fraction is known at the end only.

    Raises:
        FailureBudgetError: `failures.max_count` is exceeded.
    """
    budget = inputs.config.failures
    if budget.max_count is not None and failed > budget.max_count:
        _refuse(inputs.config, failed, expected, {}, lambda: first_failures(inputs))


def check_any_sound(inputs: Inputs, failed: int, sound: int) -> None:
    """Stop a run in which the first samples all fail: the rest would, too.

    Raises:
        FailureBudgetError: as many failed as tell, and none was scored.
    """
    if failed >= _NUM_TELLING and not sound:
        why = _causes(lambda: first_failures(inputs))
        raise FailureBudgetError(
            f"the first {failed} samples all failed{why}. Nothing was scored, so the run stops "
            "here; mend the specification or the data"
        )


def check_budget(config: AuditConfig, counts: dict[str, Any], failures: Failures) -> None:
    """Hold the counts of a run that came to its end against the failure budget.

    Args:
        config: has the budget.
        counts: samples by outcome.
        failures: looks some of the failures up, where the budget is exceeded.

    Raises:
        FailureBudgetError: it is.
    """
    if config.failures.exceeded(counts["failed"], counts["entered"]):
        _refuse(config, counts["failed"], counts["entered"], counts, failures)


def _listed_failures(manifest: Manifest, run_uri: str) -> list[ShardFailure]:
    """Those of the first part of a complete run's `errors` that has any."""
    for file in manifest.tables.get("errors", []):
        if file.num_rows:
            rows = read_table(run_uri, [file]).to_pylist()
            names = [field.name for field in fields(ShardFailure)]
            return [ShardFailure(**{name: row[name] for name in names}) for row in rows]
    return []


def _refuse(
    config: AuditConfig,
    failed: int,
    entered: int | None,
    counts: dict[str, Any],
    failures: Failures,
) -> NoReturn:
    budget = config.failures
    limit = (
        f"max_count {budget.max_count}"
        if budget.max_count is not None
        else f"max_fraction {0.01 if budget.max_fraction is None else budget.max_fraction:g}"
    )
    why = _causes(failures)
    raise FailureBudgetError(
        f"{failed} of {'?' if entered is None else entered} samples failed, more than "
        f"failures.{limit} allows{why}. The run's `failure.json` or `errors` table names more. "
        "Mend the data, or raise the budget; what was committed is reused",
        counts,
    )


def _causes(failures: Failures) -> str:
    """One failure of each kind, for the end of a sentence."""
    causes: dict[tuple[str, str], ShardFailure] = {}
    with contextlib.suppress(Exception):  # what they are for is to be reported
        for failure in failures():
            causes.setdefault((failure.stage, failure.error_class), failure)
    return "".join(
        f"; {caus.sample_id or caus.shard} ({caus.stage}, {caus.error_class}): {caus.message[:300]}"
        for caus in list(causes.values())[:_NUM_CAUSES]
    )


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
        f"{num} of {total} samples {what[name]}, gates.{name} is {limit:g}"
        for name, limit, num, total in limits
        if limit is not None and num > limit * total
    ]
