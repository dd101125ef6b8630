"""Images with masks."""

from functools import partial
from operator import methodcaller

import numpy as np
from scipy.io import savemat

from ray_audit.formats.pixels.png import png_bytes
from ray_audit.layouts import recipe_named
from ray_audit.samples import IGNORE
from tests.support.published.built import (
    PALETTE,
    SHAPE,
    Built,
    index_mask,
    photo,
    put_image,
    put_text,
    stored,
)


def pascal_voc(root):
    expected = {}
    for index in range(4):
        stem = f"2007_00000{index}"
        photo(root / f"JPEGImages/{stem}.jpg", index)
        if index < 3:  # most images have no mask
            mask = index_mask(index, 21)
            put_image(root / f"SegmentationClass/{stem}.png", stored(mask, range(21)), PALETTE)
            expected[f"{stem}.jpg"] = mask
    put_text(root / "ImageSets/Segmentation/train.txt", "2007_000000", "2007_000002")
    put_text(root / "ImageSets/Segmentation/val.txt", "2007_000001")
    del expected["2007_000001.jpg"]
    return Built("pascal-voc", expected)


def _cityscapes(root, ending, numbers, void):
    expected = {}
    for index, city in enumerate(["aachen", "bochum"]):
        for frame in range(2):
            name = f"{city}_00000{index}_00001{frame}"
            photo(root / f"leftImg8bit/train/{city}/{name}_leftImg8bit.png", index)
            mask = index_mask(10 * index + frame, 19)
            path = root / f"gtFine/train/{city}/{name}_gtFine_{ending}.png"
            put_image(path, stored(mask, numbers, void))
            put_image(path.with_name(f"{name}_gtFine_color.png"), np.zeros((*SHAPE, 3), np.uint8))
            put_text(path.with_name(f"{name}_gtFine_polygons.json"), "{}")
            expected[f"{city}/{name}_leftImg8bit.png"] = mask
    return expected


def cityscapes_train_ids(root):
    return Built("cityscapes", _cityscapes(root, "labelTrainIds", range(19), 255))


def cityscapes_label_ids(root):
    numbers = listed_numbers("cityscapes-label-ids")
    return Built("cityscapes-label-ids", _cityscapes(root, "labelIds", numbers, 4))


def named_masks(root, names, image, label, num_classes, pixels, void=True):
    """Photos and masks at two patterns, as `pixels` makes them of classes; these, by file name."""
    expected = {}
    for index, name in enumerate(names):
        photo(root / image.format(name), index)
        mask = index_mask(index, num_classes, void=void)
        put_image(
            root / label.format(name), mask.astype(np.uint8) if pixels is None else pixels(mask)
        )
        expected[image.format(name).rpartition("/")[2]] = mask
    return expected


def listed_numbers(recipe):
    """The stored values that a recipe gives classes to."""
    values = recipe_named(recipe).dataset["labels"]["values"]
    return [value for value, name in values.items() if name != "void"]


def ade20k(root):
    names = [f"ADE_train_0000000{index}" for index in range(3)]
    image, label = "images/training/{}.jpg", "annotations/training/{}.png"
    pixels = partial(stored, values=range(1, 151), void=0)
    return Built("ade20k", named_masks(root, names, image, label, 150, pixels))


def coco_stuff(root):
    numbers = listed_numbers("coco-stuff")
    assert len(numbers) == 171
    names = [f"{9 + index:012d}" for index in range(3)]
    image, label = "images/train2017/{}.jpg", "annotations/train2017/{}.png"
    pixels = partial(stored, values=numbers)
    return Built("coco-stuff", named_masks(root, names, image, label, 171, pixels))


def synthia(root):
    expected = {}
    for index in range(3):
        name = f"{index:07d}.png"
        photo(root / "RGB" / name, index)
        mask = index_mask(index, 22)
        pixels = np.zeros((*SHAPE, 3), np.uint16)
        pixels[..., 0] = mask + 1  # IGNORE is -1
        pixels[..., 1] = np.arange(7) * 300  # instances
        assert IGNORE == -1
        (root / "GT/LABELS").mkdir(parents=True, exist_ok=True)
        (root / "GT/LABELS" / name).write_bytes(png_bytes(pixels, 16))
        expected[name] = mask
    return Built("synthia", expected)


