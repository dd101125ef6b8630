"""Truth values as labels, in every form that has some: what they mean, and how they come back."""

import json

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.io

from ray_audit.config import DatasetConfig
from ray_audit.corrections.write_labels import write_labels
from ray_audit.errors import LabelError
from ray_audit.formats.label_changes import FrameChange, LabelChanges
from ray_audit.formats.labels.classes import ClassNames
from ray_audit.formats.labels.relabel import relabelled
from ray_audit.formats.pixels.encoding import read_labels, stored_values, targets_of
from ray_audit.sample_ids import Owner
from tests.support.label_sets import all_labels, listed, picture
from tests.support.small_sets import video

GIVEN = [True, False, True, True]
WORDS = [["true", "false"], ["no", "yes"], ["Off", "ON"], ["absent", "present"]]


def dataset(kind, uri, labels, classes):
    return DatasetConfig.model_validate(
        {"kind": kind, "uri": str(uri), "labels": labels, "classes": classes}
    )


def write_table(path, key):
    rows = [{"n": i, key: f"i{i}.png", "label": truth} for i, truth in enumerate(GIVEN)]
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.name == "names.json":
        path.write_text(json.dumps({row[key]: row["label"] for row in rows}, indent=1))
    elif path.name == "deep.json":
        path.write_text(json.dumps({"rows": rows}, indent=2))
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows, indent=1))
    else:
        lines = [f"{row['n']},{row[key]},{row['label']}\r\n" for row in rows]
        path.write_text("".join([f"n,{key},label\r\n", *lines]), newline="")
    return str(path)


def read_table(path, key):
    """The labels as other readers have them."""
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        assert table.schema.field("label").type == pa.bool_()
        return table["label"].to_pylist()
    text = path.read_text()
    if path.suffix == ".jsonl":
        return [json.loads(line)["label"] for line in text.splitlines()]
    if path.suffix == ".csv":
        return [{"True": True, "False": False}[line.split(",")[2]] for line in text.split()[1:]]
    document = json.loads(text)
    if path.name == "names.json":
        return list(document.values())
    return [row["label"] for row in (document["rows"] if path.name == "deep.json" else document)]


@pytest.mark.parametrize("classes", WORDS)
@pytest.mark.parametrize(
    "name", ["t.parquet", "t.json", "t.jsonl", "names.json", "deep.json", "t.csv"]
)
def test_truth_values_of_a_table_mean_their_class_and_stay_truth_values(tmp_path, name, classes):
    for index in range(len(GIVEN)):
        picture(tmp_path / f"images/i{index}.png", index)
    labels = {"images": write_table(tmp_path / name, "image")}
    labels |= {"rows": "rows.*"} if name == "deep.json" else {}
    config = dataset("images", tmp_path / "images/*.png", labels, classes)
    if name == "t.csv" and "absent" in classes:  # text: no class is called so
        with pytest.raises(LabelError, match="label 'True' is none of the 2 classes"):
            all_labels(config)
        return
    true = next((i for i, c in enumerate(classes) if c.lower() in ("true", "yes", "on")), 1)
    before = [*all_labels(config).values()]
    assert before == [true if truth else 1 - true for truth in GIVEN]
    changes = LabelChanges(classes={Owner("i2.png"): 1 - true})
    listing, _ = listed(config)
    copy = write_labels(config, listing, changes, str(tmp_path / "to")).dataset
    assert read_table(tmp_path / "to/labels" / name, "image") == [True, False, False, True]
    assert [*all_labels(copy).values()] == [*before[:2], 1 - true, before[3]]
    old, new = ((tmp_path / p / name).read_bytes() for p in ("", "to/labels"))
    if name not in ("t.parquet", "deep.json"):
        assert len(new) - len(old) == 1
        assert new.lower().replace(b"false", b"true") == old.lower().replace(b"false", b"true")


