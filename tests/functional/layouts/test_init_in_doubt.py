"""What looks like another layout than it is: `init` sees it, or asks."""

import json

import h5py
import nibabel as nib
import numpy as np
import pytest
import tifffile
from scipy.io import savemat

import ray_audit
from ray_audit.errors import SpecificationError
from tests.support.drafts import drafted, same
from tests.support.published.built import photo, put_image, put_text, touched
from tests.support.small_sets import video as small_video

SHAPE = (9, 8)


def mask(seed, values, shape=SHAPE):
    return np.random.default_rng(seed).choice(values, shape).astype(np.uint8)


def test_a_list_of_parts_is_no_list_of_classes(tmp_path):
    """As HMDB51 is published: 1 is for training, 2 for testing."""
    expected = {}
    for name in ("brush_hair", "cartwheel"):
        for index in range(4):
            touched(tmp_path / f"hmdb51_org/{name}/{name}_{index}.avi")
            expected[f"{name}/{name}_{index}.avi"] = name
        lines = [f"{name}_{index}.avi {(1, 2, 0, 1)[index]} " for index in range(4)]
        put_text(tmp_path / f"testTrainMulti_7030_splits/{name}_test_split1.txt", *lines)
    same(drafted(tmp_path), expected)


def test_a_list_whose_numbers_go_through_the_folders_is_asked_about(tmp_path):
    for index in range(6):
        photo(tmp_path / f"set/q{index % 2}/{index}.jpg", index)
    lines = [f"q{index % 2}/{index}.jpg {index // 2 % 2}" for index in range(6)]
    put_text(tmp_path / "list.txt", *lines)
    asked = ray_audit.init(tmp_path).asked
    assert any("whether the numbers in list.txt are classes" in question for question in asked)


def test_masks_beside_images_are_no_images_and_several_of_one_are_put_together(tmp_path):
    """As BUSI is published: a folder for each diagnosis, and masks in it."""
    expected = {}
    for name in ("benign", "malignant"):
        for index in (1, 2, 3):
            stem = f"set/{name}/{name} ({index})"
            photo(tmp_path / f"{stem}.png", index, SHAPE)
            drawn = mask(index, [0, 1])
            put_image(tmp_path / f"{stem}_mask.png", 255 * drawn)
            if index == 1:
                more = mask(9, [0, 1])
                put_image(tmp_path / f"{stem}_mask_1.png", 255 * more)
                drawn = np.maximum(drawn, more)
            expected[f"{name}/{name} ({index}).png"] = drawn
    same(drafted(tmp_path), expected)


def test_folders_of_masks_and_of_frames_are_no_classes(tmp_path):
    """As CholecT50 is published: a folder of frames a video, and a file of labels."""
    for name in ("VID01", "VID02"):
        for index in range(4):
            photo(tmp_path / f"videos/{name}/{index:06d}.png", index)
        put_text(tmp_path / f"labels/{name}.json", '{"annotations": {"0": [[7, 0, 1.0]]}}')
    with pytest.raises(SpecificationError, match="no layout was recognised"):
        ray_audit.init(tmp_path)


@pytest.mark.parametrize("first", [0, 1])
def test_a_folder_of_masks_for_each_video_is_recognised(tmp_path, first):
    expected = {}
    for name in ("a", "b"):
        small_video(tmp_path / f"videos/{name}.mp4", 4)
        for index in range(4):
            drawn = mask(index, [0, 1, 2], (32, 32))
            put_image(tmp_path / f"masks/{name}/{index + first:05d}.png", drawn)
            expected[f"{name}.mp4#{index}"] = drawn
    same(drafted(tmp_path), expected)


def test_the_part_for_training_is_taken_with_its_own_masks(tmp_path):
    """As SegNet's CamVid is published, with the same names in each part."""
    expected = {}
    for part in ("train", "val", "test"):
        for index in range(3):
            photo(tmp_path / f"{part}/{index}.png", index, SHAPE)
            drawn = mask(index + len(part), range(4))
            put_image(tmp_path / f"{part}annot/{index}.png", drawn)
            if part == "train":
                expected[f"{index}.png"] = drawn
    same(drafted(tmp_path), expected)


