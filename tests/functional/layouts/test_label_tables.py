import gzip
import json

import numpy as np
import pytest

from ray_audit.errors import LabelError
from ray_audit.formats.label_changes import FrameChange, LabelChanges
from ray_audit.formats.labels.writing import write_tables
from ray_audit.sample_ids import Owner
from tests.support.label_sets import all_labels, listed
from tests.support.layouts import mstcn, specified, touched, written
from tests.support.small_sets import picture

ROWS = [("a.png", "cat"), ("b.png", "dog"), ("c.png", "cat")]


def parted(delimiter, *rows):
    return "".join(delimiter.join(row) + "\n" for row in rows)


TABLES = {
    "semicolons": ("t.csv", parted(";", ("image", "label"), *ROWS), {}),
    "tabs": ("t.tsv", parted("\t", ("image", "label"), *ROWS), {}),
    "tabs in text": ("t.txt", parted("\t", ("image", "label"), *ROWS), {}),
    "no header": ("t.csv", parted(",", *ROWS), {"header": ["image", "label"]}),
    "no header, blanks": ("t.txt", parted("  ", *ROWS), {"header": ["image", "label"]}),
    "packed": ("t.csv.gz", parted(",", ("image", "label"), *ROWS), {}),
    "packed lines": ("t.txt.gz", parted(" ", *ROWS), {"header": ["image", "label"]}),
    "comments": (
        "t.csv",
        "# made by hand\n"
        + parted(",", ("image", "label"), ROWS[0])
        + "#\n"
        + parted(",", *ROWS[1:]),
        {"comment": "#"},
    ),
    "MXNet": (
        "t.lst",
        parted(
            "\t", *((str(i), f"{name == 'dog':.6f}", key) for i, (key, name) in enumerate(ROWS))
        ),
        {"header": ["index", "label", "image"]},
    ),
    "names and labels": ("t.json", '{\n  "a.png": "cat", "b.png": "dog",\n "c.png":"cat"}\n', {}),
    "names and indices": ("t.json", '{"a.png": 0, "b.png": 1, "c.png": 0}', {}),
    "packed rows of JSON": (
        "t.json.gz",
        json.dumps([{"image": k, "label": v} for k, v in ROWS]),
        {},
    ),
}


