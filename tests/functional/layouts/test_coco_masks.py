"""Masks of COCO documents, and masks whose numbers are made of channels: read, drawn, written."""

import json

import numpy as np
import pytest

import ray_audit
from ray_audit.config import DatasetConfig
from ray_audit.corrections.write_labels import check_writable, write_labels
from ray_audit.errors import LabelError, SpecificationError
from ray_audit.formats.label_changes import LabelChanges
from ray_audit.formats.pixels.polygons import segment_runs
from ray_audit.sample_ids import Owner
from tests.support.label_sets import listed
from tests.support.media import cut
from tests.support.published import labels_of, objects
from tests.support.published.built import photo, put_image

SHAPE = (6, 7)


def box(x, y, side):
    return [x, y, x + side, y, x + side, y + side, x, y + side]


def document(annotations, categories=((1, "cat"), (3, "dog")), name="a.png"):
    return {
        "images": [{"id": 5, "file_name": name, "height": SHAPE[0], "width": SHAPE[1]}],
        "annotations": [
            {"id": n, "image_id": 5, "category_id": c, "segmentation": s, "iscrowd": 0}
            for n, (c, s) in enumerate(annotations)
        ],
        "categories": [{"id": number, "name": name} for number, name in categories],
    }


def coco(folder, content, classes=("background", "cat", "dog"), **labels):
    photo(folder / "images/a.png", 0)
    (folder / "coco.json").write_text(json.dumps(content))
    values = {
        "kind": "images",
        "uri": str(folder / "images/*.png"),
        "labels": {"masks": str(folder / "coco.json"), **labels},
        "classes": list(classes),
    }
    return DatasetConfig.model_validate(values)


DRAWN = [
    *(objects.coco_instances, objects.coco_panoptic, objects.ade20k_full, objects.dsb2018),
    objects.a_file_for_each_class,
]
TWO = [(1, [box(0, 0, 4)]), (3, [box(2, 2, 4)])]


@pytest.mark.parametrize(("overlap", "shared"), [("last", 2), ("first", 1), ("drop", -1)])
def test_where_objects_lie_above_each_other_the_rule_of_the_specification_holds(
    tmp_path, overlap, shared
):
    config = coco(tmp_path, document(TWO), overlap=overlap)
    expected = np.zeros(SHAPE, int)
    expected[0:4, 0:4], expected[2:6, 2:6] = 1, 2
    expected[2:4, 2:4] = shared
    np.testing.assert_array_equal(labels_of(config)["a.png"], expected)


def test_pixels_of_no_object_are_void_where_no_class_is_the_background(tmp_path):
    config = coco(tmp_path, document(TWO[:1]), ["cat", "dog"])
    expected = np.full(SHAPE, -1)
    expected[0:4, 0:4] = 0
    np.testing.assert_array_equal(labels_of(config)["a.png"], expected)


def test_a_category_whose_number_is_0_is_no_background(tmp_path):
    content = document([(0, [box(1, 1, 2)])], [(0, "cat"), (1, "dog")])
    config = coco(tmp_path, content)
    expected = np.zeros(SHAPE, int)
    expected[1:3, 1:3] = 1
    np.testing.assert_array_equal(labels_of(config)["a.png"], expected)


def test_categories_mean_what_values_say_and_others_are_refused(tmp_path):
    with pytest.raises(SpecificationError, match=r"no classes: 'dog'\. .*\{person: void\}"):
        DatasetConfig(
            **{
                **coco(tmp_path, document(TWO)).model_dump(),
                "classes": ["cat"],
                "labels": {"masks": str(tmp_path / "coco.json")},
            }
        )
    config = coco(tmp_path, document(TWO), ["background", "cat"], values={"dog": "void"})
    assert set(np.unique(labels_of(config)["a.png"])) == {-1, 0, 1}


def test_an_image_of_another_size_than_the_document_says_is_a_failure(tmp_path):
    content = document(TWO)
    content["images"][0]["width"] += 1
    outcome = cut(coco(tmp_path, content), tmp_path / "cut")
    assert [(failure.shard, failure.error_class) for failure in outcome.failures] == [
        ("a.png", "mask_size")
    ]


