"""Display matrices: quarter turns and mirrors, as players show them."""

import numpy as np
import pytest

from ray_audit.config import InputConfig
from ray_audit.cuts.slices import slice_videos
from ray_audit.formats.show import frame_size, show_frames
from ray_audit.formats.video.orientation import Turn
from ray_audit.samples import Shard
from tests.support.media import cut, dataset, decoded_video, listed, write_groups
from tests.support.turned import MATRICES, put_matrix


def turned_video(path, matrix):
    write_groups(path, "libx264", {"x264-params": "keyint=12:log-level=none"})
    return put_matrix(path, matrix, (48, 64))


def frames_dataset(path, folder, **settings):
    rows = "".join(f"v,{k},a\n" for k in range(60))
    (folder / "f.csv").write_text("video,frame,label\n" + rows)
    return dataset("video", path, {"frames": str(folder / "f.csv")}, **settings)


@pytest.mark.parametrize("kind", MATRICES)
@pytest.mark.parametrize("orientation", ["stored", "display"])
def test_frames_are_stored_or_shown_ones(kind, orientation, tmp_path):
    matrix, shown = MATRICES[kind]
    path = turned_video(tmp_path / "v.mp4", matrix)
    stored = decoded_video(path).transpose(0, 2, 3, 1)
    expected = [shown(item) if orientation == "display" else item for item in stored]
    config = frames_dataset(path, tmp_path, clip={"frames": 4}, orientation=orientation)
    actual = cut(config, tmp_path)
    pixels = actual.batches[0].arrays["inputs"][0].transpose(0, 2, 3, 1)
    assert np.array_equal(pixels, expected[:4])
    remarks = () if kind == "identity" else (("display_matrix", "v.mp4"),)
    assert actual.tails[0].remarks == remarks
    shard = Shard("v.mp4", str(path), path.stat().st_size, "")
    ((_, picture),) = show_frames(shard, [5], 64, orientation)
    assert np.array_equal(np.asarray(picture), expected[5])
    assert frame_size(str(path), shard.size_bytes, orientation) == expected[0].shape[:2]


def test_slices_are_turned_as_the_whole(tmp_path):
    path = turned_video(tmp_path / "v.mp4", (0, 1, -1, 0))
    clip = {"frames": 4, "stride": 2, "slice_frames": 10}
    config = frames_dataset(path, tmp_path, clip=clip, orientation="display")
    shards = listed(config, tmp_path).shards
    parts = slice_videos(shards, config, InputConfig(), 2, str(tmp_path / "index")).parts
    assert {part.frame_shape for part, _ in parts["v.mp4"]} == {(64, 48, 3)}


def test_other_turns_are_a_failure_that_names_the_way_out(tmp_path):
    path = turned_video(tmp_path / "v.mp4", (1, 1, -1, 1))
    result = cut(frames_dataset(path, tmp_path, orientation="display"), tmp_path)
    assert result.failed == [("v.mp4", "orientation", 60)]
    assert "dataset.orientation: stored" in result.failures[0].message
    assert len(cut(frames_dataset(path, tmp_path), tmp_path).ids) == 60


def test_applying_a_turn_twice_the_other_way_gives_the_picture_back():
    pixels = np.arange(6 * 4 * 3).reshape(6, 4, 3)
    right = Turn(transposes=True, flips_rows=False, flips_columns=True)
    left = Turn(transposes=True, flips_rows=True, flips_columns=False)
    assert np.array_equal(left.apply(right.apply(pixels)), pixels)
