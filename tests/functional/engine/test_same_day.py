"""Several runs on one date: which is the latest, and what holds for a run that is there already."""

import json
import shutil

import pytest

from ray_audit.engine.run import conclusion
from ray_audit.engine.run.audit import run_audit
from ray_audit.errors import FailureBudgetError
from ray_audit.tables.manifest import MANIFEST, latest_complete
from tests.support.small_sets import class_folders, picture

DATE = "2026-01-31"
LOSSY = {"failures": {"max_fraction": 1.0}}


def run(small, date=DATE, **changes):
    return run_audit(small.config(**changes), local=True, logical_date=date)


@pytest.fixture
def one_bad(tmp_path):
    """Twelve images, of which one is no image."""
    small = class_folders(tmp_path)
    (tmp_path / "data/a/0.png").write_bytes(b"no image")
    return small


def test_the_latest_run_is_the_one_that_was_published_last(tmp_path):
    small = class_folders(tmp_path)
    for seed in range(4):  # names are digests: whether one sorts last is a matter of chance
        picture(tmp_path / "data/a/0.png", 50 + seed)
        assert run(small).run_id == latest_complete(str(small.out))


def test_a_run_of_an_earlier_date_is_the_latest_where_it_was_made_last(tmp_path):
    small = class_folders(tmp_path)
    run(small, "2026-01-31")
    assert run(small, "2026-01-30").run_id == latest_complete(str(small.out))


def test_copies_of_runs_keep_their_order(tmp_path):
    small = class_folders(tmp_path)
    first, second = run(small, "2026-01-31"), run(small, "2026-01-30")
    for item in (second, first):  # the earlier one is copied last
        shutil.copytree(item.run_uri, tmp_path / f"copy/runs/{item.run_id}")
    assert latest_complete(str(tmp_path / "copy")) == second.run_id


def test_a_manifest_that_does_not_say_when_counts_by_the_time_of_its_file(tmp_path):
    small = class_folders(tmp_path)
    for date in ("2026-01-31", "2026-01-30"):
        path = small.out / "runs" / run(small, date).run_id / MANIFEST
        values = json.loads(path.read_text())
        del values["published_s"]
        path.write_text(json.dumps(values))
    assert latest_complete(str(small.out)).startswith("2026-01-30")


def test_gates_of_the_same_date_are_held_against_the_run_that_is_there(one_bad):
    assert run(one_bad, **LOSSY).breached_gates == ()
    strict = run(one_bad, **LOSSY, gates={"max_failed_fraction": 0.0})
    assert strict.reused
    assert strict.breached_gates == ("1 of 12 samples failed, gates.max_failed_fraction is 0",)
    assert run(one_bad, **LOSSY).breached_gates == ()
    assert strict.manifest.breached_gates == []  # a manifest never changes


def test_metrics_of_a_run_follow_the_gates_that_hold_now(one_bad):
    counts = []
    for gates in ({}, {"max_failed_fraction": 0.0}, {}):
        metrics = one_bad.out / "runs" / run(one_bad, **LOSSY, gates=gates).run_id / "metrics.prom"
        lines = metrics.read_text().splitlines()
        counts.append(len(lines))
        assert f"ray_audit_gate_breached {float(bool(gates))}" in lines
    assert len(set(counts)) == 1


def test_a_gate_that_is_taken_away_is_breached_no_more(one_bad):
    gated = run(one_bad, **LOSSY, gates={"max_failed_fraction": 0.0})
    assert len(gated.breached_gates) == len(gated.manifest.breached_gates) == 1
    assert run(one_bad, **LOSSY).breached_gates == ()


def test_a_budget_of_the_same_date_is_held_against_the_run_that_is_there(one_bad):
    run(one_bad, **LOSSY)
    with pytest.raises(FailureBudgetError, match=r"1 of 12 samples failed.*a/0.png \(decode"):
        run(one_bad, failures={"max_count": 0})
    assert run(one_bad, **LOSSY).reused


def test_a_budget_error_says_why_samples_failed(one_bad):
    with pytest.raises(FailureBudgetError, match=r"more than failures.max_fraction 0.01 .*a/0.png"):
        run(one_bad)


def test_an_outcome_that_was_not_told_is_told_by_the_next_call(tmp_path):
    small = class_folders(tmp_path)
    first = run(small)
    metrics_file = tmp_path / f"out/runs/{first.run_id}/metrics.prom"
    before = metrics_file.read_text()
    metrics_file.unlink()  # as if the first call had died right after its manifest was there
    assert run(small).reused
    assert metrics_file.read_text() == before


def test_an_outcome_is_told_when_the_manifest_is_there(tmp_path, monkeypatch):
    small = class_folders(tmp_path)
    seen = []

    def tell(config, run_uri, result, only_file=False):
        seen.append((tmp_path / run_uri / MANIFEST).exists())
        return ["a note"]

    monkeypatch.setattr(conclusion, "tell_outcome", tell)
    assert run(small).notes == ("a note",)
    assert seen == [True]
