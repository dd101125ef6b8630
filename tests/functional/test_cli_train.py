import pytest
from safetensors.torch import load_file

from ray_audit.config import TrainingConfig
from tests.functional.test_cli import call, one_object
from tests.support.small_sets import class_folders, masked_images

DATE = ["--date", "2026-01-31"]
QUICK = ["--local", "--batch-size", "4", "--num-gpus", "0"]


@pytest.fixture
def images(tmp_path):
    return emptied(class_folders(tmp_path))


def emptied(small_set):
    for path in (small_set.folder / "checkpoints").glob("*"):
        path.unlink()
    small_set.values["checkpoints"] = str(small_set.folder / "checkpoints/epoch_*.safetensors")
    return small_set


def test_what_train_leaves_is_audited_by_the_same_specification(images):
    spec = images.spec_file()
    trained = call("train", spec, *QUICK, "--epochs", "2", "--seed", "5")
    assert trained.exit_code == 0, trained.stderr
    assert trained.stdout == ""
    assert "epoch 2 of 2: loss" in trained.stderr
    assert f"ray-audit run {spec}" in trained.stderr
    done = one_object(call("run", spec, "--local", *DATE, "--json"))
    assert done["counts"]["scored"] == 12


def test_options_go_before_the_specification(images):
    spec = images.spec_file(training={"epochs": 7, "learning_rate": 0.5, "seed": 1})
    options = ["--epochs", "1", "--learning-rate", "0.25", "--set", "training.weight_decay=0"]
    first = one_object(call("train", spec, *QUICK, *options, "--json"))
    (model,) = first["models"]
    assert (model["num_new_epochs"], len(model["checkpoints"])) == (1, 1)
    assert first["fold_map"] is None
    other = call("train", spec, *QUICK, *options[:2], "--json")
    assert other.exit_code == 2
    assert "other settings" in other.stderr
    assert load_file(model["checkpoints"][0])


def test_folds_are_a_specification_each(images):
    spec = images.spec_file()
    trained = one_object(call("train", spec, *QUICK, "--epochs", "1", "--folds", "2", "--json"))
    assert [model["fold"] for model in trained["models"]] == [0, 1]
    numbers = [
        one_object(call("run", model["spec"], "--local", *DATE, "--json"))["counts"]["scored"]
        for model in trained["models"]
    ]
    assert sum(numbers) == 12
    assert min(numbers) > 0
    united = one_object(call("run", spec, "--local", "--folds", *DATE, "--json"))
    assert united["counts"]["scored"] == 12
    assert call("run", spec, "--local", "--folds", "--limit", "1").exit_code == 2


def test_correction_tells_what_it_did(tmp_path):
    masks = emptied(masked_images(tmp_path))
    command = ["train", masks.spec_file(), *QUICK, "--correct", "adele"]
    too_few = call(*command, "--epochs", "4")
    assert too_few.exit_code == 2
    assert "adele would correct nothing; train 5 or more" in too_few.stderr
    named = ["--epochs", "5", "--set", "training.correction.background=c"]
    trained = call(*command, *named)
    assert trained.exit_code == 0, trained.stderr
    assert "0 labels changed" in trained.stderr
    # Random masks cannot be learnt in five epochs; c is the background and needs no onset.
    assert trained.stderr.count("never past its onset: a (") == 1
    assert ", c (" not in trained.stderr
    assert "0 labels were corrected" in trained.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--correct", "magic"], "training.correction.method"),
        (["--workers", "2"], "--local trains in this process alone"),
        (["--folds", "40"], "has none of the 12"),
        (["--set", "checkpoints=models/last.pt"], "expected a pattern"),
        (["--set", "training.epoch=3"], "did you mean epochs?"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_written(images, options, message):
    result = call("train", images.spec_file(), *QUICK, *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert list((images.folder / "checkpoints").iterdir()) == []


def test_every_default_is_documented(pytestconfig):
    text = (pytestconfig.rootpath / "docs/training.md").read_text()
    for name in TrainingConfig.model_fields:
        assert f"`{name}`" in text, name


def test_a_copy_of_the_specification_trains_where_it_is_told(images):
    # As after `correct`: `checkpoints` names those of another model, which stay as they are.
    other = one_object(call("train", images.spec_file(), *QUICK, "--epochs", "1", "--json"))
    spec = images.spec_file(training={"seed": 9})
    refused = call("train", spec, *QUICK, "--epochs", "1")
    assert refused.exit_code == 2
    assert "--to" in refused.stderr
    folder = images.folder / "new [a]"
    trained = one_object(
        call("train", spec, *QUICK, "--epochs", "1", "--to", str(folder), "--json")
    )
    (model,) = trained["models"]
    assert trained["spec"] == str(folder / "spec.yaml")
    assert load_file(model["checkpoints"][0]).keys()
    assert model["checkpoints"] != other["models"][0]["checkpoints"]
    done = one_object(call("run", trained["spec"], "--local", *DATE, "--json"))
    assert done["counts"]["scored"] == 12
    assert (folder / "audit/runs").is_dir()
