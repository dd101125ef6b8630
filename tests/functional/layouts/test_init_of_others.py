"""Published datasets that have no recipe: what `init` alone makes of them."""

import zipfile

import h5py
import numpy as np
import pytest

import ray_audit
from ray_audit.config import DatasetConfig
from ray_audit.corrections.write_labels import check_writable
from ray_audit.errors import LabelError, SpecificationError
from tests.support.drafts import drafted, same
from tests.support.label_sets import arrow_column, listed
from tests.support.published.built import PALETTE, photo, put_image, put_text

SHAPE = (9, 8)


def test_indices_of_a_palette_are_classes_also_where_they_have_gaps(tmp_path):
    """As GTA5 and YouTube-VOS are published."""
    expected = {}
    for index in range(3):
        photo(tmp_path / f"images/{index:05d}.png", index, SHAPE)
        mask = np.random.default_rng(index).choice([0, 7, 8, 11], SHAPE)
        put_image(tmp_path / f"labels/{index:05d}.png", mask.astype(np.uint8), PALETTE)
        expected[f"{index:05d}.png"] = mask
    dataset = drafted(tmp_path)
    assert dataset["classes"][7] == "class_7"
    same(dataset, expected)


def test_a_mask_that_is_the_same_everywhere_is_passed_over(tmp_path):
    """As DRIVE is published: vessels by hand, and the field of view as `mask`."""
    expected = {}
    for number in (21, 22):
        photo(tmp_path / f"training/images/{number}_training.tif", number, SHAPE)
        vessels = np.random.default_rng(number).integers(0, 2, SHAPE)
        path = tmp_path / f"training/1st_manual/{number}_manual1.gif"
        put_image(path, (255 * vessels).astype(np.uint8))
        whole = np.full(SHAPE, 255, np.uint8)
        put_image(tmp_path / f"training/mask/{number}_training_mask.gif", whole)
        expected[f"{number}_training.tif"] = vessels
    same(drafted(tmp_path), expected)


def test_a_table_that_numbers_images_holds_no_labels(tmp_path):
    """As CUB-200-2011 is published."""
    expected, lines = {}, []
    for index in range(4):
        key = f"{1 + index // 2:03d}.Bird/Bird_{index:04d}.jpg"
        photo(tmp_path / "images" / key, index)
        lines.append(f"{index + 1} {key}")
        expected[key] = index // 2
    put_text(tmp_path / "images.txt", *lines)
    put_text(tmp_path / "classes.txt", "1 001.Bird", "2 002.Bird")
    same(drafted(tmp_path), expected)


def test_a_list_may_name_files_from_further_up_than_their_pattern(tmp_path):
    """As WebVision is published: folders are queries, and the list has the classes."""
    expected, lines = {}, []
    for index in range(6):
        key = f"q000{index % 2}/{index}.jpg"
        photo(tmp_path / "google" / key, index)
        lines.append(f"google/{key} {index // 2 % 2}")
        expected[key] = index // 2 % 2
    put_text(tmp_path / "info/train_filelist_google.txt", *lines)
    same(drafted(tmp_path), expected)


def test_the_diagnosis_of_a_table_of_patients_is_its_label(tmp_path):
    """As HAM10000 is published."""
    expected, lines = {}, []
    for index in range(4):
        name = f"ISIC_{index:07d}"
        photo(tmp_path / f"HAM10000_images_part_{1 + index % 2}/{name}.jpg", index)
        label = ["nv", "mel", "bkl"][index % 3]
        lines.append(f"HAM_{index},{name},{label},histo,{40 + index}.0,male,back")
        key = f"HAM10000_images_part_{1 + index % 2}/{name}.jpg"
        expected[key] = ["bkl", "mel", "nv"].index(label)
    header = "lesion_id,image_id,dx,dx_type,age,sex,localization"
    put_text(tmp_path / "HAM10000_metadata.csv", header, *lines)
    same(drafted(tmp_path), expected)


def by_order(folder, num_labels):
    for index in range(3):
        photo(folder / f"val/{index}.png", index)
    put_text(folder / "truth.txt", *["0"] * num_labels)
    labels = {"images": str(folder / "truth.txt"), "header": ["label"]}
    values = {"kind": "images", "uri": str(folder / "val/*.png"), "labels": labels}
    return DatasetConfig.model_validate(values | {"classes": ["a", "b"]})


@pytest.mark.parametrize("num", [2, 4])
def test_labels_without_names_are_as_many_as_there_are_files(tmp_path, num):
    with pytest.raises(LabelError, match=f"{num} labels without names for 3 files"):
        listed(by_order(tmp_path, num))


def test_labels_without_names_are_not_written_back(tmp_path):
    config = by_order(tmp_path, 3)
    with pytest.raises(SpecificationError, match=r"truth\.txt has no names of files"):
        check_writable(config, listed(config)[0], str(tmp_path / "to"))


def test_python_pickles_are_named_and_not_opened(tmp_path):
    """As CIFAR is published; the file is no pickle, and would tell if it were opened."""
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py/data_batch_1").write_bytes(b"nothing")
    with pytest.raises(SpecificationError, match=r"data_batch_1 looks like a Python pickle.*savez"):
        ray_audit.init(tmp_path)


