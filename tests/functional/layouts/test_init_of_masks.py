"""Volumes, modalities, and masks of which several belong to an image: what `init` makes of them."""

import nibabel as nib
import numpy as np
import pytest

import ray_audit
from ray_audit.config import DatasetConfig
from ray_audit.errors import SampleError, SpecificationError
from tests.support.drafts import drafted, same
from tests.support.label_sets import listed
from tests.support.published.built import photo, put_image, put_text

SHAPE = (9, 8)


def mask(seed, values, shape=SHAPE):
    return np.random.default_rng(seed).choice(values, shape).astype(np.uint8)


def volume(path, values, shape=(6, 7, 3)):
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = np.random.default_rng(len(str(path))).choice(values, shape)
    nib.save(nib.Nifti1Image(drawn.astype(np.int16), np.eye(4)), path)


@pytest.mark.parametrize(
    ("image", "label", "names"),
    [
        ("{0}/{0}_{1}.nii.gz", "{0}/{0}_seg.nii.gz", ["t1", "t1ce", "t2", "flair"]),  # BraTS
        ("imagesTr/{0}_{1}.nii.gz", "labelsTr/{0}.nii.gz", ["0000", "0001"]),  # nnU-Net
    ],
)
def test_of_several_images_of_a_mask_the_others_are_named(tmp_path, image, label, names):
    for at in range(3):
        for name in names:
            volume(tmp_path / image.format(f"case_{at:03d}", name), range(900))
        volume(tmp_path / label.format(f"case_{at:03d}"), range(3))
    draft = ray_audit.init(tmp_path)
    (question,) = [text for text in draft.asked if text.startswith("which images go into")]
    taken = draft.specification["dataset"]["uri"].removeprefix(f"{tmp_path}/")
    assert f"here {taken}." in question
    for name in names:
        assert f"{name}.nii.gz" in question
    config = DatasetConfig.model_validate(draft.specification["dataset"])
    listing, _ = listed(config)
    assert [bool(shard.label_digest) for shard in listing.shards] == [True] * 3


def test_endings_in_capitals_stay_what_they_are(tmp_path):
    expected = {}
    for at in range(4):
        photo(tmp_path / f"IMG_{at:04d}.JPG", at, SHAPE)
        put_image(tmp_path / f"IMG_{at:04d}_Mask.PNG", mask(at, [0, 1, 2]))
        expected[f"IMG_{at:04d}.JPG"] = mask(at, [0, 1, 2])
    same(drafted(tmp_path), expected)


def test_folders_of_frames_with_a_table_of_segments_are_no_classes(tmp_path):
    lines = []
    for name in ("a", "b"):
        for frame in range(1, 9):
            photo(tmp_path / f"frames/{name}/{frame:05d}.jpg", frame)
        lines += [f"{name},1,4,cat", f"{name},5,8,dog"]
    put_text(tmp_path / "ann.csv", "clip,first,last,action", *lines)
    dataset = drafted(tmp_path)
    assert (dataset["kind"], dataset["classes"]) == ("video", ["cat", "dog"])
    same(dataset, {f"{name}#{t}": ("cat", "dog")[t > 3] for name in ("a", "b") for t in range(8)})


def test_a_class_behind_a_number_is_one_unless_numbers_have_several(tmp_path):
    expected = {f"{at:03d}_{('cat', 'dog')[at % 2]}.png": ("cat", "dog")[at % 2] for at in range(6)}
    for at, name in enumerate(expected):
        photo(tmp_path / f"classes/{name}", at)
        photo(tmp_path / f"views/{at // 2:03d}_{('left', 'right')[at % 2]}.png", at)
    same(drafted(tmp_path / "classes"), expected)
    with pytest.raises(SpecificationError, match="no layout was recognised"):
        ray_audit.init(tmp_path / "views")


def test_a_label_volume_for_each_structure_is_refused_with_what_to_do(tmp_path):
    for at in range(2):
        volume(tmp_path / f"s{at:04d}/ct.nii.gz", range(900))
        for name in ("liver", "spleen", "kidney_left"):
            volume(tmp_path / f"s{at:04d}/segmentations/{name}.nii.gz", [0, 1])
    with pytest.raises(SpecificationError, match=r"3 label volumes of one image .* --ml does"):
        ray_audit.init(tmp_path)
    labels = {"masks": str(tmp_path / "{folder}/segmentations/*.nii.gz")}
    uri = str(tmp_path / "*/ct.nii.gz")
    config = DatasetConfig(kind="images", uri=uri, labels=labels, classes=["none", "liver"])
    with pytest.raises(SpecificationError, match=r"several files for each volume.* --ml does"):
        listed(config)


def test_classes_may_stand_in_folders_and_names_of_masks_at_once(tmp_path):
    """As IDRiD has them: `1. Microaneurysms/IDRiD_01_MA.tif`."""
    expected = {}
    for at in range(4):
        photo(tmp_path / f"images/IDRiD_{at:02d}.jpg", at, SHAPE)
        drawn = mask(at, [0, 1, 2])
        for number, (folder, name) in enumerate((("2. Bleeding", "HE"), ("1. Aneurysms", "MA"))):
            put_image(
                tmp_path / f"gt/{folder}/IDRiD_{at:02d}_{name}.tif",
                np.where(drawn == number + 1, 255, 0).astype(np.uint8),
            )
        expected[f"IDRiD_{at:02d}.jpg"] = drawn
    found = drafted(tmp_path)
    assert found["classes"] == ["background", "HE", "MA"]
    same(found, expected)


def test_pixels_of_no_file_are_of_no_class_that_has_one(tmp_path):
    for at in range(2):
        photo(tmp_path / f"images/{at}.png", at, SHAPE)
        drawn = mask(at, [0, 1, 2])
        for number, name in ((1, "liver"), (2, "spleen")):
            put_image(tmp_path / f"masks/{name}/{at}.png", 255 * (drawn == number).astype(np.uint8))
    values = {
        "kind": "images",
        "uri": str(tmp_path / "images/*.png"),
        "labels": {"masks": str(tmp_path / "masks/*/{stem}.png")},
        "classes": ["liver", "spleen"],
    }
    with pytest.raises(SampleError, match="would be 'liver', the class that is stored as 0"):
        same(values, {})
    values["classes"] = ["none", "liver", "spleen"]
    same(values, {f"{at}.png": mask(at, [0, 1, 2]) for at in range(2)})
