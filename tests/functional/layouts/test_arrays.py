"""Files of arrays as they are published: every label is read back."""

import gzip
import struct

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from ray_audit.config import DatasetConfig
from ray_audit.corrections.write_labels import check_writable
from ray_audit.errors import SpecificationError
from ray_audit.formats.registry import known_format
from tests.support.label_sets import CLASSES, all_labels, array_images, dataset, listed
from tests.support.media import cut

LABELS = np.array([0, 1, 2, 2, 1, 0])
FEATURES = np.arange(24, dtype=np.float32).reshape(6, 4)


def of(key, labels=LABELS):
    return {f"{key}#{t}": int(label) for t, label in enumerate(labels)}


def test_a_video_a_group_of_hdf5(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for number in (1, 2):
            file[f"video{number:02d}/features"] = FEATURES
            file[f"video{number:02d}/labels"] = LABELS
    config = dataset("sequences", tmp_path / "x.h5", {"arrays": "{folder}/labels"})
    expected = of("x.h5#video01/features") | of("x.h5#video02/features")
    assert all_labels(config) == expected
    actual = cut(config, tmp_path)
    assert {row["sample_id"]: row["label"] for row in actual.rows} == expected
    assert actual.failures == []
    assert np.array_equal(actual.batches[0].arrays["inputs"][0], FEATURES)


def test_arrays_whose_names_only_a_pattern_pairs(tmp_path):
    arrays = {"feat_a": FEATURES, "gt_a": LABELS, "feat_b": FEATURES, "gt_b": LABELS[::-1]}
    np.savez(tmp_path / "x.npz", **arrays, info=np.zeros(3))
    labels = {"arrays": "gt_{1}", "match": "^feat_(.*)"}
    config = dataset("sequences", tmp_path / "x.npz", labels)
    assert all_labels(config) == of("x.npz#feat_a") | of("x.npz#feat_b", LABELS[::-1])
    assert cut(config, tmp_path).failures == []


def test_columns_are_frames_where_axes_say_so(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["v/features"], file["v/labels"] = FEATURES.T, LABELS
    config = dataset("sequences", tmp_path / "x.h5", {"arrays": "{folder}/labels"}, axes="DT")
    result = cut(config, tmp_path)
    assert np.array_equal(result.batches[0].arrays["inputs"][0], FEATURES)


@pytest.mark.parametrize("compressed", [False, True])
def test_features_and_labels_of_matlab_5(tmp_path, compressed):
    arrays = {"fc7": FEATURES, "fc7_gt": LABELS[:, None].astype(np.uint8)}
    savemat(tmp_path / "v1.mat", arrays, do_compression=compressed)
    config = dataset("sequences", tmp_path / "*.mat", {"arrays": "{key}_gt"})
    assert all_labels(config) == of("v1.mat#fc7")
    assert np.array_equal(cut(config, tmp_path).batches[0].arrays["inputs"][0], FEATURES)
    with pytest.raises(SpecificationError, match=r"before version 7\.3"):
        check_writable(config, listed(config)[0], str(tmp_path / "to"))


def matlab_73(path):
    """Features (6, 4), labels (1, 6) by name as a cell array, as MATLAB 7.3 stores them."""
    with h5py.File(path, "w", userblock_size=512) as file:
        file["features"] = FEATURES.T
        file["features"].attrs["MATLAB_class"] = np.bytes_("single")
        cells = []
        for number, name in enumerate(CLASSES):
            result = file.create_dataset(
                f"#refs#/{number}", data=np.array([[ord(name)]], np.uint16)
            )
            result.attrs["MATLAB_class"] = np.bytes_("char")
            cells.append(result.ref)
        given = np.array([[cells[k]] for k in LABELS], h5py.ref_dtype)
        file.create_dataset("labels", data=given, dtype=h5py.ref_dtype)
        file["labels"].attrs["MATLAB_class"] = np.bytes_("cell")


def test_matlab_73_is_turned_and_its_cells_are_names(tmp_path):
    matlab_73(tmp_path / "v1.mat")
    config = dataset("sequences", tmp_path / "*.mat", {"arrays": "labels"})
    assert all_labels(config) == of("v1.mat#features")
    assert np.array_equal(cut(config, tmp_path).batches[0].arrays["inputs"][0], FEATURES)


@pytest.mark.parametrize("suffix", ["npz", "h5"])
def test_images_along_the_first_axis(tmp_path, suffix):
    config = array_images(tmp_path, suffix)
    expected = {f"m.{suffix}#{i}": i % 3 for i in range(70)}
    assert all_labels(config) == expected
    actual = cut(config, tmp_path)
    assert {row["sample_id"]: row["label"] for row in actual.rows} == expected
    stored = np.random.default_rng(0).integers(0, 256, (70, 6, 5, 3), np.uint8)
    inputs = np.concatenate([batch.arrays["inputs"] for batch in actual.batches])
    assert np.array_equal(inputs, stored.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_images_in_arrays_keep_their_depth(tmp_path, dtype):
    images = np.arange(2 * 30, dtype=dtype).reshape(2, 6, 5) * (200 if dtype == np.uint16 else 1)
    np.savez(tmp_path / "m.npz", image=images, label=np.array(["a", "c"]), id=np.array(["x", "y"]))
    config = dataset("images", tmp_path / "m.npz", {"column": "label", "key_column": "id"})
    assert all_labels(config) == {"m.npz#x": 0, "m.npz#y": 2}
    (batch,) = cut(config, tmp_path).batches
    assert batch.arrays["inputs"].dtype == dtype
    assert np.array_equal(batch.arrays["inputs"][:, 0], images)


def test_images_in_arrays_by_a_table(tmp_path):
    images = np.zeros((3, 4, 4, 3), np.uint8)
    np.savez(tmp_path / "m.npz", image=images, id=np.array(["x", "y", "z"]))
    (tmp_path / "t.csv").write_text("image,label\nx,a\ny,b\nz,c\n")
    labels = {"images": str(tmp_path / "t.csv"), "key_column": "id"}
    config = dataset("images", tmp_path / "m.npz", labels)
    assert all_labels(config) == {"m.npz#x": 0, "m.npz#y": 1, "m.npz#z": 2}
    assert len(cut(config, tmp_path).rows) == 3


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"image": np.zeros((2, 4, 4, 7), np.uint8), "label": [0, 1]}, r"shape \(4, 4, 7\)"),
        ({"image": np.zeros((2, 4, 4), np.float32), "label": [0, 1]}, "float32"),
        ({"image": np.zeros((2, 4, 4), np.uint8), "label": [0]}, "2 images, but 1 values"),
        ({"image": np.zeros((2, 4, 4), np.uint8), "label": [0, 7]}, "'7' is none of the 3"),
    ],
)
def test_arrays_that_are_no_images_or_labels_are_failures(tmp_path, arrays, message):
    np.savez(tmp_path / "m.npz", **arrays)
    result = cut(dataset("images", tmp_path / "m.npz", {"column": "label"}), tmp_path)
    assert message.replace("\\", "") in result.failures[0].message
    assert len(result.rows) + sum(failure.num_samples for failure in result.failures) >= 1