def test_boxes_without_outlines_and_foreign_documents_are_refused_by_name(tmp_path):
    content = document(TWO)
    del content["annotations"][1]["segmentation"]
    with pytest.raises(LabelError, match=r"annotation 1 has no segmentation: boxes alone"):
        listed(coco(tmp_path, content))
    for nothing in (None, [], {}, ""):
        content["annotations"][1]["segmentation"] = nothing
        with pytest.raises(LabelError, match=r"annotation 1 has no segmentation: boxes alone"):
            listed(coco(tmp_path, content))
    with pytest.raises(ValueError, match="a list of polygons"):
        segment_runs([], SHAPE)
    with pytest.raises(LabelError, match=r"no image of it is one of the 1 files; it names b\.png"):
        listed(coco(tmp_path, document(TWO, name="b.png")))


@pytest.mark.parametrize(
    "segmentation",
    [
        [[1, 2, 3]],
        [[0, 0, 1e300, 0, 5, 5]],
        [["a", "b", 1, 1, 2, 2]],
        {"size": [1, 1], "counts": [1]},
        {"size": [6, 7], "counts": [43]},
        {"size": [6, 7], "counts": "~~"},
        "text",
    ],
)
def test_an_outline_that_is_none_is_a_failure_of_its_image(tmp_path, segmentation):
    outcome = cut(coco(tmp_path, document([(1, segmentation)])), tmp_path / "cut")
    (failure,) = outcome.failures
    assert failure.shard == "a.png"
    assert "object 0 of the image" in failure.message


def test_polygons_are_drawn_as_by_the_library_of_coco():
    """Runs that pycocotools 2.0.11 gives for these outlines, as its positions down the columns."""
    cases = [
        ([3, 2, 6, 2, 6, 4, 3, 4], (10, 10), [[32, 34], [42, 44], [52, 54]]),
        ([-2, -2, 3.5, 1.2, 1, 9], (5, 4), [[0, 10], [11, 14]]),
        (
            [0.5, 0.5, 6.5, 3.2, 2.2, 6.9, 5.1, 0.1],
            (7, 8),
            [[14, 15], [20, 23], [25, 27], [28, 33], [38, 39]],
        ),
    ]
    for points, size, expected in cases:
        assert segment_runs([points], size).tolist() == expected


@pytest.mark.parametrize("build", DRAWN)
def test_masks_that_are_drawn_are_written_anew_and_read_back(tmp_path, build):
    built = build(tmp_path / "set")
    config = DatasetConfig.model_validate(built.section(tmp_path / "set"))
    before = labels_of(config)
    listing, given = listed(config)
    key = sorted(before)[0]
    new = given.mask(Owner(key)).copy()
    new[3, 3] = new[0, 0]
    changes = LabelChanges(
        mask=lambda owner: new if owner.shard_key == key else None, stored=given.mask
    )
    check_writable(config, listing, str(tmp_path / "to"))
    written = write_labels(config, listing, changes, str(tmp_path / "to"))
    after = labels_of(written.dataset)
    before[key][3, 3] = before[key][0, 0]
    assert after.keys() == before.keys()
    for name, mask in before.items():
        np.testing.assert_array_equal(after[name], mask)


def test_init_finds_the_objects_of_documents_that_lie_with_their_images(tmp_path):
    for part in ("train", "valid"):
        for index in range(3):
            photo(tmp_path / f"{part}/{part}{index}.jpg", index)
        content = document(TWO, [(0, "pets"), (1, "cat"), (3, "dog")], f"{part}0.jpg")
        (tmp_path / f"{part}/_annotations.coco.json").write_text(json.dumps(content))
    dataset = ray_audit.init(tmp_path).specification["dataset"]
    assert dataset["uri"] == str(tmp_path / "train/*.jpg")
    assert dataset["labels"]["masks"] == str(tmp_path / "train/_annotations.coco.json")
    found = labels_of(DatasetConfig.model_validate(dataset))
    assert list(found) == ["train0.jpg"]
    assert dataset["classes"] == ["background", "pets", "cat", "dog"]
    assert set(np.unique(found["train0.jpg"])) == {0, 2, 3}


@pytest.mark.parametrize(
    ("number", "why"),
    [
        ("R ** 2", "known are"),
        ("R // G", "divide by a number"),
        ("R + V", "has to use channels"),
        ("3", "has to use channels"),
        ("__import__('os')", "only channels"),
        ("R % 0", "no divisor"),
        ("red + 1", "red is none of R, G, B, V"),
    ],
)
def test_what_is_no_arithmetic_of_channels_is_refused(number, why):
    labels = {"masks": "m/{stem}.png", "number": number}
    with pytest.raises(SpecificationError, match=f"labels.number.*{why}"):
        DatasetConfig(kind="images", uri="i/*.png", labels=labels, classes=["a"])


