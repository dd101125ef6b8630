"""Published datasets, tiny, in exactly their layout: every label that is read back is compared."""

import numpy as np
import pytest
from PIL import Image

from ray_audit.errors import LabelError, SpecificationError
from ray_audit.formats.labels.classes import ClassNames
from ray_audit.formats.pixels.encoding import targets_of
from ray_audit.formats.pixels.png import png_bytes
from ray_audit.samples import IGNORE
from tests.support.label_sets import all_labels, listed
from tests.support.layouts import specified, written
from tests.support.small_sets import picture

SHAPE = (6, 7)


def index_mask(seed, num_classes, void=True):
    """Class indices, (6, 7), with some pixels that have no label."""
    mask = np.random.default_rng(seed).integers(0, num_classes, SHAPE)
    if void:
        mask[0, :3] = IGNORE
    return mask


def stored_mask(path, pixels, palette=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    if palette is not None:
        image.putpalette(palette)
    image.save(path)


def same_masks(config, expected):
    found, classes = all_labels(config), ClassNames.of(config)
    assert sorted(found) == sorted(expected)
    for key, mask in expected.items():
        np.testing.assert_array_equal(targets_of(found[key], classes), mask, key)


VOC = ["background", *(f"thing{i}" for i in range(1, 21))]


def voc(folder):
    expected = {}
    for index in range(4):
        key = f"2007_00000{index}.jpg"
        picture(folder / "JPEGImages" / key, index)
        if index < 3:  # most images have no mask
            mask = index_mask(index, 21)
            stored = np.where(mask == IGNORE, 255, mask).astype(np.uint8)
            path = folder / "SegmentationClass" / f"2007_00000{index}.png"
            stored_mask(path, stored, [v for i in range(256) for v in (i, 255 - i, 7)])
            expected[key] = mask
    written(folder / "ImageSets/Segmentation/train.txt", "2007_000000\n2007_000002\n")
    labels = {"masks": "SegmentationClass/{stem}.png"}
    return (folder, "images", "JPEGImages/*.jpg", labels, VOC), expected


def test_pascal_voc(tmp_path):
    what, expected = voc(tmp_path)
    same_masks(specified(*what, void=[255]), expected)


def test_a_list_of_pascal_voc_is_all_that_is_audited(tmp_path):
    what, expected = voc(tmp_path)
    split = "ImageSets/Segmentation/train.txt"
    del expected["2007_000001.jpg"]
    config = specified(*what, void=[255], split=split)
    same_masks(config, expected)
    assert listed(config)[0].notes == ()


def test_a_line_of_a_list_that_names_no_file_is_counted_and_named(tmp_path):
    what, _ = voc(tmp_path)
    written(tmp_path / "some.txt", "2007_000000\n\n2008_1\n2008_2\n")
    listing, _ = listed(specified(*what, void=[255], split="some.txt"))
    assert [shard.key for shard in listing.shards] == ["2007_000000.jpg"]
    assert any(
        "2 of 3 lines of dataset.split match no file: 2008_1, 2008_2" in note
        for note in listing.notes
    )
    written(tmp_path / "some.txt", "2008_1\n")
    with pytest.raises(SpecificationError, match="names none of the 4 files"):
        listed(specified(*what, void=[255], split="some.txt"))


CITY_IDS = {
    **{7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole"},
    **{19: "traffic light", 20: "traffic sign", 21: "vegetation", 22: "terrain", 23: "sky"},
    **{24: "person", 25: "rider", 26: "car", 27: "truck", 28: "bus", 31: "train"},
    **{32: "motorcycle", 33: "bicycle"},
}


CITY = list(CITY_IDS.values())


def cityscapes(folder, ending, numbers, void):
    expected = {}
    for index, city in enumerate(["aachen", "bochum"]):
        for frame in range(2):
            name = f"{city}_00000{index}_00001{frame}"
            picture(folder / f"leftImg8bit/train/{city}/{name}_leftImg8bit.png", index)
            mask = index_mask(10 * index + frame, 19)
            stored = np.where(mask == IGNORE, void, np.array(numbers)[mask]).astype(np.uint8)
            stored_mask(folder / f"gtFine/train/{city}/{name}_gtFine_{ending}.png", stored)
            expected[f"{city}/{name}_leftImg8bit.png"] = mask
    labels = {"masks": f"gtFine/train/{{1}}_gtFine_{ending}.png", "match": "(.*)_leftImg8bit"}
    return (folder, "images", "leftImg8bit/train/*/*.png", labels, CITY), expected


def test_cityscapes_train_ids(tmp_path):
    what, expected = cityscapes(tmp_path, "labelTrainIds", range(19), 255)
    same_masks(specified(*what, void=[255]), expected)


def test_cityscapes_label_ids(tmp_path):
    (*what, labels, classes), expected = cityscapes(tmp_path, "labelIds", list(CITY_IDS), 4)
    values = CITY_IDS | {"0..6": "void", 9: "void", 10: "void", "14..16": "void", 18: "void"}
    same_masks(specified(*what, labels | {"values": values}, classes), expected)


def test_a_list_names_files_by_what_match_finds(tmp_path):
    what, expected = cityscapes(tmp_path, "labelTrainIds", range(19), 255)
    written(tmp_path / "splits/val.txt", "aachen/aachen_000000_000011\n")
    key = "aachen/aachen_000000_000011_leftImg8bit.png"
    same_masks(specified(*what, void=[255], split="splits/val.txt"), {key: expected[key]})


def test_ade20k_scene_parsing(tmp_path):
    classes = [f"thing{i}" for i in range(150)]
    expected = {}
    for index in range(3):
        name = f"ADE_train_0000000{index}"
        picture(tmp_path / f"images/training/{name}.jpg", index)
        mask = index_mask(index, 150)
        stored_mask(tmp_path / f"annotations/training/{name}.png", (mask + 1).astype(np.uint8))
        expected[f"{name}.jpg"] = mask
    labels = {"masks": "annotations/training/{stem}.png", "first_value": 1}
    what = (tmp_path, "images", "images/training/*.jpg", labels, classes)
    same_masks(specified(*what, void=[0]), expected)


def test_synthia_keeps_the_class_in_the_red_channel_of_16_bits(tmp_path):
    expected = {}
    for index in range(3):
        name = f"{index:07d}.png"
        picture(tmp_path / "RGB" / name, index)
        mask = index_mask(index, 22)
        pixels = np.zeros((*SHAPE, 3), np.uint16)
        pixels[..., 0] = mask + 1
        pixels[..., 1] = np.arange(7) * 300  # instances
        (tmp_path / "GT/LABELS").mkdir(parents=True, exist_ok=True)
        (tmp_path / "GT/LABELS" / name).write_bytes(png_bytes(pixels, 16))
        expected[name] = mask
    labels = {"masks": "GT/LABELS/{name}", "channel": 0, "first_value": 1}
    classes = [f"thing{i}" for i in range(22)]
    same_masks(specified(tmp_path, "images", "RGB/*.png", labels, classes, void=[0]), expected)


CAMVID = {"Sky": (128, 128, 128), "Road": (128, 64, 128), "Car": (64, 0, 128), "Void": (0, 0, 0)}


def test_camvid_colours(tmp_path):
    expected = {}
    colours = np.array(list(CAMVID.values()), np.uint8)
    for index in range(3):
        name = f"0016E5_0000{index}"
        picture(tmp_path / f"701_StillsRaw_full/{name}.png", index)
        mask = index_mask(index, 3)
        stored_mask(tmp_path / f"LabeledApproved_full/{name}_L.png", colours[mask])
        expected[f"{name}.png"] = mask
    lines = [f"{r} {g} {b}\t\t{name}" for name, (r, g, b) in CAMVID.items()]
    written(tmp_path / "label_colors.txt", "\n".join(lines).replace("Void", "void"))
    labels = {
        "masks": "LabeledApproved_full/{stem}_L.png",
        "values": str(tmp_path / "label_colors.txt"),
    }
    what = (tmp_path, "images", "701_StillsRaw_full/*.png")
    same_masks(specified(*what, labels, ["Sky", "Road", "Car"]), expected)


CHOLEC_SEG = (50, 11, 21, 13, 12, 31, 23, 24, 25, 32, 22, 33, 5)


def test_cholecseg8k_watershed_masks(tmp_path):
    expected = {}
    for video in ("video01", "video12"):
        for frame in (80, 81):
            folder = tmp_path / video / f"{video}_00080"
            picture(folder / f"frame_{frame}_endo.png", frame)
            picture(folder / f"frame_{frame}_endo_color_mask.png", 7)
            mask = index_mask(frame, 13)
            grey = np.where(mask == IGNORE, 0, np.array(CHOLEC_SEG)[mask]).astype(np.uint8)
            path = folder / f"frame_{frame}_endo_watershed_mask.png"
            stored_mask(path, np.repeat(grey[..., None], 3, axis=2))
            expected[f"{video}/{video}_00080/frame_{frame}_endo.png"] = mask
    classes = [f"tissue{value}" for value in CHOLEC_SEG]
    values = {0: "void"} | {value: f"tissue{value}" for value in CHOLEC_SEG}
    labels = {"masks": "{folder}/{stem}_watershed_mask.png", "values": values}
    same_masks(specified(tmp_path, "images", "*/*/*_endo.png", labels, classes), expected)


def test_isic_2018_lesions(tmp_path):
    expected = {}
    for index in range(3):
        name = f"ISIC_000000{index}"
        picture(tmp_path / f"ISIC2018_Task1-2_Training_Input/{name}.jpg", index)
        mask = index_mask(index, 2, void=False)
        path = tmp_path / f"ISIC2018_Task1_Training_GroundTruth/{name}_segmentation.png"
        stored_mask(path, (mask * 255).astype(np.uint8))
        expected[f"{name}.jpg"] = mask
    labels = {
        "masks": "ISIC2018_Task1_Training_GroundTruth/{stem}_segmentation.png",
        "values": {0: "background", 255: "lesion"},
    }
    what = (tmp_path, "images", "ISIC2018_Task1-2_Training_Input/*.jpg")
    same_masks(specified(*what, labels, ["background", "lesion"]), expected)


def test_a_mask_of_one_name_in_each_folder(tmp_path):
    expected = {}
    for index in range(3):
        picture(tmp_path / f"train/Patient_0{index}/slice.png", index)
        mask = index_mask(index, 5, void=False)
        stored_mask(tmp_path / f"train/Patient_0{index}/GT.png", mask.astype(np.uint8))
        expected[f"Patient_0{index}/slice.png"] = mask
    labels = {"masks": "train/{folder}/GT.png"}
    what = (tmp_path, "images", "train/*/slice.png", labels, list("abcde"))
    same_masks(specified(*what), expected)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"masks": "m/{base}.png"}, r"\{base\} is no field of a template; known are \{key\}"),
        ({"masks": "m/{2}.png", "match": "(.*)_x"}, r"\{2\} is no field .* \{folder\}, \{1\}"),
        ({"masks": "m/{1}.png", "match": "(.*"}, "match is no regular expression"),
        ({"masks": "m/{1}.png", "match": "_left"}, "match has no group"),
        ({"column": "cls", "match": "(a)"}, "match does not go with column"),
    ],
)
def test_a_template_that_cannot_be_filled_is_refused(tmp_path, labels, message):
    with pytest.raises((SpecificationError, ValueError), match=message):
        specified(tmp_path, "images", "*.png", labels, ["a", "b"])


def test_a_pattern_that_is_found_in_no_key_is_refused_and_in_some_a_note(tmp_path):
    (*what, labels, classes), _ = cityscapes(tmp_path, "labelTrainIds", range(19), 255)
    with pytest.raises(LabelError, match="is found in none of the 4 keys; the first is aachen/"):
        listed(specified(*what, labels | {"match": "(.*)_rightImg"}, classes, void=[255]))
    only = {**labels, "match": "(aachen.*)_leftImg8bit"}
    listing, _ = listed(specified(*what, only, classes, void=[255]))
    assert "labels.match is not found in 2 keys" in listing.notes[0]
    assert sum(shard.label_uri is not None for shard in listing.shards) == 2
