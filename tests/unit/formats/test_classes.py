"""One rule for label values in every form, and what a specification says of them."""

import numpy as np
import pytest

from ray_audit.config import AuditConfig, DatasetConfig
from ray_audit.errors import SpecificationError
from ray_audit.formats.labels.classes import ClassNames, with_values
from ray_audit.formats.labels.relabel import relabelled
from ray_audit.formats.labels.values import packed_colour, value_table
from ray_audit.samples import IGNORE


def specified(classes=("bg", "road"), void=(), **labels):
    return DatasetConfig.model_validate(
        {
            "kind": "images",
            "uri": "x/*.png",
            "classes": list(classes),
            "void": list(void),
            "labels": {"masks": "m/{stem}.png"} | labels,
        }
    )


GRADES = ClassNames(["1", "2", "3"])


@pytest.mark.parametrize("grade", ["1", "2", "3"])
def test_text_that_is_a_class_name_is_that_class(grade):
    assert GRADES.parse(grade) == int(grade) - 1


@pytest.mark.parametrize("value", [1, 2, 1.0, "1.0", "02", np.int64(1), np.float32(2)])
def test_a_number_that_is_a_name_and_the_index_of_another_asks_for_values(value):
    with pytest.raises(ValueError, match=r"labels\.values"):
        GRADES.parse(value)


@pytest.mark.parametrize("value", [3, "3.0", 3.0, "03"])
def test_a_number_that_is_a_name_alone_is_that_class(value):
    assert GRADES.parse(value) == 2


def test_names_that_are_their_own_index_are_never_ambiguous():
    digits = ClassNames([str(digit) for digit in range(10)])
    assert [digits.parse(value) for value in (7, "7", "7.0", b"7")] == [7, 7, 7, 7]


def test_a_void_number_is_a_stored_value_where_names_are_numbers():
    grades = ClassNames(["1", "2", "3"], [0])
    assert [grades.parse(value) for value in ("0", "1", "2", "3")] == [IGNORE, 0, 1, 2]


def test_a_void_number_is_a_class_where_names_are_words():
    named = ClassNames(["bg", "road"], [0])
    assert [named.parse(value) for value in ("bg", 0, "0", "road", 1)] == [-1, -1, -1, 1, 1]


@pytest.mark.parametrize(
    "value",
    ["0_1", "1e0", "\uff11", "\u0663", "0x1", "1_2", "1.5", " ", "inf", "nan"],
)
def test_digits_that_no_table_writes_are_no_index(value):
    with pytest.raises(ValueError, match="none of the 20 classes"):
        ClassNames([f"phase_{i}" for i in range(20)]).parse(value)


def test_values_say_what_each_number_text_colour_and_range_means():
    values = {7: "road", "8.0": "bg", "tar": "road", "#804080": "road", "0..6": "bg", 255: "void"}
    classes = ClassNames.of(specified(values=values))
    assert [classes.parse(v) for v in (7, "7", "7.0", 8, "tar", 0, 6, "3", 255)] == [
        *(1, 1, 1, 0, 1, 0, 0, 0, IGNORE)
    ]
    assert classes.has_colours
    with pytest.raises(ValueError, match=r"'9' is not listed in dataset\.labels\.values"):
        classes.parse(9)


def test_values_of_numeric_names_are_what_they_say():
    classes = ClassNames.of(specified(["1", "2", "3"], values={1: 1, 2: "2", 3: "3"}))
    assert [classes.parse(value) for value in (1, "2.0", "3")] == [0, 1, 2]