def bdd100k(root):
    names = [f"0a0a0b1a-7c39d84{index}" for index in range(3)]
    image, label = "images/10k/train/{}.jpg", "labels/sem_seg/masks/train/{}.png"
    pixels = partial(stored, values=range(19))
    return Built("bdd100k", named_masks(root, names, image, label, 19, pixels))


def mapillary(root):
    expected = {}
    for index in range(3):
        name = f"_a9B-{index}"
        photo(root / f"training/images/{name}.jpg", index)
        mask = index_mask(index, 66, void=False)
        put_image(root / f"training/labels/{name}.png", mask.astype(np.uint8), PALETTE)
        expected[f"{name}.jpg"] = mask
    return Built("mapillary-vistas", expected)


def mmsegmentation(root):
    expected = {}
    for index in range(6):
        part = "train" if index < 4 else "val"
        photo(root / f"img_dir/{part}/x{index}.jpg", index)
        mask = index_mask(index, 4)
        put_image(root / f"ann_dir/{part}/x{index}.png", stored(mask, range(4)))
        if part == "train":
            expected[f"x{index}.jpg"] = mask
    return Built("mmsegmentation", expected, {"classes": list("abcd")})


def mmsegmentation_split(root):
    built = mmsegmentation(root)
    put_text(root / "splits/train.txt", "x0", "x2")
    overrides = built.overrides | {"split": str(root / "splits/train.txt")}
    kept = {key: built.expected[key] for key in ("x0.jpg", "x2.jpg")}
    return Built("mmsegmentation", kept, overrides)


def camvid(root):
    colours = [bytes.fromhex(colour[1:]) for colour in listed_numbers("camvid")]
    table = np.array([list(colour) for colour in colours] + [[0, 0, 0]], np.uint8)
    names = [f"0016E5_0000{index}" for index in range(3)]
    image, label = "701_StillsRaw_full/{}.png", "LabeledApproved_full/{}_L.png"
    put_text(root / "label_colors.txt", "64 128 64\tAnimal", "0 0 0\tVoid")
    return Built("camvid", named_masks(root, names, image, label, 31, table.__getitem__))


def cholecseg8k(root):
    numbers = listed_numbers("cholecseg8k")
    expected = {}
    for video in ("video01", "video12"):
        for frame in (80, 81):
            folder = root / video / f"{video}_00080"
            photo(folder / f"frame_{frame}_endo.png", frame)
            mask = index_mask(frame, 13)
            grey = stored(mask, numbers, 0)
            same = np.repeat(grey[..., None], 3, axis=2)
            put_image(folder / f"frame_{frame}_endo_watershed_mask.png", same)
            put_image(folder / f"frame_{frame}_endo_color_mask.png", same)
            put_image(folder / f"frame_{frame}_endo_mask.png", same)
            expected[f"{video}/{video}_00080/frame_{frame}_endo.png"] = mask
    return Built("cholecseg8k", expected)


def isic2018(root):
    names = [f"ISIC_000000{index}" for index in range(3)]
    image = "ISIC2018_Task1-2_Training_Input/{}.jpg"
    label = "ISIC2018_Task1_Training_GroundTruth/{}_segmentation.png"
    expected = named_masks(
        root, names, image, label, 2, lambda m: (m * 255).astype(np.uint8), False
    )
    return Built("isic2018", expected)


def one_bit(root):
    names, pixels = ("x0", "x1", "x2"), methodcaller("astype", bool)
    expected = named_masks(root, names, "images/{}.png", "masks/{}.png", 2, pixels, void=False)
    dataset = {
        "kind": "images",
        "uri": "{root}/images/*.png",
        "labels": {"masks": "{root}/masks/{stem}.png"},
        "classes": ["no", "yes"],
    }
    return Built(None, expected, dataset=dataset)


def cvc_clinicdb(root):
    expected = {}
    for index in range(1, 4):
        photo(root / f"Original/{index}.tif", index)
        mask = index_mask(index, 2, void=False)
        near = np.where(mask, 255 - index, index).astype(np.uint8)  # as it is published
        put_image(root / f"Ground Truth/{index}.tif", near)
        expected[f"{index}.tif"] = mask
    return Built("cvc-clinicdb", expected)


