"""Classes in names of files, in folders further up, and of folders of frames; all are written."""

import re

import pytest

import ray_audit
from ray_audit.config import DatasetConfig
from ray_audit.corrections.write_labels import check_writable, write_labels
from ray_audit.errors import LabelError
from ray_audit.formats.label_changes import LabelChanges
from ray_audit.sample_ids import Owner
from tests.support.label_sets import listed
from tests.support.published import labels_of
from tests.support.published.built import photo

CLASSES = ["cat", "dog"]


def names_of_files(folder):
    for index in range(6):
        photo(folder / f"train/{CLASSES[index % 2]}.{index}.jpg", index)
    return {f"{CLASSES[index % 2]}.{index}.jpg": index % 2 for index in range(6)}


def higher_folders(folder):
    """As Tiny ImageNet is published, with a table of boxes in each folder."""
    expected = {}
    for index, wnid in enumerate(CLASSES):
        for number in range(3):
            key = f"{wnid}/images/{wnid}_{number}.JPEG"
            photo(folder / "train" / key, number)
            expected[key] = index
        lines = [f"{wnid}_{number}.JPEG\t0\t10\t63\t58\n" for number in range(3)]
        (folder / f"train/{wnid}/{wnid}_boxes.txt").write_text("".join(lines))
    return expected


@pytest.mark.parametrize("build", [names_of_files, higher_folders])
def test_init_finds_the_classes_and_a_correction_renames_the_file(tmp_path, build):
    expected = build(tmp_path / "set")
    dataset = ray_audit.init(tmp_path / "set").specification["dataset"]
    assert dataset["classes"] == CLASSES
    config = DatasetConfig.model_validate(dataset)
    assert labels_of(config) == expected
    key = min(expected)
    assert expected[key] == 0
    changes = LabelChanges(classes={Owner(key): 1})
    listing, _ = listed(config)
    check_writable(config, listing, str(tmp_path / "to"))
    written = write_labels(config, listing, changes, str(tmp_path / "to"))
    after = labels_of(written.dataset)
    new = written.renamed[key]
    assert re.sub("cat", "dog", key, count=1) == new
    assert after == {name: k for name, k in expected.items() if name != key} | {new: 1}


def test_a_folder_of_frames_moves_to_its_new_class_with_all_its_frames(tmp_path):
    for label in CLASSES:
        for clip in ("c0", "c1"):
            for frame in range(3):
                photo(tmp_path / f"set/{label}/{clip}/{frame:04d}.png", frame)
    values = {"kind": "video", "uri": f"{tmp_path}/set/*/*/", "labels": {"folder": True}}
    config = DatasetConfig.model_validate(values | {"classes": CLASSES, "fps": 5})
    listing, given = listed(config)
    before = {owner.key: label for owner, label in given.class_labels()}
    key = next(name for name in before if name.startswith("cat/c0"))
    changes = LabelChanges(classes={Owner(key): 1})
    check_writable(config, listing, str(tmp_path / "to"))
    written = write_labels(config, listing, changes, str(tmp_path / "to"))
    listing, given = listed(written.dataset)
    after = {owner.key: label for owner, label in given.class_labels()}
    new = written.renamed[key]
    assert after == {name: k for name, k in before.items() if name != key} | {new: 1}
    copied = sorted((tmp_path / "to/data" / new).iterdir())
    stored = sorted((tmp_path / "set" / key).iterdir())
    assert [p.name for p in copied] == [p.name for p in stored]
    assert [p.read_bytes() for p in copied] == [p.read_bytes() for p in stored]


def test_a_pattern_that_is_found_in_no_name_is_an_error(tmp_path):
    names_of_files(tmp_path)
    labels = {"folder": True, "match": r"^([a-z]+)_"}
    values = {"kind": "images", "uri": str(tmp_path / "train/*.jpg"), "labels": labels}
    with pytest.raises(LabelError, match="is found in none of the 6 keys"):
        listed(DatasetConfig.model_validate(values | {"classes": CLASSES}))


def test_files_in_which_the_pattern_is_not_found_have_no_label(tmp_path):
    expected = names_of_files(tmp_path)
    photo(tmp_path / "train/7.jpg", 7)
    labels = {"folder": True, "match": r"^([a-z]+)\."}
    values = {"kind": "images", "uri": str(tmp_path / "train/*.jpg"), "labels": labels}
    assert labels_of(DatasetConfig.model_validate(values | {"classes": CLASSES})) == expected
