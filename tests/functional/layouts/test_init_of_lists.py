"""Lists and arrays beside the data: labels in order, masks in arrays, parts for training."""

import numpy as np
import pytest
from scipy.io import savemat

import ray_audit
from ray_audit.errors import SpecificationError
from tests.support.drafts import drafted, same
from tests.support.published.built import photo, put_image, put_text, touched

SHAPE = (9, 8)


def mask(seed, values):
    return np.random.default_rng(seed).choice(values, SHAPE)


def structs(rows, **fields):
    """An array of structs as MATLAB saves it."""
    array = np.zeros((1, rows), dtype=[(name, object) for name in fields])
    for row in range(rows):
        array[0, row] = tuple(values[row] for values in fields.values())
    return array


def test_a_list_of_labels_in_an_array_goes_by_the_order_of_the_names(tmp_path):
    """As Flowers102 is published."""
    labels = [i * 7 % 5 + 1 for i in range(9)]
    for index in range(9):
        photo(tmp_path / f"jpg/image_{index + 1:05d}.jpg", index)
    savemat(tmp_path / "imagelabels.mat", {"labels": np.array([labels], np.uint8)})
    savemat(tmp_path / "setid.mat", {"trnid": np.array([[1, 3, 5]]), "tstid": np.array([[2, 4]])})
    draft = ray_audit.init(tmp_path)
    assert any("imagelabels.mat are classes, and go by names" in asked for asked in draft.asked)
    same(
        draft.specification["dataset"],
        {f"image_{i + 1:05d}.jpg": label - 1 for i, label in enumerate(labels)},
    )


@pytest.mark.parametrize("in_order", [True, False])
def test_a_table_of_structs_is_read_where_it_lists_files_in_their_order(tmp_path, in_order):
    """As Stanford Cars is published; its folders are parts, and no classes."""
    names = [f"{index + 1:05d}.jpg" for index in range(6)]
    for part in ("cars_train", "cars_test"):
        for index, name in enumerate(names):
            photo(tmp_path / part / name, index)
    (tmp_path / "devkit").mkdir()
    numbers = [index % 3 + 1 for index in range(6)]
    listed = names if in_order else names[::-1]
    fields = {"bbox_x1": [7] * 6, "class": numbers, "fname": listed}
    savemat(tmp_path / "devkit/cars_train_annos.mat", {"annotations": structs(6, **fields)})
    if in_order:
        same(drafted(tmp_path), {name: index % 3 for index, name in enumerate(names)})
        return
    with pytest.raises(SpecificationError, match=r"cars_train_annos\.mat, which holds annotations"):
        ray_audit.init(tmp_path)


@pytest.mark.parametrize("name", ["meta/train.txt", "labels/train1.txt"])
def test_a_list_of_what_is_for_training_becomes_the_split(tmp_path, name):
    """As Food-101 and DTD are published."""
    expected, lines = {}, []
    for folder in ("apple_pie", "baklava"):
        for index in range(5):
            photo(tmp_path / f"images/{folder}/{index}.jpg", index)
            if index < 3:
                lines.append(f"{folder}/{index}")
                expected[f"{folder}/{index}.jpg"] = folder
    put_text(tmp_path / name, *lines)
    put_text(tmp_path / name.replace("train", "test"), "apple_pie/4", "baklava/4")
    draft = ray_audit.init(tmp_path)
    assert any(f"only what {name} names is for training" in item for item in draft.assumed)
    same(draft.specification["dataset"], expected)


def test_of_columns_without_titles_the_first_is_taken_and_the_others_are_asked_about(tmp_path):
    """As the list of Oxford-IIIT Pet is published: class, species, breed."""
    expected, lines = {}, []
    for index in range(6):
        photo(tmp_path / f"images/p{index}.jpg", index)
        lines.append(f"p{index} {index % 3 + 1} {index % 2 + 1} 1")
        expected[f"p{index}.jpg"] = index % 3
    put_text(tmp_path / "annotations/list.txt", "#Image CLASS-ID SPECIES BREED ID", *lines)
    draft = ray_audit.init(tmp_path)
    assert any("here it is column 2, and column 3 would do" in asked for asked in draft.asked)
    same(draft.specification["dataset"], expected)