def test_first_value_shifts_indices_and_void_stays_as_stored():
    classes = ClassNames.of(specified(void=[0], first_value=1))
    assert [classes.parse(value) for value in (0, 1, "2", "road")] == [IGNORE, 0, 1, 1]
    with pytest.raises(ValueError, match="none of the 2 classes"):
        classes.parse(3)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("v.json", '{"0": "bg", "7": "road", "255": "void"}'),
        ("v.json", '{"bg": 0, "road": 7, "void": 255}'),
        ("v.csv", "value,class\n0,bg\n7,road\n255,void\n"),
        ("v.txt", "0 bg\n7 road\n255 void\n"),
        ("v.csv", "class,value\nbg,0\nroad,7\nvoid,255\n"),
        (
            "v.json",
            '[{"name": "bg", "id": 0}, {"name": "road", "id": 7}, {"name": "void", "id": 255}]',
        ),
        ("v.tsv", "# a comment\n0\tbg\n\n7\troad\n255\tvoid\n"),
    ],
)
def test_values_may_lie_in_a_file(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    classes = ClassNames.of(specified(values=str(tmp_path / name)))
    assert [classes.parse(value) for value in (0, 7, 255)] == [0, 1, IGNORE]


@pytest.mark.parametrize(
    "text",
    [
        "128 64 128\troad\n0 0 0\t\tbg\n",
        "r,g,b,name\n128,64,128,road\n0,0,0,bg\n",
        "name,r,g,b\nroad,128, 64, 128\nbg,0,0,0\n",
        "road,128,64,128\nbg,0,0,0\n",
        '[{"name": "road", "color": "#804080"}, {"name": "bg", "color": [0, 0, 0]}]',
        '{"labels": [{"name": "road", "color": [128, 64, 128]}, {"name": "bg", "rgb": [0, 0, 0]}]}',
    ],
)
def test_colours_may_lie_in_a_file_of_red_green_and_blue(tmp_path, text):
    (tmp_path / "label_colors.txt").write_text(text)
    table = ClassNames.of(specified(values=str(tmp_path / "label_colors.txt"))).values
    assert table == value_table({"#804080": "road", "0, 0, 0": "bg"}, ["bg", "road"])


def test_a_value_that_means_no_class_names_the_nearest():
    with pytest.raises(SpecificationError, match=r"7 means 'raod'.*did you mean 'road'"):
        ClassNames.of(specified(values={7: "raod"}))


def test_a_value_of_a_file_that_means_no_class_names_the_file(tmp_path):
    (tmp_path / "v.csv").write_text("0,bg\n7,raod\n8,road\n")
    with pytest.raises(SpecificationError, match=r"did you mean 'road'\? \(in .*v\.csv\)"):
        ClassNames.of(specified(values=str(tmp_path / "v.csv")))


def test_a_specification_keeps_what_a_file_of_values_says(tmp_path):
    (tmp_path / "v.csv").write_text("0,bg\n7,road\n")
    values = {
        "dataset": specified(values=str(tmp_path / "v.csv")).model_dump(),
        "model": {"factory": "a:b"},
        "checkpoints": "c",
        "output": "o",
    }
    config = with_values(AuditConfig.parse(values))
    assert config.dataset.labels.values == {"0": "bg", "7": "road"}
    again = AuditConfig.parse(config.model_dump(mode="json"))
    assert ClassNames.of(again.dataset).parse(7) == 1


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"values": {1: "bg"}, "first_value": 1}, "not both"),
        ({"masks": None, "folder": True, "channel": 0}, "channel goes with masks"),
    ],
)
def test_keys_that_do_not_go_together_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        specified(**labels)


@pytest.mark.parametrize("truth", [bool, np.bool_])
@pytest.mark.parametrize("names", [["true", "false"], ["TRUE", "False"], ["x", "false", "true"]])
def test_a_truth_value_is_the_class_that_is_called_so(names, truth):
    classes = ClassNames(names)
    for value in (True, False):
        found = names[classes.parse(truth(value))]
        assert found.lower() == str(value).lower()
        index = classes.parse(truth(value))
        assert relabelled(truth(not value), index, classes) is value


def test_a_truth_value_is_an_index_where_no_class_is_called_so():
    classes = ClassNames(["no", "yes"])
    assert [classes.parse(value) for value in (False, True)] == [0, 1]
    listed = ClassNames.of(specified(values={"true": "bg", "false": "road"}))
    assert [listed.parse(value) for value in (True, False)] == [0, 1]
    numbers = ClassNames.of(specified(["true", "false"], values={1: "true", 0: "false"}))
    assert [numbers.parse(value) for value in (True, False)] == [0, 1]


@pytest.mark.parametrize("truth", [bool, np.bool_, str])
@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["yes", "no"], [0, 1]),
        (["No", "Yes", "x"], [1, 0]),
        (["ON", "off"], [0, 1]),
        (["n", "y"], [1, 0]),
        (["no", "false", "yes", "TRUE"], [3, 1]),  # the usual words go first
    ],
)
def test_a_truth_value_is_the_class_that_is_called_by_a_word_for_it(names, expected, truth):
    assert [ClassNames(names).parse(truth(value)) for value in (True, False)] == expected


