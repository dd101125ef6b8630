import json

import pytest

from ray_audit.errors import SpecificationError
from ray_audit.formats.labels.classes import ClassNames
from ray_audit.samples import IGNORE
from tests.support.label_sets import all_labels
from tests.support.layouts import specified, touched, written

CLASS_FILES = {
    "mapping.txt": "0 cat\n1 big dog\n2 \u00e9l\u00e9phant\n",
    "names.txt": "cat\nbig dog\n\u00e9l\u00e9phant\n",
    "classes.csv": "1,big dog\n0,cat\n2,\u00e9l\u00e9phant\n",
    "list.json": '["cat", "big dog", "\u00e9l\u00e9phant"]',
    "id2label.json": '{"1": "big dog", "0": "cat", "2": "\u00e9l\u00e9phant"}',
    "label2id.json": '{"big dog": 1, "cat": 0, "\u00e9l\u00e9phant": 2}',
    "config.json": '{"id2label": {"0": "cat", "1": "big dog", "2": "\u00e9l\u00e9phant"}, "x": 1}',
    "list.yml": "- cat\n- big dog\n- \u00e9l\u00e9phant\n",
    "data.yaml": "nc: 3\nnames: {1: big dog, 0: cat, 2: \u00e9l\u00e9phant}\ntrain: images\n",
    "dataset.json": '{"name": "x", "labels": {"cat": 0, "big dog": 1, "\u00e9l\u00e9phant": 2}}',
}


@pytest.mark.parametrize("name", CLASS_FILES)
def test_classes_from_a_file(tmp_path, name):
    (tmp_path / name).write_text(CLASS_FILES[name], encoding="utf-8")
    config = specified(tmp_path, "images", "*.png", {"folder": True}, str(tmp_path / name))
    assert config.classes == ["cat", "big dog", "\u00e9l\u00e9phant"]


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({0: "cat", 1: "dog"}, ["cat", "dog"]),
        ({"dog": 1, "cat": 0}, ["cat", "dog"]),
        ([0, 1], ["0", "1"]),
        (["no", "yes"], ["no", "yes"]),
    ],
)
def test_classes_as_a_mapping_or_as_numbers(tmp_path, given, names):
    assert specified(tmp_path, "images", "*.png", {"folder": True}, given).classes == names


def test_classes_that_count_from_one_say_how_labels_count(tmp_path):
    """UCF101: `classInd.txt` counts from 1, and so do the lists of its splits."""
    for name in ("ApplyEyeMakeup/v_a.avi", "Archery/v_b.avi"):
        touched(tmp_path / f"UCF-101/{name}")
    written(tmp_path / "classInd.txt", "1 ApplyEyeMakeup\n2 Archery\n")
    written(tmp_path / "trainlist01.txt", "ApplyEyeMakeup/v_a.avi 1\nArchery/v_b.avi 2\n")
    labels = {"videos": "trainlist01.txt", "header": ["video", "label"]}
    what = (tmp_path, "video", "UCF-101/*/*.avi")
    config = specified(*what, labels, str(tmp_path / "classInd.txt"))
    assert all_labels(config) == {"ApplyEyeMakeup/v_a.avi": 0, "Archery/v_b.avi": 1}
    with pytest.raises((SpecificationError, ValueError), match="classes count from 1"):
        specified(*what, labels | {"first_value": 0}, str(tmp_path / "classInd.txt"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([True, False], r"YAML reads yes, no, .* in quotes"),
        ({0: "cat", 2: "dog"}, r"must follow each other; .* labels\.values"),
        ({"cat": 0, "dog": 0}, "a number of its own for each name"),
        ({0: "cat", "x": "dog"}, "a number of its own for each name"),
    ],
)
def test_classes_that_say_no_order_are_refused(tmp_path, given, message):
    with pytest.raises((SpecificationError, ValueError), match=message):
        specified(tmp_path, "images", "*.png", {"folder": True}, given)


