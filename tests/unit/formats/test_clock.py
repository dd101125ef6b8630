"""Times as players count them, in every container, and labels in seconds by them."""

from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest

from ray_audit import storage
from ray_audit.config import InputConfig
from ray_audit.cuts.slices import slice_videos
from ray_audit.errors import StorageError
from ray_audit.formats.video.frames import frame_times
from ray_audit.samples import Shard
from ray_audit.sources import group_units
from ray_audit.store_errors import explained_stream
from ray_audit.wrapped_stream import WrappedStream
from tests.support.media import cut, dataset, listed, write_groups
from tests.unit.cuts.test_slices import assert_same_batches, sliced

NUM_FRAMES = 60
QUIET = {"x264-params": "keyint=12:bframes=2:log-level=none"}
THIRDS = "video,start_s,end_s,label\nv,0,0.8,a\nv,0.8,1.6,b\nv,1.6,2.4,c\n"
BEGIN_LATE = {
    "ts": ("v.ts", "libx264", QUIET, {"max_delay": "700000"}),
    "program stream": ("v.mpg", "mpeg2video", {}, None),
    "flv": ("v.flv", "libx264", QUIET, None),
    "fragments": ("v.mp4", "libx264", QUIET, {"movflags": "frag_keyframe+empty_moov"}),
    "a day": ("v.ts", "libx264", QUIET, {"output_ts_offset": "95382"}),
    "before zero": ("v.mkv", "libx264", QUIET, {"output_ts_offset": "-59"}),
    "mp4": ("v.mp4", "libx264", QUIET, None),
    "mkv": ("v.mkv", "libx264", QUIET, None),
}
"""Containers whose clock begins at 1.48, 0.54, 0.08, 0.08 and 95,382 s, below 0 and at 0."""


def shard_of(path):
    return Shard(path.name, str(path), path.stat().st_size, "")


def segments(folder, rows=THIRDS):
    (folder / "seconds.csv").write_text(rows)
    return {"segments": str(folder / "seconds.csv")}


def labels_of(result):
    return [row["label"] for row in sorted(result.rows, key=lambda row: row["frame_index"])]


@pytest.mark.parametrize("kind", BEGIN_LATE)
def test_labels_in_seconds_count_from_the_container_s_start(kind, tmp_path):
    name, codec, options, container = BEGIN_LATE[kind]
    path = write_groups(tmp_path / name, codec, options, container=container)
    result = cut(dataset("video", path, segments(tmp_path), clip={"frames": 8}), tmp_path)
    assert labels_of(result) == [0] * 20 + [1] * 20 + [2] * 20
    assert result.failures == []
    times = [row["pts_s"] for row in result.rows]
    assert times == pytest.approx([row["frame_index"] / 25 for row in result.rows], abs=1e-3)
    assert frame_times(shard_of(path))[0].tolist() == times


def test_a_store_that_fails_in_the_middle_tells_nothing_of_where_a_video_ends(
    tmp_path, monkeypatch
):
    """Labels in seconds would else be written back as of a shorter video."""
    path = write_groups(tmp_path / "v.ts", *BEGIN_LATE["ts"][1:3])
    opened = storage.open_read

    class Busy(WrappedStream):
        def read(self, size=-1, /):
            if self.tell() + size > path.stat().st_size / 2:
                raise OSError(16, "Please reduce your request rate.")
            return self._stream.read(size)

    def busy(uri, size_bytes=None):
        return explained_stream(Busy(opened(uri, size_bytes)), "read", uri)

    monkeypatch.setattr(storage, "open_read", busy)
    with pytest.raises(StorageError, match="reduce your request rate"):
        frame_times(shard_of(path))