def test_a_text_that_is_a_class_is_that_class_before_it_is_a_truth_value():
    classes = ClassNames(["True", "yes", "no", "FALSE", "true"])
    assert [classes.parse(v) for v in ("True", "true", "yes", "False", True)] == [0, 4, 1, 3, 4]
    with pytest.raises(ValueError, match="label 'True' is none of the 2 classes"):
        ClassNames(["absent", "present"]).parse("True")


def test_a_truth_value_of_which_only_the_other_is_a_class_is_refused_or_void():
    with pytest.raises(ValueError, match="label 'false' is none of the 2 classes"):
        ClassNames(["true", "unknown"]).parse(False)
    assert ClassNames(["true", "unknown"], ["false"]).parse(False) == IGNORE


@pytest.mark.parametrize(
    "values",
    [
        {"#ff0000": "bg", "255, 0, 0": "road"},
        {7: "bg", "7.0": "road"},
        {"tar": "bg", " tar": "road"},
        {"0..7": "bg", "7..9": "road"},
        {"7..9": "bg", "0..20": "void"},
    ],
)
def test_a_value_of_two_meanings_is_refused(values):
    with pytest.raises(SpecificationError, match="listed twice, with two meanings"):
        ClassNames.of(specified(values=values))


def test_a_value_that_is_listed_twice_with_one_meaning_has_it():
    values = {"#ff0000": "bg", "255, 0, 0": "bg", "0..7": "road", "7..9": "road", 8: "bg"}
    classes = ClassNames.of(specified(values=values))
    assert [classes.parse(value) for value in (7, 8, 9)] == [1, 0, 1]


def test_a_range_that_ends_before_it_begins_is_refused():
    with pytest.raises(SpecificationError, match=r"range 9\.\.0 ends before it begins"):
        ClassNames.of(specified(values={"9..0": "bg"}))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("v.txt", "0 bg\n7 bg\n7 road\n"),
        ("v.csv", "r,g,b,name\n128,64,128,road\n128,64,128,bg\n"),
        ("v.json", '{"7": "bg", "7": "road"}'),
        ("v.json", '{"bg": 7, "road": 7}'),
        ("v.json", '[{"name": "bg", "color": "#804080"}, {"name": "road", "color": "#804080"}]'),
        ("v.json", '[{"name": "bg", "id": 7}, {"name": "road", "id": 7}]'),
    ],
)
def test_a_file_that_gives_a_value_two_meanings_is_refused(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(SpecificationError, match="twice"):
        ClassNames.of(specified(values=str(tmp_path / name)))


@pytest.mark.parametrize(
    "text", ["0,cat\n1,road\n", "0..3 cat\n7 road\n", "cat,1,2,3\nroad,4,5,6\n"]
)
def test_a_first_row_of_a_value_is_no_header_whatever_its_class(tmp_path, text):
    (tmp_path / "v.csv").write_text(text)
    with pytest.raises(SpecificationError, match="means 'cat', which is no class"):
        ClassNames.of(specified(values=str(tmp_path / "v.csv")))


def test_a_void_class_is_void_by_every_value_that_means_it():
    values = {7: "road", "#804080": "road", 0: "bg"}
    classes = ClassNames.of(specified(void=["road"], values=values))
    assert classes.of_number(7) == classes.of_colour(packed_colour(128, 64, 128)) == IGNORE
    assert classes.of_number(0) == 0


def test_several_findings_are_told_also_where_one_of_them_is_no_class():
    """As ChestX-ray14 has them, where a specification lists some."""
    with pytest.raises(ValueError, match=r"names several classes \(Mass, Effusion\)"):
        ClassNames(["No Finding", "Effusion"]).parse("Mass|Effusion")
    with pytest.raises(ValueError, match=r"did you mean 'a,b'"):
        ClassNames(["a,b", "a"]).parse("a,c")


@pytest.mark.parametrize("text", ["55.3", "-0,5", "1.5e3"])
def test_a_fraction_is_said_to_be_no_class_and_nothing_is_suggested(text):
    with pytest.raises(ValueError, match="it is a number and no class: write a column") as error:
        ClassNames(["low", "high"]).parse(text)
    assert "did you mean" not in str(error.value)