def test_columns_of_which_one_is_1_are_the_classes(tmp_path):
    """As Plant Pathology is published."""
    names = ["healthy", "multiple_diseases", "rust", "scab"]
    for index in range(6):
        photo(tmp_path / f"images/Train_{index}.jpg", index)
    lines = [f"Train_{i},{','.join(str(int(k == i % 4)) for k in range(4))}" for i in range(6)]
    put_text(tmp_path / "train.csv", f"image_id,{','.join(names)}", *lines)
    dataset = drafted(tmp_path)
    assert dataset["classes"] == names
    same(dataset, {f"Train_{index}.jpg": names[index % 4] for index in range(6)})


def test_one_of_several_findings_is_taken_and_the_others_are_named(tmp_path):
    """As CelebA is published: -1 is no."""
    for index in range(4):
        photo(tmp_path / f"images/{index}.jpg", index)
    lines = [f"{i}.jpg,{(-1, 1)[i % 2]},{(-1, 1)[i // 2]}" for i in range(4)]
    put_text(tmp_path / "list_attr.csv", "image_id,Eyeglasses,Male", *lines)
    draft = ray_audit.init(tmp_path)
    assert any("Male would be audits of their own" in item for item in draft.assumed)
    expected = {f"{i}.jpg": ("no", "yes")[i % 2] for i in range(4)}
    same(draft.specification["dataset"], expected)


def test_numbers_of_classes_that_lie_apart_are_listed(tmp_path):
    expected = {}
    for index in range(6):
        photo(tmp_path / f"images/{index}.jpg", index)
        expected[f"{index}.jpg"] = f"class_{(7, 90, 104)[index % 3]}"
    lines = [f"{i}.jpg,{(7, 90, 104)[i % 3]}" for i in range(6)]
    put_text(tmp_path / "labels.csv", "image,label", *lines)
    dataset = drafted(tmp_path)
    assert dataset["classes"] == ["class_7", "class_90", "class_104"]
    same(dataset, expected)


@pytest.mark.parametrize(
    ("values", "key", "classes"),
    [
        ([0, 128, 255], "values", ["class_0", "class_128", "class_255"]),  # REFUGE
        ([1, 2, 3], "first_value", ["class_1", "class_2", "class_3"]),  # Oxford-IIIT Pet
    ],
)
def test_grey_steps_and_numbers_from_1_are_classes(tmp_path, values, key, classes):
    expected = {}
    for index in range(3):
        photo(tmp_path / f"images/{index}.jpg", index, SHAPE)
        drawn = mask(index, values)
        put_image(tmp_path / f"masks/{index}.png", drawn)
        expected[f"{index}.jpg"] = np.searchsorted(values, drawn)
    dataset = drafted(tmp_path)
    assert key in dataset["labels"]
    assert dataset["classes"] == classes
    same(dataset, expected)


def test_masks_that_count_their_objects_are_asked_about(tmp_path):
    """As GlaS is published: 3 is the third gland."""
    for index in range(3):
        photo(tmp_path / f"train_{index}.bmp", index, SHAPE)
        drawn = np.resize(np.arange(4 + index, dtype=np.uint8), SHAPE)
        put_image(tmp_path / f"train_{index}_anno.bmp", drawn)
    draft = ray_audit.init(tmp_path)
    assert any("whether values number objects" in question for question in draft.asked)
    assert "//" not in draft.specification["dataset"]["uri"]


