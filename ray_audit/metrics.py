"""Every metric, declared once as data, and the outcome of a run in Prometheus' text format.

`docs/metrics.md` is `reference_page()`: `python -m ray_audit.metrics > docs/metrics.md`.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Gauge, generate_latest

Type = Literal["counter", "gauge", "histogram"]
Source = Literal["live", "outcome"]
OUTCOMES = ("scored", "filtered", "failed")
SHARD_OUTCOMES = ("done", "failed")
CHANGES = ("new", "recurring", "fixed", "uncompared")
FINDING_KINDS = (
    "mislabel",
    "disorder",
    "boundary",
    "missing_segment",
    "missing_region",
    "swapped_classes",
    "shifted_boundary",
    "wrong_mask",
)
MAX_POOLS = 100


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: as Prometheus shows it, with its unit.
        type: of Prometheus.
        unit: what its values count.
        meaning: a sentence.
        source: `live` while a run goes on, through Ray's agents; `outcome` when it has ended.
        labels: for each label all values that it can have.
        buckets_s: upper bounds of a histogram.
    """

    name: str
    type: Type
    unit: str
    meaning: str
    source: Source
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    buckets_s: tuple[float, ...] = ()

    def check(self, labels: Mapping[str, str]) -> None:
        """Refuse what is not declared.

        Raises:
            ValueError: a label is missing or unknown, or a value is not in its closed list.
        """
        if set(labels) != set(self.labels):
            raise ValueError(f"{self.name} has the labels {sorted(self.labels)}, got {labels}")
        for name, value in labels.items():
            if value not in self.labels[name]:
                raise ValueError(f"{self.name}: {name}={value!r} is none of {self.labels[name]}")


_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
_POOLS = tuple(f"{index:02d}" for index in range(MAX_POOLS))

SAMPLES = Metric(
    "ray_audit_samples_total",
    "counter",
    "samples",
    "Rows committed by running audits; a tile or clip of a sample is a row.",
    "live",
)
SHARDS = Metric(
    "ray_audit_shards_total",
    "counter",
    "shards",
    "Shards whose last part is committed. failed: the shard, or the rest of it, was lost.",
    "live",
    {"outcome": SHARD_OUTCOMES},
)
DECODE = Metric(
    "ray_audit_decode_seconds",
    "histogram",
    "seconds",
    "Reading and decoding of one work unit (a shard, a slice of one, or a group of small ones).",
    "live",
    buckets_s=_SECONDS,
)
PROBE = Metric(
    "ray_audit_probe_seconds",
    "histogram",
    "seconds",
    "Time of one batch in one pool, over all checkpoints that the pool holds.",
    "live",
    {"pool": _POOLS},
    _SECONDS,
)
QUEUE = Metric(
    "ray_audit_queue_batches",
    "gauge",
    "batches",
    "Decoded batches that wait in front of a pool.",
    "live",
)
PROGRESS = Metric(
    "ray_audit_progress_ratio",
    "gauge",
    "fraction",
    "Work units committed by this call, of those that it set out to run; gone when it has ended.",
    "live",
)
LAST_SUCCESS = Metric(
    "ray_audit_last_success_timestamp_seconds",
    "gauge",
    "Unix time",
    "When the audit last completed.",
    "outcome",
)
RUN_DURATION = Metric(
    "ray_audit_run_duration_seconds",
    "gauge",
    "seconds",
    "How long the latest run took, whether it completed or not.",
    "outcome",
)
RUN_SAMPLES = Metric(
    "ray_audit_run_samples",
    "gauge",
    "samples",
    "Samples of the latest run by outcome; they add up to those that entered.",
    "outcome",
    {"outcome": OUTCOMES},
)
FINDINGS = Metric(
    "ray_audit_findings",
    "gauge",
    "findings",
    "Findings of the latest run by kind, against the night before. fixed: of that night, and "
    "found no more. uncompared: there was no earlier night, or its settings were others.",
    "outcome",
    {"kind": FINDING_KINDS, "change": CHANGES},
)
GATE_BREACHED = Metric(
    "ray_audit_gate_breached",
    "gauge",
    "0 or 1",
    "1 if the latest run breached a gate of its specification.",
    "outcome",
)
METRICS = (
    SAMPLES,
    SHARDS,
    DECODE,
    PROBE,
    QUEUE,
    PROGRESS,
    LAST_SUCCESS,
    RUN_DURATION,
    RUN_SAMPLES,
    FINDINGS,
    GATE_BREACHED,
)