@pytest.mark.parametrize("suffix", [".npy", ".parquet", ".json"])
def test_truth_values_of_frames_stay_truth_values(tmp_path, suffix):
    (tmp_path / "f").mkdir()
    np.save(tmp_path / "f/i0.npy", np.zeros((4, 3), np.float32))
    path = tmp_path / f"i0{suffix}"
    if suffix == ".npy":
        np.save(path, np.array(GIVEN)[:, None])
    else:
        rows = [{"frame": i, "label": truth} for i, truth in enumerate(GIVEN)]
        (path.write_text(json.dumps(rows)) if suffix == ".json" else None) or pq.write_table(
            pa.Table.from_pylist(rows), path
        )
    labels = {"frames": str(tmp_path / f"{{stem}}{suffix}")}
    config = dataset("sequences", tmp_path / "f/*.npy", labels, ["true", "false"])
    assert [*all_labels(config).values()] == [0, 1, 0, 0]
    changes = LabelChanges(frames={Owner("i0.npy"): FrameChange(np.array([3]), np.array([1]))})
    listing, _ = listed(config)
    copy = write_labels(config, listing, changes, str(tmp_path / "to")).dataset
    assert [*all_labels(copy).values()] == [0, 1, 0, 1]
    if suffix == ".npy":
        new = np.load(tmp_path / "to/labels/i0.npy")
        assert new.dtype == bool
        assert new.tolist() == [[True], [False], [True], [False]]
    else:
        assert read_table(tmp_path / f"to/labels/i0{suffix}", "") == [True, False, True, False]


def write_arrays(path, arrays):
    """As numpy, h5py, MATLAB 7.3 and MATLAB 5 store them."""
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.name == "old.mat":
        scipy.io.savemat(path, arrays, do_compression=True)
    elif path.suffix == ".mat":
        with h5py.File(path, "w", userblock_size=512) as file:
            for name, values in arrays.items():
                kind = "logical" if values.dtype == bool else str(values.dtype)
                bytes_ = values.astype(np.uint8) if values.dtype == bool else values
                file.create_dataset(name, data=bytes_.T).attrs["MATLAB_class"] = np.bytes_(kind)
        with path.open("r+b") as stream:
            stream.write(b"MATLAB 7.3 MAT-file")
    else:
        with h5py.File(path, "w") as file:
            for name, values in arrays.items():
                file[name] = values


def read_array(path, name):
    if path.suffix == ".npz":
        return np.load(path)[name]
    with h5py.File(path) as file:
        stored = file[name]
        if "MATLAB_class" not in stored.attrs:
            return stored[()]
        assert stored.dtype == np.uint8
        assert stored.attrs["MATLAB_class"] == b"logical"
        return stored[()].T.astype(bool)


IMAGES = np.random.default_rng(0).integers(0, 256, (4, 5, 6), np.uint8)


@pytest.mark.parametrize("name", ["a.npz", "a.h5", "a.mat"])
@pytest.mark.parametrize("classes", WORDS)
def test_truth_values_of_a_label_array_stay_truth_values(tmp_path, name, classes):
    write_arrays(tmp_path / name, {"image": IMAGES, "y": np.array(GIVEN)[:, None]})
    config = dataset("images", tmp_path / name, {"column": "y"}, classes)
    true = next((i for i, c in enumerate(classes) if c.lower() in ("true", "yes", "on")), 1)
    assert [*all_labels(config).values()] == [true if truth else 1 - true for truth in GIVEN]
    listing, _ = listed(config)
    changes = LabelChanges(classes={Owner(name, "1"): true})
    copy = write_labels(config, listing, changes, str(tmp_path / "to")).dataset
    new = read_array(tmp_path / "to/data" / name, "y")
    assert new.dtype == bool
    assert new.ravel().tolist() == [True, True, True, True]
    assert np.array_equal(read_array_of_images(tmp_path / "to/data" / name), IMAGES)
    assert set(all_labels(copy).values()) == {true}


def read_array_of_images(path):
    if path.suffix == ".npz":
        return np.load(path)["image"]
    with h5py.File(path) as file:
        stored = file["image"]
        return stored[()].T if "MATLAB_class" in stored.attrs else stored[()]


MASK = np.array([[True, False, False], [True, True, False]])


