"""Folders of numbered images as videos, and class folders of videos: every label is read back."""

import zipfile

import numpy as np
import pytest
from PIL import Image

from ray_audit.corrections.write_labels import write_labels
from ray_audit.errors import SpecificationError
from ray_audit.formats.label_changes import FrameChange, LabelChanges
from ray_audit.formats.show import show_stills
from ray_audit.formats.video.stills import stills_in
from ray_audit.sample_ids import Owner
from tests.support.label_sets import all_labels, dataset, listed
from tests.support.media import cut
from tests.support.small_sets import video


def frames(folder, numbers, name="frame_{:05d}.png", size=(6, 8)):
    folder.mkdir(parents=True)
    for number in numbers:
        pixels = np.full((*size, 3), number % 256, np.uint8)
        Image.fromarray(pixels).save(folder / name.format(number))


def table(path, rows, header="video,frame,label"):
    path.write_text("\n".join([header, *rows]) + "\n")
    return str(path)


def read(config, folder):
    result = cut(config, folder)
    assert result.failures == []
    return {row["sample_id"]: row["label"] for row in result.rows}


def test_a_files_number_is_its_frame_whatever_zeros_it_has(tmp_path):
    frames(tmp_path / "f/a", range(12), "frame{}.png")
    rows = [f"a,{t},{'abc'[t % 3]}" for t in range(12)]
    config = dataset(
        "video", f"{tmp_path}/f/*/", {"frames": table(tmp_path / "t.csv", rows)}, fps=2
    )
    expected = {f"a#{t}": t % 3 for t in range(12)}
    assert all_labels(config) == expected
    assert read(config, tmp_path) == expected
    batches = cut(config, tmp_path).batches
    assert batches[0].arrays["inputs"][0, :, 0, 0, 0].tolist() == list(range(12))
    assert [row["pts_s"] for row in cut(config, tmp_path).rows] == [t / 2 for t in range(12)]


@pytest.mark.parametrize(("first_frame", "ids"), [(1, range(8)), (0, range(1, 9))])
def test_files_and_labels_that_count_from_1(tmp_path, first_frame, ids):
    frames(tmp_path / "f/P01/P01_01", range(1, 9))
    rows = [f"P01_01,{t},{'abc'[t % 3]}" for t in range(1, 9)]
    labels = {"frames": table(tmp_path / "t.csv", rows), "first_frame": first_frame}
    config = dataset("video", f"{tmp_path}/f/*/*/", labels, fps=60)
    labels_by_id = {f"P01/P01_01#{i}": t % 3 for i, t in zip(ids, range(1, 9), strict=True)}
    assert read(config, tmp_path) == labels_by_id
    assert all_labels(config) == labels_by_id


def test_labels_from_0_of_files_from_1_are_not_taken_one_late(tmp_path):
    frames(tmp_path / "f/a", range(1, 9))
    rows = [f"a,{t},a" for t in range(8)]
    labels = {"frames": table(tmp_path / "t.csv", rows)}
    result = cut(dataset("video", f"{tmp_path}/f/*/", labels, fps=1), tmp_path)
    assert result.rows == []
    assert [(failure.error_class, failure.num_samples) for failure in result.failures] == [
        ("label_clock", 8)
    ]


def test_frames_that_are_not_there_take_their_labels_with_them(tmp_path):
    there = [3, 4, 5, 9, 10, 12]
    frames(tmp_path / "f/a", there, "img_{}.png")
    rows = [f"a,{t},{'abc'[t % 3]}" for t in range(14)]
    labels = {"frames": table(tmp_path / "t.csv", rows)}
    result = cut(dataset("video", f"{tmp_path}/f/*/", labels, fps=1), tmp_path)
    assert {row["sample_id"]: row["label"] for row in result.rows} == {
        f"a#{t}": t % 3 for t in there
    }
    assert sum(failure.num_samples for failure in result.failures) == 14 - len(there)
    assert {failure.error_class for failure in result.failures} == {"label_without_frame"}


def test_rows_in_order_and_seconds_begin_with_the_first_file(tmp_path):
    frames(tmp_path / "f/a", range(1, 7))
    (tmp_path / "a.txt").write_text("a\nb\nc\na\nb\nc\n")
    labels = {"frames": str(tmp_path / "{stem}.txt"), "header": ["label"]}
    config = dataset("video", f"{tmp_path}/f/*/", labels, fps=2)
    assert read(config, tmp_path) == {f"a#{t}": t % 3 for t in range(6)}
    header = "video,start_s,end_s,label"
    segments = {"segments": table(tmp_path / "s.csv", ["a,0,1.5,a", "a,1.5,3,c"], header)}
    config = dataset("video", f"{tmp_path}/f/*/", segments, fps=2)
    expected = {f"a#{t}": 0 if t < 4 else 2 for t in range(1, 7)}
    assert read(config, tmp_path) == expected
    assert all_labels(config) == expected
    listing, given = listed(config)
    changes = {Owner("a"): FrameChange(np.array([2]), np.array([2], np.int32))}
    changed = LabelChanges(frames=changes, times=given.times)
    written = write_labels(config, listing, changed, str(tmp_path / "to"))
    assert all_labels(written.dataset) == expected | {"a#2": 2}


