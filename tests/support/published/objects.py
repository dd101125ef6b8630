"""Images with masks that are drawn from objects, or put together from several files."""

import json

import numpy as np

from ray_audit.layouts import recipe_named
from tests.support.published.built import (
    SHAPE,
    Built,
    index_mask,
    photo,
    put_image,
    put_text,
)


def _square(x, y, side):
    """A polygon of whole pixels: its rows y to y + side - 1, columns x to x + side - 1."""
    low_x, low_y, high_x, high_y = x, y, x + side, y + side
    return [low_x, low_y, high_x, low_y, high_x, high_y, low_x, high_y]


def _coco(categories, images, annotations):
    return {
        "info": {"description": "tiny"},
        "images": [
            {"id": n, "file_name": name, "height": SHAPE[0], "width": SHAPE[1]}
            for n, name in images
        ],
        "annotations": [
            {"id": i, "image_id": n, "category_id": c, "iscrowd": int(crowd), "segmentation": s}
            for i, (n, c, crowd, s) in enumerate(annotations)
        ],
        "categories": [{"id": c, "name": name} for c, name in categories],
    }


def coco_instances(root):
    """Polygons, two parts of one object, runs, a crowd below, and an image without objects."""
    names = recipe_named("coco-instances").dataset["classes"]
    images = [(n, f"{n:012d}.jpg") for n in (9, 25, 30)]
    for number, name in images:
        photo(root / f"train2017/{name}", number)
    crowd = {"size": list(SHAPE), "counts": [0, SHAPE[0] * 2, SHAPE[0] * (SHAPE[1] - 2)]}
    annotations = [
        (9, 1, False, [_square(0, 0, 3), _square(4, 4, 2)]),
        (9, 90, False, [_square(2, 1, 3)]),
        (25, 44, False, [_square(1, 1, 2)]),
        (25, 3, True, crowd),
    ]
    stuff = recipe_named("coco-stuff").dataset["labels"]["values"]
    categories = [(n + 1, name) for n, name in stuff.items() if name in names and n < 90]
    document = _coco(categories, images, annotations)
    put_text(root / "annotations/instances_train2017.json", json.dumps(document))
    first, second = np.zeros(SHAPE, int), np.zeros(SHAPE, int)
    first[0:3, 0:3] = first[4:6, 4:6] = names.index("person")
    first[1:4, 2:5] = names.index("toothbrush")
    second[:, :2] = names.index("car")
    second[1:3, 1:3] = names.index("bottle")
    masks = dict(zip((n for _, n in images), (first, second, np.zeros(SHAPE, int)), strict=True))
    return Built("coco-instances", masks)


def coco_panoptic(root):
    categories = [(1, "person"), (92, "banner"), (200, "rug-merged")]
    document = _coco(categories, [(n, f"{n:012d}.jpg") for n in (9, 25)], [])
    expected = {}
    for number in (9, 25):
        ids = [0, 7, 70_000 + number, 3_226_956]  # void, then segments of categories 1, 92, 200
        place = np.random.default_rng(number).integers(0, 4, SHAPE)
        stored_ids = np.array(ids)[place]
        colours = np.stack([stored_ids >> shift & 255 for shift in (0, 8, 16)], axis=2)
        name = f"{number:012d}"
        photo(root / f"train2017/{name}.jpg", number)
        put_image(root / f"annotations/panoptic_train2017/{name}.png", colours.astype(np.uint8))
        segments = [
            {"id": i, "category_id": c, "iscrowd": 0}
            for i, c in zip(ids[1:], (1, 92, 200), strict=True)
        ]
        document["annotations"] += [
            {"image_id": number, "file_name": f"{name}.png", "segments_info": segments}
        ]
        expected[f"{name}.jpg"] = place - 1
    put_text(root / "annotations/panoptic_train2017.json", json.dumps(document))
    return Built("coco-panoptic", expected)


def ade20k_full(root):
    expected = {}
    for index, scene in enumerate(["urban/street", "home_or_hotel/bedroom"]):
        key = f"{scene}/ADE_train_0000000{index}"
        photo(root / f"images/ADE/training/{key}.jpg", index)
        mask = index_mask(index, 700)
        number = mask + 1
        blue = np.random.default_rng(index).integers(0, 256, SHAPE)  # the instance
        colours = np.stack([number // 256 * 10, number % 256, blue], axis=2).astype(np.uint8)
        put_image(root / f"images/ADE/training/{key}_seg.png", colours)
        put_image(root / f"images/ADE/training/{key}_parts_1.png", colours)
        expected[f"{key}.jpg"] = mask
    return Built(
        "ade20k-full", expected, {"classes": [f"thing{i}" for i in range(700)]}, init=False
    )


def dsb2018(root):
    expected, rng = {}, np.random.default_rng(0)
    for image, num in (("00ae65c1", 3), ("12345678", 1)):
        photo(root / f"stage1_train/{image}/images/{image}.png", num, SHAPE)
        union = np.zeros(SHAPE, int)
        for _ in range(num):
            region = rng.random(SHAPE) < 0.2
            name = f"{rng.integers(10**9):09d}.png"
            put_image(root / f"stage1_train/{image}/masks/{name}", (region * 255).astype(np.uint8))
            union |= region
        expected[f"{image}/images/{image}.png"] = union
    return Built("dsb2018", expected)


def a_file_for_each_class(root):
    """As IDRiD and others: the file's name says the class, and not every image has each."""
    expected = {}
    for index, parts in enumerate([("vein", "lesion"), ("lesion",)]):
        photo(root / f"images/i{index}.png", index)
        mask = np.zeros(SHAPE, int)
        for place, part in enumerate(sorted(parts)):
            region = np.zeros(SHAPE, bool)
            region[place : place + 3, 1:4] = True
            put_image(root / f"masks/i{index}_{part}.png", (region * 255).astype(np.uint8))
            mask[region] = {"lesion": 1, "vein": 2}[part]
        expected[f"i{index}.png"] = mask
    dataset = {
        "kind": "images",
        "uri": "{root}/images/*.png",
        "labels": {"masks": "{root}/masks/{stem}_*.png"},
        "classes": ["background", "lesion", "vein"],
    }
    return Built(None, expected, dataset=dataset, init=False)
