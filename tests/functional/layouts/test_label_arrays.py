"""Labels alone in arrays: by the order of frames, of files, or of the images of another file."""

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from ray_audit.corrections.write_labels import check_writable, write_labels
from ray_audit.errors import LabelError, SpecificationError
from ray_audit.formats.label_changes import FrameChange, LabelChanges
from ray_audit.sample_ids import Owner
from tests.support.drafts import drafted, same
from tests.support.label_sets import all_labels, dataset, listed
from tests.support.published.built import photo
from tests.support.small_sets import picture

LABELS = np.array([0, 1, 2, 2, 1, 0, 0])


def features(folder, labels=LABELS, ending=".npy"):
    """Two arrays of features, each with a file of labels."""
    expected = {}
    for name in ("v1", "v2"):
        for part in ("features", "labels"):
            (folder / part).mkdir(exist_ok=True)
        np.save(folder / f"features/{name}.npy", np.zeros((len(labels), 4), np.float32))
        path = folder / f"labels/{name}{ending}"
        np.save(path, labels) if ending == ".npy" else savemat(path, {"gt": labels})
        expected |= {f"{name}.npy#{t}": str(k) for t, k in enumerate(labels.reshape(-1))}
    return dataset(
        "sequences",
        folder / "features/*.npy",
        {"frames": str(folder / f"labels/{{stem}}{ending}")},
        clip={"frames": None},
    ).model_copy(update={"classes": ["bb", "a"]} if labels.dtype.kind == "U" else {}), expected


@pytest.mark.parametrize(
    "labels",
    [LABELS, LABELS[:, None].astype(np.uint8), LABELS.astype(float), np.array(["a"] * 5 + ["bb"])],
)
def test_an_array_of_labels_for_each_array_of_features(tmp_path, labels):
    config, expected = features(tmp_path, labels)
    found = {key: config.classes[label] for key, label in all_labels(config).items()}
    if labels.dtype.kind != "U":
        expected = {key: config.classes[int(float(k))] for key, k in expected.items()}
    assert found == expected
    same(drafted(tmp_path) | {"classes": config.classes}, found)


def test_corrected_labels_keep_the_type_and_the_shape_of_the_array(tmp_path):
    for at, labels in enumerate((LABELS[:, None].astype(np.uint8), np.array(["a"] * 5 + ["bb"]))):
        folder = tmp_path / str(at)
        folder.mkdir()
        config, _ = features(folder, labels)
        change = FrameChange(np.array([1, 4]), np.array([0, 0]))
        changes = LabelChanges(frames={Owner("v1.npy"): change})
        write_labels(config, listed(config)[0], changes, str(folder / "to"))
        (copy,) = (folder / "to").rglob("v1.npy")
        new, expected = np.load(copy), labels.copy()
        expected.reshape(-1)[[1, 4]] = config.classes[0] if at else 0
        assert (new.dtype.kind, new.shape) == (labels.dtype.kind, labels.shape)
        np.testing.assert_array_equal(new, expected)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [([True, False, True], ["False", "True"]), ([b"cat", b"ox", b"cat"], ["ox", "cat"])],
)
def test_truths_and_bytes_are_read_and_corrected(tmp_path, labels, classes):
    config, _ = features(tmp_path, np.array(labels))
    config = config.model_copy(update={"classes": classes})
    assert list(all_labels(config).values()) == [1, 0, 1] * 2
    changes = LabelChanges(frames={Owner("v1.npy"): FrameChange(np.array([0]), np.array([0]))})
    write_labels(config, listed(config)[0], changes, str(tmp_path / "to"))
    (copy,) = (tmp_path / "to").rglob("v1.npy")
    assert np.load(copy).tolist() == [labels[1], labels[1], labels[2]]


def test_files_whose_order_could_be_two_need_names(tmp_path):
    for index in range(1, 12):
        photo(tmp_path / f"jpg/{index}.jpg", index)
    np.save(tmp_path / "labels.npy", np.arange(11) % 3)
    config = dataset("images", tmp_path / "jpg/*.jpg", {"images": str(tmp_path / "labels.npy")})
    with pytest.raises(LabelError, match=r"1\.jpg, 10\.jpg, \.\.\. by letters, or by the numbers"):
        listed(config)


