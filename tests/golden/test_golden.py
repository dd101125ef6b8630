"""Every table of small runs of each kind is what it was, unless a declared version moved."""

import pyarrow as pa
import pytest
import torch

from tests.golden import store
from tests.golden.sets import RUNS, tables_of


@pytest.fixture(autouse=True, scope="module")
def _threads_as_they_were():
    num_threads = torch.get_num_threads()
    yield
    torch.set_num_threads(num_threads)


@pytest.mark.parametrize("name", RUNS)
def test_tables_are_what_they_were(name, tmp_path):
    assert store.differences(name, tables_of(RUNS[name](tmp_path))) == []


def test_every_kept_table_belongs_to_a_run():
    assert sorted(path.name for path in store.KEPT.iterdir()) == sorted(RUNS)


def kept_as(monkeypatch, folder, table, version=1):
    monkeypatch.setattr(store, "KEPT", folder)
    monkeypatch.setattr(store, "versions", lambda: {"record": version})
    return store.write("run", {"scores": table})


def test_a_changed_number_is_not_kept_unless_a_version_moved(monkeypatch, tmp_path):
    table, other = pa.table({"csl": [0.5, 1.0]}), pa.table({"csl": [0.5, 1.1]})
    assert kept_as(monkeypatch, tmp_path, table)
    assert not kept_as(monkeypatch, tmp_path, table)
    assert store.differences("run", {"scores": other}) == ["scores.csl is other than it was"]
    with pytest.raises(ValueError, match=r"scores\.csl changed, and no version of them moved"):
        kept_as(monkeypatch, tmp_path, other)
    assert kept_as(monkeypatch, tmp_path, other, version=2)
    assert store.differences("run", {"scores": other}) == []


def test_another_scores_version_does_not_speak_for_a_number(monkeypatch, tmp_path):
    kept_as(monkeypatch, tmp_path, pa.table({"csl": [0.5], "suspicion": [0.1]}))
    other = {"scores": pa.table({"csl": [0.6], "suspicion": [0.1]})}
    monkeypatch.setattr(store, "versions", lambda: {"record": 1, "raised": {"score.el2n": 2}})
    with pytest.raises(ValueError, match=r"scores\.csl changed, and no version of them moved"):
        store.write("run", other)
    monkeypatch.setattr(store, "versions", lambda: {"record": 1, "raised": {"loss": 2}})
    assert store.write("run", other)


def test_the_ranking_stands_on_the_scores_that_it_ranks_by(monkeypatch, tmp_path):
    kept_as(monkeypatch, tmp_path, pa.table({"csl": [0.5], "suspicion": [0.1]}))
    other = {"scores": pa.table({"csl": [0.5], "suspicion": [0.2]})}
    monkeypatch.setattr(store, "versions", lambda: {"record": 1, "raised": {"score.early_loss": 2}})
    assert store.write("run", other)


def test_a_new_column_needs_no_version(monkeypatch, tmp_path):
    kept_as(monkeypatch, tmp_path, pa.table({"csl": [0.5]}))
    more = pa.table({"csl": [0.5], "entropy": [0.1]})
    assert store.differences("run", {"scores": more}) == ["scores.entropy is new"]
    assert kept_as(monkeypatch, tmp_path, more)


def test_elsewhere_numbers_may_differ_by_what_sums_differ_by(monkeypatch, tmp_path):
    kept_as(monkeypatch, tmp_path, pa.table({"csl": [0.5], "reason": ["loss 0.50"]}))
    near = pa.table({"csl": [0.5000001], "reason": ["loss 0.51"]})
    assert len(store.differences("run", {"scores": near})) == 2
    monkeypatch.setattr(store, "machine", lambda: ["another"])
    assert store.differences("run", {"scores": near}) == []
    far = pa.table({"csl": [0.51], "reason": ["margin 0.50"]})
    assert len(store.differences("run", {"scores": far})) == 2
