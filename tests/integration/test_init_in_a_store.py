"""`init` on S3: one request a folder, and the same specification as for local files."""

import json

from typer.testing import CliRunner

import ray_audit
from ray_audit.cli import app
from ray_audit.config import AuditConfig, DatasetConfig
from ray_audit.discovery import tree
from tests.support.published import masks, same_labels


def test_a_dataset_in_a_store_is_recognised_and_drafted_into_the_store(tmp_path, bucket):
    built = masks.isic2018(tmp_path / "skin")
    place = bucket.put(tmp_path / "skin", "skin")
    to = f"{bucket.uri}/audit.yaml"
    arguments = ["init", place, "--to", to, "--json"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert (answer["layout"], answer["uri"]) == ("isic2018", to)
    config = AuditConfig.load(to).dataset
    assert config.uri.startswith("s3://")
    same_labels(config, built.expected)
    assert CliRunner().invoke(app, arguments).exit_code == 2


def test_of_a_large_folder_one_page_is_looked_at(tmp_path, bucket, monkeypatch):
    built = masks.isic2018(tmp_path / "skin")
    place = bucket.put(tmp_path / "skin", "skin")
    monkeypatch.setattr(tree, "_PAGE", 2)
    draft = ray_audit.init(place)
    assert draft.layout == "isic2018"
    assert any("more than was looked at" in item for item in draft.assumed)
    same_labels(DatasetConfig.model_validate(draft.specification["dataset"]), built.expected)