def test_numbers_in_a_table_are_those_that_a_file_gives_to_names(tmp_path):
    """The last class is in no row: numbers would do as indices as well."""
    for index in range(6):
        photo(tmp_path / f"images/{index}.jpg", index)
    put_text(tmp_path / "labels.csv", "image,label", *(f"{i}.jpg,{i % 2 + 1}" for i in range(6)))
    put_text(tmp_path / "classes.txt", "1 ant", "2 bee", "3 cat")
    same(drafted(tmp_path), {f"{i}.jpg": ("ant", "bee")[i % 2] for i in range(6)})


ARRAYS = {
    "npy": lambda path, drawn: np.save(path, drawn),
    "npz": lambda path, drawn: np.savez(path, mask=drawn, depth=np.full(SHAPE, 0.5)),
    "mat": lambda path, drawn: savemat(path, {"LabelMap": drawn.astype(np.uint16)}),
}


@pytest.mark.parametrize("ending", ARRAYS)
def test_masks_in_arrays_beside_images_have_the_numbers_that_a_file_names(tmp_path, ending):
    """As Pascal Context is published: 0 is not labelled."""
    expected = {}
    (tmp_path / "trainval").mkdir()
    for index in range(3):
        photo(tmp_path / f"JPEGImages/{index}.jpg", index, SHAPE)
        drawn = mask(index, [0, 1, 2, 23])
        ARRAYS[ending](tmp_path / f"trainval/{index}.{ending}", drawn)
        expected[f"{index}.jpg"] = drawn - 1
    put_text(tmp_path / "labels.txt", *(f"{number}: name{number}" for number in range(1, 31)))
    dataset = drafted(tmp_path)
    assert dataset["labels"].get("variable") == ("mask" if ending == "npz" else None)
    assert dataset["classes"][22] == "name23"
    same(dataset, expected)


def test_several_maps_in_one_file_are_not_chosen_from(tmp_path):
    """As CoNSeP is published, but that nothing tells which map is meant."""
    (tmp_path / "Labels").mkdir()
    for index in range(3):
        photo(tmp_path / f"Images/{index}.png", index, SHAPE)
        maps = {"first": mask(index, [0, 1, 2]), "second": mask(index, [0, 3])}
        savemat(tmp_path / f"Labels/{index}.mat", maps)
    with pytest.raises(SpecificationError, match=r"holds first \(9, 8\), second.*labels\.variable"):
        ray_audit.init(tmp_path)


def boundaries(root):
    """As BSDS500: a cell for each annotator, with numbers of segments."""
    (root / "groundTruth/train").mkdir(parents=True)
    for index in range(3):
        photo(root / f"images/train/{index}.jpg", index, SHAPE)
        cells = np.empty((1, 2), object)
        for person in range(2):
            drawn = mask(index + person, [1, 2, 3])
            cells[0, person] = structs(1, Segmentation=[drawn], Boundaries=[drawn == 1])
        savemat(root / f"groundTruth/train/{index}.mat", {"groundTruth": cells})


def class_tables(root):
    """As THUMOS14: a file of times for each class."""
    for index in range(3):
        touched(root / f"validation/video_validation_{index:07d}.mp4")
    for name in ("BaseballPitch", "CliffDiving"):
        lines = [f"video_validation_{index:07d}  0.2 0.{6 + index}" for index in range(3)]
        put_text(root / f"annotation/{name}_val.txt", *lines)


def persons(root):
    """As AVA: boxes with actions, several a second."""
    for name in ("a", "b"):
        touched(root / f"{name}.mp4")
    lines = [f"{v},{t},0.077,0.151,0.283,0.811,{8 + t % 2},1" for v in "ab" for t in range(4)]
    put_text(root / "ava_train_v2.2.csv", *lines)


def verbs(root):
    """As GTEA: verbs, nouns and frames in a form of its own."""
    for name in ("S1_Cheese", "S1_Tea"):
        for index in range(6):
            photo(root / f"png/{name}/{index:010d}.png", index)
        put_text(root / f"labels/{name}.txt", "<take><bread> (2-4) [1]", "<open><cheese> (5-6) [2]")


def gestures(root):
    """As Jester: a folder of frames for each video, and a table that labels the folders."""
    for index in range(4):
        for frame in range(3):
            photo(root / f"20bn-jester-v1/{index + 1}/{frame + 1:05d}.jpg", frame)
    lines = [f"{i + 1};{('Swiping Left', 'Drumming Fingers')[i % 2]}" for i in range(4)]
    put_text(root / "jester-v1-train.csv", *lines)