def test_a_video_that_begins_after_its_sound_begins_late(tmp_path):
    path = tmp_path / "v.mp4"
    with av.open(str(path), "w") as file:
        sound = file.add_stream("aac", rate=48000)
        stream = file.add_stream("libx264", rate=25, options=QUIET)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(150):
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            samples.rate, samples.pts = 48000, number * 1024
            file.mux(sound.encode(samples))
        file.mux(sound.encode())
        for number in range(50):
            pixels = np.full((48, 64, 3), 4 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number + 25, Fraction(1, 25)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    rows = "video,start_s,end_s,label\nv,0,1.2,a\nv,1.2,9,b\n"
    result = cut(dataset("video", path, segments(tmp_path, rows)), tmp_path)
    assert labels_of(result) == [0] * 5 + [1] * 45
    assert min(row["pts_s"] for row in result.rows) == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("decimals", [3, 6, None])
@pytest.mark.parametrize("suffix", ["mkv", "mp4", "ts", "avi"])
def test_a_boundary_at_a_frame_s_own_time_is_that_frame_s(suffix, decimals, tmp_path):
    """At 30000/1001 frames a second, a segment a frame; mkv and tables round their times.

    `findings/matroska_moves_frames_before_their_time.sh` shows it.
    """
    rate, num_frames = Fraction(30000, 1001), 120
    path = tmp_path / f"v.{suffix}"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4" if suffix == "avi" else "libx264", rate=rate)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for number in range(num_frames):
            pixels = np.full((32, 32, 3), number, np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(stream.encode())
    edges = [float(number / rate) for number in range(num_frames + 1)]
    if decimals:
        edges = [round(edge, decimals) for edge in edges]
    rows = [f"v,{a!r},{b!r},{'abc'[k % 3]}" for k, (a, b) in enumerate(pairwise(edges))]
    labels = segments(tmp_path, "\n".join(["video,start_s,end_s,label", *rows]) + "\n")
    result = cut(dataset("video", path, labels), tmp_path)
    assert labels_of(result) == [k % 3 for k in range(num_frames)]


@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "mpeg2video"])
def test_avi_with_b_pictures_is_timed_by_frame_number_and_says_so(codec, tmp_path):
    path = write_groups(tmp_path / "v.avi", codec, QUIET if codec == "libx264" else {})
    result = cut(dataset("video", path, segments(tmp_path), clip={"frames": 8}), tmp_path)
    assert labels_of(result) == [0] * 20 + [1] * 20 + [2] * 20
    assert [row["pts_s"] for row in result.rows] == pytest.approx(np.arange(NUM_FRAMES) / 25)
    assert result.tails[0].remarks == (("clock", "v.avi"),)


@pytest.mark.parametrize(("name", "codec"), [("v.m2v", "mpeg2video"), ("v.mpg", "mpeg1video")])
def test_only_containers_without_a_clock_are_timed_by_frame_number(name, codec, tmp_path):
    path = write_groups(tmp_path / name, codec, {})
    times, middles = frame_times(shard_of(path))
    assert times == pytest.approx(np.arange(NUM_FRAMES) / 25)
    assert middles == pytest.approx(times + 0.02)


@pytest.mark.parametrize("kind", ["ts", "fragments", "mkv"])
def test_slices_have_the_labels_in_seconds_of_the_whole_video(kind, tmp_path):
    name, codec, options, container = BEGIN_LATE[kind]
    path = write_groups(tmp_path / name, codec, options, container=container)
    rows = "video,start_s,end_s,label\nv,0,0.333,a\nv,0.333,1.16,b\nv,1.4,2.4,c\n"
    clip = {"frames": 4, "stride": 2, "slice_frames": 10}
    config = dataset("video", path, segments(tmp_path, rows), clip=clip)
    whole, parts, _, units = sliced(config, tmp_path, max_batch=2)
    assert len(units) > 3
    assert_same_batches(whole, parts)
    assert whole.failures == parts.failures == []


def test_a_variable_rate_uses_each_frame_s_own_length(tmp_path):
    path = tmp_path / "v.mp4"
    times_ms = [40 * k if k < 20 else 800 + 200 * (k - 20) for k in range(30)]
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25, options=QUIET)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, time_ms in enumerate(times_ms):
            pixels = np.full((48, 64, 3), 8 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    times, middles = frame_times(shard_of(path))
    assert times == pytest.approx(np.array(times_ms) / 1000)
    assert middles[[0, 19, 20, 28, 29]] == pytest.approx([0.02, 0.78, 0.9, 2.5, 2.7])


def test_a_slice_s_last_frame_ends_where_the_next_slice_begins(tmp_path):
    """Half of the time to the next frame, which the slice itself does not decode."""
    path = write_groups(tmp_path / "v.mp4", "libx264", QUIET)
    clip = {"frames": 1, "stride": 1, "slice_frames": 12}
    config = dataset("video", path, segments(tmp_path), clip=clip)
    shards = listed(config, tmp_path).shards
    parts = slice_videos(shards, config, InputConfig(), 2, str(tmp_path / "index")).parts
    units = group_units(shards, "s", parts)
    assert all(unit.part.stop_frame == unit.part.own_stop for unit in units)
    whole, cut_up, _, _ = sliced(config, tmp_path, max_batch=2)
    assert_same_batches(whole, cut_up)
