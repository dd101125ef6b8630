from pathlib import Path
from typing import get_args

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ray_audit.findings.finding import Kind
from ray_audit.metrics import (
    FINDING_KINDS,
    METRICS,
    PROBE,
    RunResult,
    reference_page,
    render_outcome,
)

ROOT = Path(__file__).parents[2]
CONTRACT = {
    "ray_audit_samples_total",
    "ray_audit_shards_total",
    "ray_audit_decode_seconds",
    "ray_audit_probe_seconds",
    "ray_audit_queue_batches",
    "ray_audit_progress_ratio",
    "ray_audit_last_success_timestamp_seconds",
    "ray_audit_run_duration_seconds",
    "ray_audit_run_samples",
    "ray_audit_findings",
    "ray_audit_gate_breached",
}


def values(text):
    families = text_string_to_metric_families(text.decode())
    return {
        (
            sample.name,
            *(value for _, value in sorted(sample.labels.items(), reverse=True)),
        ): sample.value
        for family in families
        for sample in family.samples
    }


def test_the_declared_metrics_are_those_of_the_contract():
    assert {metric.name for metric in METRICS} == CONTRACT


def test_the_page_is_made_from_the_declarations():
    assert (ROOT / "docs/metrics.md").read_text() == reference_page()


def test_every_kind_of_finding_is_a_label_value():
    assert set(get_args(Kind)) == set(FINDING_KINDS)


def test_names_end_with_their_unit():
    endings = {
        "counter": ("_total",),
        "histogram": ("_seconds",),
        "gauge": (
            "_seconds",
            "_batches",
            "_ratio",
            "_samples",
            "_findings",
            "_breached",
        ),
    }
    for metric in METRICS:
        assert metric.name.endswith(endings[metric.type]), metric.name


@pytest.mark.parametrize("labels", [{}, {"pool": "3"}, {"pool": "00", "file": "x"}])
def test_undeclared_labels_are_refused(labels):
    with pytest.raises(ValueError, match="ray_audit_probe_seconds"):
        PROBE.check(labels)


def test_outcome_of_a_success_reads_back():
    counts = {"entered": 12, "scored": 9, "filtered": 2, "failed": 1}
    found = {("mislabel", "new"): 4, ("disorder", "fixed"): 1}
    text = render_outcome(RunResult(12.5, 1700000000.0, counts, found, breached=True))
    result = values(text)
    assert result["ray_audit_last_success_timestamp_seconds",] == 1700000000.0
    assert result["ray_audit_run_duration_seconds",] == 12.5
    assert result["ray_audit_gate_breached",] == 1
    outcomes = ("scored", "filtered", "failed")
    assert [result["ray_audit_run_samples", o] for o in outcomes] == [9, 2, 1]
    shown = {
        key: value for key, value in result.items() if key[0] == "ray_audit_findings" and value
    }
    assert shown == {
        ("ray_audit_findings", "mislabel", "new"): 4,
        ("ray_audit_findings", "disorder", "fixed"): 1,
    }


def test_a_failed_run_tells_its_duration_alone():
    assert values(render_outcome(RunResult(3.0))) == {("ray_audit_run_duration_seconds",): 3.0}


def test_a_run_that_lost_too_many_samples_tells_how_many():
    reported = values(
        render_outcome(RunResult(3.0, counts={"entered": 4, "scored": 1, "failed": 3}))
    )
    assert reported == {
        ("ray_audit_run_duration_seconds",): 3.0,
        ("ray_audit_run_samples", "scored"): 1.0,
        ("ray_audit_run_samples", "filtered"): 0.0,
        ("ray_audit_run_samples", "failed"): 3.0,
    }


def test_an_unknown_kind_is_an_error_and_not_a_lost_number():
    with pytest.raises(ValueError, match="spelling"):
        RunResult(1.0, 1.0, {}, {("spelling", "new"): 1})