GRADES = {"1": 0, "2": 1, "3": 2}  # what label2id says of a model of three grades


def of_file(folder, loaded, **labels):
    (folder / "c.json").write_text(loaded if isinstance(loaded, str) else json.dumps(loaded))
    what = (folder, "images", "*.png", {"folder": True, **labels})
    return specified(*what, str(folder / "c.json"))


@pytest.mark.parametrize(
    "loaded",
    [
        {"label2id": GRADES},
        {"id2label": {"0": "1", "1": "2", "2": "3"}},
        {"id2label": {"0": 1, "1": 2, "2": 3}},
        {"labels": GRADES},
        GRADES,
    ],
)
def test_names_that_are_digits_are_told_from_numbers_by_the_key_or_the_type(tmp_path, loaded):
    config = of_file(tmp_path, loaded)
    assert (config.classes, config.labels.first_value) == (["1", "2", "3"], None)
    assert [ClassNames.of(config).parse(grade) for grade in ("1", "2", "3")] == [0, 1, 2]


def test_digits_on_both_sides_in_another_order_keep_what_label2id_says(tmp_path):
    assert of_file(tmp_path, {"label2id": {"3": 0, "1": 1, "2": 2}}).classes == ["3", "1", "2"]


@pytest.mark.parametrize(
    ("given", "names"), [({0: "1", 1: "2"}, ["1", "2"]), ({"1": 0, "2": 1}, ["1", "2"])]
)
def test_in_a_specification_the_side_that_is_text_is_the_name(tmp_path, given, names):
    assert specified(tmp_path, "images", "*.png", {"folder": True}, given).classes == names


@pytest.mark.parametrize("given", [{0: 1, 1: 2}, {"0": "1", "1": "2"}])
def test_digits_that_could_be_names_or_numbers_on_either_side_are_refused(tmp_path, given):
    with pytest.raises((SpecificationError, ValueError), match="could go either way"):
        specified(tmp_path, "images", "*.png", {"folder": True}, given)


def categories(*pairs):
    return {"categories": [{"id": number, "name": name} for number, name in pairs]}


def test_labels_that_are_numbers_are_those_of_the_document_that_names_the_classes(tmp_path):
    following = of_file(tmp_path, categories((1, "cat"), (2, "dog"), (3, "owl")))
    assert (following.labels.first_value, following.labels.values) == (1, None)
    gaps = ClassNames.of(of_file(tmp_path, categories((1, "cat"), (3, "dog"), (90, "owl"))))
    assert [gaps.parse(label) for label in (1, "3", 90, "dog")] == [0, 1, 2, 1]
    with pytest.raises(ValueError, match="label '2' is not listed"):
        gaps.parse(2)
    turned = of_file(tmp_path, categories((3, "dog"), (1, "cat"), (2, "owl")))
    assert turned.classes == ["dog", "cat", "owl"]  # the model's order is the document's
    assert [ClassNames.of(turned).parse(label) for label in (1, 2, 3)] == [1, 2, 0]
    void = turned.model_copy(update={"void": [0]})
    assert ClassNames.of(void).parse(0) == IGNORE


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"0": "cat", "1": "dog", "0": "owl"}', "the key '0' is twice"),
        (json.dumps(categories((1, "cat"), (1, "dog"))), "two categories have one number"),
    ],
)
def test_a_number_that_a_file_gives_to_two_classes_is_refused(tmp_path, text, message):
    with pytest.raises((SpecificationError, ValueError), match=message):
        of_file(tmp_path, text)


@pytest.mark.parametrize(
    ("name", "text"), [("c.txt", "name\ncat\ndog\n"), ("c.csv", "id,name\n0,cat\n1,dog\n")]
)
def test_a_header_in_a_file_of_classes_is_no_class(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises((SpecificationError, ValueError), match="seems to be a header"):
        specified(tmp_path, "images", "*.png", {"folder": True}, str(tmp_path / name))
