"""A model or a loss that never answers ends the command with a sentence, and leaves nothing."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from ray_audit.config import EngineConfig
from ray_audit.corrections.correct import correct
from ray_audit.corrections.options import CorrectionOptions
from ray_audit.engine.backends import local
from ray_audit.engine.planning import plan as planning
from ray_audit.engine.run.audit import opened_backend
from ray_audit.engine.run.dry_run import dry_run
from ray_audit.errors import StalledError
from ray_audit.report.mask_layers import mask_layers
from ray_audit.report.write_report import write_report
from ray_audit.supervisor import is_any_left_behind
from ray_audit.tables.run_tables import RunTables
from ray_audit.training.train import train
from tests.faults.drivers import REPOSITORY
from tests.support import knowing
from tests.support.audits import audit

HANGING = "tests.support.hanging"
SOON = {"stall_timeout_s": 0.5, "start_timeout_s": 0.3}


@pytest.fixture
def flag(tmp_path):
    """While it is there, models hang; gone at the end, so that no thread stays."""
    path = tmp_path / "hang"
    yield path
    path.unlink(missing_ok=True)
    until = time.monotonic() + 20
    while is_any_left_behind():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture
def images(tmp_path, flag):
    small, *_ = knowing.images(tmp_path)
    small.values["model"] = {
        "factory": f"{HANGING}:HangingImages",
        "kwargs": {"num_classes": 3, "flag": str(flag)},
    }
    small.values["engine"] = SOON | {"batch_size": 4}
    return small


@pytest.fixture
def masks(tmp_path, flag):
    """Audited; its model hangs where it looks again."""
    small = knowing.masks(tmp_path)
    small.values["model"] = {
        "factory": f"{HANGING}:HangingPixels",
        "kwargs": {"num_classes": 3, "flag": str(flag)},
    }
    small.values["engine"] = SOON
    audit(small)
    flag.touch()
    return RunTables.open(str(small.out))


def failure_of(small):
    (file,) = small.out.glob("runs/*/failure.json")
    assert not list(small.out.glob("runs/*/running.json"))
    assert not list(small.out.glob("attempts/*"))
    return json.loads(file.read_text())


def test_an_audit_in_one_process_ends_where_a_model_hangs_and_goes_on_later(images, flag):
    flag.touch()
    said = (
        r"nothing moved for 0\.5 s \(engine\.stall_timeout_s\) in probe, at checkpoint "
        r"epoch_0\.safetensors, 4 samples, =i 0%20é\.png to"
    )
    with pytest.raises(StalledError, match=said):
        audit(images)
    assert failure_of(images)["error_class"] == "StalledError"
    flag.unlink()
    assert audit(images).counts["scored"] == 12


def test_where_a_model_hangs_it_is_named_though_more_was_decoded_meanwhile(
    images, flag, monkeypatch
):
    flag.touch()
    monkeypatch.setattr(planning, "crate_bytes", lambda *_: (1, "a batch a crate"))
    with pytest.raises(StalledError, match="in probe, at checkpoint epoch_0"):
        audit(images)


def test_where_a_decoder_hangs_its_file_is_named(images, flag, monkeypatch):
    decode = local.decode_unit

    def hanging(settings, work):
        for number, crate in enumerate(decode(settings, work)):
            while number == 1 and flag.exists():
                time.sleep(0.01)
            yield crate

    flag.touch()
    monkeypatch.setattr(local, "decode_unit", hanging)
    monkeypatch.setattr(planning, "crate_bytes", lambda *_: (1, "a batch a crate"))
    images.values["model"] = {
        "factory": "tests.support.tiny_models:ImageModel",
        "kwargs": {"num_classes": 3},
    }
    with pytest.raises(StalledError, match=r"in decode, at .*\.png"):
        audit(images)


def test_a_calibration_ends_where_a_model_hangs(images, flag):
    flag.touch()
    with pytest.raises(StalledError, match="in probe, at checkpoint epoch_0"):
        dry_run(images.config(), None, True, None, None, calibrate=True)


@pytest.mark.parametrize("what", ["model", "loss"])
def test_a_training_ends_where_a_model_or_its_loss_hangs_and_goes_on_later(
    tmp_path, images, flag, what
):
    for path in tmp_path.glob("checkpoints/*"):
        path.unlink()
    training = {"epochs": 2, "batch_size": 4, "num_gpus": 0}
    if what == "loss":
        images.values["model"] = {
            "factory": "tests.support.tiny_models:ImageModel",
            "kwargs": {"num_classes": 3},
        }
        training |= {"loss": f"{HANGING}:hanging_loss", "loss_kwargs": {"flag": str(flag)}}
    config = images.config(
        training=training, checkpoints=str(tmp_path / "checkpoints/epoch_*.safetensors")
    )

    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])  # the first one imports for seconds

    def hang_from_the_second_epoch_on(fold, done):
        flag.touch()

    with pytest.raises(StalledError, match="in train, at epoch 2, the model and its loss, 4 samp"):
        train(config, local=True, progress=hang_from_the_second_epoch_on)
    assert sorted(p.name for p in tmp_path.glob("checkpoints/*")) == [
        "epoch_001.safetensors",
        "last.pt",
    ]
    flag.unlink()
    (model,) = train(config, local=True).models
    assert model.num_new_epochs == 1


def test_a_correction_ends_where_a_model_hangs_and_can_be_run_again(tmp_path, masks, flag):
    to, limits = tmp_path / "to", masks.config.engine

    def corrected():
        with opened_backend(limits, None, local=True) as engine:
            return correct(masks, lambda: engine, str(to), CorrectionOptions())

    with pytest.raises(StalledError, match=r"in looking again, at checkpoint epoch_2.*i\d\.png"):
        corrected()
    assert not (to / "spec.yaml").exists()
    flag.unlink()
    assert corrected().spec


def test_a_report_ends_where_a_model_hangs(tmp_path, masks, flag):
    page = tmp_path / "page.html"
    with (
        opened_backend(masks.config.engine, None, local=True) as engine,
        pytest.raises(StalledError, match=r"in looking again, at checkpoint epoch_2.*i\d\.png"),
    ):
        write_report(masks, engine, str(page))
    assert not page.exists()


def test_a_figure_ends_where_a_model_hangs(masks):
    with pytest.raises(StalledError, match=r"in looking again, at checkpoint epoch_2.*i1\.png"):
        mask_layers(masks, "i1.png", "i1.png")


def started(small, tmp_path, *command):
    return subprocess.Popen(
        [sys.executable, "-m", "ray_audit", *command, str(small.spec_file()), "--local"],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "XDG_STATE_HOME": str(tmp_path / "s")},
    )


def test_a_command_whose_model_hangs_ends_with_1_and_a_sentence(tmp_path, images, flag):
    flag.touch()
    with started(images, tmp_path, "run") as command:
        _, said = command.communicate(timeout=120)
    assert command.returncode == 1, said
    assert "error nothing moved for 0.5 s" in said
    assert "Traceback" not in said
    failure_of(images)


@pytest.mark.slow
def test_a_signal_ends_a_command_whose_model_hangs(tmp_path, images, flag):
    flag.touch()
    images.values["engine"] = SOON | {"stall_timeout_s": 600}
    with started(images, tmp_path, "run") as command:
        until = time.monotonic() + 120
        while not list(images.out.glob("runs/*/running.json")):
            assert time.monotonic() < until
            time.sleep(0.05)
        time.sleep(1)
        command.send_signal(signal.SIGTERM)
        _, said = command.communicate(timeout=60)
    assert command.returncode == 143, said
    assert failure_of(images)["state"] == "interrupted"


@pytest.mark.slow
def test_a_model_that_holds_pythons_lock_ends_its_command_too(tmp_path, images, flag):
    flag.touch()
    images.values["model"]["factory"] = f"{HANGING}:HoldingPython"
    images.values["engine"] = SOON | {"stall_timeout_s": 3}
    with started(images, tmp_path, "run") as command:
        try:
            _, said = command.communicate(timeout=120)
        finally:
            command.kill()
    assert command.returncode == 1, said
    assert "in forward" in said  # where it was


def test_every_command_in_one_process_has_the_limit_of_its_specification(monkeypatch):
    with opened_backend(EngineConfig(stall_timeout_s=7), None, local=True) as engine:
        assert engine._limit_s == 7
