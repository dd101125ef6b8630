"""Tables of segments with a start and a duration in place of an end."""

import pytest

import ray_audit
from ray_audit.errors import SpecificationError
from tests.support.drafts import drafted, same
from tests.support.published.built import put_text
from tests.support.small_sets import video

# Title of each column, and rows of video, start, duration and label; frames are 0.04 s.
TABLES = {
    "as BIDS has it": ("stim_file,onset,duration,trial_type", 0.04),
    "as people call it": ("clip,start,dur,label", 0.04),
    "milliseconds": ("video,start_ms,duration_ms,label", 40),
    "frames": ("video,start_frame,num_frames,action", 1),
    "another language": ("clip,debut,durée,label", 0.04),
    "by what it holds": ("clip,A,B,label", 0.04),
}
ROWS = [(0, 3, "rest"), (3, 2, "go"), (5, 4, "rest")]
EXPECTED = ["rest"] * 3 + ["go"] * 2 + ["rest"] * 4


@pytest.mark.parametrize("name", TABLES)
def test_init_tells_durations_from_ends(tmp_path, name):
    title, unit = TABLES[name]
    lines = [title]
    for index in range(2):
        video(tmp_path / f"v{index}.mp4", 9)
        lines += [f"v{index}.mp4,{s * unit:g},{n * unit:g},{label}" for s, n, label in ROWS]
    put_text(tmp_path / "labels.csv", *lines)
    frames = {f"v{i}.mp4#{t}": label for i in range(2) for t, label in enumerate(EXPECTED)}
    same(drafted(tmp_path), frames)
    assert "segments have a start and a duration" in ray_audit.init(tmp_path).assumed


@pytest.mark.parametrize("unit", [1, 0.04])
@pytest.mark.parametrize("has_ends", [True, False])
def test_init_reads_segments_without_titles(tmp_path, unit, has_ends):
    lines = []
    for index in range(2):
        video(tmp_path / f"v{index}.mp4", 9)
        lines += [
            f"v{index} {s * unit:g} {(s + n if has_ends else n) * unit:g} {label}"
            for s, n, label in ROWS
        ]
    put_text(tmp_path / "segments.txt", *lines)
    frames = {f"v{i}.mp4#{t}": label for i in range(2) for t, label in enumerate(EXPECTED)}
    same(drafted(tmp_path), frames)


def test_segments_in_seconds_that_overlap_are_read_and_said(tmp_path):
    video(tmp_path / "v0.mp4", 9)
    lines = ["v0.mp4,0,0.2,rest", "v0.mp4,0.12,0.36,go"]
    put_text(tmp_path / "labels.csv", "video,start_s,end_s,label", *lines)
    found = ray_audit.init(tmp_path)
    assert found.specification["dataset"]["labels"]["overlap"] == "first"
    same(drafted(tmp_path), {f"v0.mp4#{t}": "rest" if t < 5 else "go" for t in range(9)})


def test_the_length_of_a_whole_video_is_no_duration_of_its_segments(tmp_path):
    for index in range(2):
        video(tmp_path / f"v{index}.mp4", 9)
    lines = [f"v{i}.mp4,{s},9,{label}" for i in range(2) for s, _, label in ROWS]
    put_text(tmp_path / "labels.csv", "video,start_frame,video_length,label", *lines)
    with pytest.raises(SpecificationError, match="no layout was recognised"):
        ray_audit.init(tmp_path)