def test_stacks_of_pages_are_slices(tmp_path):
    """As ISBI 2012 is published."""
    drawn = mask(0, [0, 255], (3, *SHAPE))
    pixels = np.random.default_rng(0).integers(0, 256, (3, *SHAPE), np.uint8)
    tifffile.imwrite(tmp_path / "train-volume.tif", pixels, photometric="minisblack")
    tifffile.imwrite(tmp_path / "train-labels.tif", drawn, photometric="minisblack")
    tifffile.imwrite(tmp_path / "test-volume.tif", pixels, photometric="minisblack")
    dataset = drafted(tmp_path)
    assert dataset["volume"] == {}
    same(dataset, {f"train-volume.tif#{k}": drawn[k] // 255 for k in range(3)})


def test_volumes_and_their_labels_in_one_folder_go_by_their_numbers(tmp_path):
    """As LiTS is published."""
    expected = {}
    for number in (0, 1, 10):
        labels = mask(number, [0, 1, 2], (6, 7, 2))
        values = np.random.default_rng(number).integers(-900, 900, (6, 7, 2)).astype(np.int16)
        nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / f"volume-{number}.nii")
        nib.save(nib.Nifti1Image(labels, np.eye(4)), tmp_path / f"segmentation-{number}.nii")
        expected |= {f"volume-{number}.nii#{k}": labels[..., k] for k in range(2)}
    same(drafted(tmp_path), expected)


COLOURS = {"tissue": (0, 0, 0), "shaft": (0, 255, 0), "kidney": (125, 255, 12)}


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        (
            "labels.json",
            [json.dumps([{"name": n, "color": c, "classid": 7} for n, c in COLOURS.items()])],
        ),
        (
            "class_dict.csv",
            ["name,r,g,b", *(f"{n},{r}, {g}, {b}" for n, (r, g, b) in COLOURS.items())],
        ),
        ("label_colors.txt", [f"{r} {g} {b}\t\t{n}" for n, (r, g, b) in COLOURS.items()]),
    ],
)
def test_colours_have_the_names_that_a_file_gives_them(tmp_path, name, lines):
    """As EndoVis 2018, DeepGlobe and CamVid are published."""
    expected, names = {}, list(COLOURS)
    for index in range(3):
        photo(tmp_path / f"seq_{index % 2}/left_frames/{index}.png", index, SHAPE)
        drawn = mask(index, [0, 1, 2])
        put_image(
            tmp_path / f"seq_{index % 2}/labels/{index}.png",
            np.array(list(COLOURS.values()), np.uint8)[drawn],
        )
        expected[f"seq_{index % 2}/left_frames/{index}.png"] = drawn
    put_text(tmp_path / name, *lines)
    dataset = drafted(tmp_path)
    assert dataset["classes"] == names
    same(dataset, expected)


def test_images_and_labels_in_two_files_of_arrays(tmp_path):
    """As PatchCamelyon is published."""
    labels = np.array([0, 1, 0, 1, 1], np.uint8)
    for part in ("train", "valid"):
        with h5py.File(tmp_path / f"level_2_split_{part}_x.h5", "w") as file:
            file["x"] = np.zeros((5, 8, 9, 3), np.uint8)
        with h5py.File(tmp_path / f"level_2_split_{part}_y.h5", "w") as file:
            file["y"] = labels.reshape(5, 1, 1, 1)
    same(drafted(tmp_path), {f"level_2_split_train_x.h5#{i}": k for i, k in enumerate(labels)})


@pytest.mark.parametrize(("label", "prefix"), [("label", ""), ("action", "v_")])
def test_segments_of_a_document_are_recognised(tmp_path, label, prefix):
    """As COIN and YouCook2 are published."""
    expected, database = {}, {}
    for name in ("ab1", "cd2"):
        small_video(tmp_path / f"videos/{prefix}{name}.mp4", 50)  # 25 a second
        spans = [([0.0, 0.8], "put"), ([0.8, 2.0], "unfold")]
        segments = [{"id": "1", "segment": span, label: step} for span, step in spans]
        database[name] = {"subset": "training", "annotation": segments}
        key = f"{prefix}{name}.mp4"
        expected |= {f"{key}#{t}": "put" if t < 20 else "unfold" for t in range(50)}
    put_text(tmp_path / "COIN.json", json.dumps({"database": database}))
    same(drafted(tmp_path), expected)


def test_the_index_of_pandas_is_no_row_and_an_empty_label_is_void(tmp_path):
    """As CheXpert is published: -1 is uncertain, and blank is not mentioned."""
    found = {0: "1.0", 1: "0.0", 2: "-1.0", 3: ""}
    for index in range(8):
        photo(tmp_path / f"train/patient{index}/study1/view1.jpg", index)
    lines = [f"{i},train/patient{i}/study1/view1.jpg,F,{60 + i},{found[i % 4]}" for i in range(8)]
    put_text(tmp_path / "train.csv", ",Path,Sex,Age,Cardiomegaly", *lines)
    key = "patient{}/study1/view1.jpg"
    expected = {key.format(i): ("class_1", "class_0")[i % 4] for i in (0, 1, 4, 5)}
    same(drafted(tmp_path), expected)


def test_the_first_of_several_volumes_is_asked_about(tmp_path):
    """As task 1 of the Medical Segmentation Decathlon is published."""
    labels = mask(0, [0, 1], (6, 7, 2))
    values = np.zeros((6, 7, 2, 4), np.uint8)
    for folder, stored in (("imagesTr", values), ("labelsTr", labels)):
        (tmp_path / folder).mkdir()
        nib.save(nib.Nifti1Image(stored, np.eye(4)), tmp_path / f"{folder}/BRATS_001.nii.gz")
    put_text(tmp_path / "dataset.json", '{"labels": {"0": "background", "1": "tumour"}}')
    draft = ray_audit.init(tmp_path)
    assert any("which of the 4 volumes along the fourth axis" in text for text in draft.asked)
    dataset = draft.specification["dataset"]
    assert dataset["volume"]["channel"] == 0
    same(dataset, {f"BRATS_001.nii.gz#{k}": labels[..., k] for k in range(2)})


