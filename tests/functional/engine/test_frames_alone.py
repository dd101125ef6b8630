"""Models of single frames at videos and feature sequences, through the front."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ray_audit.engine.run.dry_run import dry_run
from ray_audit.errors import SpecificationError
from ray_audit.training.train import train
from tests.support import small_sets
from tests.support.audits import audit
from tests.support.small_sets import NUM_CHECKPOINTS
from tests.support.tables import rows_of

HERE = "tests.functional.engine.test_frames_alone"


class Convolved(nn.Module):
    """(N, C, H, W) -> logits (N, K), as any network for images."""

    def __init__(self, num_classes):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.head = nn.Linear(4, num_classes)

    def forward(self, images):
        return self.head(self.net(images))


class ConvolvedClips(Convolved):
    """The same within a module that takes clips."""

    def forward(self, clips):
        return super().forward(clips.flatten(0, 1)).unflatten(0, clips.shape[:2])


class OneAnswer(Convolved):
    """(N, T, C, H, W) -> logits (N, T, K): one answer for each clip, of its middle frame."""

    def forward(self, clips):
        num_frames = clips.shape[1]
        answer = super().forward(clips[:, num_frames // 2])
        return answer[:, None].expand(-1, num_frames, -1)


class OneNumber(Convolved):
    """One logit a frame: that of the second of two classes."""

    def __init__(self):
        super().__init__(1)

    def forward(self, images):
        return super().forward(images).squeeze(1)


class Rows(nn.Module):
    """(N, D) -> logits (N, K); normalised by the batch, so that it takes no other axes."""

    def __init__(self, num_classes, in_features=6):
        super().__init__()
        self.norm, self.head = nn.BatchNorm1d(in_features), nn.Linear(in_features, num_classes)

    def forward(self, rows):
        return self.head(self.norm(rows))


def of_model(small, factory, layout=None, **kwargs):
    """A small set with checkpoints of another model."""
    for epoch in range(NUM_CHECKPOINTS):
        torch.manual_seed(epoch)
        path = small.folder / f"checkpoints/epoch_{epoch}.safetensors"
        save_file(factory(**kwargs).state_dict(), str(path))
    model_input = {} if layout is None else {"layout": layout}
    small.values["model"] = {
        "factory": f"{HERE}:{factory.__name__}", "kwargs": kwargs, "input": model_input,
    }  # fmt: skip
    return small


def close(first, other):
    """Losses and VoG of two audits; convolutions sum in another order where axes are others."""
    for name, table in (("loss", "trajectories"), ("csl", "scores"), ("vog", "scores")):
        left, right = (rows_of(outcome, table)[name].to_pylist() for outcome in (first, other))
        np.testing.assert_allclose(left, right, rtol=1e-4, err_msg=name)
        assert np.ptp(left) > 0


@pytest.mark.parametrize("at", ["inputs", "features"])
def test_single_frames_have_the_numbers_of_the_same_network_within_a_module_of_clips(tmp_path, at):
    outcomes = []
    for factory, layout in ((Convolved, "NCHW"), (ConvolvedClips, None)):
        small = small_sets.labelled_videos(tmp_path / factory.__name__)
        of_model(small, factory, layout, num_classes=3)
        outcomes.append(audit(small, vog={"at": at}))
    assert outcomes[0].counts["scored"] == 36
    close(*outcomes)


def test_single_rows_of_features_have_the_numbers_of_a_loop_over_them(tmp_path):
    small = of_model(
        small_sets.feature_sequences(tmp_path), Rows, "ND", num_classes=3, in_features=5
    )
    outcome = audit(small)
    tables = rows_of(outcome, "trajectories").to_pylist()
    losses = {row["sample_id"]: row["loss"] for row in tables}
    arrays = np.load(tmp_path / "data/sequences.npz")
    for epoch in range(NUM_CHECKPOINTS):
        model = Rows(3, 5).eval()
        model.load_state_dict(load_file(tmp_path / f"checkpoints/epoch_{epoch}.safetensors"))
        for key in ("s0", "s1"):
            rows, labels = torch.from_numpy(arrays[key]), torch.from_numpy(arrays[f"{key}_label"])
            with torch.no_grad():
                expected = nn.functional.cross_entropy(model(rows), labels, reduction="none")
            actual = [losses[f"sequences.npz#{key}#{t}"][epoch] for t in range(len(labels))]
            np.testing.assert_allclose(actual, expected, rtol=1e-4)


def test_one_number_a_frame_is_the_second_class_of_two(tmp_path):
    small = of_model(small_sets.labelled_videos(tmp_path), OneNumber, "NCHW")
    small.values["dataset"]["classes"] = ["a", "b"]
    small.values["dataset"]["labels"]["values"] = {"a": "a", "b": "b", "c": "b"}
    outcome = audit(small)
    assert outcome.counts["scored"] == 36
    pairs = zip(
        *(rows_of(outcome, "trajectories")[name].to_pylist() for name in ("loss", "margin")),
        strict=True,
    )
    for losses, margins in pairs:  # of two classes -log p is softplus(-margin) of their logits
        np.testing.assert_allclose(losses, np.log1p(np.exp(-np.array(margins))), rtol=1e-3)


def test_frames_that_go_alone_are_looked_at_once(tmp_path):
    small = of_model(small_sets.labelled_videos(tmp_path), Convolved, "NCHW", num_classes=3)
    small.values["dataset"]["clip"] = {"frames": 4}
    assert small.config().dataset.clip.step == 4
    small.values["model"]["input"] = {}
    assert small.config().dataset.clip.step == 2


def test_one_answer_a_clip_is_that_of_its_middle_frame_where_clips_start_at_each(tmp_path):
    losses = []
    for factory, layout, clip in (
        (Convolved, "NCHW", {"frames": 4}), (OneAnswer, None, {"frames": 5, "stride": 1}),
    ):  # fmt: skip
        small = small_sets.labelled_videos(tmp_path / factory.__name__)
        small.values["dataset"]["clip"] = clip
        outcome = audit(of_model(small, factory, layout, num_classes=3))
        tables = rows_of(outcome, "trajectories").to_pylist()
        losses.append({row["sample_id"]: row["loss"] for row in tables})
    inner = [sample for sample in losses[0] if 2 <= int(sample.rpartition("#")[2]) < 10]
    assert len(inner) == 24
    for sample in inner:
        np.testing.assert_allclose(losses[1][sample], losses[0][sample], rtol=1e-4)


def test_a_network_for_images_is_trained_on_frames(tmp_path):
    small = of_model(small_sets.labelled_videos(tmp_path), Convolved, "NCHW", num_classes=3)
    config = small.config(training={"epochs": 2, "learning_rate": 0.01, "batch_size": 2})
    to = {"checkpoints": str(tmp_path / "trained/e_*.safetensors")}
    (model,) = train(config.model_copy(update=to), local=True).models
    outcome = audit(small, checkpoints=list(model.checkpoints))
    assert outcome.counts["scored"] == 36


@pytest.mark.parametrize(
    ("make", "factory", "kwargs", "layout"),
    [
        (small_sets.labelled_videos, Convolved, {"num_classes": 3}, "NCHW"),
        (small_sets.feature_sequences, Rows, {"num_classes": 3, "in_features": 5}, "ND"),
    ],
)
def test_a_plan_of_such_a_model_says_which_layout_to_write(tmp_path, make, factory, kwargs, layout):
    small = of_model(make(tmp_path), factory, **kwargs)
    with pytest.raises(SpecificationError, match=f"takes single frames: .*layout: {layout}$"):
        dry_run(small.config(), None, True, None, None, False)
    small.values["model"]["input"] = {"layout": layout}
    assert dry_run(small.config(), None, True, None, None, False).seen.answers


@pytest.mark.parametrize(
    ("make", "model_input", "message"),
    [
        (small_sets.labelled_videos, {"layout": "ND"}, "features, .* is video: give NCHW"),
        (small_sets.feature_sequences, {"layout": "NCHW"}, "pixels, .* is sequences: give ND"),
        (small_sets.class_folders, {"layout": "ND"}, "features, and dataset.kind is images"),
        (small_sets.labelled_videos, {"layout": "NCHW", "pathways": [4, 1]}, "leave one out"),
    ],
)
def test_where_no_frames_go_alone_such_a_layout_is_refused(tmp_path, make, model_input, message):
    small = make(tmp_path)
    with pytest.raises(SpecificationError, match=message):
        small.config(model=small.values["model"] | {"input": model_input})
