"""Slices of a video against the video in one piece."""

import av
import numpy as np
import pytest

from ray_audit.config import InputConfig
from ray_audit.cuts.batching import AUTO_BATCH, AutoBatch
from ray_audit.cuts.slices import slice_videos
from ray_audit.cuts.unit import cut_unit
from ray_audit.errors import SampleError
from ray_audit.formats.video.packets import pack_pts, read_packets, unpack_pts
from ray_audit.samples import WorkUnit
from ray_audit.sources import group_units
from tests.support.media import Outcome, dataset, listed, write_groups

NUM_FRAMES = 60
OPEN_GOP = {"x264-params": "open-gop=1:keyint=12:min-keyint=12:scenecut=0:bframes=3:log-level=none"}
REFRESH = {"x264-params": "intra-refresh=1:keyint=24:bframes=0:log-level=none"}
CLOSED = {"x264-params": "keyint=12:bframes=2:log-level=none"}
KINDS = {
    "closed.mp4": ("libx264", CLOSED),
    "open.mp4": ("libx264", OPEN_GOP),
    "asp.mp4": ("mpeg4", {}),
    "closed.mov": ("libx264", CLOSED),
    "closed.mkv": ("libx264", CLOSED),
    "one.mpg": ("mpeg1video", {}),
    "two.mpg": ("mpeg2video", {}),
    "asp.avi": ("mpeg4", {}),
}


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("groups")
    return {n: write_groups(folder / n, *kind) for n, kind in KINDS.items()}


def packets_of(path):
    with path.open("rb") as stream:
        return read_packets(stream, path.stat().st_size)


def decoded_pts(path):
    with av.open(str(path)) as container:
        return [frame.pts for frame in container.decode(video=0)]


@pytest.mark.parametrize("name", KINDS)
def test_the_index_equals_the_decoder(videos, name):
    index = packets_of(videos[name])
    assert index.pts.tolist() == decoded_pts(videos[name])
    with av.open(str(videos[name])) as container:
        keys = [i for i, f in enumerate(container.decode(video=0)) if f.key_frame]
    assert index.times_s == pytest.approx(np.arange(NUM_FRAMES) / 25, abs=1e-9)
    if name != "open.mp4":
        assert [k.frame_index for k in index.keys] == keys
    assert len(index.keys) >= 4
    assert unpack_pts(pack_pts(index.pts)).tolist() == index.pts.tolist()


