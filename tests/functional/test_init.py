"""`ray-audit init`: from a folder to a specification that `plan` accepts."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import ray_audit
from ray_audit.cli import app
from ray_audit.config import AuditConfig, DatasetConfig
from ray_audit.discovery import tree
from ray_audit.errors import SpecificationError
from tests.support.published import masks, same_labels, volumes
from tests.support.published.built import index_mask, photo, put_image, put_text, touched
from tests.support.small_sets import MODELS, class_folders, labelled_videos, masked_images
from tests.support.small_sets import video as small_video


def typed(*arguments):
    return CliRunner().invoke(app, ["init", *map(str, arguments)])


@pytest.mark.parametrize(
    ("build", "factory"),
    [(class_folders, "ImageModel"), (masked_images, "PixelModel"), (labelled_videos, "FrameModel")],
)
def test_plan_accepts_what_init_writes(tmp_path, build, factory):
    small = build(tmp_path)
    spec = tmp_path / "audit.yaml"
    done = typed(
        *(tmp_path / "data", "--checkpoints", tmp_path / "checkpoints"),
        *("--model", f"{MODELS}:{factory}", "--to", spec),
    )
    assert done.exit_code == 0, done.output
    drafted = AuditConfig.load(spec, ["model.kwargs={num_classes: 3}"])
    assert drafted.dataset.labels == small.config().dataset.labels
    assert drafted.dataset.uri == small.config().dataset.uri
    assert len(drafted.dataset.classes) == 3
    planned = ray_audit.plan(drafted, local=True)
    names = [
        checkpoint.name.removesuffix(".safetensors") for checkpoint in planned.inputs.checkpoints
    ]
    assert names == ["epoch_0", "epoch_1", "epoch_2"]


def test_a_specification_is_never_overwritten_unless_asked_for(tmp_path):
    masks.isic2018(tmp_path / "set")
    spec = tmp_path / "audit.yaml"
    spec.write_text("mine")
    done = typed(tmp_path / "set", "--to", spec)
    assert (done.exit_code, spec.read_text()) == (2, "mine")
    assert "is there already" in done.output
    assert typed(tmp_path / "set", "--to", spec, "--force").exit_code == 0
    assert AuditConfig.load(spec).dataset.classes == ["background", "lesion"]


def test_it_says_what_it_assumed_and_what_it_could_not_know(tmp_path):
    masks.one_bit(tmp_path / "set")
    done = typed(tmp_path / "set")
    text = done.stdout
    for words in ("# Assumed:", "masks are the files in masks/", "# Not known, please say:"):
        assert words in text
    assert "model.factory: the function that returns your model" in " ".join(done.output.split())
    assert "where there are none, `ray-audit train` makes some" in " ".join(done.output.split())
    answer = json.loads(typed(tmp_path / "set", "--json").stdout)
    assert answer["asked"]
    assert answer["specification"]["dataset"]["kind"] == "images"
    assert not (tmp_path / "audit.yaml").exists()


def test_a_recognised_layout_is_named_and_stands_for_the_same(tmp_path):
    masks.ade20k(tmp_path / "set")
    draft = ray_audit.init(tmp_path / "set")
    assert draft.layout == "ade20k"
    named = DatasetConfig(layout="ade20k", root=str(tmp_path / "set"))
    assert DatasetConfig.model_validate(draft.specification["dataset"]).model_dump() == (
        named.model_dump()
    )
    assert "layout: ade20k" in " ".join(draft.text.split())


def test_a_layout_is_found_below_the_folder_and_from_within_it(tmp_path):
    built = masks.isic2018(tmp_path / "data/skin")
    for folder in (tmp_path / "data", tmp_path / "data/skin/ISIC2018_Task1-2_Training_Input/.."):
        draft = ray_audit.init(folder)
        same_labels(DatasetConfig.model_validate(draft.specification["dataset"]), built.expected)
    inner = volumes.camus(tmp_path / "heart")
    draft = ray_audit.init(tmp_path / "heart/database_nifti")
    same_labels(DatasetConfig.model_validate(draft.specification["dataset"]), inner.expected)


def test_labels_may_lie_elsewhere(tmp_path):
    expected = {}
    for index in range(4):
        photo(tmp_path / f"a/pictures/p{index}.jpg", index)
        mask = index_mask(index, 3, void=False)
        put_image(tmp_path / f"b/mine/p{index}.png", mask.astype(np.uint8))
        expected[f"p{index}.jpg"] = mask
    with pytest.raises(
        SpecificationError, match=r"no layout was recognised in 4 files \(4 \.jpg\)"
    ):
        ray_audit.init(tmp_path / "a")
    draft = ray_audit.init(tmp_path / "a", labels=tmp_path / "b")
    same_labels(DatasetConfig.model_validate(draft.specification["dataset"]), expected)


@pytest.mark.parametrize(
    ("names", "uri", "reported"),
    [
        (["e_1.pt", "e_2.pt", "e_10.pt", "last.pt"], "c/e_*.pt", "left out: last.pt"),
        (
            ["checkpoint-50/model.safetensors", "checkpoint-100/model.safetensors"],
            "c/checkpoint-*",
            "checkpoint-50 to checkpoint-100",
        ),
        (["best.pth", "last.pth"], ["c/best.pth", "c/last.pth"], "all that is there"),
    ],
)
def test_checkpoints_are_found_as_a_pattern_without_copies_of_others(
    tmp_path, names, uri, reported
):
    masks.one_bit(tmp_path / "set")
    for name in names:
        path = tmp_path / "c" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({}, path)
    draft = ray_audit.init(tmp_path / "set", checkpoints=tmp_path / "c")
    found = [uri] if isinstance(uri, str) else uri
    expected = [str(tmp_path / item) for item in found]
    given = draft.specification["checkpoints"]
    assert (given if isinstance(given, list) else [given]) == expected
    assert reported in " ".join(draft.assumed)


def test_masks_that_no_class_fits_are_not_taken_for_a_published_layout(tmp_path):
    """Folders of Mapillary Vistas, and of somebody else: the values decide."""
    expected = {}
    for index in range(3):
        photo(tmp_path / f"set/training/images/{index}.jpg", index)
        mask = index_mask(index, 3, void=False)
        put_image(tmp_path / f"set/training/labels/{index}.png", (mask * 90).astype(np.uint8))
        expected[f"{index}.jpg"] = mask
    draft = ray_audit.init(tmp_path / "set")
    assert draft.layout is None
    same_labels(DatasetConfig.model_validate(draft.specification["dataset"]), expected)


def test_labels_of_one_a_second_are_told_from_those_of_frames(tmp_path):
    expected = {}
    for name in ("a", "b"):
        small_video(tmp_path / f"set/videos/{name}.mp4", 75)  # 25 a second
        rows = [f"{second}\t{second}" for second in (1, 2, 3)]
        put_text(tmp_path / f"set/labels/{name}-steps.txt", "Frame\tStep", *rows)
        expected |= {f"{name}.mp4#{t}": t // 25 for t in range(75)}
    draft = ray_audit.init(tmp_path / "set")
    assert any("labels are one a second" in item for item in draft.assumed)
    same_labels(DatasetConfig.model_validate(draft.specification["dataset"]), expected)


def test_only_some_files_of_a_large_folder_are_looked_at(tmp_path, monkeypatch):
    built = masks.bdd100k(tmp_path / "set")
    monkeypatch.setattr(tree, "_NUM_FILES", 2)
    draft = ray_audit.init(tmp_path / "set")
    assert draft.layout == "bdd100k"
    assert any("more than was looked at" in item for item in draft.assumed)
    same_labels(DatasetConfig.model_validate(draft.specification["dataset"]), built.expected)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["x"], r"no layout was recognised in 1 files \(1 \.md\)"),
        ([], "no file is there"),
    ],
)
def test_what_is_not_known_is_refused_with_what_was_found(tmp_path, lines, message):
    (tmp_path / "set").mkdir()
    if lines:
        put_text(tmp_path / "set/notes.md", *lines)
    with pytest.raises(SpecificationError, match=message):
        ray_audit.init(tmp_path / "set")
    assert typed(tmp_path / "set").exit_code == 2


def test_videos_in_a_folder_for_each_class_are_recognised(tmp_path):
    expected = {}
    for label in ("jump", "run", "walk"):
        for index in range(3):
            touched(tmp_path / f"set/{label}/{index}.mp4")
            expected[f"{label}/{index}.mp4"] = label
    draft = ray_audit.init(tmp_path / "set")
    assert draft.specification["dataset"]["kind"] == "video"
    same_labels(DatasetConfig.model_validate(draft.specification["dataset"]), expected)
