"""A model that takes clips at two rates, through the front; and models that take something else."""

import av
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ray_audit.engine.run.dry_run import dry_run
from ray_audit.errors import SpecificationError
from ray_audit.training.train import train
from tests.support import small_sets
from tests.support.audits import ALL_MAY_FAIL, audit, only_error
from tests.support.small_sets import CLASSES, NUM_CHECKPOINTS, SmallSet
from tests.support.tables import rows_of
from tests.support.tiny_models import FrameModel, ImageModel, TwoRates

HERE = "tests.functional.engine.test_pathways"
TWO_RATES = {"layout": "NCTHW", "pathways": [4, 1]}


def whole_videos(folder, lengths=(12, 12, 12), model_input=TWO_RATES):
    """Videos with one label each, and a model that sees each of them at two rates."""
    for index, num_frames in enumerate(lengths):
        small_sets.video(folder / f"data/v{index}.mp4", num_frames, seed=index)
    rows = [{"video": f"v{i}.mp4", "label": CLASSES[i]} for i in range(len(lengths))]
    dataset = {
        "kind": "video",
        "uri": str(folder / "data/*.mp4"),
        "labels": {"videos": str(small_sets.table(folder / "data/labels.csv", rows))},
        "clip": {"frames": None},
    }
    small = SmallSet(folder, dataset, "TwoRates")
    small.values["model"]["input"] = model_input
    return small


def planned(small, **changes):
    return dry_run(small.config(**changes), None, True, None, None, False)


def losses_by_hand(small, index):
    """Of one video at each checkpoint, from the frames as another reader gives them."""
    with av.open(str(small.folder / f"data/v{index}.mp4")) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    fast = torch.from_numpy(frames).permute(3, 0, 1, 2)[None] / 255
    slow = fast[:, :, [0, 5, 11]]
    losses = []
    for epoch in range(NUM_CHECKPOINTS):
        model = TwoRates(len(CLASSES))
        model.load_state_dict(load_file(small.folder / f"checkpoints/epoch_{epoch}.safetensors"))
        with torch.no_grad():
            logits = model([slow, fast])
        losses.append(torch.nn.functional.cross_entropy(logits, torch.tensor([index])).item())
    return losses


def test_a_model_of_two_rates_is_audited_as_a_plain_loop_over_its_videos_says(tmp_path):
    small = whole_videos(tmp_path)
    seen = planned(small).seen
    assert seen.input_shapes == ((1, 3, 3, 32, 32), (1, 3, 12, 32, 32))
    outcome = audit(small)
    trajectories = rows_of(outcome, "trajectories")["loss"].to_pylist()
    expected = [losses_by_hand(small, index) for index in range(3)]
    np.testing.assert_allclose(trajectories, expected, rtol=1e-4)
    assert all(vog > 0 for vog in rows_of(outcome, "scores")["vog"].to_pylist())


def test_a_video_that_is_too_short_for_the_slow_rate_fails_alone_with_both_numbers(tmp_path):
    small = whole_videos(tmp_path, lengths=(12, 12, 3))
    row = only_error(audit(small, **ALL_MAY_FAIL), "probe", "ValueError")
    assert row["sample_id"] == "v2.mp4"
    assert "at least 4 frames, this one has 3" in row["message"]


def test_a_model_of_two_rates_is_trained_and_its_checkpoints_are_audited(tmp_path):
    small = whole_videos(tmp_path)
    for path in (tmp_path / "checkpoints").glob("*"):
        path.unlink()
    config = small.config(training={"epochs": 2, "learning_rate": 0.01, "batch_size": 2})
    config = config.model_copy(
        update={"checkpoints": str(tmp_path / "checkpoints/e_*.safetensors")}
    )
    (model,) = train(config, local=True).models
    outcome = audit(small, checkpoints=list(model.checkpoints))
    assert outcome.counts["scored"] == 3


def test_pathways_of_images_are_refused_by_name(tmp_path):
    small = small_sets.class_folders(tmp_path)
    model = small.values["model"] | {"input": {"pathways": [4, 1]}}
    with pytest.raises(SpecificationError, match=r"pathways takes clips apart .* each image"):
        small.config(model=model)


class NeedsMask(FrameModel):
    def forward(self, clips, mask, *, lengths):
        return super().forward(clips)


class NeedsADict(ImageModel):
    def forward(self, batch):
        return super().forward(batch["image"])


class Unpacks(FrameModel):
    def forward(self, clips):
        slow, fast = clips
        return super().forward(fast + slow)


@pytest.mark.parametrize(
    ("make", "name", "message"),
    [
        (small_sets.labelled_videos, "NeedsMask", r"takes mask and lengths besides.*mask=\.\.\."),
        (small_sets.class_folders, "NeedsADict", r"IndexError.*given one tensor.*return a module"),
        (small_sets.labelled_videos, "Unpacks", r"unpack .*model\.input\.pathways.*\[4, 1\]"),
        (small_sets.labelled_videos, TwoRates, r"model\.input\.pathways.*\[4, 1\]"),
    ],
)
def test_a_model_that_takes_more_than_one_tensor_is_refused_with_how_to_wrap_it(
    tmp_path, make, name, message
):
    small = make(tmp_path)
    factory = f"{HERE}:{name if isinstance(name, str) else name.__name__}"
    if name is TwoRates:
        for epoch in range(NUM_CHECKPOINTS):
            small.write_weights(epoch, TwoRates(len(CLASSES)))
    with pytest.raises(SpecificationError, match=message):
        planned(small, model={"factory": factory, "kwargs": {"num_classes": 3}})
