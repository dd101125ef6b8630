import numpy as np
import pytest
import torch
from PIL import Image

from ray_audit.errors import SpecificationError
from ray_audit.task import Task
from ray_audit.training.correction import TrainingCorrection, first_epoch_of, read_corrected
from ray_audit.training.loop import Loop
from ray_audit.training.train import train
from ray_audit.training.training_folder import TrainingFolder
from tests.functional.training.test_loop import KilledError, assert_equal_weights, weights_of
from tests.support.small_sets import SmallSet, class_folders, labelled_videos

NUM = 12
WRONG = 3


def two_tone_images(folder):
    """Masks say where an image is bright, but one in which a quarter of that is missing."""
    (folder / "data/images").mkdir(parents=True)
    (folder / "data/masks").mkdir()
    rng = np.random.default_rng(0)
    for index in range(NUM):
        y, x = rng.integers(1, 6, 2)
        truth = np.zeros((16, 16), np.uint8)
        truth[y : y + 8, x : x + 8] = 1
        pixels = np.repeat((40 + 180 * truth)[..., None], 3, axis=2)
        given = truth.copy()
        if index == WRONG:
            given[y : y + 2] = 0
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"data/images/i{index:02d}.png")
        Image.fromarray(given).save(folder / f"data/masks/i{index:02d}.png")
        if index == WRONG:
            np.save(folder / "truth.npy", truth)
    dataset = {
        "kind": "images",
        "uri": str(folder / "data/images/*.png"),
        "labels": {"masks": str(folder / "data/masks/{stem}.png")},
    }
    return SmallSet(folder, dataset, "PixelModel")


def doubtful_images(folder):
    """Masks that agree with what is bright in three pixels of five, and name dark ones, too."""
    small, rng = two_tone_images(folder), np.random.default_rng(1)
    for path in sorted((folder / "data/images").iterdir()):
        is_bright = np.asarray(Image.open(path))[..., 0] > 100
        given = rng.random(is_bright.shape) < np.where(is_bright, 0.6, 0.17)
        Image.fromarray(given.astype(np.uint8)).save(folder / "data/masks" / path.name)
    return small


def toned_classes(folder):
    """Classes by brightness, and one image among those of another class."""
    small = class_folders(folder)
    for path in sorted((folder / "data").glob("*/*.png")):
        level = {"a": 0, "b": 120, "c": 255}[path.parent.name]
        level = 255 if path.parent.name == "a" and path.stem == "2" else level
        Image.fromarray(np.full((16, 16, 3), level, np.uint8)).save(path)
    return small


def run(small_set, correction, **training):
    for path in (small_set.folder / "checkpoints").glob("*.safetensors"):
        if not (small_set.folder / "checkpoints/last.pt").exists():
            path.unlink()
    settings = {"learning_rate": 0.3, "batch_size": 4, "schedule": "constant", **training}
    done = []
    trained = train(
        small_set.config(
            checkpoints=str(small_set.folder / "checkpoints/epoch_*.safetensors"),
            training=settings | {"correction": correction},
        ),
        local=True,
        progress=lambda fold, item: done.append(item),
    )
    return trained.models[0], done


def corrected(folder):
    files = sorted((folder / "checkpoints/corrected").glob("*.parquet"))
    found = {}
    for path in files:
        found |= read_corrected(str(path))
    return found


ADELE = {"method": "adele", "confidence": 0.7}


def test_adele_restores_what_is_missing_and_leaves_right_masks(tmp_path):
    model, done = run(two_tone_images(tmp_path), ADELE, epochs=14)
    labels = corrected(tmp_path)
    assert list(labels) == [f"i{WRONG:02d}.png"]
    assert np.array_equal(labels[f"i{WRONG:02d}.png"], np.load(tmp_path / "truth.npy"))
    assert model.harm.num_changed == 16
    assert 0 < model.harm.num_harmed < 8
    reported = [item.correction for item in done]
    assert sum("16 labels changed" in text for text in reported) == 1
    assert reported[0].startswith("0 labels changed")


def test_the_epoch_names_classes_whose_labels_the_model_hardly_agrees_with(tmp_path):
    _, done = run(doubtful_images(tmp_path), ADELE, epochs=24, learning_rate=0.05)
    (said,) = (n for n, item in enumerate(done) if "hardly agrees with the" in item.correction)
    assert "labels of b (IoU 0.40)" in done[said].correction
    assert said < 23
    assert not any("never past its onset" in item.correction for item in done[:-1])


REFURBISH = {"method": "refurbish", "flagged_fraction": 0.1, "first_epoch": 8, "confidence": 0.6}


@pytest.mark.parametrize("flag_by", ["loss", "vog"])
def test_what_is_flagged_is_refurbished(tmp_path, flag_by):
    model, _ = run(toned_classes(tmp_path), REFURBISH | {"flag_by": flag_by}, epochs=16)
    labels = corrected(tmp_path)
    if flag_by == "loss":
        assert {key: int(value) for key, value in labels.items()} == {"a/2.png": 2}
        assert model.harm.num_changed == 1
    assert set(labels) <= {"a/2.png"}