def image_table(folder, form):
    name, text, labels = TABLES[form]
    for index, (key, _) in enumerate(ROWS):
        picture(folder / f"images/{key}", index)
    content = text.encode()
    (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    what = (folder, "images", "images/*.png", {"images": name, **labels}, ["cat", "dog"])
    return specified(*what), folder / name


@pytest.mark.parametrize("form", TABLES)
def test_a_table_of_images_is_read_as_it_comes(tmp_path, form):
    config, _ = image_table(tmp_path, form)
    assert all_labels(config) == {"a.png": 0, "b.png": 1, "c.png": 0}


@pytest.mark.parametrize("form", TABLES)
def test_a_corrected_table_keeps_its_form_and_every_other_byte(tmp_path, form):
    config, path = image_table(tmp_path, form)
    shards = listed(config)[0].shards
    changes = LabelChanges(classes={Owner("b.png"): 0})
    corrected = write_tables(config, shards, changes, str(tmp_path / "to"), lambda *_: None)
    copy = tmp_path / "to" / path.name
    assert all_labels(corrected) == {"a.png": 0, "b.png": 0, "c.png": 0}
    old, new = path.read_bytes(), copy.read_bytes()
    if path.suffix == ".gz":
        old, new = gzip.decompress(old), gzip.decompress(new)
    assert new.decode() in (
        old.decode().replace("dog", "cat"),
        old.decode().replace("1.000000", "0.000000").replace(": 1,", ": 0,"),
    )


def test_corrected_lines_of_frames_keep_every_other_byte(tmp_path):
    what, _ = mstcn(tmp_path)
    config = specified(*what, ["cut_tomato", "mix", "serve it"])
    frames = FrameChange(np.array([1, 10]), np.array([2, 0]))
    changes = LabelChanges(frames={Owner("rgb-01-1.npy"): frames})
    shards = listed(config)[0].shards
    corrected = write_tables(config, shards, changes, str(tmp_path / "to"), lambda *_: None)
    lines = (tmp_path / "groundTruth/rgb-01-1.txt").read_text().split("\n")
    lines[1], lines[10] = "serve it", "cut_tomato"
    (copy,) = (tmp_path / "to").rglob("rgb-01-1.txt")
    assert copy.read_text() == "\n".join(lines)
    before, after = all_labels(config), all_labels(corrected)
    assert {key: after[key] for key in after if after[key] != before[key]} == {
        "rgb-01-1.npy#1": 2,
        "rgb-01-1.npy#10": 0,
    }


@pytest.mark.parametrize(
    ("name", "text", "labels", "message"),
    [
        ("t.txt", "image,n;label\tx\n", {}, "commas, tabs or semicolons; say which in labels.del"),
        ("t.txt", "a.png cat\nb.png\n", {"header": ["image", "label"]}, "row 2: 1 fields, expect"),
        ("t.csv.gz", "image,label\na.png,cat\n", {}, "cannot be read: Not a gzipped file"),
        ("t.csv", "image,label\na.png,\n", {}, r'give dataset\.void: \[""\], or leave the row out'),
        ("t.json", '{"a.png": ["cat"]}', {}, "no column .*the table has 'a.png'.* labels.rows"),
        ("t.txt", "a.png cat\n", {}, "no column .* give them in labels.header"),
        ("t.csv", "# by hand\nimage,label\na.png,cat\n", {}, "give labels.comment: '#'"),
    ],
)
def test_a_table_that_could_be_read_in_two_ways_or_in_none_is_refused(
    tmp_path, name, text, labels, message
):
    picture(tmp_path / "images/a.png", 0)
    written(tmp_path / name, text)
    what = (tmp_path, "images", "images/*.png", {"images": name, **labels}, ["cat", "dog"])
    with pytest.raises(LabelError, match=message):
        listed(specified(*what))


def test_a_range_of_frames_in_one_field_is_read_split_and_written_back(tmp_path):
    touched(tmp_path / "videos/a.avi")
    written(tmp_path / "labels/a.txt", "1-4 SIL  \n5-9 take_bowl  \n10-10 SIL\n")
    header = ["start_frame-end_frame", "label"]
    labels = {"segments": "labels/{stem}.txt", "header": header, "delimiter": "blanks"}
    labels |= {"first_frame": 1, "ends": "inclusive"}
    config = specified(tmp_path, "video", "videos/*.avi", labels, ["SIL", "take_bowl"])
    before = [0] * 4 + [1] * 5 + [0]
    assert all_labels(config) == {f"a.avi#{t}": label for t, label in enumerate(before)}
    changes = LabelChanges(frames={Owner("a.avi"): FrameChange(np.array([5, 6]), np.array([0, 0]))})
    shards = listed(config)[0].shards
    corrected = write_tables(config, shards, changes, str(tmp_path / "to"), lambda *_: None)
    (copy,) = (tmp_path / "to").rglob("a.txt")
    lines = "1-4 SIL  \n5-5 take_bowl  \n6-7 SIL  \n8-9 take_bowl  \n10-10 SIL\n"
    assert copy.read_text() == lines
    after = [*before[:5], 0, 0, *before[7:]]
    assert all_labels(corrected) == {f"a.avi#{t}": label for t, label in enumerate(after)}


def test_a_field_that_should_be_a_range_and_is_none_is_refused(tmp_path):
    touched(tmp_path / "videos/a.avi")
    written(tmp_path / "labels/a.txt", "1-4 SIL\n5 SIL\n")
    labels = {"segments": "labels/{stem}.txt", "header": ["start_frame-end_frame", "label"]}
    config = specified(tmp_path, "video", "videos/*.avi", labels, ["SIL", "take_bowl"])
    with pytest.raises(LabelError, match=r"row 2: 2 fields, expected 3 \(start_frame, end_frame"):
        all_labels(config)


def test_text_of_another_width_is_named(tmp_path):
    text = "image,label\na.png,cat\n".encode("utf-16")
    (tmp_path / "t.csv").write_bytes(text)
    picture(tmp_path / "images/a.png", 0)
    what = (tmp_path, "images", "images/*.png", {"images": "t.csv"}, ["cat", "dog"])
    with pytest.raises(LabelError, match="is text in UTF-16, as Excel saves"):
        listed(specified(*what))


def test_a_table_calls_files_by_the_stem_of_what_match_finds(tmp_path):
    picture(tmp_path / "images/v_a.png", 0)
    written(tmp_path / "t.csv", "image,label\na,dog\n")
    labels = {"images": "t.csv", "match": "v_(.*)"}
    config = specified(tmp_path, "images", "images/*.png", labels, ["cat", "dog"])
    assert all_labels(config) == {"v_a.png": 1}
