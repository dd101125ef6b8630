"""Masks that lie as a published dataset's do are not read by another meaning of their numbers."""

import pytest

from ray_audit.engine.run.dry_run import dry_run
from ray_audit.errors import SpecificationError
from ray_audit.layouts import recipe_named
from tests.support.small_sets import SmallSet, mask, picture

LAYOUTS = {
    "ade20k": (
        "images/validation/ADE_val_00000001.jpg",
        "annotations/validation/ADE_val_00000001.png",
    ),
    "coco-stuff": ("images/val2017/000000000009.jpg", "annotations/val2017/000000000009.png"),
    "cityscapes-label-ids": (
        "leftImg8bit/val/aachen/aachen_0_leftImg8bit.png",
        "gtFine/val/aachen/aachen_0_gtFine_labelIds.png",
    ),
}


def planned(folder, name, value, classes=None, **labels):
    image, masks = (folder / path for path in LAYOUTS[name])
    picture(image, seed=0)
    mask(masks, seed=0, value=value)
    template = str(masks).replace(image.stem.removesuffix("_leftImg8bit"), "{1}")
    classes = classes or list(recipe_named(name).dataset["classes"])
    dataset = {
        "kind": "images",
        "uri": str(image),
        "labels": {"masks": template, "match": "(.+?)(?:_leftImg8bit)?[.]", **labels},
        "classes": classes,
    }
    small = SmallSet(folder, dataset, "PixelModel", {"num_classes": len(classes)})
    return dry_run(small.config(), None, True, None, None, False)


@pytest.mark.parametrize(
    ("name", "meant", "read", "key"),
    [
        ("ade20k", "1 in a mask is 'wall'", "'building'", "first_value"),
        ("coco-stuff", "12 in a mask is 'stop sign'", "'parking meter'", "values"),
        ("cityscapes-label-ids", "7 in a mask is 'road'", "'traffic sign'", "values"),
    ],
)
def test_numbers_of_a_published_layout_are_not_taken_for_indices(tmp_path, name, meant, read, key):
    with pytest.raises(SpecificationError) as error:
        planned(tmp_path, name, value=10)
    assert meant in str(error.value)
    assert f"it would be {read}. Give dataset.labels.{key} " in str(error.value)
    assert f"dataset.layout: {name}" in str(error.value)


@pytest.mark.parametrize("name", LAYOUTS)
def test_names_of_ones_own_in_the_same_number_are_held_against_the_layout_too(tmp_path, name):
    num = len(recipe_named(name).dataset["classes"])
    with pytest.raises(SpecificationError, match="files lie as those of"):
        planned(tmp_path, name, value=10, classes=[f"own {index}" for index in range(num)])


@pytest.mark.parametrize("name", LAYOUTS)
def test_indices_under_the_same_file_names_are_taken_where_the_specification_says_so(
    tmp_path, name
):
    seen = planned(tmp_path, name, value=10, first_value=0).seen
    assert seen.labels == {recipe_named(name).dataset["classes"][10]: 256}


def test_the_remedy_reads_the_numbers_of_the_layout(tmp_path):
    values = recipe_named("cityscapes-label-ids").dataset["labels"]["values"]
    seen = planned(tmp_path, "cityscapes-label-ids", value=7, values=values).seen
    assert seen.labels == {"road": 256}
    assert planned(tmp_path / "ade", "ade20k", value=1, first_value=1).seen.labels == {"wall": 256}


def test_classes_whose_indices_are_the_numbers_of_the_layout_are_taken(tmp_path):
    classes = ["other", *recipe_named("ade20k").dataset["classes"]]
    assert planned(tmp_path, "ade20k", value=1, classes=classes).seen.labels == {"wall": 256}


def test_a_few_classes_of_ones_own_are_taken(tmp_path):
    assert planned(tmp_path, "ade20k", value=1, classes=["x", "y"]).seen.labels == {"y": 256}
