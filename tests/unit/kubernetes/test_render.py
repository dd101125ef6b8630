import json

import pytest
from typer.testing import CliRunner

from ray_audit.cli import app
from ray_audit.errors import SpecificationError
from ray_audit.kubernetes.deployment import AddressBlock
from tests.support.manifests import ROOT
from tests.support.rendered import IMAGE, rendered


@pytest.mark.parametrize(
    "changes",
    [
        {"namespace": "a.b"},
        {"namespace": "a" * 64},
        {"namespace": "-a"},
        {"namespace": "a\n"},
        {"secret": "a" * 254},
        {"secret": ""},
        {"secret": "a: b"},
        {"namespace": "Not Valid"},
        {"gpu_image": "image\nevil: true"},
        {"gpu_image": ""},
        {"gpu_image": "a//b:1"},
        {"gpu_image": "a/" * 200 + "b:1"},
        {"gpu_image": "registry:99999999/a"},
        {"workers": 2**40},
        {"gpus": 2**40},
    ],
    ids=lambda changes: str(changes)[:60],
)
def test_what_cannot_stand_in_a_manifest_is_refused(changes):
    with pytest.raises(SpecificationError):
        rendered(**changes)


@pytest.mark.parametrize(
    "text", ["10.0.0.1", "10.0.0.0/33", "10.0.0.1/8", "10.0.0.0/8:0", "x/8", ""]
)
def test_addresses_that_are_none_are_refused(text):
    with pytest.raises(SpecificationError, match="expected addresses"):
        AddressBlock.parse(text)


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / "deploy").write_text("a file")
    command = ["render", "k8s", str(ROOT / "k8s/example.yaml"), "--to", str(tmp_path / "deploy")]
    result = CliRunner().invoke(app, [*command, "--image", IMAGE])
    assert result.exit_code == 1
    assert "cannot write" in result.output + result.stderr
    assert result.exception is None or isinstance(result.exception, SystemExit)


def test_the_command_writes_the_files_and_lists_them(tmp_path):
    command = ["render", "k8s", str(ROOT / "k8s/example.yaml"), "--to", str(tmp_path)]
    result = CliRunner().invoke(app, [*command, "--image", IMAGE, "--json"])
    assert result.exit_code == 0
    files = json.loads(result.stdout)["files"]
    assert set(files) == {str(path) for path in tmp_path.rglob("*.yaml")}
    bad = CliRunner().invoke(app, [*command, "--image", IMAGE, "--schedule", "soon"])
    assert bad.exit_code == 2
