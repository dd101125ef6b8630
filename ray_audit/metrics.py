"""Outcome metrics of a run, in Prometheus' text format."""

from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Gauge, generate_latest


@dataclass(frozen=True)
class OutcomeMetric:
    """One metric that a finished run leaves.

    Attributes:
        name: with its unit.
        meaning: in one sentence.
        labels: names of its labels; their values come from closed lists.
    """

    name: str
    meaning: str
    labels: tuple[str, ...] = ()


LAST_SUCCESS = OutcomeMetric(
    "ray_audit_last_success_timestamp_seconds", "When the audit last completed, Unix time."
)
RUN_DURATION = OutcomeMetric("ray_audit_run_duration_seconds", "How long the run took.")
RUN_SAMPLES = OutcomeMetric(
    "ray_audit_run_samples", "Samples of the run by outcome.", labels=("outcome",)
)
GATE_BREACHED = OutcomeMetric(
    "ray_audit_gate_breached", "1 if a gate of the specification was breached, else 0."
)
OUTCOMES = ("scored", "filtered", "failed")


def render_outcome(
    counts: Mapping[str, int], duration_s: float, success_time_s: float | None, breached: bool
) -> bytes:
    """Text of `metrics.prom`.

    Args:
        counts: samples by outcome.
        duration_s: of the run.
        success_time_s: Unix time of success; None for a failed run, which then says nothing of it.
        breached: whether a gate was breached.
    """
    registry = CollectorRegistry()
    if success_time_s is not None:
        _gauge(LAST_SUCCESS, registry).set(success_time_s)
    _gauge(RUN_DURATION, registry).set(duration_s)
    samples = _gauge(RUN_SAMPLES, registry)
    for outcome in OUTCOMES:
        samples.labels(outcome=outcome).set(counts.get(outcome, 0))
    _gauge(GATE_BREACHED, registry).set(breached)
    return generate_latest(registry)


def _gauge(metric: OutcomeMetric, registry: CollectorRegistry) -> Gauge:
    return Gauge(metric.name, metric.meaning, metric.labels, registry=registry)
