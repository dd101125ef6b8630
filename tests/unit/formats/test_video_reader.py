import io

import av
import numpy as np
import pytest

from ray_audit.cuts.geometry import spans
from ray_audit.errors import SampleError
from ray_audit.formats.video.frames import decoded_frames
from ray_audit.samples import IGNORE
from tests.support.media import cut, dataset, decoded_video, write_groups, write_video

NUM_FRAMES = 23


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("video") / "one.mp4", NUM_FRAMES)


def label_of(frame):
    """0 a, 1 b, 2 c, 3 void, 4 unlabelled; a run of unlabelled frames too."""
    return 4 if 12 <= frame < 16 else frame % 5


def write_frames(path, num_frames=NUM_FRAMES, of=label_of, name="one"):
    labels = {0: "a", 1: "b", 2: "c", 3: "skip"}
    lines = [f"{name},{f},{labels[of(f)]}" for f in range(num_frames) if of(f) < 4]
    path.write_text("\n".join(["video,frame,label", *lines]) + "\n")
    return path


def frames_dataset(video, table, **settings):
    uri = video.parent / f"*{video.suffix}"
    return dataset("video", uri, {"frames": str(table)}, void=["skip"], **settings)


@pytest.mark.parametrize("every", [1, 2, 3])
@pytest.mark.parametrize(
    ("frames", "stride"), [(4, 2), (4, 4), (5, 3), (23, 1), (30, 7), (None, None), (1, 1)]
)
def test_clips_equal_the_plain_way(video, tmp_path, frames, stride, every):
    table = write_frames(tmp_path / "frames.csv")
    clip = {"frames": frames, "stride": stride, "every": every}
    result = cut(frames_dataset(video, table, clip=clip), tmp_path)
    pixels = decoded_video(video)[::every]
    labels = [label_of(f) for f in range(NUM_FRAMES)][::every]
    targets = np.array([IGNORE if k > 2 else k for k in labels])
    expected_ids, expected_clips = [], []
    for s in spans(len(pixels), frames or len(pixels), stride or 1):
        owned = [i for i in range(s.owned_start, s.owned_stop) if labels[i] < 3]
        if owned:
            expected_ids += [f"one.mp4#{i * every}" for i in owned]
            expected_clips.append((pixels[s.start : s.stop], targets[s.start : s.stop]))
    assert result.ids == expected_ids
    clips = [
        clip
        for b in result.batches
        for clip in zip(b.arrays["inputs"], b.arrays["targets"], strict=True)
    ]
    assert len(clips) == len(expected_clips)
    for (inputs, target), (expected_inputs, expected_target) in zip(
        clips, expected_clips, strict=True
    ):
        assert np.array_equal(inputs, expected_inputs)
        assert target.tolist() == expected_target.tolist()
    for batch in result.batches:
        for row in batch.samples.to_pylist():
            assert batch.arrays["targets"][row["cut"], row["position"]] == row["label"]
            assert row["pts_s"] == pytest.approx(row["frame_index"] / 25)


@pytest.mark.parametrize("every", [1, 3])
def test_every_frame_has_one_outcome(video, tmp_path, every):
    table = write_frames(tmp_path / "frames.csv")
    result = cut(frames_dataset(video, table, clip={"frames": 4, "every": every}), tmp_path)
    reasons = {}
    for frame in range(NUM_FRAMES):
        skipped = "not_sampled" if frame % every else None
        reason = skipped or {3: "void", 4: "unlabelled"}.get(label_of(frame))
        if reason:
            reasons[f"one.mp4#{frame}"] = reason
    assert result.filtered == reasons
    assert len(result.ids) + len(result.filtered) == NUM_FRAMES
    assert not set(result.ids) & set(result.filtered)
    assert result.tails[0].num_decoded == NUM_FRAMES
    assert result.tails[0].bytes_read == video.stat().st_size


def test_batches_hold_whole_clips_up_to_the_limit(video, tmp_path):
    table = write_frames(tmp_path / "frames.csv", of=lambda f: 0)
    config = frames_dataset(video, table, clip={"frames": 4, "stride": 4})
    result = cut(config, tmp_path, max_batch=4)
    assert [len(b.arrays["inputs"]) for b in result.batches] == [4, 2]
    assert len(cut(config, tmp_path).batches) == 1
    whole = frames_dataset(video, table, clip={"frames": None})
    assert cut(whole, tmp_path).batches[0].arrays["inputs"].shape == (1, 23, 3, 48, 64)


