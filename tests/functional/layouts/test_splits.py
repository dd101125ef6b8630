"""`dataset.split` over samples that lie in containers: only what it names is read, by any name."""

import numpy as np
import pytest

from ray_audit.config import DatasetConfig
from ray_audit.corrections.write_labels import write_labels
from ray_audit.errors import SpecificationError
from ray_audit.formats.label_changes import LabelChanges
from ray_audit.sample_ids import Owner
from tests.functional.layouts.test_archives import FOLDERS, packed, pictures
from tests.support.label_sets import (
    all_labels,
    array_images,
    arrow_column,
    dataset,
    hdf5_arrays,
    label_arrays,
    listed,
    parquet_column,
    tar_column,
    tar_json,
)
from tests.support.media import cut
from tests.support.published import images


def split_to(folder, config, *lines):
    (folder / "split.txt").write_text("\n".join(lines), encoding="utf-8")
    return config.model_copy(update={"split": str(folder / "split.txt")})


def archive_of_folders(folder):
    packed(folder / "t.zip", pictures(*FOLDERS))
    return dataset("images", f"zip://train/*/*.png::{folder}/t.zip", {"folder": True})


def tar_by_table(folder):
    config = tar_column(folder)
    (folder / "t.csv").write_text("image,label\n" + "".join(f"d/é{i},{i % 3}\n" for i in range(8)))
    return dataset("images", config.uri, {"images": str(folder / "t.csv")})


def idx_pair(folder):
    built = images.mnist_unpacked(folder)
    return DatasetConfig.model_validate(built.section(folder))


def by_an_array(folder):
    """Labels of all images, in order; the list takes some of them."""
    np.savez(folder / "x.npz", x=np.zeros((6, 4, 5, 3), np.uint8))
    np.save(folder / "y.npy", np.arange(6) % 3)
    labels = {"images": str(folder / "y.npy"), "image_column": "x"}
    return dataset("images", folder / "x.npz", labels)


CASES = {
    "IDX": (
        *(idx_pair, ["7", "train-images-idx3-ubyte#12"]),
        [f"train-images-idx3-ubyte#{i}" for i in (12, 7)],
    ),
    "labels in an array": (by_an_array, ["1", "4"], ["x.npz#1", "x.npz#4"]),
    "tar": (tar_column, ["d/é1.png", "é4"], ["t.tar#d/é1", "t.tar#d/é4"]),
    "tar.gz": (lambda f: tar_column(f, "tar.gz"), ["é7.cls"], ["t.tar.gz#d/é7"]),
    "folder of a tar": (tar_column, ["d"], [f"t.tar#d/é{i}" for i in range(8)]),
    "tar by a table": (tar_by_table, ["d/é2"], ["t.tar#d/é2"]),
    "tar with JSON": (tar_json, ["000", "t.tar#003"], ["t.tar#000", "t.tar#003"]),
    "Parquet by key": (
        lambda f: parquet_column(f, None, "id"),
        ["k01", "k19.png"],
        ["p0.parquet#k01", "p1.parquet#k19"],
    ),
    "Parquet by row": (parquet_column, ["p1.parquet#3"], ["p1.parquet#3"]),
    "one Parquet file": (
        *(parquet_column, ["p1"]),
        [f"p1.parquet#{i}" for i in range(10) if i != 5],
    ),
    "Arrow": (
        arrow_column,
        ["0", "9"],
        [f"data-00000-of-00001.arrow#{i}" for i in (0, 9)],
    ),
    "npz of images": (array_images, ["66", "3"], ["m.npz#3", "m.npz#66"]),
    "npz of sequences": (label_arrays, ["s1.npy", "s3"], ["s.npz#s1", "s.npz#s3"]),
    "HDF5, by groups": (hdf5_arrays, ["v0", "v4"], ["s.h5#v0/features", "s.h5#v4/features"]),
    "MATLAB 7.3": (lambda f: hdf5_arrays(f, matlab=True), ["v2"], ["s.mat#v2/features"]),
    "zip": (archive_of_folders, ["a/1.png", "c/0"], ["a/1.png", "c/0.png"]),
}


def samples_of(labels, config):
    return {key.rsplit("#", 1)[0] if config.task.is_sequence else key for key in labels}