def isaid(root):
    values = recipe_named("isaid").dataset["labels"]["values"]
    table = np.array([list(bytes.fromhex(value[1:])) for value in values], np.uint8)
    expected = {}
    for index in range(3):
        photo(root / f"images/P000{index}.png", index)
        mask = index_mask(index, 16, void=False)
        put_image(root / f"images/P000{index}_instance_color_RGB.png", table[mask])
        expected[f"P000{index}.png"] = mask
    return Built("isaid", expected)


def davis_as_images(root):
    expected = {}
    for video in ("bear", "camel"):
        for frame in range(3):
            photo(root / f"JPEGImages/480p/{video}/{frame:05d}.jpg", frame)
            mask = index_mask(frame, 2, void=False)
            path = root / f"Annotations/480p/{video}/{frame:05d}.png"
            put_image(path, (mask * (1 + frame)).astype(np.uint8), PALETTE)
            expected[f"{video}/{frame:05d}.jpg"] = mask
    return Built("davis", expected)


def kvasir(root):
    expected = {}
    for index in range(3):
        photo(root / f"images/cju{index}.jpg", index, (16, 16))
        mask = np.zeros((16, 16), int)
        mask[:8, : 8 * (index % 2 + 1)] = 1
        put_image(root / f"masks/cju{index}.jpg", (mask * 255).astype(np.uint8))
        expected[f"cju{index}.jpg"] = mask
    return Built("kvasir-seg", expected)


def a_mask_of_one_name_in_each_folder(root):
    expected = {}
    for index in range(3):
        photo(root / f"train/Patient_0{index}/slice.png", index)
        mask = index_mask(index, 5, void=False)
        put_image(root / f"train/Patient_0{index}/GT.png", mask.astype(np.uint8))
        expected[f"Patient_0{index}/slice.png"] = mask
    dataset = {
        "kind": "images",
        "uri": "{root}/train/*/slice.png",
        "labels": {"masks": "{root}/train/{folder}/GT.png"},
        "classes": list("abcde"),
    }
    return Built(None, expected, dataset=dataset)


def masks_in_a_folder_of_each_case(root):
    expected = {}
    for case in ("c1", "c2"):
        for index in range(3):
            photo(root / f"{case}/images/{index}.png", index)
            mask = index_mask(index, 3, void=False)
            put_image(root / f"{case}/labels/{index}_label.png", mask.astype(np.uint8))
            expected[f"{case}/images/{index}.png"] = mask
    dataset = {
        "kind": "images",
        "uri": "{root}/*/images/*.png",
        "labels": {"masks": "{root}/{1}/labels/{2}_label.png", "match": r"(.*)/images/(\d+)\.png"},
        "classes": list("abc"),
    }
    return Built(None, expected, dataset=dataset)


def numbers_from_one_with_a_file_of_names(root):
    pixels = partial(stored, values=range(1, 6), void=0)
    expected = named_masks(root, range(3), "image/img_{}.jpg", "label/lab_{}.png", 5, pixels)
    put_text(root / "classes.txt", *"abcde")
    dataset = {
        "kind": "images",
        "uri": "{root}/image/*.jpg",
        "labels": {
            "masks": "{root}/label/lab_{1}.png",
            "match": r"img_(\d+)",
            "first_value": 1,
        },
        "classes": "{root}/classes.txt",
        "void": [0],
    }
    return Built(None, expected, dataset=dataset)


def sbd(root):
    expected = {}
    for index in range(3):
        stem = f"2008_00000{index}"
        photo(root / f"dataset/img/{stem}.jpg", index)
        mask = index_mask(index, 21)
        segmentation = {"Segmentation": stored(mask, range(21)), "Boundaries": np.zeros(3)}
        path = root / f"dataset/cls/{stem}.mat"
        path.parent.mkdir(parents=True, exist_ok=True)
        savemat(path, {"GTcls": segmentation})
        expected[f"{stem}.jpg"] = mask
    del expected["2008_000001.jpg"]
    put_text(root / "dataset/train.txt", "2008_000000", "2008_000002")
    return Built("sbd", expected)
