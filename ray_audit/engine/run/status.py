"""Runs below an output, from manifests, failures and the ledger."""

import contextlib
import json
import time
from dataclasses import dataclass
from typing import Any

from ray_audit import storage
from ray_audit.engine.ledger import record_sets
from ray_audit.engine.ledger.heartbeat import HeartbeatState
from ray_audit.errors import StorageError
from ray_audit.tables.manifest import FAILURE, MANIFEST, Manifest, run_ids


@dataclass(frozen=True)
class RunStatus:
    """One run as `status` shows it.

    Attributes:
        run_id: its name.
        state: complete | failed | interrupted | running | dead: it has ended without a word, or was
            silent for longer than its timeouts allow | unreadable: its manifest is damaged, or of
            another version.
        counts: of a complete run.
        message: why it failed; where and how far it runs, or was when it was last heard of.
        duration_s: of a complete one.
    """

    run_id: str
    state: str
    counts: dict[str, Any]
    message: str
    duration_s: float | None


@dataclass(frozen=True)
class OutputStatus:
    """All runs of an output, and the committed work that they share.

    Attributes:
        runs: oldest first.
        num_units: work units with at least one complete set of records.
        num_parts: committed batches in them.
    """

    runs: tuple[RunStatus, ...]
    num_units: int
    num_parts: int


def read_status(output: str) -> OutputStatus:
    """Look at an output; an empty one gives no runs."""
    done = record_sets.completed(output, accept_retries=True)
    num_parts = sum(files.num_batches for sets in done.values() for files in sets.values())
    return OutputStatus(tuple(_status(output, r) for r in run_ids(output)), len(done), num_parts)


def _status(output: str, run_id: str) -> RunStatus:
    run_uri = storage.join(output, "runs", run_id)
    if storage.exists(storage.join(run_uri, MANIFEST)):
        try:
            manifest = Manifest.read(run_uri)
        except StorageError as error:  # one that is damaged hides no other run
            if error.may_pass:
                raise
            return RunStatus(run_id, "unreadable", {}, str(error), None)
        total_s = manifest.timing.get("total_s")
        return RunStatus(run_id, manifest.state, manifest.counts, "", total_s)
    sign, failure = HeartbeatState.read(run_uri), _failure(run_uri)
    # Where the store did not answer when it failed, its sign of life may have stayed.
    if sign is not None and failure.get("time_s", 0.0) < sign.written_s:
        return _running(run_id, sign)
    state = failure.get("state", "failed")
    return RunStatus(run_id, state, {}, failure.get("message", ""), None)


def _failure(run_uri: str) -> dict[str, Any]:
    """What a failed run left; empty where it left nothing that can be read."""
    uri = storage.join(run_uri, FAILURE)
    with contextlib.suppress(ValueError):
        found = json.loads(storage.read_bytes(uri)) if storage.exists(uri) else {}
        return found if isinstance(found, dict) else {}
    return {}


def _running(run_id: str, sign: HeartbeatState) -> RunStatus:
    now_s = time.time()
    progress = {"committed_units": sign.num_units, "expected_units": sign.num_expected}
    where = f"{sign.num_units} of {sign.num_expected} work units, process {sign.pid} on {sign.host}"
    silent_s = f"last heard of {now_s - sign.written_s:.0f} s ago"
    if sign.is_stale(now_s) or sign.has_died_here():
        advice = "it has died: run again, and what was committed is reused"
        return RunStatus(run_id, "dead", progress, f"{where}, {silent_s}: {advice}", None)
    return RunStatus(run_id, "running", progress, f"{where}, {silent_s}", now_s - sign.started_s)
