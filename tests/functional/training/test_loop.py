import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from ray_audit.checkpoints.catalog import list_checkpoints
from ray_audit.config import TrainingConfig
from ray_audit.cuts.unit import cut_unit
from ray_audit.errors import FailureBudgetError, RunError, SpecificationError
from ray_audit.probes.prepare import model_input
from ray_audit.sources import group_units, list_dataset
from ray_audit.training.loop import Loop, learning_rate
from ray_audit.training.train import local_device, train
from ray_audit.training.training_folder import TrainingFolder
from tests.support.small_sets import (
    class_folders,
    feature_sequences,
    labelled_videos,
    masked_images,
    picture,
)

HERE = "tests.functional.training.test_loop"
SETTINGS = {"epochs": 3, "learning_rate": 0.05, "batch_size": 4, "seed": 3}


class WithDropout(nn.Module):
    """Draws while it trains, and has statistics that are no parameters."""

    def __init__(self, num_classes):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(2)
        )
        self.head = nn.Linear(4, num_classes)

    def forward(self, images):
        return self.head(self.layers(images).mean(2))


class ChannelSpy(nn.Module):
    """Keeps what it is given."""

    seen: list = []  # noqa: RUF012

    def __init__(self, num_classes):
        super().__init__()
        self.head = nn.Linear(3, num_classes)

    def forward(self, images):
        self.seen.append(images.detach().clone())
        return self.head(images.mean((2, 3)))


def squared():
    """A user's loss: distance of the probabilities from the labels."""

    def loss(logits, labels):
        expected = nn.functional.one_hot(labels, logits.shape[-1])
        return (logits.softmax(-1) - expected).square().mean()

    return loss


def two_numbers():
    return lambda logits, labels: logits.mean(0)


def trainable(small_set, **training):
    """The set without the checkpoints that it came with."""
    for path in (small_set.folder / "checkpoints").glob("*"):
        path.unlink()
    values = {"checkpoints": str(small_set.folder / "checkpoints/epoch_*.safetensors")}
    return small_set.config(**values, training=SETTINGS | training)


def run(config, **options):
    done = []
    trained = train(config, local=True, progress=lambda fold, item: done.append(item), **options)
    return trained.models[0], done


def weights_of(folder):
    """Every checkpoint's tensors, by file name."""
    files = sorted((folder / "checkpoints").glob("*.safetensors"))
    return {path.name: load_file(path) for path in files}


def assert_equal_weights(first, second):
    assert first.keys() == second.keys()
    for name, tensors in first.items():
        for key, value in tensors.items():
            assert torch.equal(value, second[name][key]), (name, key)


def bright_by_class(folder):
    """Images whose class is their brightness: easily learnt."""
    small = class_folders(folder)
    for path in sorted((folder / "data").glob("*/*.png")):
        level = {"a": 0, "b": 120, "c": 255}[path.parent.name]
        Image.fromarray(np.full((16, 16, 3), level, np.uint8)).save(path)
    return small


def with_void(folder):
    images = masked_images(folder)
    path = folder / "data/masks/i0.png"
    mask = np.array(Image.open(path))
    mask[:8] = 255
    Image.fromarray(mask).save(path)
    return images


def unlike_sequences(folder):
    return feature_sequences(folder, lengths=(9, 14, 9))


@pytest.mark.parametrize(
    ("make", "num_samples"),
    [(class_folders, 12), (with_void, 6), (labelled_videos, 36), (unlike_sequences, 32)],
)
def test_every_form_of_labels_is_trained_and_leaves_what_an_audit_lists(
    tmp_path, make, num_samples
):
    config = trainable(make(tmp_path), epochs=2)
    model, done = run(config)
    assert [item.epoch for item in done] == [1, 2]
    assert {item.num_samples for item in done} == {num_samples}
    assert done[1].loss < done[0].loss
    listed = list_checkpoints(config.checkpoints)
    assert [c.uri for c in listed] == list(model.checkpoints)
    assert [c.name for c in listed] == ["epoch_001.safetensors", "epoch_002.safetensors"]