@pytest.mark.parametrize("name", ["a.npz", "a.h5", "a.mat"])
@pytest.mark.parametrize("classes", WORDS)
def test_truth_values_of_masks_mean_their_class_and_stay_truth_values(tmp_path, name, classes):
    masks = np.stack([MASK, ~MASK])
    write_arrays(tmp_path / name, {"image": IMAGES[:2, :2, :3], "m": masks})
    config = dataset("images", tmp_path / name, {"masks": "m"}, classes)
    true = next((i for i, c in enumerate(classes) if c.lower() in ("true", "yes", "on")), 1)
    names, expected = ClassNames.of(config), np.where(MASK, true, 1 - true)
    assert np.array_equal(targets_of(MASK, names), expected)
    after = expected.copy()
    after[0, 2] = true
    new = stored_values(MASK, after, names)
    assert new.dtype == bool
    changes = LabelChanges(mask=lambda owner: new if owner.member == "0" else None)
    listing, _ = listed(config)
    write_labels(config, listing, changes, str(tmp_path / "to"))
    masks[0, 0, 2] = True
    back = read_array(tmp_path / "to/data" / name, "m")
    assert back.dtype == bool
    assert np.array_equal(back, masks)


@pytest.mark.parametrize("name", ["m.npy", "m.npz", "m.h5", "m.mat", "old.mat"])
def test_a_mask_file_of_truth_values_is_read_by_the_names_of_classes(tmp_path, name):
    if name == "m.npy":
        np.save(tmp_path / name, MASK)
    else:
        write_arrays(tmp_path / name, {"m": MASK})
    for classes, true in ((["yes", "no"], 0), (["background", "polyp"], 1)):
        labels = {"masks": str(tmp_path / name)}
        config = dataset("images", tmp_path / "*.png", labels, classes)
        names = ClassNames.of(config)
        targets = targets_of(read_labels((tmp_path / name).read_bytes(), config, names), names)
        assert np.array_equal(targets, np.where(MASK, true, 1 - true))


@pytest.mark.parametrize("several", [False, True])
def test_masks_of_frames_that_are_truth_values_come_back_as_such(tmp_path, several):
    (tmp_path / "v").mkdir()
    video(tmp_path / "v/a.mp4", 3, size=(32, 32))
    masks = np.zeros((3, 32, 32), bool)
    masks[:, 4:20] = True
    if several:
        np.savez(tmp_path / "a.npz", masks)
    else:
        np.save(tmp_path / "a.npy", masks)
    labels = {"masks": str(tmp_path / f"{{stem}}.{'npz' if several else 'npy'}")}
    config = dataset("video", tmp_path / "v/*.mp4", labels, ["true", "false"])
    listing, given = listed(config)
    assert np.array_equal(given.mask(Owner("a.mp4", "1")), masks[1])
    new = ~masks[1]
    changes = LabelChanges(mask=lambda owner: new if owner.member == "1" else None)
    write_labels(config, listing, changes, str(tmp_path / "to"))
    back = np.load(next((tmp_path / "to/labels").iterdir()))
    back = back["arr_0"] if several else back
    assert back.dtype == bool
    assert np.array_equal(back, np.stack([masks[0], new, masks[2]]))


def test_a_class_that_truth_values_cannot_mean_is_refused_and_named():
    names = ClassNames(["no", "yes", "unsure"])
    with pytest.raises(LabelError, match=r"truth values, of which none means 'unsure'"):
        stored_values(MASK, np.full(MASK.shape, 2), names)


def test_text_and_numbers_are_written_as_those_that_they_replace():
    truths, digits = ClassNames(["no", "yes"]), ClassNames([f"c{i}" for i in range(12)])
    assert [relabelled(old, 0, truths) for old in ("TRUE", "True", "true", "yes", True)] == [
        *("FALSE", "False", "false", "no", False)
    ]
    assert [relabelled(old, 11, digits) for old in ("1.0", "01", "1", "c1", 1)] == [
        *("11.0", "11", "11", "c11", 11)
    ]
    assert relabelled("11", 1, digits) == "1"
    assert relabelled("00", 1, digits) == "01"
