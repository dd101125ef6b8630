"""Labels that are numbers of a file of names: `init` counts as the file does, or asks."""

import json

import numpy as np
import pytest

import ray_audit
from tests.support.drafts import same
from tests.support.published.built import photo, put_image, put_text

NAMES = ["cat", "dog", "cow", "hen", "pig"]


def labelled(folder, numbers):
    for index in range(len(numbers)):
        photo(folder / f"images/{index}.jpg", index)
    lines = [f"{index}.jpg,{number}" for index, number in enumerate(numbers)]
    put_text(folder / "labels.csv", "image,label", *lines)


def masked(folder, numbers):
    for index in range(3):
        photo(folder / f"images/{index}.jpg", index, (9, 8))
        drawn = np.resize(np.array(numbers, np.uint8), (9, 8))
        put_image(folder / f"masks/{index}.png", np.roll(drawn, index))
    return {f"{i}.jpg": np.roll(np.resize(np.array(numbers), (9, 8)), i) for i in range(3)}


@pytest.mark.parametrize("numbers", [[1, 2, 3, 4], [2, 3, 4, 2], [1, 2, 3, 4, 5]])
def test_labels_count_from_1_where_the_file_of_names_does(tmp_path, numbers):
    labelled(tmp_path, numbers)
    put_text(tmp_path / "classes.txt", *(f"{at} {name}" for at, name in enumerate(NAMES, start=1)))
    draft = ray_audit.init(tmp_path)
    dataset = draft.specification["dataset"]
    assert dataset["classes"] == NAMES
    same(dataset, {f"{i}.jpg": NAMES[number - 1] for i, number in enumerate(numbers)})
    assert not any("count" in question for question in draft.asked)


def test_labels_from_0_beside_names_from_1_are_asked_about(tmp_path):
    labelled(tmp_path, [0, 1, 2, 3])
    put_text(tmp_path / "classes.txt", *(f"{at} {name}" for at, name in enumerate(NAMES, start=1)))
    draft = ray_audit.init(tmp_path)
    assert any("whether 0 is the first class" in question for question in draft.asked)
    same(draft.specification["dataset"], {f"{i}.jpg": NAMES[i] for i in range(4)})


def test_0_beside_all_numbers_of_a_file_from_1_means_not_labelled(tmp_path):
    labelled(tmp_path, [0, 1, 2, 3, 4, 5])
    put_text(tmp_path / "classes.txt", *(f"{at} {name}" for at, name in enumerate(NAMES, start=1)))
    dataset = ray_audit.init(tmp_path).specification["dataset"]
    same(dataset, {f"{i}.jpg": NAMES[i - 1] for i in range(1, 6)})


@pytest.mark.parametrize(("numbers", "is_asked"), [([1, 2, 3], True), ([0, 1, 3], False)])
def test_names_without_numbers_are_asked_about_where_no_0_was_seen(tmp_path, numbers, is_asked):
    labelled(tmp_path, numbers)
    put_text(tmp_path / "classes.txt", *NAMES)
    draft = ray_audit.init(tmp_path)
    asked = any("whether labels count from 0 or from 1" in question for question in draft.asked)
    assert asked == is_asked
    assert draft.specification["dataset"]["classes"] == NAMES


def test_numbers_of_categories_with_gaps_are_those_of_their_document(tmp_path):
    labelled(tmp_path, [18, 44, 18, 3])
    categories = {"categories": [{"id": n, "name": NAMES[i]} for i, n in enumerate((18, 3, 44))]}
    (tmp_path / "categories.json").write_text(json.dumps(categories))
    dataset = ray_audit.init(tmp_path).specification["dataset"]
    same(dataset, {"0.jpg": "cat", "1.jpg": "cow", "2.jpg": "cat", "3.jpg": "dog"})


@pytest.mark.parametrize("numbers", [[1, 2, 3], [0, 1, 2, 3], [0, 2, 5]])
def test_masks_count_from_1_where_the_file_of_names_does(tmp_path, numbers):
    expected = {key: stored - 1 for key, stored in masked(tmp_path, numbers).items()}  # -1: void
    put_text(tmp_path / "classes.txt", *(f"{at} {name}" for at, name in enumerate(NAMES, start=1)))
    same(ray_audit.init(tmp_path).specification["dataset"], expected)


def test_masks_without_0_beside_names_without_numbers_are_asked_about(tmp_path):
    masked(tmp_path, [1, 2, 3])
    put_text(tmp_path / "classes.txt", *NAMES)
    draft = ray_audit.init(tmp_path)
    assert any("whether values count from 0 or from 1" in question for question in draft.asked)


@pytest.mark.parametrize("suffix", ["npz", "csv"])
def test_truth_values_are_classes_of_their_name(tmp_path, suffix):
    truths = [True, False, True, True]
    if suffix == "csv":
        labelled(tmp_path, truths)
    else:
        images = np.random.default_rng(0).integers(0, 256, (4, 5, 6), np.uint8)
        np.savez(tmp_path / "a.npz", images=images, labels=np.array(truths))
    dataset = ray_audit.init(tmp_path).specification["dataset"]
    assert [name.lower() for name in dataset["classes"]] == ["false", "true"]
    names = [f"{i}.jpg" if suffix == "csv" else f"a.npz#{i}" for i in range(4)]
    same(dataset, dict(zip(names, map(int, truths), strict=True)))