def test_segments_of_epic_kitchens(tmp_path):
    frames(tmp_path / "rgb/P01/P01_01", range(1, 11), "frame_{:010d}.png")
    header = "narration_id,video_id,start_timestamp,start_frame,stop_frame,verb_class"
    rows = ["n0,P01_01,00:00:00.14,1,4,0", "n1,P01_01,00:00:00.14,3,8,2"]
    labels = {
        "segments": table(tmp_path / "EPIC_100_train.csv", rows, header),
        "columns": {"video": "video_id", "end_frame": "stop_frame", "label": "verb_class"},
        **{"first_frame": 1, "overlap": "first", "ends": "inclusive"},
    }
    config = dataset("video", f"{tmp_path}/rgb/*/*/", labels, fps=60)
    expected = {f"P01/P01_01#{t}": 0 if t < 4 else 2 for t in range(8)}
    assert read(config, tmp_path) == expected
    assert all_labels(config) == expected


def test_one_label_a_folder_and_a_damaged_image(tmp_path):
    for name in ("a", "b"):
        frames(tmp_path / f"f/{name}/v.1", range(4))
    config = dataset("video", f"{tmp_path}/f/*/*/", {"folder": True}, fps=1)
    assert all_labels(config) == {"a/v.1": 0, "b/v.1": 1}
    assert read(config, tmp_path) == {"a/v.1": 0, "b/v.1": 1}
    for path in (tmp_path / "f/b/v.1").iterdir():
        path.write_bytes(b"no image")
    result = cut(config, tmp_path)
    assert [row["sample_id"] for row in result.rows] == ["a/v.1"]
    assert [(failure.shard, failure.num_samples) for failure in result.failures] == [("b/v.1", 1)]


def test_what_comes_behind_a_damaged_image_is_lost_and_counted(tmp_path):
    frames(tmp_path / "f/a", range(6))
    (tmp_path / "f/a/frame_00003.png").write_bytes(b"no image")
    labels = {"frames": table(tmp_path / "t.csv", [f"a,{t},a" for t in range(6)])}
    result = cut(dataset("video", f"{tmp_path}/f/*/", labels, fps=1), tmp_path)
    assert [row["frame_index"] for row in result.rows] == [0, 1, 2]
    assert [(failure.shard, failure.num_samples) for failure in result.failures] == [("a", 3)]
    assert "frame_00003.png" in result.failures[0].message


def test_folders_in_an_archive(tmp_path):
    frames(tmp_path / "f/a", range(4))
    with zipfile.ZipFile(tmp_path / "f.zip", "w") as file:
        for path in (tmp_path / "f/a").iterdir():
            file.write(path, f"f/a/{path.name}")
    labels = {"frames": table(tmp_path / "t.csv", [f"a,{t},a" for t in range(4)])}
    config = dataset("video", f"zip://f/*/::{tmp_path}/f.zip", labels, fps=1)
    assert read(config, tmp_path) == {f"a#{t}": 0 for t in range(4)}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a_1.png", "b_2.png"], "images of different names"),
        (["1_1.png", "2_2.png"], "differ in several numbers"),
        (["f1.png", "f01.png"], "have one number"),
    ],
)
def test_names_that_tell_no_order_are_a_failure_that_says_so(tmp_path, names, message):
    frames(tmp_path / "f/a", [])
    for name in names:
        Image.new("RGB", (4, 4)).save(tmp_path / "f/a" / name)
    labels = {"frames": table(tmp_path / "t.csv", ["a,0,a", "a,1,a"])}
    result = cut(dataset("video", f"{tmp_path}/f/*/", labels, fps=1), tmp_path)
    assert message in result.failures[0].message
    assert sum(failure.num_samples for failure in result.failures) == 2


def test_a_clock_is_asked_for(tmp_path):
    with pytest.raises((SpecificationError, ValueError), match="fps is missing"):
        dataset("video", f"{tmp_path}/f/*/", {"folder": True})


def test_the_report_shows_frames_of_folders(tmp_path):
    frames(tmp_path / "f/a", range(1, 5))
    labels = {"frames": table(tmp_path / "t.csv", ["a,1,a", "a,4,b"])}
    config = dataset("video", f"{tmp_path}/f/*/", labels, fps=1)
    (shard,) = listed(config)[0].shards
    shown = dict(show_stills(shard, config, {1, 4}, 100))
    assert {index: image.getpixel((0, 0))[0] for index, image in shown.items()} == {1: 1, 4: 4}
    assert [item.index for item in stills_in(shard.uri, config)] == [1, 2, 3, 4]


