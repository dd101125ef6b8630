from types import SimpleNamespace
from urllib.error import URLError

import pytest

from ray_audit.config import AuditConfig, MetricsConfig
from ray_audit.engine.run import outcome
from ray_audit.errors import SpecificationError
from ray_audit.metrics import RunResult


def config(url):
    return SimpleNamespace(name="nightly", metrics=MetricsConfig(pushgateway=url))


def test_without_a_gateway_only_the_file_is_written(tmp_path):
    assert outcome.tell_outcome(config(None), str(tmp_path), RunResult(2.0)) == []
    assert b"ray_audit_run_duration_seconds 2.0" in (tmp_path / "metrics.prom").read_bytes()


def test_a_gateway_that_is_down_is_a_note(tmp_path, monkeypatch):
    def down(*args, **kwargs):
        raise URLError("connection refused")

    monkeypatch.setattr(outcome, "pushadd_to_gateway", down)
    (note,) = outcome.tell_outcome(config("http://gate:9091"), str(tmp_path), RunResult(2.0))
    assert "http://gate:9091" in note
    assert "connection refused" in note
    assert (tmp_path / "metrics.prom").exists()


def test_what_is_pushed_is_grouped_by_the_audit(tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr(
        outcome, "pushadd_to_gateway", lambda gateway, **given: seen.update(given, to=gateway)
    )
    assert outcome.tell_outcome(config("http://gate:9091"), str(tmp_path), RunResult(2.0)) == []
    assert (seen["to"], seen["job"]) == ("http://gate:9091", "ray_audit")
    assert seen["grouping_key"] == {"audit": "nightly"}


@pytest.mark.parametrize("url", ["gate:9091", "ftp://gate", "http://user:secret@gate"])
def test_only_a_plain_http_gateway_is_accepted(url):
    values = {
        "dataset": {
            "kind": "images",
            "uri": "x/*.png",
            "labels": {"folder": True},
            "classes": ["a"],
        },
        "model": {"factory": "m:f"},
        "checkpoints": "c",
        "output": "o",
        "metrics": {"pushgateway": url},
    }
    with pytest.raises(SpecificationError) as error:
        AuditConfig.parse(values)
    assert "secret" not in str(error.value)