def test_instance_numbers_of_one_channel_become_classes(tmp_path):
    from tests.support.published.built import put_image

    photo(tmp_path / "images/a.png", 0)
    expected = np.random.default_rng(0).integers(0, 3, SHAPE)
    put_image(tmp_path / "masks/a.png", (expected * 1000 + 7).astype(np.uint16))
    labels = {"masks": str(tmp_path / "masks/{stem}.png"), "number": "V // 1000"}
    values = {"kind": "images", "uri": str(tmp_path / "images/*.png"), "labels": labels}
    config = DatasetConfig.model_validate(values | {"classes": ["a", "b", "c"]})
    np.testing.assert_array_equal(labels_of(config)["a.png"], expected)


def test_images_may_be_named_by_where_they_came_from(tmp_path):
    """As LVIS is published."""
    content = document([(3, [box(1, 1, 2)])])
    del content["images"][0]["file_name"]
    content["images"][0]["coco_url"] = "http://images.example/train2017/a.png"
    expected = np.zeros(SHAPE, int)
    expected[1:3, 1:3] = 2
    np.testing.assert_array_equal(labels_of(coco(tmp_path, content))["a.png"], expected)


def named_after_classes(folder, *parts, values=None):
    photo(folder / "images/a.png", 0)
    for place, part in enumerate(parts):
        mask = np.zeros(SHAPE, np.uint8)
        mask[place : place + 2, 1:4] = 1
        put_image(folder / f"masks/a_{part}.png", mask)
    labels = {"masks": str(folder / "masks/{stem}_*.png"), "values": values}
    return DatasetConfig.model_validate(
        {
            "kind": "images",
            "uri": str(folder / "images/*.png"),
            "labels": labels,
            "classes": ["background", "artery", "vein"],
        }
    )


def test_files_that_are_called_as_classes_but_for_capitals_are_of_these_classes(tmp_path):
    expected = np.zeros(SHAPE, int)
    expected[0:2, 1:4], expected[1:3, 1:4] = 1, 2
    config = named_after_classes(tmp_path, "Artery", "VEIN")
    np.testing.assert_array_equal(labels_of(config)["a.png"], expected)


def test_masks_of_an_image_of_which_only_some_name_a_class_are_a_failure(tmp_path):
    outcome = cut(named_after_classes(tmp_path, "artery", "veins"), tmp_path / "cut")
    (failure,) = outcome.failures
    assert failure.error_class == "mask_format"
    assert "(artery) and after none (veins)" in failure.message
    values = {"veins": "vein", 0: "background", 1: "artery", 2: "vein"}
    drawn = labels_of(named_after_classes(tmp_path, "artery", "veins", values=values))["a.png"]
    assert drawn[:3, 1].tolist() == [1, 2, 2]


def test_an_image_whose_only_file_names_no_class_is_refused_where_others_name_some(tmp_path):
    config = named_after_classes(tmp_path, "artery", "vein")
    photo(tmp_path / "images/b.png", 1)
    put_image(tmp_path / "masks/b_mask.png", np.ones(SHAPE, np.uint8))
    with pytest.raises(LabelError, match=r"1 image name no class .*b_mask\.png.* \{mask: void\}"):
        labels_of(config)
    values = {"artery": "artery", "vein": "vein", "mask": "vein"}
    numbers = {0: "background", 1: "artery", 2: "vein"}
    labels = config.labels.model_copy(update={"values": values | numbers})
    found = labels_of(config.model_copy(update={"labels": labels}))
    assert (found["b.png"] == 2).all()
    assert set(np.unique(found["a.png"])) == {0, 1, 2}


def test_files_of_objects_that_name_no_class_in_any_image_keep_their_values(tmp_path):
    config = named_after_classes(tmp_path, "1", "2")
    photo(tmp_path / "images/b.png", 1)
    put_image(tmp_path / "masks/b_1.png", np.full(SHAPE, 2, np.uint8))
    found = labels_of(config)
    assert (found["b.png"] == 2).all()
    assert set(np.unique(found["a.png"])) == {0, 1}
