"""A long video in slices gives the tables of the video in one piece."""

import av
import pytest

from ray_audit.engine.ledger import record_sets
from tests.support import small_sets
from tests.support.audits import ALL_MAY_FAIL, assert_counts_add_up, audit
from tests.support.killed import killed_after_a_unit
from tests.support.tables import assert_identical, rows_of

NUM_FRAMES = 45
BATCHES = {"engine": {"batch_size": 2}}


def long_videos(folder, num=2, of=lambda t: "abcab"[t // 9]):
    """Videos of five segments, with one frame in seven unlabelled and some void."""
    small = small_sets.labelled_videos(folder, num=num, num_frames=NUM_FRAMES)
    rows = [
        {"video": f"v{index}.mp4", "frame": t, "label": "skip" if 20 <= t < 23 else of(t)}
        for index in range(num)
        for t in range(NUM_FRAMES)
        if t % 7
    ]
    small_sets.table(folder / "data/frames.csv", rows)
    small.values["dataset"]["void"] = ["skip"]
    return small


def run(small, slice_frames, folder="out", *, local=True, clip=None, **changes):
    clip = small.values["dataset"]["clip"] | {"slice_frames": slice_frames} | (clip or {})
    dataset = small.values["dataset"] | {"clip": clip}
    output = str(small.folder / folder)
    return audit(small, local=local, dataset=dataset, output=output, **(BATCHES | changes))


def num_units(outcome):
    return outcome.manifest.plan["num_new"] // small_sets.NUM_CHECKPOINTS


@pytest.mark.parametrize("every", [1, 2])
def test_slices_change_no_table(tmp_path, every):
    small = long_videos(tmp_path)
    whole = run(small, None, "whole", clip={"every": every})
    parts = run(small, 10, "parts", clip={"every": every})
    assert_identical(whole, parts)
    assert num_units(whole) == 2
    assert num_units(parts) == parts.manifest.plan["num_slices"] >= 6
    timing = parts.manifest.timing
    assert timing["num_decoded"] == whole.manifest.timing["num_decoded"] == 2 * NUM_FRAMES
    assert timing["num_lead_in"] == parts.manifest.plan["num_lead_in"] > 0
    assert whole.manifest.timing["num_lead_in"] == 0
    assert parts.manifest.notes[0].startswith(f"2 long video(s) are cut into {num_units(parts)}")
    # Segments cross the borders of slices, and so do their means and their order.
    assert rows_of(parts, "scores")["order_nll"].null_count == 0


def test_segments_in_seconds_with_a_label_file_per_video(tmp_path):
    small = long_videos(tmp_path)
    for index in range(2):
        rows = [
            {"start_s": 0, "end_s": 0.5 + index / 50, "label": "a"},
            {"start_s": 0.7, "end_s": 1.1, "label": "b"},
            {"start_s": 1.1, "end_s": 1.81, "label": "c"},
        ]
        small_sets.table(tmp_path / f"data/v{index}.csv", rows)
    small.values["dataset"]["labels"] = {"segments": str(tmp_path / "data/{stem}.csv")}
    assert_identical(run(small, None, "whole"), run(small, 10, "parts"))


def test_slices_without_a_label(tmp_path):
    small = long_videos(tmp_path)
    rows = [
        {"video": f"v{index}.mp4", "frame": t, "label": "abc"[t // 5 % 3]}
        for index in range(2)
        for t in range(6 + 8 * index)
    ]
    small_sets.table(tmp_path / "data/frames.csv", rows)
    parts = run(small, 10, "parts")
    assert_identical(run(small, None, "whole"), parts)
    assert parts.counts["scored"] == 20
    assert parts.manifest.plan["num_slices"] > 4


def test_a_whole_sequence_is_never_sliced(tmp_path):
    small = long_videos(tmp_path)
    outcome = run(small, 10, clip={"frames": None, "stride": None})
    assert num_units(outcome) == 2
    assert outcome.manifest.plan["num_slices"] == 0


def test_labels_without_a_frame_are_lost_once(tmp_path):
    small = long_videos(tmp_path)
    with (tmp_path / "data/frames.csv").open("a") as table:
        table.writelines(f"v1.mp4,{t},a\n" for t in range(NUM_FRAMES, NUM_FRAMES + 5))
    whole = run(small, None, "whole", **ALL_MAY_FAIL)
    assert_identical(whole, run(small, 10, "parts", **ALL_MAY_FAIL))
    assert whole.counts["failed"] == 5


def test_a_damaged_video_counts_right(tmp_path):
    small = long_videos(tmp_path)
    path = tmp_path / "data/v1.mp4"
    with av.open(str(path)) as video:
        damaged = sorted((p.pts, p.pos, p.size) for p in video.demux(video=0) if p.size)[14]
    content = bytearray(path.read_bytes())
    content[damaged[1] : damaged[1] + damaged[2]] = b"\xff" * damaged[2]
    path.write_bytes(content)
    whole = run(small, None, "whole", **ALL_MAY_FAIL)
    parts = run(small, 10, "parts", **ALL_MAY_FAIL)
    num_labelled = sum(1 for t in range(NUM_FRAMES) if t % 7 and not 20 <= t < 23)
    for outcome in (whole, parts):
        assert_counts_add_up(outcome)
        assert outcome.counts["scored"] + outcome.counts["failed"] == 2 * num_labelled
    assert 0 < parts.counts["failed"] < whole.counts["failed"]


def test_resume_after_one_slice(tmp_path, monkeypatch):
    small = long_videos(tmp_path)
    with killed_after_a_unit(monkeypatch):
        run(small, 10, "parts")
    assert len(record_sets.completed(str(tmp_path / "parts"), accept_retries=False)) == 1
    resumed = run(small, 10, "parts")
    plan = resumed.manifest.plan
    assert plan["num_reused"] == small_sets.NUM_CHECKPOINTS
    assert num_units(resumed) + 1 == len(
        record_sets.completed(str(tmp_path / "parts"), accept_retries=False)
    )
    assert_identical(run(small, None, "whole"), resumed)
