"""Tells how a run ended: `metrics.prom` in its folder and, where asked for, a Pushgateway.

Whatever goes wrong here is a note and no failure: the run is complete, and its manifest is there.
"""

import re
import threading
from collections.abc import Callable
from http.client import HTTPException
from urllib.error import HTTPError, URLError

from prometheus_client import CollectorRegistry, Gauge, pushadd_to_gateway

from ray_audit import storage
from ray_audit.config import AuditConfig, MetricsConfig
from ray_audit.errors import StorageError, redacted
from ray_audit.metrics import GATE_BREACHED, LAST_SUCCESS, RunResult, registry_of, render_outcome
from ray_audit.printable import printable
from ray_audit.tables.manifest import METRICS

_JOB = "ray_audit"
_PUSH_TIMEOUT_S = 10.0
_MAX_S = 30.0  # a peer that answers a byte now and then outlives any timeout of a socket
_MAX_ANSWER = 2000


def tell_outcome(
    config: AuditConfig, run_uri: str, result: RunResult, only_file: bool = False
) -> list[str]:
    """Write the metrics of a run; push them where the specification says so.

    Args:
        config: names the Pushgateway.
        run_uri: the run's folder.
        result: what is told.
        only_file: write the file and push nothing.

    Returns:
        What went wrong, a sentence each.
    """
    try:
        storage.write_bytes(storage.join(run_uri, METRICS), render_outcome(result))
        notes = []
    except StorageError as error:
        notes = [str(error)]
    return notes if only_file else [*notes, *_pushed(config, registry_of(result))]


def told_success(run_uri: str) -> bytes | None:
    """The metrics of a run's success; None where that was not told."""
    uri = storage.join(run_uri, METRICS)
    if not storage.exists(uri):
        return None
    told = storage.read_bytes(uri)
    return told if LAST_SUCCESS.name.encode() in told else None


def untold(config: AuditConfig) -> AuditConfig:
    """The specification without a Pushgateway: for what is not the latest whole audit."""
    return config.model_copy(update={"metrics": MetricsConfig()})


def tell_gate(config: AuditConfig, run_uri: str, told: bytes, breached: bool) -> list[str]:
    """Write and push whether a gate is breached, of a run whose other numbers were told before.

    Args:
        config: names the Pushgateway.
        run_uri: the run's folder.
        told: the metrics that were told.
        breached: what holds now.

    Returns:
        What went wrong, a sentence each.
    """
    try:
        _write_gate(storage.join(run_uri, METRICS), told, breached)
        notes = []
    except StorageError as error:
        notes = [str(error)]
    registry = CollectorRegistry()
    gauge = Gauge(GATE_BREACHED.name, GATE_BREACHED.meaning, registry=registry)
    gauge.set(float(breached))
    return [*notes, *_pushed(config, registry)]


def _write_gate(uri: str, before: bytes, breached: bool) -> None:
    """The other lines stay: what changed since the night before stands nowhere else."""
    name = GATE_BREACHED.name.encode()
    line = b"%s %s" % (name, str(float(breached)).encode())
    after = re.sub(rb"(?m)^%s .*$" % name, line, before)
    if after != before:
        storage.write_bytes(uri, after)


def _pushed(config: AuditConfig, registry: CollectorRegistry) -> list[str]:
    gateway = config.metrics.pushgateway
    if gateway is None:
        return []

    def push() -> None:
        # Adding keeps the time of the last success when a failed run says nothing of it.
        pushadd_to_gateway(
            gateway,
            job=_JOB,
            registry=registry,
            grouping_key={"audit": config.audit_label},
            timeout=_PUSH_TIMEOUT_S,
        )

    why = _what_went_wrong(push)
    if why is None:
        return []
    note = f"the Pushgateway at {gateway} was not told: {why}; metrics.prom has the outcome"
    return [redacted(printable(note))]


def _what_went_wrong(push: Callable[[], None]) -> str | None:
    """Push, for half a minute at most; None where that went well."""
    answers: list[str | None] = []

    def run() -> None:
        try:
            push()
            answers.append(None)
        except HTTPError as error:
            answers.append(f"{error.code} {error.reason}{_body(error)}")
        except (OSError, ValueError, HTTPException) as error:
            why = error.reason if isinstance(error, URLError) else error
            answers.append(str(why) or type(error).__name__)
        except Exception as error:  # no answer's fault, and no reason to lose the run
            answers.append(f"{type(error).__name__}: {error}")

    thread = threading.Thread(target=run, name="push", daemon=True)
    thread.start()
    thread.join(_MAX_S)
    return answers[0] if answers else f"no answer within {_MAX_S:g} s"


def _body(error: HTTPError) -> str:
    """What the answer says, which names the metric that is inconsistent."""
    try:
        said = error.read(_MAX_ANSWER).decode("utf-8", "replace").strip()
    except (OSError, HTTPException, ValueError):
        return ""
    return f": {' '.join(said.split())[:300]}" if said else ""
