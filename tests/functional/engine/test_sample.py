"""What a look at a few samples shows before anything starts, and what it refuses."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import nn
from typer.testing import CliRunner

from ray_audit.cli import app
from ray_audit.engine.run.audit import run_audit
from ray_audit.engine.run.dry_run import dry_run
from ray_audit.errors import FailureBudgetError, SpecificationError
from tests.support import small_sets
from tests.support.audits import refused
from tests.support.media import noise, png, write_tar
from tests.support.small_sets import CLASSES, class_folders, masked_images
from tests.support.tiny_models import ImageModel
from tests.support.volumes import seen_volumes

HERE = "tests.functional.engine.test_sample"


class Softmax(ImageModel):
    def forward(self, images):
        return super().forward(images).softmax(dim=-1)


class Sigmoids(ImageModel):
    def forward(self, images):
        return super().forward(images).sigmoid()


class Named(ImageModel):
    def forward(self, images):
        return {"out": super().forward(images), "aux": None}


class Raises(ImageModel):
    def forward(self, images):
        raise KeyError("mask")


class Shifted(ImageModel):
    """Logits on both sides of the range of a probability."""

    def forward(self, images):
        return super().forward(images) + torch.tensor([-3.0, 0.0, 3.0])


class NeedsAGpu(ImageModel):
    def forward(self, images):
        raise RuntimeError("flash attention needs CUDA")


class Voxels(nn.Module):
    """Weights of a 3-D convolution in a model of images."""

    def __init__(self, num_classes):
        super().__init__()
        self.body = nn.Conv3d(3, num_classes, 1)

    def forward(self, images):
        return self.body(images.unsqueeze(2)).mean((2, 3, 4))


def planned(small, **changes):
    return dry_run(small.config(**changes), None, True, None, None, False)


def model(name, **more):
    return {"factory": f"{HERE}:{name}", "kwargs": {"num_classes": 3}, **more}


def test_a_plan_says_what_goes_in_and_comes_out_and_which_labels_there_are(tmp_path):
    seen = planned(class_folders(tmp_path)).seen
    assert seen.input_shapes == ((1, 3, 16, 16),)
    assert 0 <= seen.input_range[0] < seen.input_range[1] <= 1
    assert set(seen.labels) <= set(CLASSES)
    assert sum(seen.labels.values()) == seen.num_tried
    names = [answer.checkpoint for answer in seen.answers]
    assert names == ["epoch_0.safetensors", "epoch_2.safetensors"]
    assert [answer.shape for answer in seen.answers] == [(1, 3)] * 2


def segments_in(folder, unit):
    """Videos of 12 frames at 25 a second: 9 frames of a, then 3 of c."""
    small = small_sets.labelled_videos(folder)
    names = ("start_frame", "end_frame") if unit == "frames" else ("start_s", "end_s")
    scale = 1 if unit == "frames" else 1 / 25
    rows = [
        {"video": f"v{index}.mp4", names[0]: begin * scale, names[1]: end * scale, "label": label}
        for index in range(3)
        for begin, end, label in ((0, 9, "a"), (9, 12, "c"))
    ]
    table = small_sets.table(folder / "data/segments.csv", rows)
    small.values["dataset"]["labels"] = {"segments": str(table)}
    return small


@pytest.mark.parametrize(("unit", "frame"), [("frames", 1), ("seconds", 40)])
def test_labels_along_time_are_those_of_whole_files_and_not_of_their_first_clips(
    tmp_path, unit, frame
):
    seen = planned(segments_in(tmp_path, unit)).seen
    assert seen.labels == {"a": 27 * frame, "c": 9 * frame}
    assert seen.labels_of == "3 file(s)"


def test_labels_that_can_be_read_hide_no_files_that_cannot(tmp_path):
    small = segments_in(tmp_path, "frames")
    for path in tmp_path.glob("data/*.mp4"):
        path.write_bytes(b"no video")
    with pytest.raises(SpecificationError, match="all 3 samples that were tried failed"):
        planned(small)


def test_probabilities_are_refused_with_the_remedy_and_taken_with_it(tmp_path):
    small = class_folders(tmp_path)
    with pytest.raises(SpecificationError, match=r"model\.answers: probabilities"):
        planned(small, model=model("Softmax"))
    message = refused(small, SpecificationError, model=model("Softmax"))
    assert "softmax of them once more" in message
    plan = planned(small, model=model("Softmax", answers="probabilities"))
    assert plan.seen.answers[0].range[1] <= 1


def test_answers_of_a_sigmoid_at_the_end_are_a_note(tmp_path):
    small = class_folders(tmp_path)
    given = {**small.values["model"], "factory": f"{HERE}:Sigmoids"}
    (note,) = planned(small, model=given).seen.notes
    assert "lie in 0 to 1" in note
    assert "model.answers: sigmoid" in note


@pytest.mark.parametrize("answers", ["probabilities", "log_probabilities"])
def test_logits_that_are_declared_as_something_else_are_refused(tmp_path, answers):
    message = refused(
        class_folders(tmp_path),
        SpecificationError,
        model=model("Shifted", answers=answers),
    )
    assert f"but model.answers is {answers}" in message


def test_a_plan_fails_where_no_sample_has_a_label(tmp_path):
    """A column that no member has: a run would score nothing."""
    members = [(f"k{at}.png", png(noise(8, 8, at))) for at in range(3)]
    members += [(f"k{at}.json", b'{"meta": {"label": "a"}}') for at in range(3)]
    small = class_folders(tmp_path)
    uri = str(write_tar(tmp_path / "x.tar", members))
    dataset = {**small.values["dataset"], "uri": uri}
    planned(small, dataset=dataset | {"labels": {"column": "json.meta.label"}})
    with pytest.raises(
        SpecificationError, match=r"all 3 samples .*\(3 unlabelled\).*labels\.column"
    ):
        planned(small, dataset=dataset | {"labels": {"column": "json.label"}})


def test_probabilities_with_their_key_score_as_logits_do(tmp_path):
    small = class_folders(tmp_path)
    plain = run_audit(small.config(), local=True)
    out = str(tmp_path / "other")
    changed = small.config(model=model("Softmax", answers="probabilities"), output=out)
    other = run_audit(changed, local=True)
    csl = [
        first.manifest.table(first.run_uri, "scores")["csl"].to_numpy() for first in (plain, other)
    ]
    np.testing.assert_allclose(csl[0], csl[1], atol=1e-5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (model("Named", output="logits"), "'logits' is not in the model's answer.*with out, aux"),
        (
            model("Raises"),
            r"fails on .* inputs \(1, 3, \d+, \d+\) as N, C, H, W: KeyError: 'mask'",
        ),
        (model("Named"), r"name the entry that holds them with model\.output"),
    ],
)
def test_a_model_that_fits_no_sample_is_refused_before_anything_starts(tmp_path, given, message):
    small = class_folders(tmp_path)
    with pytest.raises(SpecificationError, match=message):
        planned(small, model=given)
    with pytest.raises(SpecificationError, match=message):
        run_audit(small.config(model=given), local=True)
    assert small.files_written() == {}


def test_a_model_that_only_this_machine_cannot_run_is_a_note(tmp_path):
    seen = planned(class_folders(tmp_path), model=model("NeedsAGpu")).seen
    assert seen.answers == ()
    assert "on this machine: RuntimeError: flash attention needs CUDA" in seen.notes[0]


def test_a_model_with_a_3_d_convolution_is_audited(tmp_path):
    small = small_sets.class_folders(tmp_path)
    small.values["model"] = model("Voxels")
    for epoch in range(small_sets.NUM_CHECKPOINTS):
        small.write_weights(epoch, Voxels(3))
    outcome = run_audit(small.config(), local=True)
    assert outcome.counts["scored"] == outcome.counts["entered"] == 12


def test_a_void_value_that_leaves_only_background_is_refused(tmp_path):
    small = masked_images(tmp_path)
    for path in small.folder.glob("data/masks/*.png"):
        mask = np.zeros((16, 16), np.uint8)
        mask[4:9, 4:9] = 255
        Image.fromarray(mask).save(path)
    dataset = small.values["dataset"] | {"void": [255]}
    with pytest.raises(SpecificationError, match=r"leaves only 'a' in all .*labels\.values"):
        planned(small, dataset=dataset)
    labels = dataset["labels"] | {"values": {0: "a", 255: "b"}}
    seen = planned(small, dataset=dataset | {"labels": labels, "void": []}).seen
    assert seen.labels["b"] == 25 * seen.num_tried


def test_pages_of_an_image_file_are_said(tmp_path):
    small = class_folders(tmp_path)
    path = sorted((tmp_path / "data").glob("*/*.png"))[0]
    pages = [Image.fromarray(np.full((16, 16, 3), 40 * n, np.uint8)) for n in range(3)]
    pages[0].save(path.with_suffix(".tif"), save_all=True, append_images=pages[1:])
    dataset = small.values["dataset"] | {"uri": str(tmp_path / "data/*/*.tif")}
    (note,) = planned(small, dataset=dataset).seen.notes
    assert f"{path.with_suffix('.tif')} has 3 pages: the first of each file is read" in note


def test_a_dataset_of_which_nothing_can_be_read_fails_in_plan(tmp_path):
    small = class_folders(tmp_path)
    for path in (tmp_path / "data").glob("*/*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(SpecificationError, match=r"samples that were tried failed: a/.*decode"):
        planned(small)


def test_a_run_whose_first_samples_all_fail_stops_with_the_reason(tmp_path):
    small = class_folders(tmp_path, num_each=80)
    for path in (tmp_path / "data").glob("*/*.png"):
        path.write_bytes(b"no image")
    config = small.config(failures={"max_fraction": 1.0})
    with pytest.raises(FailureBudgetError, match=r"samples all failed; a/\d+\.png \(decode, dec"):
        run_audit(config, local=True)


def test_a_run_that_scored_nothing_ends_with_exit_code_1_and_keeps_its_tables(tmp_path):
    small = masked_images(tmp_path)
    for path in small.folder.glob("data/masks/*.png"):
        Image.fromarray(np.full((16, 16), 255, np.uint8)).save(path)
    done = CliRunner().invoke(app, ["run", str(small.spec_file()), "--local"])
    assert done.exit_code == 1
    assert "nothing was scored: of 6 samples 6 were filtered (6 void) and 0 failed" in " ".join(
        done.output.split()
    )
    assert list(small.out.glob("runs/*/manifest.json"))
    assert "last_success" not in next(small.out.glob("runs/*/metrics.prom")).read_text()


def hugging_face(path, names):
    rows = 6
    pixels = np.random.default_rng(0).integers(0, 256, (rows, 16, 16, 3)).astype(np.uint8)
    info = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
    table = pa.table(
        {"image": [png(pixel) for pixel in pixels], "label": [i % 3 for i in range(rows)]}
    )
    table = table.replace_schema_metadata({"huggingface": json.dumps(info)})
    pq.write_table(table, path)


def test_class_names_of_a_parquet_file_are_held_against_those_given(tmp_path):
    small = class_folders(tmp_path)
    hugging_face(tmp_path / "x.parquet", ["c", "b", "a"])
    dataset = {"kind": "images", "uri": str(tmp_path / "x.parquet"), "labels": {"column": "label"}}
    with pytest.raises(SpecificationError, match=r"label.* names its classes c, b, a.*a, b, c"):
        planned(small, dataset=dataset | {"classes": CLASSES})
    labels = dataset["labels"] | {"values": {0: "c", 1: "b", 2: "a"}}
    planned(small, dataset=dataset | {"classes": CLASSES, "labels": labels})
    assert planned(small, dataset=dataset | {"classes": ["c", "b", "a"]}).seen.labels


def test_weights_of_the_look_are_those_of_the_last_checkpoint(tmp_path):
    torch.manual_seed(0)
    seen = planned(class_folders(tmp_path)).seen
    assert seen.answers[0].range != seen.answers[1].range


def test_a_model_of_single_slices_is_told_to_leave_clips_out(tmp_path):
    small = seen_volumes(tmp_path)
    planned(small)
    with pytest.raises(SpecificationError, match=r"single slices or frames: leave dataset\.clip"):
        planned(small, dataset=small.values["dataset"] | {"clip": {"frames": 3}})
