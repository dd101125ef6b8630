"""Tables that name the mask file of each image: read, drafted and corrected."""

import gzip

import nibabel as nib
import numpy as np
import pytest

import ray_audit
from ray_audit.config import DatasetConfig
from ray_audit.corrections.write_labels import write_labels
from ray_audit.errors import LabelError, SpecificationError
from ray_audit.formats.label_changes import LabelChanges
from tests.support.drafts import drafted, same
from tests.support.label_sets import all_labels, listed
from tests.support.published.built import photo, put_image, put_text

SHAPE = (9, 8)
NUM = 4


def mask(seed):
    return np.random.default_rng(seed).integers(0, 3, SHAPE).astype(np.uint8)


def pairs(root):
    """Images and masks whose names do not tell which belong together."""
    found = []
    for at in range(NUM):
        photo(root / f"pictures/p{at}.jpg", at, SHAPE)
        put_image(root / f"drawn/{97 - 13 * at}.png", mask(at))
        found.append((f"pictures/p{at}.jpg", f"drawn/{97 - 13 * at}.png"))
    return found


def section(root, table, **labels):
    return DatasetConfig.model_validate(
        {
            "kind": "images",
            "uri": str(root / "pictures/*.jpg"),
            "labels": {"masks": str(root / table), **labels},
            "classes": ["a", "b", "c"],
        }
    )


EXPECTED = {f"p{at}.jpg": mask(at) for at in range(NUM)}
FORMS = {
    "named": ("train.csv", "image,mask", ",", {}),
    "other names": (
        "lists/train.tsv",
        "photo\tlabel",
        "\t",
        {"columns": {"image": "photo", "mask": "label"}},
    ),
    "without a header": ("train.txt", None, " ", {"header": ["image", "mask"]}),
    "further fields": (
        "train.csv",
        None,
        ",",
        {"header": ["image", "mask", "site"], "delimiter": "comma"},
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_table_pairs_images_and_masks(tmp_path, name):
    table, title, mark, labels = FORMS[name]
    more = [f"{mark}s1"] if "site" in labels.get("header", []) else [""]
    lines = [f"{image}{mark}{drawn}{more[0]}" for image, drawn in pairs(tmp_path)]
    put_text(tmp_path / table, *([title] if title else []), *lines)
    same(section(tmp_path, table, **labels).model_dump(), EXPECTED)


@pytest.mark.parametrize("title", ["image,mask", "photo,annotation", None])
@pytest.mark.parametrize("place", ["train.csv", "lists/train.csv"])
def test_init_drafts_a_table_of_pairs(tmp_path, title, place):
    lines = [",".join(pair) for pair in pairs(tmp_path)]
    put_text(tmp_path / place, *([title] if title else []), *lines)
    same(drafted(tmp_path), EXPECTED)
    (said,) = [text for text in ray_audit.init(tmp_path).assumed if place in text]
    assert said == f"{place} names the mask of each of 4 images"


def test_init_takes_the_column_with_few_values_for_the_masks(tmp_path):
    put_text(tmp_path / "t.txt", *(f"{drawn} {image}" for image, drawn in pairs(tmp_path)))
    same(drafted(tmp_path), EXPECTED)


def test_volumes_are_paired_too(tmp_path):
    expected, lines = {}, ["image,mask"]
    for at in range(2):
        drawn = np.random.default_rng(at).integers(0, 2, (4, 5, 3)).astype(np.uint8)
        for folder, name, values in (("ct", f"c{at}", 50 * drawn), ("seg", f"x{5 - at}", drawn)):
            (tmp_path / folder).mkdir(exist_ok=True)
            nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / f"{folder}/{name}.nii.gz")
        lines.append(f"ct/c{at}.nii.gz,seg/x{5 - at}.nii.gz")
        expected |= {f"c{at}.nii.gz#{k}": drawn[:, :, k] for k in range(3)}
    put_text(tmp_path / "t.csv", *lines)
    labels = {"masks": str(tmp_path / "t.csv")}
    uri = str(tmp_path / "ct/*.nii.gz")
    same({"kind": "images", "uri": uri, "labels": labels, "classes": ["a", "b"]}, expected)


@pytest.mark.parametrize("packed", [False, True])
def test_corrected_masks_lie_where_the_copied_table_says(tmp_path, packed):
    lines = "\n".join(["image,mask", *(",".join(pair) for pair in pairs(tmp_path)), ""])
    name = "lists/train.csv" + ".gz" * packed
    (tmp_path / "lists").mkdir()
    content = lines.encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if packed else content)
    config = section(tmp_path, name)
    new = np.ones(SHAPE, np.uint8)
    changes = LabelChanges(mask=lambda owner: new if owner.shard_key == "p2.jpg" else None)
    copy = write_labels(config, listed(config)[0], changes, str(tmp_path / "to")).dataset
    found = all_labels(copy)
    for key, value in (EXPECTED | {"p2.jpg": new}).items():
        np.testing.assert_array_equal(found[key], value)
    assert (tmp_path / "to/labels/drawn/97.png").exists()


def test_what_is_wrong_with_a_table_of_masks_is_said(tmp_path):
    lines = ["image,mask", *(",".join(pair) for pair in pairs(tmp_path))]

    def found(*rows):
        put_text(tmp_path / "t.csv", *rows)
        return listed(section(tmp_path, "t.csv"))[0]

    notes = found(*lines[:-1], "pictures/p3.jpg,drawn/no.png", "pictures/no.jpg,x.png").notes
    assert any("no file for 1 mask of" in note for note in notes)
    assert any("no file for 1 image of" in note for note in notes)
    with pytest.raises(LabelError, match=r"rows 1 and 5 pair pictures/p0\.jpg with .*97\.png and"):
        found(*lines, "pictures/p0.jpg,drawn/84.png")
    with pytest.raises(LabelError, match="none of the 1 masks that it names is there"):
        found("image,mask", "pictures/p0.jpg,nowhere/1.png")
    with pytest.raises(LabelError, match="no row names one of the 4 files"):
        found("image,mask", "q.jpg,drawn/97.png")
    with pytest.raises(LabelError, match="no column 'mask'"):
        found("image,label", "pictures/p0.jpg,drawn/97.png")
    with pytest.raises(SpecificationError, match="a table of masks goes with images"):
        DatasetConfig(kind="video", uri="*.mp4", labels={"masks": "t.csv"}, classes=["a"])