def test_sizes_splits_and_measurements_are_no_labels(tmp_path):
    """As EchoNet-Dynamic is published, with images in place of its videos."""
    rows = [f"0X{n},{55.2 + n},112,112,50,{'TRAIN' if n % 2 else 'VAL'}" for n in range(6)]
    for n in range(6):
        photo(tmp_path / f"images/0X{n}.png", n)
    put_text(tmp_path / "FileList.csv", "FileName,EF,FrameHeight,FrameWidth,FPS,Split", *rows)
    with pytest.raises(SpecificationError, match="no layout was recognised"):
        ray_audit.init(tmp_path)
    labels = {
        "images": str(tmp_path / "FileList.csv"),
        "columns": {"image": "FileName", "label": "EF"},
    }
    values = {"kind": "images", "uri": str(tmp_path / "images/*.png"), "labels": labels}
    with pytest.raises(
        LabelError, match=r"'55.2' is none of .*; it is a number and no class: .* range of it\. The"
    ):
        listed(DatasetConfig.model_validate(values | {"classes": ["a", "b"]}))


def arrays(num=6):
    images = np.random.default_rng(0).integers(0, 256, (num, *SHAPE, 3), np.uint8)
    return images, np.arange(num, dtype=np.int64) % 3


@pytest.mark.parametrize(
    ("image", "label"), [("images", "labels"), ("x_train", "y_train"), ("data", "class_number")]
)
def test_images_and_labels_in_one_npz_file_are_recognised(tmp_path, image, label):
    images, labels = arrays()
    more = {"x_test": images[:2], "y_test": labels[:2], "weights": np.ones(6)}
    np.savez(tmp_path / "set.npz", **{image: images, label: labels}, **more)
    dataset = drafted(tmp_path)
    assert (dataset["labels"]["image_column"], dataset["labels"]["column"]) == (image, label)
    same(dataset, {f"set.npz#{at}": number for at, number in enumerate(labels.tolist())})


def test_images_and_labels_in_one_hdf5_file_are_recognised(tmp_path):
    images, labels = arrays()
    with h5py.File(tmp_path / "set.h5", "w") as file:
        file["train/images"], file["train/labels"] = images, labels[:, None].astype(np.uint8)
    dataset = drafted(tmp_path)
    same(dataset, {f"set.h5#{at}": number for at, number in enumerate(labels.tolist())})


def test_two_arrays_that_may_be_the_labels_are_not_chosen_from(tmp_path):
    images, labels = arrays()
    np.savez(tmp_path / "set.npz", images=images, fine_labels=labels, coarse_labels=labels // 2)
    with pytest.raises(SpecificationError):
        drafted(tmp_path)


@pytest.mark.parametrize("with_test", [False, True])
def test_class_folders_in_a_zip_archive_are_recognised(tmp_path, with_test):
    photo(tmp_path / "outside/0.png", 0, SHAPE)
    content = (tmp_path / "outside/0.png").read_bytes()
    folder = tmp_path / "set"
    folder.mkdir()
    with zipfile.ZipFile(folder / "pets.zip", "w") as archive:
        for name in ("cat", "dog"):
            for index in range(3):
                archive.writestr(f"pets/train/{name}/{index}.png", content)
                if with_test:
                    archive.writestr(f"pets/test/{name}/{index}.png", content)
        archive.writestr("pets/README.txt", "pets")
    expected = {f"{name}/{at}.png": k for k, name in enumerate(("cat", "dog")) for at in range(3)}
    same(drafted(folder), expected)


def test_rows_of_save_to_disk_are_recognised(tmp_path):
    """As `datasets.save_to_disk` writes the parts of a dataset."""
    for part in ("train", "test"):
        (tmp_path / part).mkdir()
        arrow_column(tmp_path / part)
        put_text(tmp_path / part / "state.json", "{}")
    put_text(tmp_path / "dataset_dict.json", '{"splits": ["train", "test"]}')
    key = "data-00000-of-00001.arrow"
    same(drafted(tmp_path), {f"{key}#{i}": i % 3 for i in range(10) if i != 5})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("labels/{}.txt", "0 0.5 0.5 0.2 0.2\n1 0.25 0.3 0.1 0.1\n", "boxes of YOLO"),
        ("Annotations/{}.xml", "<annotation>\n<object/></annotation>", "annotation of PASCAL VOC"),
        ("images/{}.json", '{"version": "5", "shapes": []}', "outlines of LabelMe"),
        ("ann/{}.png.json", '{"objects": [{"classTitle": "x"}]}', "objects of Supervisely"),
        ("{}.tfrecord", "x", "a TFRecord file, which is not read"),
    ],
)
def test_forms_that_are_not_read_are_named_with_what_helps(tmp_path, name, content, message):
    for index in range(3):
        photo(tmp_path / f"images/{index}.jpg", index)
        put_text(tmp_path / name.format(index), content)
    with pytest.raises(SpecificationError, match=f"no layout was recognised .*{message}"):
        ray_audit.init(tmp_path)
