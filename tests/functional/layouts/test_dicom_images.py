"""DICOM files that have one label each, by a table or by folders."""

import numpy as np
import pytest

import ray_audit
from ray_audit.errors import LabelError, SpecificationError
from tests.functional.test_channels import images as small_set
from tests.support.audits import audit, refused
from tests.support.drafts import drafted, same
from tests.support.label_sets import listed
from tests.support.media import cut, dataset
from tests.support.published.built import put_text
from tests.support.small_sets import CLASSES as FOLDERS
from tests.unit.formats.test_dicom import write_slice
from tests.unit.formats.test_dicom_colours import INDICES, PALETTE, RGB, channels, indexed, palette

CLASSES = ["finding", "none"]
PLAIN = {"PixelRepresentation": 0}


def images(root, ending=".dcm", **tags):
    """X-rays of one folder, of several patients: they are no series."""
    pixels = {}
    for at in range(4):
        pixels[f"x{at}.dcm"] = np.random.default_rng(at).integers(0, 4096, (6 + at % 2, 5))
        write_slice(root / f"images/x{at}{ending}", pixels[f"x{at}.dcm"], 0, **PLAIN, **tags)
    return pixels


def table(root, ending=""):
    lines = [f"x{at}{ending},{CLASSES[at % 2]}" for at in range(3)]
    put_text(root / "labels.csv", "image_id,label", *lines)
    return {f"x{at}.dcm": CLASSES[at % 2] for at in range(3)}


@pytest.mark.parametrize("ending", [".dcm", ""])
def test_init_reads_a_table_beside_a_folder_of_images(tmp_path, ending):
    images(tmp_path)
    expected = table(tmp_path, ending)
    found = drafted(tmp_path)
    assert found["volume"] == {"window": [0, 4095]}
    same(found, expected)


@pytest.mark.parametrize("ending", [".dcm", ""])
def test_each_file_is_a_sample_with_its_own_pixels(tmp_path, ending):
    """Also where its name says nothing of a format."""
    pixels = images(tmp_path, ending)
    table(tmp_path)
    labels = {"images": str(tmp_path / "labels.csv"), "columns": {"image": "image_id"}}
    config = dataset("images", tmp_path / "images/*", labels, classes=CLASSES)
    result = cut(config, tmp_path / "index")
    assert result.failures == []
    assert result.filtered == {"x3.dcm": "unlabelled"}
    assert result.labels == {"x0.dcm": 0, "x1.dcm": 1, "x2.dcm": 0}
    found = {
        name: batch.arrays["inputs"][at]
        for batch in result.batches
        for at, name in enumerate(batch.samples["sample_id"].to_pylist())
    }
    for name in result.labels:
        np.testing.assert_array_equal(found[name], pixels[name][None])
    config = config.model_copy(
        update={"volume": dataset("images", "x", labels, volume={"window": [0, 4095]}).volume}
    )
    (batch, *_) = cut(config, tmp_path / "again").batches
    expected = np.rint(pixels["x0.dcm"] / 4095 * 65535)
    np.testing.assert_array_equal(batch.arrays["inputs"][0, 0], expected)


def test_class_folders_hold_images(tmp_path):
    for at, name in enumerate(CLASSES):
        write_slice(tmp_path / f"{name}/a.dcm", np.full((4, 4), at), 0, **PLAIN)
        write_slice(tmp_path / f"{name}/b.dcm", np.full((4, 4), at), 1, **PLAIN)
    config = dataset("images", tmp_path / "*/*.dcm", {"folder": True}, classes=CLASSES)
    expected = {f"{name}/{stem}.dcm": name for name in CLASSES for stem in "ab"}
    same(config.model_dump(), expected)


def test_what_is_no_single_picture_or_needs_a_window_is_a_failure_that_says_so(tmp_path):
    root = tmp_path / "images"
    write_slice(root / "a.dcm", np.zeros((4, 4)), 0)  # signed
    write_slice(root / "b.dcm", np.zeros((2, 4, 4)), 0, NumberOfFrames=2, **PLAIN)
    (root / "c.dcm").write_bytes(b"no image")
    put_text(tmp_path / "t.csv", "image,label", *(f"{stem},none" for stem in "abc"))
    config = dataset("images", root / "*", {"images": str(tmp_path / "t.csv")}, classes=CLASSES)
    failures = {f.sample_id: f for f in cut(config, tmp_path / "index").failures}
    assert "give dataset.volume.window" in failures["a.dcm"].message
    assert "has 2 frames" in failures["b.dcm"].message
    assert "no readable DICOM file" in failures["c.dcm"].message
    assert {f.stage for f in failures.values()} == {"decode"}


def test_a_table_that_names_no_file_is_said(tmp_path):
    images(tmp_path)
    put_text(tmp_path / "t.csv", "image,label", "y,none")
    config = dataset(
        "images", tmp_path / "images/*", {"images": str(tmp_path / "t.csv")}, classes=CLASSES
    )
    with pytest.raises(LabelError, match="no row names one of the 4 files"):
        listed(config)


def test_values_that_are_signed_or_scaled_are_asked_about(tmp_path):
    images(tmp_path, RescaleIntercept=-1024)
    table(tmp_path)
    draft = ray_audit.init(tmp_path)
    assert any(text.startswith("volume.window:") for text in draft.asked)


def colours(folder, num, **inputs):
    """A grey image, one with a palette and one in RGB in each class folder, and a model."""
    for name in FOLDERS:
        indexed(folder / f"data/{name}/0.dcm", INDICES, {})
        indexed(folder / f"data/{name}/1.dcm", INDICES, palette(PALETTE, 8))
        channels(folder / f"data/{name}/2.dcm", RGB)
    return small_set(folder, [], num, **inputs)


def test_images_in_colour_are_planned_and_audited_beside_grey_ones(tmp_path):
    small = colours(tmp_path, 3, channels="rgb")
    assert ray_audit.plan(small.config(), local=True).num_new > 0
    assert audit(small).counts["scored"] == 9


def test_a_model_of_one_channel_gets_grey_or_one_sentence(tmp_path):
    assert audit(colours(tmp_path / "grey", 1, channels="grey")).counts["scored"] == 9
    message = refused(colours(tmp_path / "none", 1), SpecificationError)
    assert "model.input.channels (rgb, bgr or grey)" in message
