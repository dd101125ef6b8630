import pytest

from ray_audit.errors import SpecificationError
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