def test_labels_of_matlab_are_read_and_said_not_to_be_written(tmp_path):
    config, expected = features(tmp_path, ending=".mat")
    assert all_labels(config) == {key: int(label) for key, label in expected.items()}
    with pytest.raises(SpecificationError, match=r"into arrays in \.npy files only"):
        check_writable(config, listed(config)[0], str(tmp_path / "to"))


def flowers(folder, **labels):
    """As Oxford Flowers 102 is published: labels from 1, in the order of the images' names."""
    for index in range(1, 7):
        photo(folder / f"jpg/image_{index:05d}.jpg", index)
    stored = {"labels": np.array([[1, 3, 2, 1, 1, 3]], np.uint8)}
    savemat(folder / "imagelabels.mat", stored | ({"more": np.ones(2)} if labels else {}))
    given = {"images": str(folder / "imagelabels.mat"), "first_value": 1, **labels}
    return dataset("images", folder / "jpg/*.jpg", given)


def test_labels_of_files_in_order(tmp_path):
    expected = {f"image_{i + 1:05d}.jpg": k for i, k in enumerate([0, 2, 1, 0, 0, 2])}
    assert all_labels(flowers(tmp_path)) == expected
    assert all_labels(flowers(tmp_path, variable="labels")) == expected
    with pytest.raises(LabelError, match=r"labels\.variable is 'gt': name one of them"):
        listed(flowers(tmp_path, variable="gt"))
    with pytest.raises(SpecificationError, match="has no names of files"):
        check_writable(flowers(tmp_path), listed(flowers(tmp_path))[0], str(tmp_path / "to"))


@pytest.mark.parametrize("num", [4, 5, 6])
def test_labels_of_images_in_another_file_are_as_many(tmp_path, num):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = np.zeros((5, 8, 9, 3), np.uint8)
    np.save(tmp_path / "y.npy", np.arange(num) % 2)
    labels = {"images": str(tmp_path / "y.npy"), "image_column": "x"}
    config = dataset("images", tmp_path / "x.h5", labels)
    if num == 5:
        assert all_labels(config) == {f"x.h5#{at}": at % 2 for at in range(5)}
    else:
        with pytest.raises(LabelError, match=f"{num} labels without names for 5 samples"):
            listed(config)


def test_an_array_has_no_frames_of_several_videos(tmp_path):
    config, _ = features(tmp_path)
    labels = {"frames": str(tmp_path / "labels/v1.npy")}
    with pytest.raises(LabelError, match="an array has labels alone, in order"):
        listed(dataset("sequences", config.uri, labels))


@pytest.mark.parametrize("kind", ["images", "video"])
def test_labels_of_files_in_order_want_one_order_of_names_and_paths(kind, tmp_path):
    """A validation set that was sorted into class folders has another order than its list."""
    paths = ["n01/val_00000002", "n02/val_00000001", "n02/val_00000003"]
    for path in paths:
        file = tmp_path / "val" / (f"{path}/0.png" if kind == "video" else f"{path}.png")
        file.parent.mkdir(parents=True, exist_ok=True)
        picture(file, 0)
    (tmp_path / "gt.txt").write_text("a\nb\nc\n")
    form, uri = ("videos", "*/*/") if kind == "video" else ("images", "*/*.png")
    labels = {form: str(tmp_path / "gt.txt"), "header": ["label"]}
    more = {"fps": 1} if kind == "video" else {}
    config = dataset(kind, f"{tmp_path}/val/{uri}", labels, **more)
    with pytest.raises(LabelError, match=r"another one than that of their paths.*Write a table"):
        listed(config)
    suffix = "" if kind == "video" else ".png"
    rows = [f"{path[4:]}{suffix},{label}\n" for path, label in zip(paths, "bac", strict=True)]
    (tmp_path / "gt.csv").write_text("name,label\n" + "".join(rows))
    column = {"columns": {form.removesuffix("s"): "name"}}
    named = dataset(kind, config.uri, {form: str(tmp_path / "gt.csv"), **column}, **more)
    assert all_labels(named) == {
        f"{path}{suffix}": k for path, k in zip(paths, [1, 0, 2], strict=True)
    }
