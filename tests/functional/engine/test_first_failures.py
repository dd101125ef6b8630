"""What a run that fails says first: the text, the file, and whether image, label or model.

Through the front: `ray-audit run`, the file of the failure, and the table of a run that may fail.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from ray_audit import storage
from ray_audit.cli import app
from ray_audit.errors import StorageError
from ray_audit.formats import images
from tests.support.audits import ALL_MAY_FAIL, audit, with_trap
from tests.support.small_sets import MODELS, class_folders, labelled_videos, masked_images, picture
from tests.support.tables import rows_of


def not_given(folder, monkeypatch):
    """The store gives all files but one."""
    small, read = class_folders(folder), images._read_file

    def refusing(shard, masks):
        item = read(shard, masks)
        if shard.key == "b/1.png":
            return replace(item, error=StorageError(f"cannot read {shard.uri}: 503 Slow Down"))
        return item

    monkeypatch.setattr(images, "_read_file", refusing)
    return small


def damaged(folder, monkeypatch):
    small = class_folders(folder)
    (folder / "data/b/1.png").write_bytes(b"no image")
    return small


def mask_outside(folder, monkeypatch):
    small = masked_images(folder)
    Image.fromarray(np.full((16, 16), 9, np.uint8)).save(folder / "data/masks/i1.png")
    return small


def mask_damaged(folder, monkeypatch):
    small = masked_images(folder)
    (folder / "data/masks/i1.png").write_bytes(b"no mask")
    return small


def mask_not_given(folder, monkeypatch):
    """The store gives all files but one mask."""
    small, read = masked_images(folder), storage.read_bytes

    def refusing(uri, in_parts=False):
        if uri.endswith("masks/i1.png"):
            raise StorageError(f"cannot read {uri}: 503 Slow Down", may_pass=True)
        return read(uri, in_parts)

    monkeypatch.setattr(storage, "read_bytes", refusing)
    return small


def one_of_several_masks_damaged(folder, monkeypatch):
    small = masked_images(folder)
    small.values["dataset"]["labels"]["masks"] = str(folder / "data/masks/{stem}*.png")
    (folder / "data/masks/i1.png").write_bytes(b"no mask")
    return small


def label_outside(folder, monkeypatch):
    small = labelled_videos(folder)
    path = folder / "data/frames.csv"
    path.write_text(path.read_text().replace("v1.mp4,11,c", "v1.mp4,99,c"))
    return small


def model_raises(folder, monkeypatch):
    small = class_folders(folder)
    picture(folder / "data/b/1.png", 0, size=(16, 12))
    small.values["model"]["factory"] = f"{MODELS}:NarrowHater"
    return small


def not_finite(folder, monkeypatch):
    small = class_folders(folder)
    picture(folder / "data/b/1.png", 0, black=True)
    with_trap(small, epoch=2)
    return small


CASES = {
    not_given: ("b/1.png", "read", "read", "503 Slow Down"),
    damaged: ("b/1.png", "decode", "decode", "those of no image format that is read"),
    mask_outside: ("i1.png", "labels", "label_outside", "masks/i1.png"),
    mask_damaged: ("i1.png", "labels", "decode", "masks/i1.png"),
    mask_not_given: ("i1.png", "labels", "read", "503 Slow Down"),
    one_of_several_masks_damaged: ("i1.png", "labels", "decode", "masks/i1"),
    label_outside: ("v1.mp4", "labels", "label_without_frame", "1 labels stand for frames"),
    model_raises: ("b/1.png", "probe", "ValueError", "this model needs 16 px of width"),
    not_finite: ("b/1.png", "scores", "non_finite", "first at position 2"),
}


@pytest.mark.parametrize("build", CASES, ids=lambda build: build.__name__)
def test_a_run_that_fails_says_which_file_at_which_stage_and_why(tmp_path, monkeypatch, build):
    where, stage, kind, text = CASES[build]
    small = build(tmp_path, monkeypatch)
    done = CliRunner().invoke(app, ["run", str(small.spec_file()), "--local"])
    assert done.exit_code == 1, done.output
    said = " ".join(done.output.split())
    assert f"{where} ({stage}, {kind}): " in said
    assert text in said or text in said.replace(" ", "")
    (path,) = small.out.glob("runs/*/failure.json")
    (first, *_) = json.loads(path.read_text())["first_failures"]
    assert (first["stage"], first["error_class"]) == (stage, kind)
    assert where in (first["sample_id"], first["shard"])
    assert text in first["message"]
    (row,) = rows_of(audit(small, **ALL_MAY_FAIL), "errors").to_pylist()
    assert (row["stage"], row["error_class"]) == (stage, kind)
