"""Whose a training that is there is: data, labels, settings and code tell it from another."""

import importlib
import shutil
import sys

import pytest
import torch

import ray_audit
from ray_audit.errors import SpecificationError
from tests.functional.training.test_loop import run, trainable, weights_of
from tests.support.small_sets import class_folders, images_in_parquet, masked_images


def changed(config, **labels):
    """The same dataset, whose labels are read in another way."""
    given = config.dataset.labels.model_copy(update=labels)
    dataset = config.dataset.model_copy(update={"labels": given})
    return config.model_copy(update={"dataset": dataset})


@pytest.mark.parametrize(
    ("make", "labels"),
    [
        (images_in_parquet, {"column": "id"}),
        (masked_images, {"values": {0: "a", 1: "c", 2: "b"}}),
        (masked_images, {"first_value": -1}),
    ],
)
def test_a_training_by_labels_that_are_read_in_another_way_is_another_training(
    tmp_path, make, labels
):
    config = trainable(make(tmp_path), epochs=1)
    run(config)
    before = weights_of(tmp_path)
    with pytest.raises(SpecificationError, match=r"of a training with other .*since: labels\)"):
        run(changed(config, **labels))
    assert weights_of(tmp_path).keys() == before.keys()
    assert run(config)[0].num_new_epochs == 0


def with_own_code(folder):
    (folder / "code").mkdir(parents=True)
    (folder / "code/own_net.py").write_text(
        "from tests.support.tiny_models import ImageModel\n"
        "def build(num_classes, settings): return ImageModel(num_classes)\n"
    )
    (folder / "code/own_loss.py").write_text(
        "from torch.nn.functional import cross_entropy\n"
        "def build(weights): return lambda logits, labels: cross_entropy(logits, labels)\n"
    )
    for name in ("net", "weights"):
        (folder / f"code/{name}.json").write_text("[8]")
    small = class_folders(folder)
    settings = {"num_classes": 3, "settings": str(folder / "code/net.json")}
    small.values["model"] = {"factory": "own_net:build", "kwargs": settings}
    loss = {"weights": str(folder / "code/weights.json")}
    return trainable(small, epochs=1, loss="own_loss:build", loss_kwargs=loss)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("own_net.py", "the model's code or files"),
        ("net.json", "the model's code or files"),
        ("own_loss.py", "the loss's code or files"),
        ("weights.json", "the loss's code or files"),
    ],
)
def test_a_training_by_other_code_or_files_of_model_and_loss_is_another_training(
    tmp_path, monkeypatch, name, what
):
    config = with_own_code(tmp_path)
    monkeypatch.syspath_prepend(tmp_path / "code")
    for module in ("own_net", "own_loss"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    importlib.invalidate_caches()
    run(config)
    path = tmp_path / "code" / name
    before = path.read_bytes()
    path.write_bytes(before + b"\n")
    with pytest.raises(SpecificationError, match=rf"changed since: {what}\)"):
        run(config)
    path.write_bytes(before)
    assert run(config)[0].num_new_epochs == 0


def test_a_training_goes_on_where_data_and_labels_have_moved(tmp_path):
    config = trainable(masked_images(tmp_path), epochs=1)
    run(config)
    shutil.move(tmp_path / "data", tmp_path / "moved")
    moved = changed(config, masks=str(tmp_path / "moved/masks/{stem}.png"))
    dataset = moved.dataset.model_copy(update={"uri": str(tmp_path / "moved/images/*.png")})
    model, _ = run(moved.model_copy(update={"dataset": dataset}))
    assert model.num_new_epochs == 0


def test_a_training_of_an_earlier_version_goes_on_and_says_what_it_does_not_know(tmp_path):
    config = trainable(class_folders(tmp_path), epochs=1, schedule="constant")
    run(config)
    path = tmp_path / "checkpoints/last.pt"
    state = torch.load(path, weights_only=True)
    torch.save(state | {"settings": state.pop("identity")["earlier"]}, path)
    more = config.training.model_copy(update={"epochs": 2})
    trained = ray_audit.train(config.model_copy(update={"training": more}), local=True)
    assert trained.models[0].num_new_epochs == 1
    assert any("of an earlier version" in note for note in trained.notes)
    assert ray_audit.train(config.model_copy(update={"training": more}), local=True).notes == ()


def test_all_epochs_that_an_audit_would_take_are_told_also_where_fewer_are_asked_for(tmp_path):
    config = trainable(class_folders(tmp_path), epochs=2, schedule="constant")
    run(config)
    fewer = config.training.model_copy(update={"epochs": 1})
    trained = ray_audit.train(config.model_copy(update={"training": fewer}), local=True)
    assert len(trained.models[0].checkpoints) == 2
    (note,) = trained.notes
    assert "keeps 2 epochs, more than training.epochs (1)" in note


def test_checkpoints_that_are_trained_on_held_out_labels_know_them_from_then_on(tmp_path):
    small = class_folders(tmp_path)
    small.values["protocol"] = "held_out"
    audit = ray_audit.audit(small.config(), local=True)
    audit.correct(tmp_path / "to", local=True, max_changed_fraction=None)
    trained = ray_audit.train(tmp_path / "to/spec.yaml", to=tmp_path / "model", local=True)
    assert any("says protocol: training" in note for note in trained.notes)
    manifest = ray_audit.audit(trained.spec, local=True).manifest
    assert (manifest.protocol, manifest.estimate["low"]) == ("training", None)
    in_place = ray_audit.train(trainable(small, epochs=1), local=True)
    assert any("Set protocol: training in it" in note for note in in_place.notes)
