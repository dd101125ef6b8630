"""Zip archives, chains of them, and numbered shards: every label is read back."""

import zipfile

import fsspec
import numpy as np
import pytest

from ray_audit.config import DatasetConfig
from ray_audit.corrections.write_labels import check_writable, write_labels
from ray_audit.errors import SpecificationError, StorageError
from ray_audit.formats.label_changes import LabelChanges
from ray_audit.sample_ids import Owner
from tests.support.label_sets import all_labels, dataset, listed, tar_column
from tests.support.media import cut, noise, png


def packed(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def pictures(*names):
    return {name: png(noise(8, 8, index)) for index, name in enumerate(names)}


FOLDERS = [f"train/{name}/{index}.png" for name in "abc" for index in range(2)]
BY_FOLDER = {f"{name}/{index}.png": "abc".index(name) for name in "abc" for index in range(2)}


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("uri", ["{}/train.zip", "zip://train/*/*.png::{}/train.zip"])
def test_class_folders_in_an_archive(tmp_path, uri, compression):
    siblings = {"readme.txt": b"x", "__MACOSX/train/a/._0.png": b"x", "train/a/.DS_Store": b""}
    packed(tmp_path / "train.zip", pictures(*FOLDERS) | siblings, compression)
    config = dataset("images", uri.format(tmp_path), {"folder": True})
    assert all_labels(config) == BY_FOLDER
    result = cut(config, tmp_path)
    assert {row["sample_id"]: row["label"] for row in result.rows} == BY_FOLDER
    assert (result.failures, result.filtered) == ([], {})


def test_an_archive_in_a_store(tmp_path):
    packed(tmp_path / "t.zip", pictures(*FOLDERS))
    store = fsspec.filesystem("memory")
    store.pipe("/archives/t.zip", (tmp_path / "t.zip").read_bytes())
    uri = "zip://train/*/*.png::memory://archives/t.zip"
    config = dataset("images", uri, {"folder": True})
    assert all_labels(config) == BY_FOLDER
    assert len(cut(config, tmp_path).rows) == 6
    store.rm("/archives", recursive=True)


def test_masks_beside_their_images_in_an_archive_are_read_and_written(tmp_path):
    values = {index: np.arange(64).reshape(8, 8) % (index + 2) for index in range(2)}
    masks = {f"masks/{i}.png": png(value.astype(np.uint8)) for i, value in values.items()}
    packed(tmp_path / "t.zip", pictures("images/0.png", "images/1.png") | masks)
    labels = {"masks": f"zip://masks/{{stem}}.png::{tmp_path}/t.zip"}
    config = dataset("images", f"zip://images/*.png::{tmp_path}/t.zip", labels)
    before = all_labels(config)
    assert {key: value.tolist() for key, value in before.items()} == {
        f"{i}.png": value.tolist() for i, value in values.items()
    }
    new = np.where(values[1] == 1, 2, values[1])
    changes = LabelChanges(mask=lambda owner: new if owner.shard_key == "1.png" else None)
    written = write_labels(config, listed(config)[0], changes, str(tmp_path / "to"))
    after = all_labels(written.dataset)
    assert np.array_equal(after["0.png"], values[0])
    assert np.array_equal(after["1.png"], new)


def test_a_table_within_an_archive(tmp_path):
    table = "image,label\n" + "".join(f"{i}.png,{'abc'[i]}\n" for i in range(3))
    members = pictures("i/0.png", "i/1.png", "i/2.png") | {"labels.csv": table}
    packed(tmp_path / "t.zip", members)
    labels = {"images": f"zip://labels.csv::{tmp_path}/t.zip"}
    config = dataset("images", f"zip://i/*.png::{tmp_path}/t.zip", labels)
    assert all_labels(config) == {"0.png": 0, "1.png": 1, "2.png": 2}
    changes = LabelChanges(classes={Owner("1.png"): 2})
    written = write_labels(config, listed(config)[0], changes, str(tmp_path / "to"))
    assert all_labels(written.dataset) == {"0.png": 0, "1.png": 2, "2.png": 2}


def test_class_folders_of_an_archive_are_written_as_folders(tmp_path):
    packed(tmp_path / "t.zip", pictures(*FOLDERS))
    config = dataset("images", tmp_path / "t.zip", {"folder": True})
    changes = LabelChanges(classes={Owner("a/1.png"): 2})
    written = write_labels(config, listed(config)[0], changes, str(tmp_path / "to"))
    expected = {written.renamed.get(key, key): label for key, label in BY_FOLDER.items()}
    expected[written.renamed["a/1.png"]] = 2
    assert all_labels(written.dataset) == expected


def test_one_archive_of_several_that_is_damaged_is_left_out_of_a_copy(tmp_path):
    for name in "xy":
        packed(tmp_path / f"{name}.zip", pictures("a/0.png", "b/0.png"))
    whole = (tmp_path / "y.zip").read_bytes()
    (tmp_path / "y.zip").write_bytes(whole[: len(whole) // 2])
    config = dataset("images", tmp_path / "*.zip", {"folder": True})
    assert all_labels(config) == {"x.zip/a/0.png": 0, "x.zip/b/0.png": 1}
    changes = LabelChanges(classes={Owner("x.zip/a/0.png"): 2})
    written = write_labels(config, listed(config)[0], changes, str(tmp_path / "to"))
    assert "y.zip" in written.left_out
    assert sorted(all_labels(written.dataset).values()) == [1, 2]


def test_a_member_that_is_damaged_is_a_failure_of_its_own(tmp_path):
    packed(tmp_path / "t.zip", pictures(*FOLDERS))
    content = bytearray((tmp_path / "t.zip").read_bytes())
    content[content.index(b"IDAT") + 8] ^= 255
    (tmp_path / "t.zip").write_bytes(content)
    result = cut(dataset("images", tmp_path / "t.zip", {"folder": True}), tmp_path)
    assert len(result.rows) == 5
    assert [(failure.sample_id, failure.error_class) for failure in result.failures] == [
        ("a/0.png", "decode")
    ]
    assert "Bad CRC-32" in result.failures[0].message


def test_an_archive_of_64_bit_sizes(tmp_path):
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as file:
        for name, content in pictures(*FOLDERS).items():
            with file.open(name, "w", force_zip64=True) as member:
                member.write(content)
    assert all_labels(dataset("images", tmp_path / "t.zip", {"folder": True})) == BY_FOLDER


def marked_as_encrypted(path):
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\1\2")
    content[at + 8] |= 1
    path.write_bytes(content)


@pytest.mark.parametrize("form", ["{}/t.zip", "zip://**/*.png::{}/t.zip"])
def test_what_cannot_be_read_from_an_archive_at_all_is_refused_in_a_sentence(tmp_path, form):
    config = dataset("images", form.format(tmp_path), {"folder": True})
    marked_as_encrypted(packed(tmp_path / "t.zip", pictures("a/0.png", "b/0.png")))
    with pytest.raises(StorageError, match=r"1 members are encrypted \(a/0\.png\)"):
        listed(config)
    packed(tmp_path / "t.zip", pictures("a/0.png", "b/../../0.png"))
    with pytest.raises(StorageError, match="lead out of it"):
        listed(config)
    packed(tmp_path / "t.zip", pictures("a/0.png", "a/1.png"))
    content = (tmp_path / "t.zip").read_bytes()
    (tmp_path / "t.zip").write_bytes(content.replace(b"a/1.png", b"a/0.png"))
    with pytest.raises(StorageError, match="there twice"):
        listed(config)
    (tmp_path / "t.zip").write_bytes(b"no archive")
    with pytest.raises((SpecificationError, StorageError), match="zip archive"):
        listed(config)


@pytest.mark.parametrize(
    "uri",
    ["simplecache::s3://b/x.png", "tar://x/*.png::s3://b/t.tar", "zip://x::zip://y.zip::s3://b/z"],
)
def test_other_chains_are_refused(uri):
    values = {"kind": "images", "uri": uri, "labels": {"folder": True}, "classes": ["a"]}
    with pytest.raises((SpecificationError, ValueError), match="chains filesystems"):
        DatasetConfig.model_validate(values)


def test_shards_by_number(tmp_path):
    config = tar_column(tmp_path)
    for number in (8, 9, 10):
        (tmp_path / f"s-{number:03d}.tar").write_bytes((tmp_path / "t.tar").read_bytes())
    numbered = dataset("images", tmp_path / "s-{008..010}.tar", {"column": "cls"})
    of_one = {key.partition("#")[2]: label for key, label in all_labels(config).items()}
    assert all_labels(numbered) == {
        f"s-{number:03d}.tar#{key}": label for number in (8, 9, 10) for key, label in of_one.items()
    }
    owner = Owner("s-009.tar", next(iter(of_one)))
    changes = LabelChanges(classes={owner: 2})
    check_writable(numbered, listed(numbered)[0], str(tmp_path / "to"))
    written = write_labels(numbered, listed(numbered)[0], changes, str(tmp_path / "to"))
    assert all_labels(written.dataset) == all_labels(numbered) | {owner.key: 2}
    with pytest.raises(StorageError, match=r"s-007\.tar"):
        listed(dataset("images", tmp_path / "s-{007..010}.tar", {"column": "cls"}))
