"""Labels that count on a clock of their own: read as frames, and written back as they were."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ray_audit.config import AuditConfig, LabelsConfig
from ray_audit.errors import LabelError, SpecificationError
from ray_audit.formats.label_changes import FrameChange, LabelChanges
from ray_audit.formats.labels.given import GivenLabels
from ray_audit.formats.labels.writing import write_tables
from ray_audit.sample_ids import Owner
from ray_audit.training.inject import inject
from tests.support.media import cut, dataset, listed, write_groups

NUM_FRAMES, FPS = 60, 25
QUIET = {"x264-params": "keyint=12:log-level=none"}


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_groups(tmp_path_factory.mktemp("clock") / "v.mp4", "libx264", QUIET)


def labels_of(result):
    """A letter a frame; - where it has none."""
    by_frame = {row["frame_index"]: "abc"[row["label"]] for row in result.rows}
    return "".join(by_frame.get(frame, "-") for frame in range(NUM_FRAMES))


def read(video, folder, text, form="segments", suffix="csv", **labels):
    table = folder / f"labels.{suffix}"
    table.write_text(text)
    config = dataset("video", video, {form: str(table), **labels}, clip={"frames": 8})
    return config, labels_of(cut(config, folder))


THIRDS = "a" * 20 + "b" * 20 + "c" * 20


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        (
            "video,start_frame,end_frame,label\nv,1,20,a\nv,21,40,b\nv,41,60,c\n",
            {"first_frame": 1, "ends": "inclusive"},
        ),
        (
            "video,start_frame,end_frame,label\nv,0,19,a\nv,20,39,b\nv,40,59,c\n",
            {"ends": "inclusive"},
        ),
        ("video,start_frame,end_frame,label\nv,1,21,a\nv,21,41,b\nv,41,61,c\n", {"first_frame": 1}),
        ("video,start_frame,end_frame,label\nv,0,8,a\nv,8,16,b\nv,16,24,c\n", {"fps": 10}),
        (
            "video,start_s,end_s,label\nv,00:00:00.00,00:00:00.80,a\nv,00:00:00.80,00:00:01.60,b\n"
            "v,00:00:01.60,00:00:02.40,c\n",
            {},
        ),
        (
            'video,from,to,label\nv,0:00,"0:00,8",a\nv,"0:00,8",0:01.6,b\nv,0:01.6,0:02.4,c\n',
            {"columns": {"start_s": "from", "end_s": "to"}},
        ),
        ("video,start_ms,end_ms,label\nv,0,800,a\nv,800,1600,b\nv,1600,2400,c\n", {}),
    ],
)
def test_segments_on_any_clock_are_the_same_frames(video, tmp_path, text, labels):
    assert read(video, tmp_path, text, **labels)[1] == THIRDS


def test_a_row_a_second_from_one_stands_for_that_second(video, tmp_path):
    text = "video,frame,label\nv,1,a\nv,2,b\nv,3,c\n"
    _, result = read(video, tmp_path, text, "frames", fps=1, first_frame=1)
    assert result == "a" * 25 + "b" * 25 + "c" * 10


def test_frames_from_one(video, tmp_path):
    rows = "".join(f"v,{k + 1},{label}\n" for k, label in enumerate(THIRDS))
    assert read(video, tmp_path, f"video,frame,label\n{rows}", "frames", first_frame=1)[1] == THIRDS
    with pytest.raises(LabelError, match="frame is 0, expected a whole number from 1"):
        read(video, tmp_path, "video,frame,label\nv,0,a\n", "frames", first_frame=1)


@pytest.mark.parametrize("overlap", ["first", "last", "drop"])
@pytest.mark.parametrize("template", [False, True])
def test_overlaps_are_what_the_specification_says(video, tmp_path, overlap, template):
    expected = {
        "first": "a" * 40 + "c" * 20,
        "last": "a" * 10 + "b" * 20 + "a" * 10 + "c" * 20,
        "drop": "a" * 10 + "-" * 20 + "a" * 10 + "c" * 20,
    }[overlap]
    rows = [(0, 40, "a"), (10, 30, "b"), (40, 60, "c")]
    if template:
        text = "start_frame,end_frame,label\n" + "".join(f"{a},{b},{k}\n" for a, b, k in rows)
        (tmp_path / "v.csv").write_text(text)
        labels = {"segments": f"{tmp_path}/{{stem}}.csv", "overlap": overlap}
        assert labels_of(cut(dataset("video", video, labels), tmp_path)) == expected
        return
    text = "video,start_frame,end_frame,label\n" + "".join(f"v,{a},{b},{k}\n" for a, b, k in rows)
    assert read(video, tmp_path, text, overlap=overlap)[1] == expected
    with pytest.raises(LabelError, match="overlap"):
        read(video, tmp_path, text)


def test_a_frame_that_is_labelled_twice_has_the_label_that_holds(video, tmp_path):
    text = "video,frame,label\nv,0,a\nv,1,a\nv,1,b\nv,2,c\n"
    for overlap, expected in (("first", "aac"), ("last", "abc"), ("drop", "a-c")):
        assert read(video, tmp_path, text, "frames", overlap=overlap)[1][:3] == expected


@pytest.mark.parametrize(
    ("form", "labels"),
    [("videos", {"fps": 1}), ("videos", {"first_frame": 1}), ("frames", {"ends": "inclusive"})],
)
def test_clocks_go_with_labels_along_time(form, labels):
    with pytest.raises(ValueError, match=r"go(es)? with"):
        LabelsConfig.model_validate({form: "x.csv", **labels})


def test_times_have_no_frame_numbers(video, tmp_path):
    text = "video,start_s,end_s,label\nv,0,1,a\n"
    for labels in ({"fps": 1}, {"first_frame": 1}, {"ends": "inclusive"}):
        with pytest.raises(LabelError, match="go with frame numbers"):
            read(video, tmp_path, text, **labels)


def corrected(config, folder, frames, label):
    """The copy of the labels after some frames got another class, and what it is read as."""
    shards = tuple(listed(config, folder).shards)
    given = GivenLabels(config, shards, str(folder / "index"))
    change = FrameChange(np.array(frames), np.full(len(frames), label, np.int32))
    changes = LabelChanges(frames={Owner("v.mp4"): change}, times=given.times)
    copy = write_tables(config, shards, changes, str(folder / "copy"), lambda *progress: None)
    return copy, labels_of(cut(copy, folder))


@pytest.mark.parametrize(
    ("text", "labels", "first_row"),
    [
        (
            "video,start_frame,end_frame,label\nv,1,20,a\nv,21,40,b\nv,41,60,c\n",
            {"first_frame": 1, "ends": "inclusive"},
            "v,1,15,a",
        ),
        (
            "video,start_frame,end_frame,label\nv,0,8,a\nv,8,16,b\nv,16,24,c\n",
            {"fps": 10},
            "v,0,6,a",
        ),
        (
            "video,start_s,end_s,label\nv,00:00:00.00,00:00:00.80,a\nv,00:00:00.80,00:00:01.60,b\n"
            "v,00:00:01.60,00:00:02.40,c\n",
            {},
            "v,00:00:00.00,00:00:00.600,a",
        ),
        ("video,start_ms,end_ms,label\nv,0,800,a\nv,800,1600,b\nv,1600,2400,c\n", {}, "v,0,600,a"),
    ],
)
def test_corrected_segments_are_written_on_the_clock_that_they_came_on(
    video, tmp_path, text, labels, first_row
):
    config, _ = read(video, tmp_path, text, **labels)
    copy, result = corrected(config, tmp_path, range(15, 20), 1)
    assert result == "a" * 15 + "b" * 25 + "c" * 20
    lines = (tmp_path / "copy/labels.csv").read_text().splitlines()
    assert lines[1] == first_row
    assert lines[-1] == text.splitlines()[-1]
    assert copy.labels.model_dump(exclude={"segments"}) == config.labels.model_dump(
        exclude={"segments"}
    )


def test_a_row_a_second_gets_the_label_that_most_of_its_frames_get(video, tmp_path):
    text = "video,frame,label\nv,1,a\nv,2,b\nv,3,c\n"
    config, _ = read(video, tmp_path, text, "frames", fps=1, first_frame=1)
    _, result = corrected(config, tmp_path, [*range(20, 25), *range(25, 45)], 2)
    assert result == "a" * 25 + "c" * 35


def test_frames_from_one_are_corrected_from_one(video, tmp_path):
    rows = "".join(f"v,{k + 1},{label}\n" for k, label in enumerate(THIRDS))
    config, _ = read(video, tmp_path, f"video,frame,label\n{rows}", "frames", first_frame=1)
    assert corrected(config, tmp_path, [0, 59], 1)[1] == "b" + THIRDS[1:-1] + "b"


def test_a_boundary_between_two_whole_numbers_is_no_integer(video, tmp_path):
    table = pa.table({"video": ["v"], "start_frame": [0], "end_frame": [24], "label": ["a"]})
    pq.write_table(table, tmp_path / "labels.parquet")
    labels = {"segments": str(tmp_path / "labels.parquet"), "fps": 10}
    config = dataset("video", video, labels)
    with pytest.raises(LabelError, match="between two whole numbers"):
        corrected(config, tmp_path, range(3), 1)


def test_overlapping_segments_are_not_cut(video, tmp_path):
    text = "video,start_frame,end_frame,label\nv,0,40,a\nv,10,30,b\nv,40,60,c\n"
    config, _ = read(video, tmp_path, text, overlap="last")
    with pytest.raises(LabelError, match="cut them apart"):
        corrected(config, tmp_path, range(3), 1)


def test_sequences_with_frames_a_second_take_labels_in_seconds(tmp_path):
    np.save(tmp_path / "v.npy", np.zeros((24, 3), np.float32))
    (tmp_path / "s.csv").write_text("video,start_s,end_s,label\nv,0,0.8,a\nv,0.8,2.4,b\n")
    labels = {"segments": str(tmp_path / "s.csv")}
    with pytest.raises((LabelError, SpecificationError), match=r"dataset\.fps"):
        listed(dataset("sequences", tmp_path / "v.npy", labels), tmp_path)
    config = dataset("sequences", tmp_path / "v.npy", labels, fps=10)
    result = cut(config, tmp_path)
    assert [row["label"] for row in result.rows] == [0] * 8 + [1] * 16
    assert result.failures == []
    given = GivenLabels(config, tuple(listed(config, tmp_path).shards), str(tmp_path / "index"))
    frames, classes = given.sequence(Owner("v.npy"))
    assert (len(frames), classes.tolist()) == (24, [0] * 8 + [1] * 16)
    (tmp_path / "f.csv").write_text("video,frame,label\nv,0,a\nv,1,b\nv,2,c\n")
    labels = {"frames": str(tmp_path / "f.csv"), "fps": 1}
    result = cut(dataset("sequences", tmp_path / "v.npy", labels, fps=10), tmp_path)
    assert [row["label"] for row in result.rows] == [0] * 10 + [1] * 10 + [2] * 4


@pytest.fixture(scope="module")
def long_video(tmp_path_factory):
    path = tmp_path_factory.mktemp("long") / "v.mp4"
    return write_groups(path, "libx264", QUIET, num_frames=12 * FPS + 10, size=(16, 16))


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("form", ["frames", "segments"])
@pytest.mark.parametrize("slice_frames", [None, 60])
def test_frame_numbers_that_are_seconds_are_refused(
    long_video, tmp_path, form, first, slice_frames
):
    if form == "frames":
        text = "video,frame,label\n" + "".join(f"v,{k + first},a\n" for k in range(12))
    else:
        text = f"video,start_frame,end_frame,label\nv,{first},5,a\nv,5,12,b\n"
    (tmp_path / "l.csv").write_text(text)
    labels = {form: str(tmp_path / "l.csv")}
    clip = {"frames": 4, "slice_frames": slice_frames}
    result = cut(dataset("video", long_video, labels, clip=clip), tmp_path)
    num_labels = 12 - first if form == "segments" else 12
    assert result.ids == []
    assert result.failed == [("v.mp4", "label_clock", num_labels)]
    assert result.failures[0].stage == "labels"
    assert "labels.fps: 1" in result.failures[0].message
    own = cut(dataset("video", long_video, labels | {"fps": 25}, clip=clip), tmp_path)
    assert len(own.ids) == num_labels
    assert own.tails[0].remarks == (("few_labels", "v.mp4"),)
    seconds = cut(dataset("video", long_video, labels | {"fps": 1}, clip=clip), tmp_path)
    assert len(seconds.ids) == min(num_labels * FPS, 310 - first * FPS)
    assert seconds.tails[0].remarks == ()


def test_each_nth_frame_is_no_clock_of_its_own(long_video, tmp_path):
    text = "video,frame,label\n" + "".join(f"v,{k},a\n" for k in range(0, 310, FPS))
    (tmp_path / "l.csv").write_text(text)
    labels = {"frames": str(tmp_path / "l.csv")}
    for every, remarks in ((1, (("few_labels", "v.mp4"),)), (FPS, ())):
        clip = {"frames": 4, "every": every}
        result = cut(dataset("video", long_video, labels, clip=clip), tmp_path)
        assert len(result.ids) == 13
        assert result.tails[0].remarks == remarks


def test_rows_that_stand_for_several_frames_take_no_planted_errors(video, tmp_path):
    (tmp_path / "l.csv").write_text("video,frame,label\nv,0,a\nv,1,b\nv,2,c\n")
    labels = {"frames": str(tmp_path / "l.csv"), "fps": 1}
    values = {
        "dataset": dataset("video", video, labels).model_dump(),
        "model": {"factory": "tests.support.tiny_models:FrameModel"},
        "checkpoints": "none*.safetensors",
        "output": str(tmp_path / "out"),
    }
    with pytest.raises(SpecificationError, match="stands for several frames"):
        inject(AuditConfig.parse(values), str(tmp_path / "copy"), 0.1)


@pytest.mark.parametrize(
    ("form", "header", "row"),
    [
        ("segments", "video,start_frame,end_frame,label", "v,00:00,00:10,a"),
        ("segments", "video,start_ms,end_ms,label", "v,00:00:05,00:00:10,a"),
        ("frames", "video,frame,label", "v,00:00:39,a"),
    ],
)
def test_a_time_is_no_number_of_a_frame_and_no_milliseconds(form, header, row, tmp_path):
    np.save(tmp_path / "v.npy", np.zeros((40, 2), np.float32))
    (tmp_path / "t.csv").write_text(f"{header}\n{row}\n")
    config = dataset("sequences", tmp_path / "v.npy", {form: str(tmp_path / "t.csv")}, fps=10)
    with pytest.raises(LabelError, match=r"row 1: .* is '00:00\S*', a time, .*columns\.start_s"):
        listed(config, tmp_path)