def test_void_pixels_pull_nothing(tmp_path):
    """The loss of the first step is the mean over the labelled pixels, by hand."""
    config = trainable(with_void(tmp_path), epochs=1, batch_size=6, learning_rate=1e-9)
    _, done = run(config)
    torch.manual_seed(SETTINGS["seed"])
    head = nn.Conv2d(3, 3, 1).requires_grad_(False)
    total, count = 0.0, 0
    for index in range(6):
        image = np.array(Image.open(tmp_path / f"data/images/i{index}.png")).transpose(2, 0, 1)
        mask = np.array(Image.open(tmp_path / f"data/masks/i{index}.png")).astype(np.int64)
        logits = head(torch.from_numpy(image)[None].float() / 255)
        mask[mask == 255] = -1
        loss = nn.functional.cross_entropy(
            logits, torch.from_numpy(mask)[None], ignore_index=-1, reduction="sum"
        )
        total, count = total + float(loss), count + int((mask >= 0).sum())
    assert count == 6 * 256 - 128
    assert done[0].loss == pytest.approx(total / count, rel=1e-5)


def test_pixels_are_those_that_an_audit_gives(tmp_path):
    images = class_folders(tmp_path)
    images.values["model"] = {
        "factory": f"{HERE}:ChannelSpy",
        "kwargs": {"num_classes": 3},
        "input": {"size": [8, 8], "mean": [0.4], "std": [0.3]},
    }
    config = trainable(images, epochs=1, batch_size=12)
    ChannelSpy.seen.clear()
    run(config)
    (seen,) = ChannelSpy.seen
    listing = list_dataset(config.dataset, tmp_path / "index")
    (unit,) = group_units(listing.shards, "")
    batch = next(cut_unit(unit, config.dataset, config.model.input, None, 12))
    expected = model_input(batch.arrays["inputs"], config.model.input, torch.device("cpu"))
    by_sum = [x[torch.argsort(x.flatten(1).double().sum(1))] for x in (seen, expected)]
    assert torch.equal(*by_sum)


def test_easy_labels_are_learnt(tmp_path):
    _, done = run(trainable(bright_by_class(tmp_path), epochs=30, schedule="constant"))
    assert done[-1].loss < 0.5 * done[0].loss


def with_dropout(folder, **training):
    images = class_folders(folder)
    images.values["model"] = {"factory": f"{HERE}:WithDropout", "kwargs": {"num_classes": 3}}
    return trainable(images, **training)


def test_equal_seeds_give_equal_weights_and_the_callers_generator_is_left(tmp_path):
    state = torch.get_rng_state()
    run(with_dropout(tmp_path / "a"))
    assert torch.equal(state, torch.get_rng_state())
    run(with_dropout(tmp_path / "b", cache_mib=0))
    assert_equal_weights(weights_of(tmp_path / "a"), weights_of(tmp_path / "b"))
    run(with_dropout(tmp_path / "c", seed=4))
    last = "epoch_003.safetensors"
    first, other = (weights_of(tmp_path / name)[last]["head.weight"] for name in "ac")
    assert not torch.equal(first, other)


class KilledError(Exception):
    pass


@pytest.mark.parametrize("schedule", ["one_cycle", "constant"])
def test_a_resumed_training_equals_an_uninterrupted_one(tmp_path, monkeypatch, schedule):
    run(with_dropout(tmp_path / "whole", schedule=schedule))
    config = with_dropout(tmp_path / "killed", schedule=schedule)
    step, num_steps = Loop._step, []

    def dies(self, *arguments):
        num_steps.append(1)
        if len(num_steps) == 8:  # in the third epoch of three steps each
            raise KilledError
        return step(self, *arguments)

    monkeypatch.setattr(Loop, "_step", dies)
    with pytest.raises(KilledError):
        run(config)
    assert len(weights_of(tmp_path / "killed")) == 2
    monkeypatch.setattr(Loop, "_step", step)
    model, done = run(config)
    assert ([item.epoch for item in done], model.num_new_epochs) == ([3], 1)
    assert_equal_weights(weights_of(tmp_path / "whole"), weights_of(tmp_path / "killed"))