@pytest.mark.parametrize("case", CASES)
def test_a_list_names_samples_in_containers(tmp_path, case):
    make, lines, names = CASES[case]
    (tmp_path / "set").mkdir()
    whole = make(tmp_path / "set")
    config = split_to(tmp_path, whole, *lines)
    every = all_labels(whole)
    expected = {
        key: label for key, label in every.items() if samples_of([key], config) <= set(names)
    }
    assert samples_of(expected, config) == set(names)
    assert all_labels(config) == expected
    result = cut(config, tmp_path)
    assert {row["sample_id"]: row["label"] for row in result.rows} == expected
    assert result.failures == []
    assert not result.filtered.keys() - {"p1.parquet#5"}  # it has no label


def test_a_list_that_changes_makes_other_units_of_the_containers_it_names(tmp_path):
    whole = parquet_column(tmp_path, None, "id")

    def digests(*lines):
        listing = listed(split_to(tmp_path, whole, *lines))[0]
        return {shard.key: (shard.etag, shard.label_digest) for shard in listing.shards}

    one, other = digests("k01", "k11"), digests("k01", "k12")
    assert one["p0.parquet"] == other["p0.parquet"]
    assert one["p1.parquet"] != other["p1.parquet"]
    assert digests("k01").keys() == {"p0.parquet"}


def test_a_line_that_names_nothing_in_a_container_is_counted_and_named(tmp_path):
    config = split_to(tmp_path, label_arrays(tmp_path), "s1", "s9", "x")
    notes = listed(config)[0].notes
    assert "2 of 3 lines of dataset.split match no file: s9, x" in notes
    with pytest.raises(SpecificationError, match="names none of the 1 files; its lines are s9"):
        listed(split_to(tmp_path, config, "s9"))
    with pytest.raises(SpecificationError, match=r"matches 2 of the dataset: p0.parquet#1"):
        listed(split_to(tmp_path, parquet_column(tmp_path), "1"))


def test_what_a_broken_container_hides_of_a_list_is_a_failure_and_is_counted(tmp_path):
    config = tar_column(tmp_path)
    whole = (tmp_path / "t.tar").read_bytes()
    (tmp_path / "t.tar").write_bytes(whole[: len(whole) // 2])
    config = split_to(tmp_path, config, "é0", "é6", "é7")
    assert any("2 lines of dataset.split" in note for note in listed(config)[0].notes)
    result = cut(config, tmp_path)
    assert [row["sample_id"] for row in result.rows] == ["t.tar#d/é0"]
    assert sum(failure.num_samples for failure in result.failures) == 2


def test_a_corrected_copy_of_a_container_holds_what_the_list_does_not_name_as_it_is(tmp_path):
    (tmp_path / "set").mkdir()
    whole = tar_column(tmp_path / "set")
    config = split_to(tmp_path, whole, "d/é0", "d/é1")
    changes = LabelChanges(classes={Owner("t.tar", "d/é0"): 2})
    written = write_labels(config, listed(config)[0], changes, str(tmp_path / "to"))
    assert all_labels(written.dataset) == {"t.tar#d/é0": 2, "t.tar#d/é1": 1}
    copy = written.dataset.model_copy(update={"split": None})
    assert all_labels(copy) == all_labels(whole) | {"t.tar#d/é0": 2}


def test_a_line_with_a_dot_names_no_file_that_is_called_as_its_beginning(tmp_path):
    packed(tmp_path / "t.zip", pictures("img/case1.png", "img/case2.png"))
    (tmp_path / "t.csv").write_text("image,label\ncase1,a\ncase2,b\n")
    labels = {"images": str(tmp_path / "t.csv")}
    config = dataset("images", f"zip://img/*.png::{tmp_path}/t.zip", labels)
    listing, _ = listed(split_to(tmp_path, config, "case1.v2", "case2.txt"))
    assert [shard.key for shard in listing.shards] == ["case2.png"]
    assert any("1 of 2 lines" in note and "case1.v2" in note for note in listing.notes)


def test_rows_of_one_name_are_not_taken_for_an_array_that_begins_so(tmp_path):
    np.savez(
        tmp_path / "x.npz", **{"clip1.v2": np.zeros((2, 3), "f4"), "clip2": np.zeros((2, 3), "f4")}
    )
    (tmp_path / "t.csv").write_text("video,frame,label\nclip1,0,a\nclip2,0,b\nclip2,1,b\n")
    config = dataset("sequences", tmp_path / "x.npz", {"frames": str(tmp_path / "t.csv")})
    assert all_labels(config) == {"x.npz#clip2#0": 1, "x.npz#clip2#1": 1}