def test_class_folders_of_videos(tmp_path):
    for name in ("a", "b"):
        video(tmp_path / f"train/{name}/{name}_000001_000011.mp4", 8)
    config = dataset("video", tmp_path / "train/*/*.mp4", {"folder": True})
    expected = {f"{name}/{name}_000001_000011.mp4": k for k, name in enumerate("ab")}
    assert all_labels(config) == expected
    assert read(config, tmp_path) == expected
    changes = LabelChanges(classes={Owner("a/a_000001_000011.mp4"): 1})
    written = write_labels(config, listed(config)[0], changes, str(tmp_path / "to"))
    assert sorted(all_labels(written.dataset).values()) == [1, 1]


def _labels_in_order(folder, form, labels):
    """Labels without numbers in each form: the specification's keys."""
    if form == "rows":
        (folder / "a.txt").write_text("".join(f"{'abc'[label]}\n" for label in labels))
        return {"frames": f"{folder}/{{stem}}.txt", "header": ["label"]}
    values = np.array(labels, np.uint8)
    if form == "array":
        np.save(folder / "a.npy", values)
        return {"frames": f"{folder}/{{stem}}.npy"}
    np.save(folder / "a.npy", np.broadcast_to(values[:, None, None], (len(values), 6, 8)))
    return {"masks": f"{folder}/{{stem}}.npy"}


@pytest.mark.parametrize(
    ("form", "first_frame"), [("rows", 0), ("rows", 1), ("array", 0), ("array", 1), ("masks", None)]
)
def test_labels_without_numbers_are_of_the_files_in_their_order_where_one_is_missing(
    form, first_frame, tmp_path
):
    numbers = [1, 2, 3, 5, 6, 7, 10]
    frames(tmp_path / "f/a", numbers)
    classes = [number % 3 for number in numbers]
    labels = _labels_in_order(tmp_path, form, classes)
    if first_frame is not None:
        labels["first_frame"] = first_frame
    config = dataset("video", f"{tmp_path}/f/*/", labels, fps=1)
    result = cut(config, tmp_path)
    assert result.failures == []
    assert [row["sample_id"] for row in result.rows] == [f"a#{at}" for at in range(7)]
    (shard,) = listed(config)[0].shards
    stills = {still.index: int(still.pixels()[0, 0, 0]) for still in stills_in(shard.uri, config)}
    assert stills == dict(enumerate(numbers))
    if form == "masks":
        masks = np.concatenate([batch.arrays["targets"] for batch in result.batches])
        assert masks.reshape(len(numbers), -1).max(1).tolist() == classes
    else:
        expected = {f"a#{at}": label for at, label in enumerate(classes)}
        assert read(config, tmp_path) == all_labels(config) == expected
        assert [row["pts_s"] for row in result.rows] == [number - 1 for number in numbers]


@pytest.mark.parametrize("form", ["rows", "array", "masks"])
def test_more_labels_without_numbers_than_files_with_gaps_are_refused(form, tmp_path):
    frames(tmp_path / "f/a", [1, 2, 3, 5])
    labels = _labels_in_order(tmp_path, form, [0, 1, 2, 0, 1])
    result = cut(dataset("video", f"{tmp_path}/f/*/", labels, fps=1), tmp_path)
    assert result.rows == []
    assert [(failure.error_class, failure.num_samples) for failure in result.failures] == [
        ("label_clock", 5)
    ]


def test_a_dot_in_a_folders_name_begins_no_extension(tmp_path):
    frames(tmp_path / "f/clip1.5", range(3))
    frames(tmp_path / "f/clip2.mp4", range(3))
    for name, label in [("clip1", "a"), ("clip1.5", "b"), ("clip2", "c")]:
        table(tmp_path / f"{name}.csv", [f"{t},{label}" for t in range(3)], "frame,label")
    expected = {f"clip1.5#{t}": 1 for t in range(3)} | {f"clip2.mp4#{t}": 2 for t in range(3)}
    labels = {"frames": f"{tmp_path}/{{stem}}.csv"}
    assert all_labels(dataset("video", f"{tmp_path}/f/*/", labels, fps=1)) == expected
    rows = [
        f"{name},{t},{label}" for name, label in [("clip1", "a"), ("clip2", "c")] for t in (0, 1)
    ]
    config = dataset(
        "video", f"{tmp_path}/f/*/", {"frames": table(tmp_path / "t.csv", rows)}, fps=1
    )
    assert all_labels(config) == {"clip2.mp4#0": 2, "clip2.mp4#1": 2}
    assert any("match no shard: clip1" in note for note in listed(config)[0].notes)