def test_killed_between_weights_and_state_trains_that_epoch_again(tmp_path, monkeypatch):
    run(with_dropout(tmp_path / "whole"))
    config = with_dropout(tmp_path / "killed")
    write, num_written = TrainingFolder._write_last, []

    def dies(self, state):
        num_written.append(1)
        if len(num_written) == 2:  # the first says whose the place is
            raise KilledError
        write(self, state)

    monkeypatch.setattr(TrainingFolder, "_write_last", dies)
    with pytest.raises(KilledError):
        run(config)
    assert len(weights_of(tmp_path / "killed")) == 1
    run(config)
    assert_equal_weights(weights_of(tmp_path / "whole"), weights_of(tmp_path / "killed"))


def test_what_is_done_is_not_done_again(tmp_path):
    config = with_dropout(tmp_path)
    run(config)
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "checkpoints").iterdir()}
    model, done = run(config)
    assert (done, model.num_new_epochs, len(model.checkpoints)) == ([], 0, 3)
    assert {p.name: p.stat().st_mtime_ns for p in (tmp_path / "checkpoints").iterdir()} == before


def test_more_epochs_go_on_at_a_constant_rate_only(tmp_path):
    run(with_dropout(tmp_path / "a", schedule="constant"))
    model, _ = run(with_dropout_again(tmp_path / "a", schedule="constant", epochs=4))
    assert (model.num_new_epochs, len(model.checkpoints)) == (1, 4)
    run(with_dropout(tmp_path / "b"))
    with pytest.raises(SpecificationError, match="other settings"):
        run(with_dropout_again(tmp_path / "b", epochs=4))


def with_dropout_again(folder, **training):
    """The same specification over the checkpoints that are there."""
    config = with_dropout(folder / "unused")
    there = {"uri": str(folder / "data/*/*.png")}
    return config.model_copy(
        update={
            "dataset": config.dataset.model_copy(update=there),
            "checkpoints": str(folder / "checkpoints/epoch_*.safetensors"),
            "training": config.training.model_copy(update=training),
        }
    )


def test_other_labels_are_another_training(tmp_path):
    config = with_dropout(tmp_path)
    run(config)
    picture(tmp_path / "data/a/new.png", seed=99)
    with pytest.raises(SpecificationError, match=r"last\.pt is of a training with other"):
        run(config)


def test_a_folder_with_files_of_others_is_refused(tmp_path):
    config = with_dropout(tmp_path)
    (tmp_path / "checkpoints/epoch_7.safetensors").write_bytes(b"somebody's")
    with pytest.raises(SpecificationError, match="has files already"):
        run(config)


def test_the_users_loss_is_used_and_held_to_its_shape(tmp_path):
    _, done = run(trainable(bright_by_class(tmp_path / "a"), loss=f"{HERE}:squared"))
    assert 0 < done[-1].loss < 0.3  # a mean square of probabilities: cross-entropy begins at 1.1
    with pytest.raises(SpecificationError, match=r"training\.loss gave shape \(3,\)"):
        run(trainable(class_folders(tmp_path / "b"), loss=f"{HERE}:two_numbers"))


def test_a_model_that_does_not_take_the_inputs_is_told_their_axes(tmp_path):
    sequences = unlike_sequences(tmp_path)
    sequences.values["model"] = {
        "factory": "ray_audit.training.models:small_cnn",
        "kwargs": {"num_classes": 3},
    }
    message = r"inputs \(\d+, \d+, \d+\) as N, T, D: .*docs/models\.md"
    with pytest.raises(SpecificationError, match=message):
        run(trainable(sequences))


