import numpy as np
import pytest

from ray_audit.demo.videos import PHASES, make_video, write_video
from tests.support.media import decoded_video


@pytest.fixture(scope="module")
def video():
    return make_video(np.random.default_rng(0), num_frames=40, size_px=48)


def test_phases_follow_each_other_without_exception(video):
    assert video.frames.shape == (40, 48, 48, 3)
    assert (np.diff(video.labels) >= 0).all()
    assert set(video.labels) == set(range(len(PHASES)))
    assert np.bincount(video.labels).min() >= 4


def test_durations_and_pictures_differ_between_videos(video):
    other = make_video(np.random.default_rng(1), num_frames=40, size_px=48)
    assert (other.labels != video.labels).any()
    assert (other.frames != video.frames).any()
    again = make_video(np.random.default_rng(0), num_frames=40, size_px=48)
    assert (again.frames == video.frames).all()


def test_encoded_video_decodes_to_the_same_number_of_like_frames(video, tmp_path):
    path = tmp_path / "v.mp4"
    write_video(path, video.frames)
    decoded = decoded_video(path).transpose(0, 2, 3, 1)
    assert decoded.shape == video.frames.shape
    difference = np.abs(decoded.astype(int) - video.frames).mean(axis=(1, 2, 3))
    shifted = np.abs(np.roll(decoded, 10, axis=0).astype(int) - video.frames).mean(axis=(1, 2, 3))
    assert difference.max() < 12
    assert difference.mean() < shifted.mean()


def test_same_video_same_bytes(video, tmp_path):
    # findings/x264_gives_other_bytes_at_times.sh: now and then, not always.
    written = set()
    for number in range(20):
        write_video(tmp_path / "v.mp4", video.frames)
        written.add((tmp_path / "v.mp4").read_bytes())
        taken = [bytes([number + 1]) * 5000 * n for n in range(1, 20)]  # other memory each time
        del taken
    assert len(written) == 1
