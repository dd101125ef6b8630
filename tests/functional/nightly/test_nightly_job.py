"""The nightly job in one process: what it compares, when it waits, and how it ends."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from ray_audit.cli import main
from ray_audit.engine.run import outcome_metrics
from ray_audit.nightly import lease
from tests.support.small_sets import class_folders, picture


@pytest.fixture(autouse=True)
def _no_settling(monkeypatch):
    monkeypatch.setattr(lease, "_SETTLE_S", 0.0)


def night(small, date, *options, **changes):
    code = main(["night", str(small.spec_file(**changes)), "--local", "--date", date, *options])
    path = small.out / f"nights/{date}/night.json"
    return code, json.loads(path.read_text()) if path.exists() else None


def test_changed_data_shows_as_new_and_fixed_findings(tmp_path):
    small = class_folders(tmp_path, num_each=4)
    code, first = night(small, "2026-01-01")
    assert (code, first["compared_with"]) == (0, None)
    for name in "abc":
        (tmp_path / f"data/{name}/0.png").unlink()
        picture(tmp_path / f"data/{name}/new.png", seed=99)
    code, second = night(small, "2026-01-02")
    assert (code, second["compared_with"]) == (0, "2026-01-01")
    changes = second["changes"]
    metrics = (small.out / "runs" / second["run_id"] / "metrics.prom").read_text()
    shown = {
        change: sum(
            float(line.rpartition(" ")[2])
            for line in metrics.splitlines()
            if f'ray_audit_findings{{change="{change}"' in line
        )
        for change in ("new", "fixed", "recurring")
    }
    assert shown == changes
    assert changes["recurring"] > 0
    assert changes["new"] + changes["fixed"] > 0


def test_a_night_of_a_few_shards_is_a_trial_that_leaves_the_date_to_its_night(
    tmp_path, monkeypatch, capsys
):
    told = []
    monkeypatch.setattr(
        outcome_metrics, "pushadd_to_gateway", lambda *_, **given: told.append(given)
    )
    pushes = {"metrics": {"pushgateway": "http://gate:9091"}}
    small = class_folders(tmp_path, num_each=2)
    night(small, "2026-01-01", **pushes)
    told.clear()
    assert night(small, "2026-01-02", "--limit", "2", **pushes) == (0, None)
    assert told == []
    said = capsys.readouterr().err
    assert "a trial (--limit) of the first 2 of 6 shards" in said
    assert "not the result of 2026-01-02" in said
    code, whole = night(small, "2026-01-02", "--limit", "6", **pushes)
    assert (code, whole["compared_with"]) == (0, "2026-01-01")
    assert whole["changes"]["new"] == whole["changes"]["fixed"] == 0
    assert told


def test_a_trial_that_fails_is_told_to_no_pushgateway(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(
        outcome_metrics, "pushadd_to_gateway", lambda *_, **given: told.append(given)
    )
    small = class_folders(tmp_path, num_each=2)
    (tmp_path / "data/a/0.png").write_bytes(b"no image")
    spec = str(small.spec_file(metrics={"pushgateway": "http://gate:9091"}))
    assert main(["run", spec, "--local", "--limit", "2"]) == 1
    assert told == []
    assert main(["run", spec, "--local"]) == 1
    assert len(told) == 1


def test_a_changed_specification_is_said_and_not_counted(tmp_path, capsys):
    small = class_folders(tmp_path, num_each=2)
    night(small, "2026-01-01")
    _, second = night(small, "2026-01-02", protocol="held_out")
    assert second["changes"] == {}
    assert "protocol was 'training' and is 'held_out'" in second["changed_settings"]
    assert "protocol was 'training' and is 'held_out'" in capsys.readouterr().err


def test_a_breached_gate_ends_well_unless_asked(tmp_path):
    small = class_folders(tmp_path, num_each=2)
    gates = {"gates": {"max_findings_fraction": 0.0}}
    code, first = night(small, "2026-01-01", **gates)
    assert (code, len(first["breached_gates"])) == (0, 1)
    assert night(small, "2026-01-02", "--gate-fails", **gates)[0] == 3
    metrics = (small.out / "runs" / first["run_id"] / "metrics.prom").read_text()
    assert "ray_audit_gate_breached 1.0" in metrics


def test_a_failed_night_has_no_result_and_tells_how_many_samples_failed(tmp_path):
    small = class_folders(tmp_path, num_each=1)
    for path in tmp_path.glob("data/*/0.png"):
        path.write_bytes(b"no image")
    assert night(small, "2026-01-01") == (1, None)
    (metrics,) = small.out.glob("runs/*/metrics.prom")
    assert "ray_audit_run_duration_seconds" in metrics.read_text()
    assert 'ray_audit_run_samples{outcome="failed"} 3.0' in metrics.read_text()
    assert "last_success" not in metrics.read_text()


def test_a_night_in_the_future_is_refused_before_anything_is_written(tmp_path):
    small = class_folders(tmp_path, num_each=1)
    assert night(small, "2999-01-01") == (2, None)
    assert small.files_written() == {}


def test_an_unknown_time_zone_is_a_wrong_usage(tmp_path, capsys):
    small = class_folders(tmp_path, num_each=1)
    assert night(small, "2026-01-01", "--time-zone", "Mars/Base") == (2, None)
    assert "--time-zone Mars/Base: unknown" in capsys.readouterr().err


def test_a_pushgateway_that_is_down_is_a_note_of_a_night_that_succeeded(tmp_path, capsys):
    small = class_folders(tmp_path, num_each=1)
    down = {"metrics": {"pushgateway": "http://127.0.0.1:9"}}  # the port `discard`
    code, done = night(small, "2026-01-01", **down)
    assert code == 0
    (note,) = done["notes"]
    assert note.startswith("the Pushgateway at http://127.0.0.1:9 was not told")
    assert note in capsys.readouterr().err
    run = small.out / "runs" / done["run_id"]
    assert "ray_audit_last_success_timestamp_seconds" in (run / "metrics.prom").read_text()


def test_missed_nights_released_at_once_give_one_result_each(tmp_path, monkeypatch):
    """Ten ticks of a RayCronJob on one day, some of them twice."""
    small = class_folders(tmp_path, num_each=1)
    spec = str(small.spec_file())
    ticks = [datetime.now(UTC) - timedelta(days=days) for days in range(10)]
    for tick in [*ticks, *ticks[:3]]:
        minutes = int(tick.timestamp()) // 60
        monkeypatch.setenv("RAY_CLUSTER_NAME", f"small-{minutes}-x7k2p")
        assert main(["night", spec, "--local"]) == 0
    dates = {tick.date().isoformat() for tick in ticks}
    assert {path.parent.name for path in small.out.glob("nights/*/night.json")} == dates
    runs = {path.parent.name for path in small.out.glob("runs/*/manifest.json")}
    assert sorted(run.rpartition("-")[0] for run in runs) == sorted(dates)
