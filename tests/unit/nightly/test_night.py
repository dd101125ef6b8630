import json
import shutil
from datetime import UTC, datetime
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest

from ray_audit import storage
from ray_audit.config import AuditConfig, MetricsConfig
from ray_audit.config.engine import FailuresConfig, GatesConfig
from ray_audit.engine.run import outcome_metrics
from ray_audit.errors import RunError, SpecificationError
from ray_audit.nightly import lease
from ray_audit.nightly.night import (
    Night,
    night_dates,
    resolve_date,
    run_night,
    scheduled_date,
)
from ray_audit.tables.manifest import Manifest
from tests.functional.tables.test_diff import image, write_night

NOW = datetime(2026, 3, 10, 23, 30, tzinfo=UTC)


GATEWAY = "http://gate:9091"


@pytest.fixture(autouse=True)
def pushed(monkeypatch):
    """What the Pushgateway was told."""
    seen = []
    monkeypatch.setattr(
        outcome_metrics, "pushadd_to_gateway", lambda gateway, **given: seen.append(given)
    )
    return seen


@pytest.fixture(autouse=True)
def _no_settling(monkeypatch):
    monkeypatch.setattr(lease, "_SETTLE_S", 0.0)


def audit_of(output, date, *findings):
    """What an audit of that date would leave."""

    def audit(config):
        run_id = f"{date}-0123abcd"
        write_night(output, run_id, findings)
        run_uri = f"{output}/runs/{run_id}"
        values = json.loads(storage.read_bytes(f"{run_uri}/manifest.json"))
        by_kind = {"mislabel": len(findings)}
        values |= {
            "findings": {"by_kind": by_kind, "num_samples": len(findings)},
            "timing": {"total_s": 3.0},
            "counts": {"entered": 9, "scored": 9, "failed": 0},
            "breached_gates": [],
        }
        storage.write_bytes(f"{run_uri}/manifest.json", json.dumps(values).encode())
        return SimpleNamespace(
            run_id=run_id, uri=run_uri, manifest=Manifest.read(run_uri), breached_gates=()
        )

    return audit


def night(output, date, *findings, audit=None, gates=None):
    config = AuditConfig.model_construct(
        output=str(output),
        name="n",
        metrics=MetricsConfig(pushgateway=GATEWAY),
        gates=gates or GatesConfig(),
        failures=FailuresConfig(),
    )
    return run_night(config, date, audit or audit_of(output, date, *findings), print, 0.0)


def metrics(output, date):
    return storage.read_bytes(f"{output}/runs/{date}-0123abcd/metrics.prom").decode()


def test_a_night_is_compared_with_the_one_before(tmp_path):
    assert night(tmp_path, "2026-01-01", image("a"), image("b")).compared_with is None
    assert 'ray_audit_findings{change="uncompared",kind="mislabel"} 2.0' in metrics(
        tmp_path, "2026-01-01"
    )
    second = night(tmp_path, "2026-01-02", image("b"), image("c"))
    assert second.compared_with == "2026-01-01"
    assert second.changes == {"new": 1, "fixed": 1, "recurring": 1}
    assert (tmp_path / "nights/2026-01-02/diff.parquet").exists()
    shown = metrics(tmp_path, "2026-01-02")
    for change in ("new", "fixed", "recurring"):
        assert f'ray_audit_findings{{change="{change}",kind="mislabel"}} 1.0' in shown


def test_a_date_has_one_result_however_often_it_is_submitted(tmp_path):
    first = night(tmp_path, "2026-01-01", image("a"))

    def never(config):
        raise AssertionError("audited twice")

    assert night(tmp_path, "2026-01-01", audit=never) == first


def test_missed_nights_in_any_order_give_one_result_each(tmp_path):
    dates = [f"2026-01-{day:02d}" for day in (3, 1, 2)]
    for date in dates:
        night(tmp_path, date, image("a"))
    assert night_dates(str(tmp_path)) == sorted(dates)
    assert Night.read(str(tmp_path), "2026-01-02").compared_with == "2026-01-01"


def test_a_night_that_failed_has_no_result_and_is_tried_again(tmp_path):
    def broken(config):
        raise RunError("no")

    with pytest.raises(RunError):
        night(tmp_path, "2026-01-01", audit=broken)
    assert night_dates(str(tmp_path)) == []
    assert night(tmp_path, "2026-01-01", image("a")).run_id == "2026-01-01-0123abcd"


def test_a_result_whose_run_was_removed_is_made_again(tmp_path):
    night(tmp_path, "2026-01-01", image("a"))
    (tmp_path / "runs/2026-01-01-0123abcd/manifest.json").unlink()
    assert Night.read(str(tmp_path), "2026-01-01") is None