def test_class_weights_are_counted(tmp_path):
    with pytest.raises(SpecificationError, match="2 numbers for 3 classes"):
        run(trainable(class_folders(tmp_path), class_weights=[1.0, 2.0]))


def test_a_model_of_other_classes_is_refused(tmp_path):
    images = class_folders(tmp_path)
    images.values["model"]["kwargs"] = {"num_classes": 4}
    with pytest.raises(SpecificationError, match=r"logits \(4, 4\) for targets \(4,\) of 3"):
        run(trainable(images))


def test_a_diverged_training_keeps_no_weights_of_that_epoch(tmp_path):
    with pytest.raises(RunError, match="mean loss of epoch 1 is nan"):
        run(trainable(class_folders(tmp_path), learning_rate=1e30, batch_size=1))
    assert weights_of(tmp_path) == {}


def test_samples_that_cannot_be_read_are_counted_against_the_budget(tmp_path):
    images = class_folders(tmp_path)
    (tmp_path / "data/b/1.png").write_bytes(b"no image")
    config = trainable(images, epochs=1)
    with pytest.raises(FailureBudgetError, match="1 of 12 samples"):
        run(config)
    allowed = config.model_copy(
        update={"failures": config.failures.model_copy(update={"max_count": 1})}
    )
    _, done = run(allowed)
    assert (done[0].num_samples, done[0].num_failed) == (11, 1)


def test_half_precision_needs_a_gpu_and_bfloat16_does_not(tmp_path):
    with pytest.raises(SpecificationError, match="fp16 needs a GPU"):
        run(trainable(class_folders(tmp_path / "a"), precision="fp16", num_gpus=0))
    _, done = run(trainable(class_folders(tmp_path / "b"), precision="bf16", num_gpus=0))
    assert len(done) == 3


def test_records_are_a_row_a_sample_and_epoch_in_train_mode(tmp_path):
    config = trainable(labelled_videos(tmp_path), records=True, batch_size=64)
    _, done = run(config)
    table = pq.read_table(tmp_path / "checkpoints/records")
    assert table.schema.metadata[b"mode"] == b"train"
    assert table.num_rows == 3 * 36
    rows = table.to_pandas()
    assert rows.groupby("epoch").sample_id.nunique().tolist() == [36, 36, 36]
    assert ((rows.loss + np.log(rows.p_label)).abs() < 1e-5).all()
    assert rows.loss.between(0, 20).all()
    # One step an epoch: all samples of an epoch were seen with one state of the weights.
    assert rows[rows.epoch == 1].loss.mean() == pytest.approx(done[0].loss, rel=0.2)


def test_records_of_masks_are_means_over_labelled_pixels(tmp_path):
    config = trainable(with_void(tmp_path), records=True, batch_size=6, epochs=1)
    _, done = run(config)
    rows = pq.read_table(tmp_path / "checkpoints/records").to_pandas()
    assert sorted(rows.num_labelled) == [128] + 5 * [256]
    mean = np.average(rows.loss, weights=rows.num_labelled)
    assert mean == pytest.approx(done[0].loss, rel=1e-5)


def test_the_rate_is_one_cycle_by_epoch():
    config = {"epochs": 100, "learning_rate": 2.0}
    training = TrainingConfig.model_validate(config)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 2.0, total_steps=2001, cycle_momentum=False, final_div_factor=1e9
    )
    rates = []
    for _ in range(2000):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        cycle.step()
    found = [learning_rate(training, epoch) for epoch in range(1, 101)]
    expected = [rates[20 * epoch - 10] for epoch in range(1, 101)]
    assert found == pytest.approx(expected, abs=0.01)


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_a_gpu_that_is_not_there_is_refused():
    assert local_device("auto").type == "cpu"
    with pytest.raises(SpecificationError, match="torch sees no GPU"):
        local_device(1)