def label_of(frame, num_frames=NUM_FRAMES):
    """Runs of a, b, c, void and no label, with one long unlabelled stretch."""
    return 4 if 20 <= frame < 29 else (frame // 4) % 5


def frame_table(folder, name, num_frames=NUM_FRAMES, of=label_of):
    labels = {0: "a", 1: "b", 2: "c", 3: "skip"}
    rows = [f"{name},{f},{labels[of(f)]}" for f in range(num_frames) if of(f) < 4]
    (folder / "frames.csv").write_text("\n".join(["video,frame,label", *rows]) + "\n")
    return {"frames": str(folder / "frames.csv")}


def sliced(config, folder, size=None, max_batch=AUTO_BATCH):
    """The dataset in one piece and in slices, and the slices' work units."""
    shards = listed(config, folder).shards
    cut = slice_videos(shards, config, InputConfig(size=size), max_batch, str(folder / "index"))
    units = group_units(shards, "salt", cut.parts)
    return [
        Outcome(items_of(some, config, folder, size, max_batch))
        for some in (group_units(shards, "salt"), units)
    ] + [cut, units]


def items_of(units, config, folder, size=None, max_batch=AUTO_BATCH):
    model_input, index_uri = InputConfig(size=size), str(folder / "index")
    read = [WorkUnit.from_json(unit.to_json()) for unit in units]
    return [i for u in read for i in cut_unit(u, config, model_input, index_uri, max_batch)]


def assert_same_batches(whole, parts):
    assert len(whole.batches) == len(parts.batches) > 1
    for first, other in zip(whole.batches, parts.batches, strict=True):
        assert first.samples.equals(other.samples)
        assert first.arrays.keys() == other.arrays.keys()
        for name, array in first.arrays.items():
            assert array.dtype == other.arrays[name].dtype
            assert np.array_equal(array, other.arrays[name])
    rows = [row for tail in parts.tails for row in tail.filtered.to_pylist()]
    assert rows == whole.tails[0].filtered.to_pylist()
    assert len({row["sample_id"] for row in rows}) == len(rows)


@pytest.mark.parametrize("name", KINDS)
def test_slices_give_the_batches_of_the_whole_video(videos, tmp_path, name):
    clip = {"frames": 4, "stride": 2, "slice_frames": 10}
    config = dataset("video", videos[name], frame_table(tmp_path, name), void=["skip"], clip=clip)
    whole, parts, cut, units = sliced(config, tmp_path, max_batch=2)
    assert cut.notes == ()
    assert len(units) > 3
    assert_same_batches(whole, parts)
    assert whole.failures == parts.failures == []
    assert sum(tail.num_decoded for tail in parts.tails) == NUM_FRAMES
    for unit, tail in zip(units, parts.tails, strict=True):
        assert tail.num_lead_in == unit.part.num_lead_in
        assert unit.part.num_lead_in <= 2 * (4 - 1) + 12
        assert unit.shards[0].num_labelled == sum(
            label_of(f) < 3 for f in range(unit.part.own_start, unit.part.own_stop)
        )


@pytest.mark.parametrize("every", [1, 2, 3])
@pytest.mark.parametrize(("frames", "stride"), [(4, 4), (5, 3), (6, 1), (1, 1)])
@pytest.mark.parametrize("num_frames", [58, 59, 60])
def test_any_clip_grid(tmp_path, frames, stride, every, num_frames):
    path = write_groups(tmp_path / "one.mp4", "mpeg4", {}, num_frames, size=(16, 16))
    clip = {"frames": frames, "stride": stride, "every": every, "slice_frames": 12}
    labels = frame_table(tmp_path, "one", num_frames)
    config = dataset("video", path, labels, void=["skip"], clip=clip)
    whole, parts, _, units = sliced(config, tmp_path, max_batch=2)
    assert len(units) >= 2
    assert_same_batches(whole, parts)
    halo = 2 * (frames - 1) * every
    assert all(t.num_lead_in <= halo + 11 for t in parts.tails)


@pytest.mark.parametrize("max_waiting_bytes", [2**26, 50_000])
@pytest.mark.parametrize(
    ("size", "max_bytes"), [(None, 500_000), ((8, 9), 11_000), ((480, 640), 45_000_000)]
)
def test_automatic_batches(videos, tmp_path, monkeypatch, size, max_bytes, max_waiting_bytes):
    """Full batches by bytes of network input, or by what may wait, are whole in a slice too."""
    monkeypatch.setattr("ray_audit.cuts.batching._PENDING_BYTES", max_waiting_bytes)
    clip = {"frames": 4, "stride": 2, "slice_frames": 10}
    labels = frame_table(tmp_path, "closed", of=lambda f: f % 3)
    config = dataset("video", videos["closed.mp4"], labels, clip=clip)
    whole, parts, _, units = sliced(config, tmp_path, size, AutoBatch(max_bytes))
    assert_same_batches(whole, parts)
    assert len(whole.batches[0].arrays["inputs"]) in (2, 3)
    assert len(units) >= 3


def test_segments_in_seconds_and_a_label_file_per_video(videos, tmp_path):
    (tmp_path / "closed.csv").write_text(
        "start_s,end_s,label\n0,0.3,a\n0.3,0.9,skip\n1.2,1.75,b\n1.75,2.41,c\n"
    )
    labels = {"segments": f"{tmp_path}/{{stem}}.csv"}
    clip = {"frames": 4, "stride": 2, "slice_frames": 10}
    config = dataset("video", videos["closed.mp4"], labels, void=["skip"], clip=clip)
    whole, parts, _, units = sliced(config, tmp_path, max_batch=2)
    assert_same_batches(whole, parts)
    assert sum(u.shards[0].num_labelled for u in units) == len(whole.ids) > 30


def test_what_is_not_sliced(videos, tmp_path):
    path = videos["closed.mp4"]
    labels = frame_table(tmp_path, "closed")

    def parts(labels=labels, **clip):
        config = dataset("video", path, labels, void=["skip"], clip=clip)
        shards = listed(config, tmp_path).shards
        index_uri = str(tmp_path / "index")
        return slice_videos(shards, config, InputConfig(), 2, index_uri).parts

    assert list(parts(frames=4, slice_frames=10)) == ["closed.mp4"]
    assert parts(frames=4, slice_frames=NUM_FRAMES // 2 + 1) == {}
    assert parts(frames=None, slice_frames=10) == {}
    assert parts(frames=4, slice_frames=None) == {}
    assert parts(frames=4) == {}  # auto: a small file
    (tmp_path / "videos.csv").write_text("video,label\nclosed,a\n")
    assert parts({"videos": str(tmp_path / "videos.csv")}, frames=4, slice_frames=10) == {}


def test_ids_of_whole_shards_do_not_depend_on_slicing(videos, tmp_path):
    config = dataset("video", videos["closed.mp4"], frame_table(tmp_path, "closed"), void=["skip"])
    shards = listed(config, tmp_path).shards
    (whole,) = group_units(shards, "salt")
    assert group_units(shards, "salt", {"another": ()}) == [whole]
    clip = {"frames": 4, "stride": 2, "slice_frames": 10}
    config = dataset("video", videos["closed.mp4"], config.labels.model_dump(), clip=clip)
    cut = slice_videos(shards, config, InputConfig(), 2, str(tmp_path / "index"))
    ids = [unit.unit_id for unit in group_units(shards, "salt", cut.parts)]
    assert len({whole.unit_id, *ids}) == 1 + len(ids)


def note_of(path, tmp_path):
    clip = {"frames": 4, "stride": 2, "slice_frames": 10}
    config = dataset("video", path, frame_table(tmp_path, path.stem), void=["skip"], clip=clip)
    whole, parts, cut, units = sliced(config, tmp_path, max_batch=2)
    assert [unit.part for unit in units] == [None]
    assert_same_batches(whole, parts) if whole.batches else None
    (note,) = cut.notes
    return note


def test_videos_that_packets_do_not_describe_stay_whole(tmp_path):
    avi = write_groups(tmp_path / "h264.avi", "libx264", CLOSED)
    assert "other frames than the packets promise" in note_of(avi, tmp_path)
    refreshed = write_groups(tmp_path / "refresh.mp4", "libx264", REFRESH)
    assert "cannot begin at its key frames" in note_of(refreshed, tmp_path)


def test_broken_files_stay_whole(videos, tmp_path):
    first = write_groups(
        tmp_path / "first.mp4", "libx264", CLOSED, container={"movflags": "faststart"}
    )
    content = first.read_bytes()
    for keep in (0.7, 0.1, 0):
        first.write_bytes(content[: int(len(content) * keep)])
        assert note_of(first, tmp_path).startswith("first.mp4 is not sliced: ")


def test_an_mp4_is_indexed_without_its_packets(tmp_path):
    path = write_groups(tmp_path / "one.mp4", "libx264", CLOSED, 400, size=(256, 256))
    with path.open("rb") as file:
        read = []
        counted = Counted(file, read)
        index = read_packets(counted, path.stat().st_size)
    assert len(index.pts) == 400
    with path.open("rb") as file, av.open(file) as container:
        keys = [p.pts for p in container.demux(video=0) if p.size and p.is_keyframe]
    assert [key.pts for key in index.keys] == keys
    assert sum(read) < path.stat().st_size / 2


class Counted:
    def __init__(self, stream, read):
        self._stream, self._read = stream, read

    def read(self, size):
        content = self._stream.read(size)
        self._read.append(len(content))
        return content

    def seek(self, *where):
        return self._stream.seek(*where)


def damaged(folder, at):
    """One group of a video overwritten; every packet is still where the index says."""
    path = write_groups(folder / "one.mp4", "mpeg4", {}, size=(64, 64))
    with av.open(str(path)) as container:
        packets = sorted(
            ((p.pts, p.pos, p.size) for p in container.demux(video=0) if p.size),
        )
    content = bytearray(path.read_bytes())
    _, pos, size = packets[at]
    content[pos : pos + size] = b"\xff" * size
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("every", [1, 2])
def test_damage_in_the_middle_loses_the_rest_of_its_slice(tmp_path, every):
    path = damaged(tmp_path, 33)
    labels = frame_table(tmp_path, "one", of=lambda f: f % 3)
    clip = {"frames": 4, "stride": 2, "every": every, "slice_frames": 10}
    config = dataset("video", path, labels, clip=clip)
    _, parts, _, units = sliced(config, tmp_path, max_batch=2)
    assert len(units) > 3
    num_sampled = len(range(0, NUM_FRAMES, every))
    assert len(set(parts.ids)) == len(parts.ids)
    assert len(parts.ids) + sum(f.num_samples for f in parts.failures) == num_sampled
    assert 0 < sum(f.num_samples for f in parts.failures) < num_sampled / 2
    assert max(row["frame_index"] for row in parts.rows) >= NUM_FRAMES - every
    assert all(f.message.startswith("slice ") for f in parts.failures)


@pytest.mark.parametrize("form", ["frames", "seconds"])
def test_a_video_that_is_gone_fails_slice_by_slice(videos, tmp_path, form):
    path = tmp_path / "gone.mp4"
    path.write_bytes(videos["closed.mp4"].read_bytes())
    labels = frame_table(tmp_path, "gone", 63, of=lambda f: f % 3)
    if form == "seconds":
        (tmp_path / "s.csv").write_text("video,start_s,end_s,label\ngone,0,1.2,a\ngone,1.4,2.4,b\n")
        labels = {"segments": str(tmp_path / "s.csv")}
    clip = {"frames": 4, "stride": 2, "slice_frames": 10}
    config = dataset("video", path, labels, clip=clip)
    shards = listed(config, tmp_path).shards
    cut = slice_videos(shards, config, InputConfig(), 2, str(tmp_path / "index"))
    path.write_bytes(b"")
    units = group_units(shards, "salt", cut.parts)
    actual = Outcome(items_of(units, config, tmp_path, max_batch=2))
    assert actual.ids == []
    assert len({f.message for f in actual.failures}) == len(units) > 3
    expected = 63 if form == "frames" else 30 + 25
    assert sum(f.num_samples for f in actual.failures) == expected
    assert sum(u.shards[0].num_labelled for u in units) == expected


def test_labels_behind_the_end_are_the_last_slice_s(videos, tmp_path):
    labels = frame_table(tmp_path, "closed", 64, of=lambda f: f % 3)
    clip = {"frames": 4, "stride": 2, "slice_frames": 10}
    config = dataset("video", videos["closed.mp4"], labels, clip=clip)
    whole, parts, _, units = sliced(config, tmp_path, max_batch=2)
    assert_same_batches(whole, parts)
    assert whole.failures == parts.failures
    assert parts.failed == [("closed.mp4", "label_without_frame", 4)]
    assert sum(u.shards[0].num_labelled for u in units) == 64


def test_a_decoder_that_gives_other_frames_than_the_index_is_a_failure(videos, tmp_path):
    """The file changed after the plan: no frame is given another's number."""
    path = tmp_path / "one.mp4"
    path.write_bytes(videos["closed.mp4"].read_bytes())
    clip = {"frames": 4, "stride": 2, "slice_frames": 10}
    labels = frame_table(tmp_path, "one", of=lambda f: f % 3)
    config = dataset("video", path, labels, clip=clip)
    shards = listed(config, tmp_path).shards
    cut = slice_videos(shards, config, InputConfig(), 2, str(tmp_path / "index"))
    write_groups(path, "libx264", CLOSED, num_frames=40)
    result = Outcome(items_of(group_units(shards, "s", cut.parts), config, tmp_path, max_batch=2))
    assert sorted(set(result.ids)) == sorted(result.ids)
    lost = sum(f.num_samples for f in result.failures)
    assert len(result.ids) + lost == NUM_FRAMES
    assert lost >= NUM_FRAMES - 40
    assert {f.error_class for f in result.failures} <= {"index", "decode"}


def test_a_file_without_a_video_has_no_index(tmp_path):
    (tmp_path / "x.mp4").write_bytes(b"no video" * 50)
    with pytest.raises((SampleError, av.error.FFmpegError)):
        packets_of(tmp_path / "x.mp4")


def test_frames_cut_off_by_an_edit_list_are_not_indexed(videos, tmp_path):
    path = tmp_path / "edited.mp4"
    with av.open(str(videos["asp.mp4"])) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.pts -= 5 * 512
                packet.dts -= 5 * 512
                packet.stream = stream
                target.mux(packet)
    assert packets_of(path).pts.tolist() == decoded_pts(path)
    assert 50 < len(decoded_pts(path)) < NUM_FRAMES
    clip = {"frames": 4, "stride": 2, "slice_frames": 10}
    labels = frame_table(tmp_path, "edited", 55, of=lambda f: f % 3)
    config = dataset("video", path, labels, clip=clip)
    whole, parts, _, units = sliced(config, tmp_path, max_batch=2)
    assert_same_batches(whole, parts)
    assert len(units) > 3
