"""A run and its records are named by what is declared; two rules of ranking are told apart."""

import json
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from ray_audit.engine.run.audit import run_audit
from ray_audit.errors import MeasureError, RunError, StorageError
from ray_audit.measures import Measures, fit, measures, ranking, registry
from ray_audit.measures.versions import SCORE_VERSION
from ray_audit.tables.diff import diff_runs
from tests.support import small_sets

DATE, LATER = "2026-01-31", "2026-02-01"


@pytest.fixture
def small(tmp_path):
    return small_sets.class_folders(tmp_path)


def audited(small, date=DATE):
    return run_audit(small.config(), local=True, logical_date=date)


def declare(monkeypatch, quantity, **changes):
    """Go on with another form of a quantity."""
    families = []
    for origin, family in measures().families:
        quantities = [replace(q, **changes) if q.name == quantity else q for q in family.quantities]
        families.append((origin, replace(family, quantities=tuple(quantities))))
    monkeypatch.setattr(registry, "_OURS", Measures(tuple(families)))
    measures.cache_clear()


@pytest.fixture(autouse=True)
def _forget():
    yield
    measures.cache_clear()


def rank_otherwise(monkeypatch):
    weights = {task: {"aum": -1} for task in fit.RANKED}
    for module in (fit, ranking):
        monkeypatch.setattr(module, "RANKED", weights)


def test_another_ranking_is_another_run_of_the_same_day_over_the_same_records(small, monkeypatch):
    before = audited(small)
    assert audited(small).reused
    rank_otherwise(monkeypatch)
    after = audited(small)
    assert not after.reused
    assert after.run_id != before.run_id
    assert after.manifest.plan["num_new"] == 0


def test_a_diff_says_that_two_runs_were_ranked_by_different_rules(small, monkeypatch):
    before = audited(small)
    rank_otherwise(monkeypatch)
    after = audited(small, LATER)
    (change,) = diff_runs(small.values["output"], before.run_id, after.run_id).changed_settings
    assert change == (
        "the runs were ranked by different rules: -1 confidence, +1 early_loss, "
        f"+1 final_loss, +1 late_loss, -1 prob_margin (version {SCORE_VERSION}); "
        f"then -1 aum (version {SCORE_VERSION})"
    )


def test_a_diff_of_runs_by_one_rule_says_nothing_of_it(small):
    runs = [audited(small, date).run_id for date in (DATE, LATER)]
    assert diff_runs(small.values["output"], *runs).is_comparable


def test_a_manifest_that_names_no_rule_is_told_from_one_that_does(small):
    before, after = audited(small), audited(small, LATER)
    path = small.out / "runs" / before.run_id / "manifest.json"
    values = json.loads(path.read_text())
    del values["measures"]
    path.write_text(json.dumps(values))
    (change,) = diff_runs(small.values["output"], before.run_id, after.run_id).changed_settings
    assert "ranked by different rules: by another version of ray_audit" in change


def test_records_of_another_form_are_made_anew_beside_the_old(small, monkeypatch):
    before = audited(small)
    declare(monkeypatch, "el2n", version=2)
    after = audited(small, LATER)
    assert after.manifest.plan["num_new"] == before.manifest.plan["num_new"]
    (change,) = diff_runs(small.values["output"], before.run_id, after.run_id).changed_settings
    assert change.startswith("the records were made by different versions of ray_audit")


def crates(small):
    return sorted((small.out / "units").rglob("*.parquet"))


def forged(path, **changes):
    """Write other metadata into a file of records."""
    table = pq.ParquetFile(path).read()
    assert all(key.encode() in table.schema.metadata for key in changes)
    metadata = {**table.schema.metadata, **{k.encode(): v for k, v in changes.items()}}
    metadata = {key: value for key, value in metadata.items() if value is not None}
    pq.write_table(table.replace_schema_metadata(metadata), path)


def run_again(small, outcome):
    (small.out / "runs" / outcome.run_id / "manifest.json").unlink()
    return audited(small)


@pytest.mark.parametrize(
    "changes",
    [
        {"ray_audit.made_by": b"0123456789abcdef"},
        {"ray_audit.made_by": None},
        {"ray_audit.states": None},
        {"ray_audit.failures": b'[{"unheard_of": 1}]'},
    ],
    ids=["other_measures", "no_name", "no_state", "other_failures"],
)
def test_records_of_another_version_are_refused_by_name(small, changes):
    outcome = audited(small)
    path = crates(small)[0]
    forged(path, **changes)
    with pytest.raises(StorageError, match="was made by another version of ray_audit") as error:
        run_again(small, outcome)
    assert path.name in str(error.value)


def test_a_tail_of_another_version_is_refused_by_name(small, tmp_path):
    outcome = audited(small)
    path = crates(small)[0]
    tail = tmp_path / "tail.parquet"
    tail.write_bytes(pq.ParquetFile(path).schema_arrow.metadata[b"ray_audit.tail"])
    forged(tail, **{"ray_audit.counters": b'{"num_batches": 1, "unheard": 2}'})
    forged(path, **{"ray_audit.tail": tail.read_bytes()})
    with pytest.raises(StorageError, match="was made by another version of ray_audit") as error:
        run_again(small, outcome)
    assert path.name in str(error.value)


def test_a_set_that_another_version_described_is_computed_again(small):
    outcome = audited(small)
    for path in (small.out / "sets").iterdir():
        path.write_text('{"positions": [0, 1, 2]}')
    after = run_again(small, outcome)
    assert after.manifest.plan["num_new"] == outcome.manifest.plan["num_new"]


def test_a_declared_quantity_that_no_probe_computes_stops_the_run_in_the_first_batch(
    small, monkeypatch
):
    declare(monkeypatch, "el2n", name="el3n", into="el2n")
    with pytest.raises(RunError, match=r"el3n declared and not computed; el2n computed and not"):
        audited(small)


def test_a_node_with_other_measures_takes_no_part(small, monkeypatch):
    monkeypatch.setattr(
        "ray_audit.engine.backends.stages.StageSettings.other_measures", lambda self: "others"
    )
    with pytest.raises(RunError, match="others"):
        audited(small)


def test_other_measures_are_those_with_another_digest(monkeypatch):
    before = measures().digest
    declare(monkeypatch, "el2n", version=2)
    assert measures().digest != before
    with pytest.raises(MeasureError):
        measures().check_observed([], "dense", "each")