def test_frames_are_resized_at_decode(video, tmp_path):
    table = write_frames(tmp_path / "frames.csv")
    config = frames_dataset(video, table, clip={"frames": 4})
    arrays = cut(config, tmp_path, size=(8, 9)).batches[0].arrays
    assert arrays["inputs"].dtype == np.float32
    assert arrays["inputs"].shape[1:] == (4, 3, 8, 9)
    assert 0 <= arrays["inputs"].min() < arrays["inputs"].max() <= 1


def test_segments_in_frames_and_seconds_agree(video, tmp_path):
    frames = tmp_path / "frames.csv"
    frames.write_text(
        "video,start_frame,end_frame,label\none,0,4.5,a\none,4.5,9.6,b\none,12,23,c\n"
    )
    seconds = tmp_path / "seconds.csv"
    seconds.write_text("video,start_s,end_s,label\none,0,.16,a\none,.16,.384,b\none,.48,.92,c\n")
    outcomes = []
    for table in (frames, seconds):
        config = dataset("video", video, {"segments": str(table)}, clip={"frames": 4})
        outcomes.append(cut(config, tmp_path))
    first, second = outcomes
    expected = {0: range(4), 1: range(4, 10), 2: range(12, 23)}
    assert first.labels == {f"one.mp4#{f}": k for k, fs in expected.items() for f in fs}
    assert second.labels == first.labels
    assert first.filtered == second.filtered == {f"one.mp4#{f}": "unlabelled" for f in (10, 11)}
    assert first.failures == second.failures == []


def test_one_label_a_video(tmp_path):
    for name in "xyz":
        write_video(tmp_path / f"{name}.mp4", 10)
    (tmp_path / "videos.csv").write_text("video,label\nx,b\nz.mp4,skip\n")
    labels = {"videos": str(tmp_path / "videos.csv")}
    clip = {"frames": 4, "stride": 4}
    result = cut(dataset("video", tmp_path / "*.mp4", labels, clip=clip, void=["skip"]), tmp_path)
    assert result.ids == ["x.mp4"] * 3
    assert result.batches[0].task == "clips"
    assert result.batches[0].arrays["targets"].tolist() == [1, 1, 1]
    assert {row["frame_index"] for row in result.rows} == {None}
    assert result.filtered == {"y.mp4": "unlabelled", "z.mp4": "void"}


def test_a_label_file_per_video(video, tmp_path):
    (tmp_path / "one.csv").write_text("frame,phase\n0,a\n5,2\n")
    labels = {"frames": f"{tmp_path}/{{stem}}.csv", "columns": {"label": "phase"}}
    result = cut(dataset("video", video, labels), tmp_path)
    assert result.labels == {"one.mp4#0": 0, "one.mp4#5": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("frame,label\n1,a\n1,b\n", "frame 1 is labelled twice"),
        ("frame,label\n1,zebra\n", "row 1: label 'zebra'"),
    ],
)
def test_a_wrong_label_file_fails_its_own_video_only(tmp_path, text, message):
    write_video(tmp_path / "a.mp4", 6)
    write_video(tmp_path / "b.mp4", 6)
    (tmp_path / "a.csv").write_text("frame,label\n0,a\n")
    (tmp_path / "b.csv").write_text(text)
    labels = {"frames": f"{tmp_path}/{{stem}}.csv"}
    result = cut(dataset("video", tmp_path / "*.mp4", labels), tmp_path)
    assert result.ids == ["a.mp4#0"]
    (failure,) = result.failures
    assert (failure.shard, failure.stage, failure.error_class) == ("b.mp4", "labels", "labels")
    assert message in failure.message


def truncated(folder, codec, suffix, keep):
    whole = write_video(folder / f"whole{suffix}", 40, codec=codec)
    path = folder / f"cut/one{suffix}"
    path.parent.mkdir()
    content = whole.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    return path, decoded_video(whole)


@pytest.mark.parametrize("every", [1, 2])
def test_truncated_video_sends_what_was_decoded(tmp_path, every):
    path, whole = truncated(tmp_path, "mpeg1video", ".mpg", 0.6)
    table = write_frames(tmp_path / "frames.csv", 40)
    config = frames_dataset(path, table, clip={"frames": 4, "stride": 2, "every": every})
    result = cut(config, tmp_path)
    sent = sorted(row["frame_index"] for row in result.rows)
    assert 4 <= len(sent) < 20
    (failure,) = result.failures
    assert (failure.stage, failure.error_class) == ("decode", "decode")
    labelled = [f for f in range(40) if label_of(f) < 3 and f % every == 0]
    assert sent == labelled[: len(sent)]
    assert failure.num_samples == len(labelled) - len(sent)
    frames = {}
    for batch in result.batches:
        for row in batch.samples.to_pylist():
            frames[row["frame_index"]] = batch.arrays["inputs"][row["cut"], row["position"]]
    assert all(np.array_equal(frames[f], whole[f]) for f in sent)