@pytest.mark.parametrize(
    ("make", "correction", "num_epochs", "steps"),
    [(two_tone_images, ADELE | {"prediction_decay": 0}, 14, 3), (toned_classes, REFURBISH, 14, 3)],
)
def test_a_resumed_correction_equals_an_uninterrupted_one(
    tmp_path, monkeypatch, make, correction, num_epochs, steps
):
    whole, _ = run(make(tmp_path / "whole"), correction, epochs=num_epochs)
    files = {
        path.name: read_corrected(str(path))
        for path in (tmp_path / "whole/checkpoints/corrected").iterdir()
    }
    assert files
    first_change = int(min(files)[6:9])
    small_set = make(tmp_path / "killed")
    step, num_steps = Loop._step, []

    def dies(self, *arguments):
        num_steps.append(1)
        if len(num_steps) == steps * first_change:  # in the midst of the first corrections
            raise KilledError
        return step(self, *arguments)

    monkeypatch.setattr(Loop, "_step", dies)
    with pytest.raises(KilledError):
        run(small_set, correction, epochs=num_epochs)
    monkeypatch.undo()
    resumed, done = run(small_set, correction, epochs=num_epochs)
    assert done[0].epoch == first_change
    assert resumed.harm == whole.harm
    assert_equal_weights(weights_of(tmp_path / "whole"), weights_of(tmp_path / "killed"))
    again = corrected(tmp_path / "killed")
    assert {k: v.tolist() for k, v in again.items()} == {
        k: v.tolist() for k, v in corrected(tmp_path / "whole").items()
    }


@pytest.mark.parametrize(
    ("make", "correction", "training", "message"),
    [
        (class_folders, ADELE, {}, "adele corrects masks"),
        (two_tone_images, ADELE, {"loss": "x:y"}, "consistency=0"),
        (labelled_videos, REFURBISH | {"flag_by": "vog"}, {}, "vog needs images"),
        (class_folders, REFURBISH | {"flag_by": "vog"}, {"class_weights": [1, 1, 1]}, "plain"),
        (class_folders, REFURBISH, {"workers": 2}, "correction needs workers: 1"),
        (class_folders, REFURBISH | {"background": "z"}, {}, "'z' is none of a, b, c"),
        (class_folders, REFURBISH | {"background": 3}, {}, "3 is none of a, b, c"),
        (class_folders, REFURBISH | {"first_epoch": 6}, {"epochs": 6}, "train 7 or more"),
        (class_folders, REFURBISH | {"flag_by": "vog"}, {"epochs": 17}, "needs 9 or more of 17"),
    ],
)
def test_what_cannot_work_is_refused(tmp_path, make, correction, training, message):
    with pytest.raises(SpecificationError, match=message):
        run(make(tmp_path), correction, **training)


@pytest.mark.parametrize(
    ("asked", "epochs", "first"),
    [
        ({}, 40, 10),
        ({}, 3, 2),
        ({"flag_by": "vog"}, 40, 20),
        ({"flag_by": "vog"}, 17, 9),
        ({"first_epoch": 7}, 40, 7),
    ],
)
def test_flags_come_after_a_quarter_of_the_epochs_and_by_vog_after_half(
    tmp_path, asked, epochs, first
):
    correction = {"method": "refurbish"} | asked
    config = class_folders(tmp_path).config(training={"epochs": epochs, "correction": correction})
    assert first_epoch_of(config) == first


def test_samples_are_flagged_by_their_loss_on_the_labels_that_were_given(tmp_path):
    small = class_folders(tmp_path)
    place = TrainingFolder.of(str(tmp_path / "checkpoints/epoch_*.safetensors"))
    settings = {"epochs": 4, "correction": {"method": "refurbish"}}
    trained = TrainingCorrection(small.config(training=settings), Task.CLASS, place)
    keys = [f"{index:02d}" for index in range(24)]
    seen = torch.tensor([index % 3 for index in range(24)])
    given = torch.where(torch.arange(24) % 4 == 1, (seen + 1) % 3, seen)
    logits = 4.0 * torch.eye(3)[seen] + 0.1 * torch.rand(24, 3, generator=torch.manual_seed(0))
    for _ in range(2):
        # Trained on mended labels, of which each has a low loss.
        trained.observe(keys, given, labels=seen, logits=logits, gradient=None)
        report = trained.end_epoch()
    assert report.due == tuple(key for index, key in enumerate(keys) if index % 4 == 1)


def test_losses_and_gradients_of_the_warm_up_do_not_count(tmp_path):
    small = class_folders(tmp_path)
    place = TrainingFolder.of(str(tmp_path / "checkpoints/epoch_*.safetensors"))

    def correction(**asked):
        settings = {"epochs": 20, "correction": {"method": "refurbish"} | asked}
        return TrainingCorrection(small.config(training=settings), Task.CLASS, place)

    by_vog, wanted = correction(flag_by="vog"), []
    for _ in range(20):
        wanted.append(by_vog.wants_gradient)
        by_vog.end_epoch()
    assert wanted == [False] * 5 + [True] * 15
    by_loss = correction()
    keys = [f"{index:02d}" for index in range(24)]
    seen = torch.tensor([index % 3 for index in range(24)])
    given = torch.where(torch.arange(24) % 4 == 1, (seen + 1) % 3, seen)
    noise = 0.1 * torch.rand(24, 3, generator=torch.manual_seed(0))
    # In the first epoch nothing is learnt yet, and right labels lose most.
    for logits in (100.0 * torch.eye(3)[(seen + 1) % 3], *(4.0 * torch.eye(3)[seen],) * 4):
        by_loss.observe(keys, given, given, logits + noise, gradient=None)
        report = by_loss.end_epoch()
    assert report.due == tuple(key for index, key in enumerate(keys) if index % 4 == 1)