def test_an_array_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    np.savez(tmp_path / "m.npz", train_images=np.zeros((2, 4, 4), np.uint8), train_labels=[0, 1])
    with pytest.raises(SpecificationError, match="no array 'image', 'label'; it has 'train_im"):
        listed(dataset("images", tmp_path / "m.npz", {"column": "label"}))


def test_class_names_of_hdf5_are_known(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["v/features"], file["v/labels"] = FEATURES, LABELS
        file["v/labels"].attrs["class_names"] = ["b", "a", "c"]
    config = dataset("sequences", tmp_path / "x.h5", {"arrays": "{folder}/labels"})
    shard = listed(config)[0].shards[0]
    assert known_format(shard.key).class_names(shard, config.labels) == ["b", "a", "c"]


def test_links_and_what_lies_in_other_files_are_not_followed(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["features"] = FEATURES
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["v/features"], file["v/labels"] = FEATURES, LABELS
        file["w"] = h5py.ExternalLink("other.h5", "/")
        file["u"] = h5py.SoftLink("/v")
        file["v/itself"] = file["v"]
        layout = h5py.VirtualLayout((6, 4), np.float32)
        layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "features", (6, 4))
        file.create_virtual_dataset("z", layout)
    config = dataset("sequences", tmp_path / "x.h5", {"arrays": "{folder}/labels"})
    assert all_labels(config) == of("x.h5#v/features")
    result = cut(config, tmp_path)
    assert len(result.rows) == 6
    assert [(failure.shard, "other files" in failure.message) for failure in result.failures] == [
        ("x.h5#z", True)
    ]


def masks(folder, suffix, save, variable=None):
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    mask = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    for index in range(2):
        pixels = np.full((2, 3, 3), index, np.uint8)
        Image.fromarray(pixels).save(folder / f"images/{index}.png")
        save(folder / f"masks/{index}.{suffix}", np.roll(mask, index))
    labels = {"masks": str(folder / f"masks/{{stem}}.{suffix}")}
    labels |= {"variable": variable} if variable else {}
    return dataset("images", folder / "images/*.png", labels), mask


def hdf5_mask(path, mask):
    with h5py.File(path, "w") as file:
        file["mask"], file["other"] = mask, np.zeros(3)


MASKS = {
    "npy": ("npy", np.save, None),
    "npz": ("npz", lambda path, mask: np.savez(path, mask=mask), None),
    "HDF5": ("h5", hdf5_mask, "mask"),
    "SBD": (
        "mat",
        lambda path, mask: savemat(path, {"GTcls": {"Segmentation": mask, "Boundaries": [1]}}),
        "GTcls.Segmentation",
    ),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks_in_files_of_arrays(tmp_path, name):
    config, mask = masks(tmp_path, *MASKS[name])
    found = all_labels(config)
    assert np.array_equal(found["0.png"], mask)
    assert np.array_equal(found["1.png"], np.roll(mask, 1))
    assert len(cut(config, tmp_path).rows) == 2
    listing, _ = listed(config)
    if name in ("npy", "npz"):
        check_writable(config, listing, str(tmp_path / "to"))
        return
    with pytest.raises(SpecificationError, match="would not come back"):
        check_writable(config, listing, str(tmp_path / "to"))


def test_a_file_of_several_arrays_asks_which_is_the_mask(tmp_path):
    config, _ = masks(tmp_path, "h5", hdf5_mask)
    result = cut(config, tmp_path)
    assert [failure.error_class for failure in result.failures] == ["mask_format"] * 2
    assert "holds the arrays mask, other" in result.failures[0].message


def test_images_without_pixels_are_a_failure_however_many_are_claimed(tmp_path):
    np.savez(tmp_path / "x.npz", image=np.zeros((2**40, 0, 3), np.uint8), label=np.zeros(3, int))
    labels = {"column": "label"}
    config = DatasetConfig(
        kind="images", uri=str(tmp_path / "x.npz"), labels=labels, classes=["a", "b"]
    )
    result = cut(config, tmp_path)
    assert [failure[:2] for failure in result.failed] == [("x.npz", "array_shape")]


@pytest.mark.parametrize(("name", "pack"), [("x-ubyte", bytes), ("x-ubyte.gz", gzip.compress)])
def test_an_idx_file_that_claims_what_it_cannot_hold_is_refused_unlisted(tmp_path, name, pack):
    head = struct.pack(">4B3I", 0, 0, 8, 3, 2_000_000, 1, 50)
    (tmp_path / name).write_bytes(pack(head + bytes(150)))
    (tmp_path / "labels.csv").write_text(f"image,label\n{name}#0,a\n")
    labels = {"images": str(tmp_path / "labels.csv")}
    config = dataset("images", tmp_path / name, labels)
    result = cut(config, tmp_path)
    assert [failure[:2] for failure in result.failed] == [(name, "too_large")]


def test_images_along_the_last_axis_are_read_as_they_are(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 6, 3, 70), np.uint8)
    np.savez(tmp_path / "x.npz", X=pixels, y=np.arange(70) % 3)
    labels = {"image_column": "X", "column": "y", "image_axis": "last"}
    config = dataset("images", tmp_path / "x.npz", labels)
    result = cut(config, tmp_path)
    assert result.failures == []
    found = np.concatenate([batch.arrays["inputs"] for batch in result.batches])
    assert np.array_equal(found, pixels.transpose(3, 2, 0, 1))
    assert [row["label"] for row in result.rows] == [i % 3 for i in range(70)]