@pytest.mark.parametrize("content", [b"", b"not a video" * 99])
def test_a_video_that_cannot_be_opened_loses_all_its_labels(tmp_path, content):
    write_video(tmp_path / "good.mp4", 6)
    (tmp_path / "one.mp4").write_bytes(content)
    table = write_frames(tmp_path / "frames.csv", 20, of=lambda f: f % 4)
    config = frames_dataset(tmp_path / "one.mp4", table, clip={"frames": 4, "every": 2})
    result = cut(config, tmp_path)
    # Frames 0, 4, 8.. are a, 2, 6.. are c; odd ones are not sampled.
    assert result.failed == [("one.mp4", "decode", 10)]
    assert "cannot be opened" in result.failures[0].message


def test_truncated_mp4_without_its_index_cannot_be_opened(tmp_path):
    path, _ = truncated(tmp_path, "mpeg4", ".mp4", 0.6)
    table = write_frames(tmp_path / "frames.csv", 40, of=lambda f: 0)
    result = cut(frames_dataset(path, table), tmp_path)
    assert result.failed == [("one.mp4", "decode", 40)]


def test_a_file_without_a_picture_is_a_failure(tmp_path):
    (tmp_path / "one.mkv").write_bytes(b"")
    (tmp_path / "videos.csv").write_text("video,label\none,a\n")
    labels = {"videos": str(tmp_path / "videos.csv")}
    result = cut(dataset("video", tmp_path / "one.mkv", labels), tmp_path)
    assert result.failed == [("one.mkv", "decode", 1)]


def test_labels_of_frames_that_do_not_exist_are_named(video, tmp_path):
    table = write_frames(tmp_path / "frames.csv", 27, of=lambda f: 0)
    result = cut(frames_dataset(video, table), tmp_path)
    assert len(result.ids) == NUM_FRAMES
    assert result.failed == [("one.mp4", "label_without_frame", 4)]
    assert "frames 23, 24, 25, 26" in result.failures[0].message


def test_segments_beyond_the_end(video, tmp_path):
    table = tmp_path / "segments.csv"
    table.write_text("video,start_frame,end_frame,label\none,0,25,a\n")
    config = dataset("video", video, {"segments": str(table)})
    assert cut(config, tmp_path).failed == [("one.mp4", "label_without_frame", 2)]
    table.write_text("video,start_s,end_s,label\none,0,0.99,a\n")
    assert cut(config, tmp_path).failed == []
    table.write_text("video,start_s,end_s,label\none,0,0.9,a\none,1.2,1.4,b\n")
    assert cut(config, tmp_path).failed == [("one.mp4", "label_without_frame", 5)]


def test_a_video_without_labels_is_filtered_frame_by_frame(video, tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    (folder / "one.mp4").write_bytes(video.read_bytes())
    write_video(folder / "two.mp4", 6)
    table = write_frames(tmp_path / "frames.csv")
    result = cut(frames_dataset(folder / "one.mp4", table), tmp_path)
    assert {k: v for k, v in result.filtered.items() if k.startswith("two")} == {
        f"two.mp4#{f}": "unlabelled" for f in range(6)
    }


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_no_picture_that_the_decoder_made_up_is_given(codec, tmp_path):
    """These hide damage: lost blocks are copied from other frames, as a player would want it."""
    options = {codec.removeprefix("lib") + "-params": "keyint=12:bframes=2:log-level=none"}
    path = write_groups(tmp_path / "one.mp4", codec, options)
    whole, content = decoded_video(path), path.read_bytes()
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    num_noticed = 0
    for position, size in packets[::4]:
        damaged = bytearray(content)
        damaged[position + size // 2 : position + size] = bytes(size - size // 2)
        frames = []
        try:
            for pixels in decoded_frames(io.BytesIO(damaged)):
                frames.append(pixels().transpose(2, 0, 1))
        except (SampleError, av.error.FFmpegError):
            num_noticed += 1
            assert all(map(np.array_equal, frames, whole))
    # HEVC has no marks within a picture: a decoder cannot know all of its damage.
    assert num_noticed >= len(packets[::4]) * (0.9 if codec == "libx264" else 0.2)
