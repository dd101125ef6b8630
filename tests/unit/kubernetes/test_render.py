import json

import pytest
from typer.testing import CliRunner

from ray_audit.cli import app
from ray_audit.errors import SpecificationError
from ray_audit.kubernetes.deployment import AddressBlock
from tests.support.manifests import ROOT
from tests.support.rendered import IMAGE, of_kind, rendered


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": "nightly"},
        {"schedule": "@daily"},
        {"schedule": "0 2 * * * *"},
        {"schedule": "0 2 * *"},
        {"schedule": "60 2 * * *"},
        {"schedule": "0 24 * * *"},
        {"schedule": "0 2 0 * *"},
        {"schedule": "0 2 30 2 *"},
        {"schedule": "0 2 * 13 *"},
        {"schedule": "0 2 * * 7"},
        {"schedule": "0 2 * * someday"},
        {"schedule": "*/0 2 * * *"},
        {"schedule": "5-1 2 * * *"},
        {"schedule": "TZ=UTC 0 2 * *"},
        {"schedule": "0 2 * * *\n"},
        {"time_zone": "Local"},
        {"time_zone": ""},
        {"time_zone": "../etc/passwd"},
        {"namespace": "a.b"},
        {"namespace": "a" * 64},
        {"namespace": "-a"},
        {"namespace": "a\n"},
        {"secret": "a" * 254},
        {"secret": ""},
        {"time_zone": "Mars/Base"},
        {"secret": "a: b"},
        {"namespace": "Not Valid"},
        {"gpu_image": "image\nevil: true"},
        {"schedule": "0 2 * * " + "9" * 5000},
        {"schedule": "0 2 * * */" + "9" * 5000},
        {"schedule": "0 2 30 2 */1"},
        {"schedule": "0 2 30 2 1,*"},
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
    "schedule",
    [
        "0 2 * * *",
        "*/15 0-6/2 1,15 jan-mar MON",
        "30 1 * * 1-5",
        "0 2 29 2 *",
        "0 2 31 2 0",
        "5/10 ? ? * ?",
        "00 02 31 2 */2",
    ],
)
def test_every_schedule_that_the_controllers_take_is_taken(schedule):
    (cron,) = of_kind("CronJob", schedule=schedule)
    assert cron["spec"]["schedule"] == schedule


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