@pytest.mark.parametrize("ending", ["npz", "h5", "mat"])
def test_a_file_of_features_and_labels_for_each_video(tmp_path, ending):
    expected, columns = {}, np.zeros((4, 9), np.float32)
    for number, name in enumerate(("v1", "v2")):
        labels = (np.arange(9) + number) // 3 % 3
        arrays, path = {"feats": columns, "gt": labels}, tmp_path / f"{name}.{ending}"
        if ending == "npz":
            np.savez(path, **arrays)
        elif ending == "mat":
            savemat(path, arrays)
        else:
            with h5py.File(path, "w") as file:
                file["feats"], file["gt"] = columns, labels
        expected |= {f"{name}.{ending}#feats#{t}": k for t, k in enumerate(labels.tolist())}
    dataset = drafted(tmp_path)
    assert dataset["axes"] == "DT"
    same(dataset, expected)


def test_three_equal_channels_are_one(tmp_path):
    expected = {}
    for index in range(3):
        photo(tmp_path / f"images/{index}.png", index, SHAPE)
        drawn = mask(index, [0, 1, 2])
        put_image(tmp_path / f"masks/{index}.png", np.repeat(drawn[..., None], 3, axis=2))
        expected[f"{index}.png"] = drawn
    dataset = drafted(tmp_path)
    assert dataset["classes"] == ["class_0", "class_1", "class_2"]
    same(dataset, expected)


def inspected(root, titles, numbers=range(12)):
    """Pictures of two cameras, numbered in turn, with a table of verdicts and who gave them."""
    rows = [",".join(titles)]
    for number in numbers:
        name = f"line{number % 2}/cap_{number:04d}.png"
        if number % 2:
            photo(root / "photos" / name, number)
        else:  # a dull camera, of few colours
            put_image(root / "photos" / name, mask(number, [40, 80], (6, 7)))
        rows.append(f"{name},{('ok', 'dented', 'bent')[number % 3]},{('anna', 'ben')[number // 6]}")
    put_text(root / "inspection.csv", *rows)
    return ray_audit.init(root)


def test_a_picture_of_another_number_is_not_taken_for_the_mask_of_one(tmp_path):
    draft = inspected(tmp_path / "set", ("file", "verdict", "inspector"))
    assert draft.specification["dataset"]["labels"] == {
        "images": f"{tmp_path}/set/inspection.csv",
        "columns": {"image": "file", "label": "verdict"},
    }
    assert not any("which column" in question for question in draft.asked)


def test_which_column_is_the_label_is_asked_where_no_title_tells(tmp_path):
    draft = inspected(tmp_path / "set", ("file", "found", "shift"))
    (question,) = [each for each in draft.asked if "which column" in each]
    assert question.endswith("here it is 'shift', and 'found' would do as well")


def test_a_photo_of_many_colours_is_no_mask_unless_its_name_says_so(tmp_path):
    for number in range(4):
        put_image(tmp_path / f"set/a/x{number}.png", many_colours(number, 2000))
        put_image(tmp_path / f"set/b/x{number}.png", many_colours(number, 500))
    draft = ray_audit.init(tmp_path / "set")
    assert draft.specification["dataset"]["labels"] == {"folder": True}


def many_colours(seed, num):
    colours = np.random.default_rng(seed).integers(0, 256, (num, 3), np.uint8)
    return colours[np.arange(64 * 64) % num].reshape(64, 64, 3)


def test_a_table_of_names_that_lie_in_several_folders_is_named(tmp_path):
    for index in range(12):
        photo(tmp_path / f"img/{'ab'[index % 2]}/x{index // 2}.png", index)
    rows = "".join(f"x{index}.png,{'pq'[index % 2]}\n" for index in range(6))
    put_text(tmp_path / "labels.csv", f"image,label\n{rows}")
    draft = ray_audit.init(tmp_path)
    assert draft.specification["dataset"]["labels"] == {"folder": True}
    (said,) = [text for text in draft.assumed if "labels.csv" in text]
    assert "x0.png, which lie in several folders" in said
