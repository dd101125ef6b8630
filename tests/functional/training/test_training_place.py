"""A folder that several trainings want, and factories that do not come back."""

import pytest

from ray_audit import claims
from ray_audit.errors import SpecificationError
from ray_audit.training.train import train
from tests.functional.training.test_loop import assert_equal_weights, trainable, weights_of
from tests.support.small_sets import class_folders


def test_two_at_once_do_not_train_into_one_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "_BEATS_PER_TTL", 300)  # so that nobody has to wait for it
    monkeypatch.setattr(claims, "_POLLS_PER_TTL", 150)
    images, refused = class_folders(tmp_path), []
    config = trainable(images, epochs=2)
    other = config.model_copy(update={"training": config.training.model_copy(update={"seed": 9})})

    def second(fold, done):
        if not refused:
            with pytest.raises(SpecificationError, match="is being filled by another process"):
                train(other, local=True)
            refused.append(done.epoch)

    train(config, local=True, progress=second)
    assert refused == [1]
    alone = trainable(class_folders(tmp_path / "alone"), epochs=2)
    train(alone, local=True)
    assert_equal_weights(weights_of(tmp_path), weights_of(tmp_path / "alone"))
    assert not list(tmp_path.rglob(".claim"))


def test_an_interrupted_training_claims_its_folder_no_more_and_goes_on(tmp_path):
    config = trainable(class_folders(tmp_path), epochs=2)

    def interrupted(fold, done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, local=True, progress=interrupted)
    assert not list(tmp_path.rglob(".claim"))
    (model,) = train(config, local=True).models
    assert model.num_new_epochs == 1


@pytest.mark.parametrize("what", ["model", "loss"])
@pytest.mark.parametrize(
    ("name", "said"), [("hangs", "did not end within engine.start_timeout_s"), ("leaves", "exit")]
)
def test_a_factory_that_hangs_or_leaves_ends_a_training_with_a_sentence(
    tmp_path, monkeypatch, what, name, said
):
    (tmp_path / "bad_factories.py").write_text(
        "import sys, time\n"
        "def hangs(**kwargs): time.sleep(10**6)\n"
        "def leaves(**kwargs): sys.exit(0)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    images, factory = class_folders(tmp_path), f"bad_factories:{name}"
    images.values["engine"] = {"start_timeout_s": 0.2}
    if what == "model":
        images.values["model"]["factory"] = factory
    config = trainable(images, **({"loss": factory} if what == "loss" else {}))
    with pytest.raises(SpecificationError, match=said):
        train(config, local=True)
    assert not list(tmp_path.glob("checkpoints/*"))
