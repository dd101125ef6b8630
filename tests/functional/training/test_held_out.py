"""The best epoch against the last, on the labels of the folds that models never saw."""

import json

import numpy as np
import pytest
from torch import nn

from ray_audit.config import AuditConfig
from ray_audit.console.training import print_training
from ray_audit.engine.run.audit import run_audit
from ray_audit.errors import SpecificationError
from ray_audit.training.held_out import HeldOut, HeldOutEpoch
from ray_audit.training.train import train
from tests.functional.training import test_poor_sets as poor
from tests.support.small_sets import class_folders, feature_sequences, masked_images
from tests.support.tables import rows_of

HERE = "tests.functional.training.test_held_out"


class Dropping(nn.Module):
    """Draws while it trains, and only then."""

    def __init__(self, num_classes):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))
        self.head = nn.Linear(4, num_classes)

    def forward(self, images):
        return self.head(self.layers(images).mean((2, 3)))


def trained(small_set, **options):
    for path in (small_set.folder / "checkpoints").glob("epoch_*"):
        path.unlink()
    place = str(small_set.folder / "checkpoints/epoch_*.safetensors")
    settings = {"epochs": 3, "batch_size": 4, "folds": 2, "learning_rate": 0.05} | options
    return train(small_set.config(checkpoints=place, training=settings), local=True)


@pytest.mark.parametrize("make", [class_folders, masked_images, feature_sequences])
def test_each_epoch_agrees_with_held_out_labels_as_their_audit_says(tmp_path, make):
    done = trained(make(tmp_path))
    for model in done.models:
        outcome = run_audit(AuditConfig.load(model.spec), local=True)
        audited = rows_of(outcome, "class_stats").to_pandas()
        for number, epoch in enumerate(model.held_out):
            rows = audited[audited["checkpoint"] == number]
            right = rows["num_correct"].sum() / rows["num_given"].sum()
            assert epoch.accuracy == pytest.approx(right, abs=1e-9)
            assert epoch.iou == pytest.approx(rows["iou"].mean(), abs=1e-6)


def test_the_best_epoch_is_told_and_kept(tmp_path, capsys):
    done = trained(class_folders(tmp_path))
    print_training(done, "spec.yaml")
    said = " ".join(capsys.readouterr().err.split())
    kept = json.loads((tmp_path / "checkpoints/held_out.json").read_text())
    assert kept["best_epoch"] == int(np.argmax(kept["by_epoch"])) + 1
    assert kept["last"] == kept["by_epoch"][-1]
    assert all(sentence in said for sentence in kept["sentences"])
    assert f"epoch {kept['best_epoch']}" in kept["sentences"][0]


def test_looking_changes_no_weight_and_is_resumed(tmp_path):
    whole, parts = class_folders(tmp_path / "whole"), class_folders(tmp_path / "parts")
    for one in (whole, parts):
        one.values["model"] |= {"factory": f"{HERE}:Dropping"}
    constant = {"schedule": "constant"}
    first = trained(whole, **constant)
    trained(parts, epochs=1, **constant)
    place = str(parts.folder / "checkpoints/epoch_*.safetensors")
    settings = {"epochs": 3, "batch_size": 4, "folds": 2, "learning_rate": 0.05} | constant
    second = train(parts.config(checkpoints=place, training=settings), local=True)
    assert [m.held_out for m in first.models] == [m.held_out for m in second.models]
    for fold in ("fold_0", "fold_1"):
        files = [one.folder / "checkpoints" / fold for one in (whole, parts)]
        for path in sorted(files[0].glob("*.safetensors")):
            assert path.read_bytes() == (files[1] / path.name).read_bytes()


def test_without_folds_nothing_is_held_out(tmp_path):
    done = trained(class_folders(tmp_path), folds=None)
    assert (done.held_out, done.models[0].held_out) == (None, ())
    assert not (tmp_path / "checkpoints/held_out.json").exists()


def epochs(*accuracies):
    return [HeldOutEpoch(accuracy, accuracy / 2) for accuracy in accuracies]


def test_what_was_best_is_the_mean_of_the_folds():
    found = HeldOut.of([epochs(0.5, 0.8, 0.6), epochs(0.7, 0.8, 0.6)], masks=False)
    assert (found.best_epoch, found.best, found.last) == (2, 0.8, pytest.approx(0.6))
    best, worse = found.sentences
    assert "0.200 below the best: later epochs memorise" in best
    assert "20.0% of the labels" in worse
    assert "unless 10.0%" in worse


@pytest.mark.parametrize(
    ("values", "said"), [((0.5, 0.8), "the last and best"), ((0.5, 0.8, 0.795), "no worse")]
)
def test_an_end_that_is_as_good_is_no_memorisation(values, said):
    found = HeldOut.of([epochs(*values)], masks=False)
    assert said in found.sentences[0]
    assert "memorise" not in found.sentences[0]


def test_a_fold_that_cannot_tell_leaves_no_number():
    unlabelled = HeldOutEpoch.of(np.zeros((3, 2)))
    assert unlabelled is None
    assert HeldOut.of([epochs(0.5), [unlabelled]], masks=False) is None
    assert HeldOut.of([], masks=False) is None


def test_of_masks_the_iou_of_classes_tells():
    found = HeldOut.of([epochs(0.9, 0.7)], masks=True)
    assert (found.measure, found.best) == ("iou", 0.45)
    assert found.disagree == pytest.approx(0.1)


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: poor.images(folder, [1] * 6),
        lambda folder: poor.images(folder, [0] * 6 + [1]),
        lambda folder: poor.images(folder, [0, 1] * 4, [2] * 8),
        lambda folder: poor.masks(folder, [poor.half(0, 1)] * 6),
        lambda folder: poor.masks(folder, [poor.half(0, 1), *poor.filled(255, 255, 255, 255)]),
    ],
    ids=["one class", "a class with one image", "equal images", "equal masks", "mostly void"],
)
def test_of_poor_sets_there_are_numbers_or_none(tmp_path, make):
    try:
        done = trained(make(tmp_path), seed=1)
    except SpecificationError as refused:
        refusal = str(refused)
    else:
        refusal = ""
        found = [epoch for model in done.models for epoch in model.held_out if epoch is not None]
        assert all(0 <= epoch.accuracy <= 1 and 0 <= epoch.iou <= 1 for epoch in found)
        told = [] if done.held_out is None else done.held_out.sentences
        assert not any("nan" in sentence for sentence in told)
    assert not refusal or "no labelled sample" in refusal
