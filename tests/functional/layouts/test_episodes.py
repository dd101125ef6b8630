"""Several videos in one video file: each is read as a video of its own."""

from pathlib import Path

import av
import numpy as np
import pytest

from ray_audit.config import DatasetConfig
from ray_audit.corrections.write_labels import write_labels
from ray_audit.errors import LabelError, SpecificationError
from ray_audit.formats.label_changes import FrameChange, LabelChanges
from ray_audit.formats.show import show_frames
from ray_audit.sample_ids import Owner
from tests.support.label_sets import all_labels, listed
from tests.support.media import cut
from tests.support.published.video import lerobot_v3

CAMERA = "observation.images.top"
EPISODES = {"file-000.mp4": ((0, 4), (1, 3), (2, 5)), "file-001.mp4": ((3, 2), (4, 6))}


def grey(episode, frame):
    return 20 + 40 * episode + 6 * frame


def filmed(path, codec="libx264", gop=3, parts=None, **options):
    """Episodes one after another, 10 frames a second; each begins with a key frame."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10, options={"crf": "1"} | options)
        stream.width, stream.height, stream.bit_rate = 32, 32, 8_000_000
        stream.pix_fmt, stream.codec_context.gop_size = "yuv420p", gop
        for episode, length in parts or EPISODES[path.name]:
            for t in range(length):
                pixels = np.full((32, 32, 3), grey(episode, t), np.uint8)
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                if not t:
                    frame.pict_type = av.video.frame.PictureType.I
                container.mux(stream.encode(frame))
        container.mux(stream.encode())


def lerobot(folder, film=filmed, **more):
    built = lerobot_v3(folder, film)
    section = built.section(folder) | {"clip": {"frames": 2, "stride": 2}} | more
    return DatasetConfig.model_validate(section), built.expected


def seen(result):
    """Sample id -> mean grey value of its frame, of batches of whole clips."""
    found = {}
    for batch in result.batches:
        for row in batch.samples.to_pylist():
            pixels = batch.arrays["inputs"][row["cut"], row["position"]]
            found[row["sample_id"]] = float(np.mean(pixels))
    return found


@pytest.mark.parametrize(
    "film",
    [
        filmed,
        lambda path: filmed(path, gop=250),
        lambda path: filmed(path, bf="2"),
        lambda path: filmed(path, "mpeg4", gop=2),
    ],
    ids=["h264", "one group", "with B-pictures", "mpeg4"],
)
def test_the_frames_of_an_episode_are_counted_and_timed_from_its_beginning(tmp_path, film):
    config, expected = lerobot(tmp_path, film)
    result = cut(config, tmp_path)
    assert result.failures == []
    assert {row["sample_id"]: row["label"] for row in result.rows} == expected
    values = seen(result)
    for key, value in values.items():
        episode, frame = key.rsplit("/", 1)[1].split("#")
        assert value == pytest.approx(grey(int(episode), int(frame)), abs=2.9), key
    times = {row["sample_id"]: row["pts_s"] for row in result.rows}
    key = f"{CAMERA}/chunk-000/file-000.mp4/2"
    assert [times[f"{key}#{t}"] for t in range(5)] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


def test_labels_of_frames_that_an_episode_does_not_have_are_failures(tmp_path):
    config, expected = lerobot(tmp_path)
    path = tmp_path / f"videos/{CAMERA}/chunk-000/file-000.mp4"
    filmed(path, parts=((0, 4), (1, 3), (2, 3)))
    result = cut(config, tmp_path)
    lost = {f"{CAMERA}/chunk-000/file-000.mp4/2#{t}" for t in (3, 4)}
    assert {row["sample_id"] for row in result.rows} == expected.keys() - lost
    assert sum(failure.num_samples for failure in result.failures) == 2


def test_pictures_of_an_episode_are_its_own(tmp_path):
    config, _ = lerobot(tmp_path)
    shard = next(s for s in listed(config)[0].shards if s.key.endswith("/1"))
    shown = dict(show_frames(shard, {0, 2}, 32, "stored"))
    assert {t: np.mean(picture) for t, picture in shown.items()} == {
        t: pytest.approx(grey(1, t), abs=2.5) for t in (0, 2)
    }


def test_corrected_labels_go_into_copies_of_all_tables(tmp_path):
    config, expected = lerobot(tmp_path / "set")
    keys = [f"{CAMERA}/chunk-000/{name}" for name in ("file-000.mp4/1", "file-001.mp4/4")]
    changes = LabelChanges(
        frames={
            Owner(key): FrameChange(np.array([1]), np.array([1 - expected[f"{key}#1"]]))
            for key in keys
        }
    )
    written = write_labels(config, listed(config)[0], changes, str(tmp_path / "to"))
    new = {f"{key}#1": 1 - expected[f"{key}#1"] for key in keys}
    assert all_labels(written.dataset) == expected | new
    assert sorted(p.name for p in Path(tmp_path / "to").rglob("*.parquet")) == [
        "file-000.parquet",
        "file-001.parquet",
    ]


def by_table(folder, *rows, **more):
    filmed(folder / "videos/file-000.mp4")
    (folder / "parts.csv").write_text("\n".join(["video,episode,start_s,end_s", *rows, ""]))
    (folder / "labels.csv").write_text("video,label\nfirst,a\nlast,b\n")
    section = {"kind": "video", "uri": f"{folder}/videos/*.mp4", "classes": ["a", "b"]}
    section |= {"labels": {"videos": f"{folder}/labels.csv"}, "clip": {"frames": 2}}
    return DatasetConfig.model_validate(
        section | {"episodes": {"uri": f"{folder}/parts.csv", **more}}
    )


def test_a_table_of_parts_makes_videos_with_one_label_each(tmp_path):
    rows = ("file-000,first,00:00:00.0,0.4", "file-000.mp4,last,0.7,1.2", "file-9,x,0,1")
    config = by_table(tmp_path, *rows)
    listing, _ = listed(config)
    assert [shard.key for shard in listing.shards] == ["file-000.mp4/first", "file-000.mp4/last"]
    assert "episodes of 1 file that are not listed: file-9" in listing.notes
    values = [np.mean(b.arrays["inputs"], axis=(2, 3, 4)) for b in cut(config, tmp_path).batches]
    assert values[-1][-1].tolist() == pytest.approx([grey(2, 3), grey(2, 4)], abs=2.5)


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (["file-000,a,2,1"], LabelError, "row 1: the episode goes from '2' to '1'"),
        (["file-000,a,x,1"], LabelError, "expected seconds of its file"),
        (["file-000,a,0,1", "file-000,a,1,2"], LabelError, "file-000.mp4/a is there twice"),
        (["file-000,a/b,0,1"], LabelError, "cannot be an episode's name"),
        (["other,a,0,1"], SpecificationError, "names none of the 1 files; it names other"),
    ],
)
def test_tables_of_episodes_that_are_wrong_are_refused(tmp_path, rows, error, message):
    with pytest.raises(error, match=message):
        listed(by_table(tmp_path, *rows))


def test_a_copy_names_its_split_and_its_episodes_from_any_directory(tmp_path, monkeypatch):
    config, _ = lerobot(tmp_path / "set")
    (tmp_path / "set/some.txt").write_text("1\n4\n")
    monkeypatch.chdir(tmp_path)
    episodes = config.episodes.model_copy(update={"uri": "set/meta/episodes/*/*.parquet"})
    config = config.model_copy(update={"split": "set/some.txt", "episodes": episodes})
    before = all_labels(config)
    written = write_labels(config, listed(config)[0], LabelChanges(), str(tmp_path / "to"))
    monkeypatch.chdir("/")
    assert all_labels(written.dataset) == before
    assert {key.rsplit("/", 1)[1].split("#")[0] for key in before} == {"1", "4"}
