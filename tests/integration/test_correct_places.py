"""Corrections typed, on Ray, on GPUs, and from and to a store."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from ray_audit import storage
from ray_audit.cli import app
from ray_audit.config import AuditConfig
from ray_audit.corrections.correct import correct
from ray_audit.corrections.rules import CorrectionOptions
from ray_audit.engine.backends.local import LocalBackend
from ray_audit.engine.backends.ray import pipeline
from ray_audit.engine.run.audit import run_audit
from ray_audit.errors import SpecificationError
from ray_audit.tables.run_tables import RunTables
from tests.support import knowing
from tests.support.audits import audit
from tests.support.corrected import corrected, decided, findings_of, labels_at, rows_at
from tests.support.label_sets import files_of


def test_the_command_line(tmp_path):
    small, *_ = knowing.images(tmp_path)
    audit(small)
    finding = findings_of(small)[0]
    file = tmp_path / "decisions.json"
    file.write_text(json.dumps({"decisions": [vars(decided(finding, "reject"))]}))
    options = ["--local", "--json", "--decisions", str(file)]
    command = ["correct", str(small.out), "--to", str(tmp_path / "to"), *options]
    dry = CliRunner().invoke(app, [*command, "--dry-run"])
    assert dry.exit_code == 0, dry.output
    assert not (tmp_path / "to").exists()
    done = CliRunner().invoke(app, command)
    values = json.loads(done.stdout)
    assert values["outcomes"] == {"changed": 1, "rejected": 1}
    assert json.loads(dry.stdout)["pairs"] == values["pairs"]
    (copy,) = small.out.glob("runs/*/corrections/*.parquet")
    assert pq.read_table(copy).equals(pq.read_table(values["table"]))
    assert CliRunner().invoke(app, command).exit_code == 2  # not empty
    wrong = [*command[:3], str(tmp_path / "new"), "--rule", "magic"]
    assert CliRunner().invoke(app, wrong).exit_code == 2
    shown = CliRunner().invoke(app, [*command[:3], str(tmp_path / "new"), "--local"])
    assert "Changed 2 labels" in shown.stderr
    assert " -> " in shown.stderr


def test_masks_on_ray_are_those_of_one_process(tmp_path, cluster):
    small = knowing.masks(tmp_path)
    here = corrected(small)
    tables = RunTables.open(str(small.out))
    there = correct(
        tables,
        lambda: pipeline.RayBackend(tables.config.engine),
        str(tmp_path / "ray"),
        CorrectionOptions(),
    )
    assert files_of(tmp_path / "ray/labels") == files_of(tmp_path / "to/labels")
    assert rows_at(there) == rows_at(here)


class _Noting(LocalBackend):
    """Notes for which calls a GPU was asked."""

    def __init__(self):
        self.asked = []

    def map(self, function, items, *, on_gpu=False):
        self.asked.append(on_gpu)
        return super().map(function, items, on_gpu=on_gpu)


def test_a_gpu_is_asked_for_where_checkpoints_look_again(tmp_path):
    small = knowing.masks(tmp_path)
    audit(small)
    tables = RunTables.open(str(small.out))
    for rule, asked in (("findings", [True]), ("decisions", [False])):
        engine = _Noting()
        correct(tables, lambda engine=engine: engine, str(tmp_path / rule), CorrectionOptions(rule))
        assert engine.asked == asked


def in_the_store(small, bucket):
    """The same set in a bucket, its audit too."""
    for name in ("data", "checkpoints", "labels.csv"):
        if (small.folder / name).exists():
            bucket.put(small.folder / name, name)
    text = json.dumps(small.values).replace(str(small.folder), bucket.uri)
    return AuditConfig.parse(json.loads(text))


def etags_in(bucket):
    return {item.uri: item.etag for item in storage.list_prefix(bucket.uri)}


@pytest.mark.parametrize("make", [knowing.masks, knowing.images])
def test_labels_in_a_store_are_corrected_into_it(tmp_path, bucket, make):
    made = make(tmp_path)
    small = made[0] if isinstance(made, tuple) else made
    here = corrected(small)
    outcome = run_audit(in_the_store(small, bucket), local=True, logical_date="2026-01-31")
    before = etags_in(bucket)
    tables = RunTables(outcome.run_uri, outcome.manifest)
    done = correct(tables, LocalBackend, f"{bucket.uri}/to", CorrectionOptions())
    assert (done.num_changed, done.pairs) == (here.num_changed, here.pairs)
    assert done.num_changed > 0
    ours, theirs = labels_at(done), labels_at(here)
    assert ours.keys() == theirs.keys()
    for key, labels in ours.items():
        np.testing.assert_array_equal(labels, theirs[key])
    dataset = AuditConfig.load(done.spec).dataset
    assert str(dataset.labels.masks or dataset.labels.images).startswith(f"{bucket.uri}/to/labels/")
    assert {uri: etag for uri, etag in etags_in(bucket).items() if uri in before} == before
    with pytest.raises(SpecificationError, match="is not empty"):
        correct(tables, LocalBackend, f"{bucket.uri}/to", CorrectionOptions())
