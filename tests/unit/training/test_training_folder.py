import pickle

import pytest
import torch

from ray_audit.checkpoints.catalog import list_checkpoints
from ray_audit.errors import CheckpointError, SpecificationError
from ray_audit.training.training_folder import TrainingFolder


@pytest.mark.parametrize(
    "checkpoints",
    [
        "models/last.safetensors",
        "models/epoch_*.pt",
        "models/*/epoch_1.safetensors",
        "models/*/epoch_*.safetensors",
        "models/epoch_*_*.safetensors",
        "models/epoch_[0-9]*.safetensors",
        "models/epoch_?*.safetensors",
        "mod?ls/epoch_*.safetensors",
        ["models/epoch_*.safetensors"],
    ],
)
def test_what_names_no_place_is_refused_with_a_hint(checkpoints):
    with pytest.raises(SpecificationError, match=r"such as dir/epoch_\*\.safetensors"):
        TrainingFolder.of(checkpoints)


@pytest.mark.parametrize(
    ("checkpoints", "first"),
    [
        ("s3://b/m/epoch_*.safetensors", "s3://b/m/epoch_001.safetensors"),
        ("/m/*.safetensors", "/m/001.safetensors"),
        ("/run [[]1]/e*.safetensors", "/run [1]/e001.safetensors"),
    ],
)
def test_the_pattern_says_where_epochs_go(checkpoints, first):
    place = TrainingFolder.of(checkpoints)
    assert place.checkpoint(1) == first
    assert place.pattern == checkpoints
    assert (
        place.fold(2)
        .checkpoint(1000)
        .endswith("/fold_2/" + first.rsplit("/", 1)[1][:-15] + "1000.safetensors")
    )


def test_a_relative_pattern_means_the_same_from_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert TrainingFolder.of("m/e_*.safetensors").folder == str(tmp_path / "m")
    assert TrainingFolder.of("e_*.safetensors").folder == str(tmp_path)


def test_what_is_saved_comes_back(tmp_path):
    place = TrainingFolder.of(str(tmp_path / "epoch_*.safetensors"))
    assert place.last() is None
    assert not place.has_checkpoints()
    tied = torch.ones(3)
    place.save(1, {"a": tied, "b": tied}, {"settings": "x", "optimizer": {"lr": 0.5}})
    assert place.last() == {"epoch": 1, "settings": "x", "optimizer": {"lr": 0.5}}
    assert place.has_checkpoints()
    assert [c.uri for c in list_checkpoints(place.pattern)] == [place.checkpoint(1)]


def test_files_of_folds_and_others_are_no_checkpoints_of_the_place(tmp_path):
    place = TrainingFolder.of(str(tmp_path / "epoch_*.safetensors"))
    place.fold(0).save(1, {"a": torch.ones(1)}, {})
    (tmp_path / "other_1.safetensors").write_bytes(b"")
    assert not place.has_checkpoints()


class Bomb:
    def __reduce__(self):
        return print, ("boom",)


def test_a_state_that_could_run_code_is_refused(tmp_path, capsys):
    place = TrainingFolder.of(str(tmp_path / "epoch_*.safetensors"))
    (tmp_path / "last.pt").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CheckpointError, match=r"last\.pt cannot be read"):
        place.last()
    assert capsys.readouterr().out == ""