def test_only_the_latest_night_is_told_to_prometheus(tmp_path, pushed):
    seen = []

    def audit(config):
        seen.append(config.metrics.pushgateway)
        return audit_of(tmp_path, dates[len(seen) - 1], image("a"))(config)

    dates = ("2026-01-05", "2026-01-04", "2026-01-06")
    for date in dates:
        night(tmp_path, date, audit=audit)
    assert seen == [GATEWAY, None, GATEWAY]
    assert len(pushed) == 2
    assert not (tmp_path / "runs/2026-01-04-0123abcd/metrics.prom").exists()


def test_today_is_that_of_the_time_zone():
    assert resolve_date(None, UTC, NOW) == "2026-03-10"
    assert resolve_date(None, ZoneInfo("Asia/Tokyo"), NOW) == "2026-03-11"


@pytest.mark.parametrize("given", ["2026-03-11", "2027-01-01", "2026-02-30", "tonight"])
def test_a_day_to_come_or_no_day_is_refused(given):
    with pytest.raises(SpecificationError, match=given):
        resolve_date(given, UTC, NOW)


def test_a_clock_that_is_a_minute_late_refuses_nothing():
    late = datetime(2026, 3, 10, 23, 59, tzinfo=UTC)
    assert resolve_date("2026-03-11", UTC, late) == "2026-03-11"


def cluster_name(scheduled):
    """As KubeRay 1.7 names the cluster of a RayCronJob's tick."""
    return f"phases-nightly-{int(scheduled.timestamp()) // 60}-x7k2p"


def test_nights_released_at_once_know_their_dates():
    ticks = [datetime(2026, 3, day, 23, 15, tzinfo=UTC) for day in range(1, 11)]
    dates = [scheduled_date(cluster_name(tick), now=NOW) for tick in ticks]
    assert dates == [f"2026-03-{day:02d}" for day in range(1, 11)]
    berlin = ZoneInfo("Europe/Berlin")  # a quarter past midnight there
    assert scheduled_date(cluster_name(ticks[0]), berlin, NOW) == "2026-03-02"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "phases-nightly-x7k2p",
        "phases-nightly-2026-03-01-x7k2p",  # of the CronJob, which gives --date
        "phases-20260301-x7k2p",  # those minutes would be in the past century
        cluster_name(datetime(2026, 3, 11, 12, tzinfo=UTC)),  # the future
    ],
)
def test_other_names_of_clusters_hold_no_date(name):
    assert scheduled_date(name, now=NOW) is None


def test_a_gate_that_is_set_after_a_night_is_held_against_it(tmp_path):
    assert night(tmp_path, "2026-01-01", image("a")).breached_gates == []
    again = night(tmp_path, "2026-01-01", gates=GatesConfig(max_findings_fraction=0.0))
    assert again.breached_gates == [
        "1 of 9 samples lie in findings, gates.max_findings_fraction is 0"
    ]
    assert night(tmp_path, "2026-01-01").breached_gates == []


def test_the_gate_of_the_latest_night_follows_in_prometheus_when_it_is_asked_again(
    tmp_path, pushed
):
    for date in ("2026-01-01", "2026-01-02"):
        night(tmp_path, date, image("a"))
    strict = GatesConfig(max_findings_fraction=0.0)
    pushed.clear()
    night(tmp_path, "2026-01-01", gates=strict)
    assert pushed == []  # the Pushgateway shows the latest night
    for gates, told in ((strict, 1.0), (None, 0.0)):
        night(tmp_path, "2026-01-02", gates=gates)
        assert pushed[-1]["registry"].get_sample_value("ray_audit_gate_breached") == told
        shown = metrics(tmp_path, "2026-01-02")
        assert f"\nray_audit_gate_breached {told}\n" in shown
        assert 'ray_audit_findings{change="recurring",kind="mislabel"} 1.0' in shown
    assert "ray_audit_gate_breached 1.0" in metrics(tmp_path, "2026-01-01")


@pytest.mark.parametrize(
    "name", ["backup", "2026-01-01.bak", "zzz", "20260131", "2026-01-31", "old/2026-01-31"]
)
def test_a_folder_that_is_no_date_is_no_night(tmp_path, pushed, name):
    night(tmp_path, "2026-01-01", image("a"))
    shutil.copytree(tmp_path / "nights/2026-01-01", tmp_path / "nights" / name)
    pushed.clear()
    night(tmp_path, "2026-01-02", image("a"))
    assert pushed
    assert Night.read(str(tmp_path), "2026-01-31") is None
    if name != "2026-01-31":
        assert night_dates(str(tmp_path)) == ["2026-01-01", "2026-01-02"]