def several_at_once(root):
    """As Charades: actions and their times in one cell."""
    for name in ("46GP8", "N11GT"):
        touched(root / f"{name}.mp4")
    cells = ["46GP8,c092 0.50 1.20;c147 0.00 1.60", "N11GT,c098 0.50 1.20;c075 0.00 1.60"]
    put_text(root / "train.csv", "id,actions", *cells)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (gestures, "jester-v1-train.csv, which begins with '1;Swiping Left'"),
        (several_at_once, "train.csv, which begins with 'id,actions'"),
        (boundaries, r"none of numbers or text: .* cells, .* annotators"),
        (class_tables, r"annotation/\w+_val\.txt, .*has no column of labels: .* one table of all"),
        (persons, r"ava_train_v2.2.csv holds boxes \(four fractions a row\)"),
        (verbs, r"labels/S1_.*\.txt, which begins with '<take><bread> \(2-4\) \[1\]'"),
    ],
)
def test_what_is_no_label_here_is_said_and_nothing_is_drafted(tmp_path, build, message):
    build(tmp_path)
    with pytest.raises(SpecificationError, match=f"no layout was recognised.*{message}"):
        ray_audit.init(tmp_path)


@pytest.mark.parametrize("least", [0, 1, 6])
def test_where_the_first_frame_is_neither_0_nor_1_it_is_asked_for(tmp_path, least):
    """As EPIC-KITCHENS is published."""
    lines = []
    for name, add in (("P01_01", 0), ("P02_03", 3)):
        touched(tmp_path / f"{name}.mp4")
        lines += [f"{name},{least + add},20,open", f"{name},{30 + add},60,close"]
    put_text(tmp_path / "train.csv", "video_id,start_frame,stop_frame,verb", *lines)
    draft = ray_audit.init(tmp_path)
    labels = draft.specification["dataset"]["labels"]
    assert labels.get("first_frame") == (1 if least == 1 else None)
    is_asked = any("whether frames count from 0 or from 1" in text for text in draft.asked)
    assert is_asked == (least == 6)


def test_files_of_frames_tell_together_from_which_number_they_count(tmp_path):
    """The first video's labels begin late; another one's at 1."""
    for name, first in (("a", 12), ("b", 1)):
        touched(tmp_path / f"{name}.mp4")
        put_text(tmp_path / f"{name}.txt", *(f"{t} {('x', 'y')[t % 2]}" for t in range(first, 20)))
    assert drafted(tmp_path)["labels"]["first_frame"] == 1


def test_rows_that_lie_unevenly_apart_are_asked_about(tmp_path):
    """As Cataract-101 is published: a row where a phase begins."""
    for number in (269, 270):
        touched(tmp_path / f"case_{number}.mp4")
    lines = [f"{v};{f};{p}" for v in (269, 270) for f, p in ((5, 1), (20, 2), (40, 3))]
    put_text(tmp_path / "annotations.csv", "VideoID;FrameNo;Phase", *lines)
    asked = ray_audit.init(tmp_path).asked
    assert any("a row is of its frame alone, or of all up to the next" in text for text in asked)


def test_files_at_another_depth_than_the_classes_are_said_to_be_left_out(tmp_path):
    """As SUN397 is published: `a/abbey` beside `c/church/indoor`."""
    for name, num in (("a/abbey", 4), ("b/bar", 4), ("c/church/indoor", 2), ("c/church/out", 2)):
        for index in range(num):
            photo(tmp_path / f"{name}/sun_{name[-3:]}x{index}.jpg", index)
    assumed = ray_audit.init(tmp_path).assumed
    assert any("4 images at another depth are left out, such as c/church/" in a for a in assumed)


def test_pictures_are_not_taken_for_masks_by_a_mask_of_another_size(tmp_path):
    (tmp_path / "feats").mkdir()
    for index in range(3):
        photo(tmp_path / f"a/{index}.png", index, SHAPE)
        photo(tmp_path / f"b/{index}.png", index, SHAPE)
        np.save(tmp_path / f"feats/{index}.npy", np.zeros((4, 5), np.int64))
    put_image(tmp_path / "b/one.png", np.zeros(SHAPE, np.uint8))
    assert drafted(tmp_path)["labels"] == {"folder": True}
