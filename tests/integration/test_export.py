"""`ray-audit export`, as it is typed."""

import json

from typer.testing import CliRunner

from ray_audit import storage
from ray_audit.cli import app
from tests.support import knowing
from tests.support.audits import audit


def typed(*arguments):
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


def test_export_writes_to_a_store_and_says_what(tmp_path, bucket):
    small = knowing.masks(tmp_path)
    outcome = audit(small)
    to = f"{bucket.uri}/coco"
    done = typed(small.out, "--format", "coco", "--to", to, "--top", 3, "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["run_id"] == outcome.run_id
    assert (said["to"], said["files"], said["num_findings"]) == (to, ["findings.json"], 3)
    document = json.loads(storage.read_bytes(f"{to}/findings.json"))
    assert len(document["annotations"]) == 3
    again = typed(small.out, "--format", "coco", "--to", to)  # without --top
    assert again.exit_code == 1
    assert "is there already" in again.stderr
    wrong = typed(small.out, "--format", "coco", "--kind", "typo")
    assert wrong.exit_code == 2
