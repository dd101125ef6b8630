"""Corrections typed, and what asks for a GPU."""

import json

import pyarrow.parquet as pq
from typer.testing import CliRunner

from ray_audit.cli import app
from ray_audit.corrections.correct import correct
from ray_audit.corrections.options import CorrectionOptions
from ray_audit.engine.backends.local import LocalBackend
from ray_audit.tables.run_tables import RunTables
from tests.support import knowing
from tests.support.audits import audit
from tests.support.corrected import decided, findings_of


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


class _Noting(LocalBackend):
    """Notes for which calls a GPU was asked."""

    def __init__(self):
        super().__init__()
        self.requests = []

    def map(self, function, items, *, on_gpu=False):
        self.requests.append(on_gpu)
        return super().map(function, items, on_gpu=on_gpu)


def test_a_gpu_is_asked_for_where_checkpoints_look_again(tmp_path):
    small = knowing.masks(tmp_path)
    audit(small)
    tables = RunTables.open(str(small.out))
    for rule, requested in (("findings", [True]), ("decisions", [False])):
        engine = _Noting()
        correct(tables, lambda engine=engine: engine, str(tmp_path / rule), CorrectionOptions(rule))
        assert engine.requests == requested