@dataclass(frozen=True)
class RunResult:
    """What a run leaves as metrics.

    Attributes:
        duration_s: of the run.
        success_time_s: Unix time of success; None for a failed run, which then says nothing of
            findings and gates either.
        counts: samples by outcome; a failed run has them where too many of them failed.
        findings: number by (kind, change).
        breached: whether a gate was breached.
    """

    duration_s: float
    success_time_s: float | None = None
    counts: Mapping[str, Any] = field(default_factory=dict)
    findings: Mapping[tuple[str, str], int] = field(default_factory=dict)
    breached: bool = False

    def __post_init__(self) -> None:
        for kind, change in self.findings:
            FINDINGS.check({"kind": kind, "change": change})

    def values(self) -> Iterator[tuple[Metric, dict[str, str], float]]:
        """Each metric with its labels and value; where a list is closed, its zeros too."""
        yield RUN_DURATION, {}, self.duration_s
        if self.counts or self.success_time_s is not None:
            for outcome in OUTCOMES:
                yield RUN_SAMPLES, {"outcome": outcome}, self.counts.get(outcome, 0)
        if self.success_time_s is None:
            return
        yield LAST_SUCCESS, {}, self.success_time_s
        for kind in FINDING_KINDS:
            for change in CHANGES:
                number = self.findings.get((kind, change), 0)
                yield FINDINGS, {"kind": kind, "change": change}, number
        yield GATE_BREACHED, {}, float(self.breached)


def registry_of(result: RunResult) -> CollectorRegistry:
    """The metrics of a run, to be rendered or pushed."""
    registry = CollectorRegistry()
    gauges: dict[str, Gauge] = {}
    for metric, labels, value in result.values():
        metric.check(labels)
        if metric.name not in gauges:
            gauges[metric.name] = Gauge(
                metric.name, metric.meaning, tuple(metric.labels), registry=registry
            )
        gauge = gauges[metric.name]
        (gauge.labels(**labels) if labels else gauge).set(value)
    return registry


def render_outcome(result: RunResult) -> bytes:
    """Text of `metrics.prom`."""
    return generate_latest(registry_of(result))


_PREFACE = """\
# Metrics

Generated by `python -m ray_audit.metrics > docs/metrics.md`; a test holds it to the code.

Live metrics come from the driver of a running audit through Ray's agents: scrape the port `metrics`
of head and workers. Samples and shards are counted when the driver hears that they are committed,
so that a retry is not counted twice. Gauges are set again every few seconds, and are gone soon
after the run. Outcome metrics are in `metrics.prom` of the run and, where the specification names
one (`metrics.pushgateway`), in a Pushgateway, under `job="ray_audit"` and
`audit="<name of the specification>"`, or `audit-<digest of its output>` where it has none. A failed
run tells its duration and, where more samples failed than `failures.max_fraction` allows, its
samples; it leaves the rest of the group in the Pushgateway as it was. No label ever holds a file
name or a sample id.
"""


def reference_page() -> str:
    """The page `docs/metrics.md`."""
    lines = [_PREFACE.rstrip()]
    for source, title in (("live", "While a run goes on"), ("outcome", "When a run has ended")):
        lines += ["", f"## {title}", "", "| metric | type | unit | labels | meaning |"]
        lines.append("|---|---|---|---|---|")
        lines += [_reference_row(metric) for metric in METRICS if metric.source == source]
    return "\n".join(lines) + "\n"


def _reference_row(metric: Metric) -> str:
    labels = "; ".join(f"`{name}`: {_listed(v)}" for name, v in metric.labels.items()) or "none"
    cells = (f"`{metric.name}`", metric.type, metric.unit, labels, metric.meaning)
    return f"| {' | '.join(cells)} |"


def _listed(values: tuple[str, ...]) -> str:
    if values == _POOLS:
        last = values[-1]
        return f"{values[0]} to {last}, the place in the relay (those after it count as {last})"
    return ", ".join(values)


if __name__ == "__main__":
    sys.stdout.write(reference_page())
