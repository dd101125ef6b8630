"""Masks as a video: only what is without loss is read, and what is written reads as it should."""

import numpy as np
import pytest

from ray_audit.config import DatasetConfig
from ray_audit.errors import LabelError, SampleError
from ray_audit.formats.accounting import UnitAccounting
from ray_audit.formats.stacks.video_masks import VideoMasks
from tests.support.masked_videos import exact_video

MASKS = np.random.default_rng(0).integers(0, 5, (4, 24, 30)).astype(np.uint8)
COLOURS = np.array([[0, 0, 0], [128, 64, 128], [244, 35, 232], [70, 70, 70], [1, 2, 3]], np.uint8)
NAMES = {"#000000": "k0", "#804080": "k1", "#f423e8": "k2", "#464646": "k3", "#010203": "k4"}


def opened(path, **labels):
    config = DatasetConfig(
        kind="video",
        uri="v.mp4",
        labels={"masks": f"{path.parent}/{{stem}}.mkv", **labels},
        classes=[f"k{k}" for k in range(5)],
    )
    return VideoMasks(str(path), config, UnitAccounting("test"))


def video(path, pixels, pix_fmt, codec="ffv1"):
    return exact_video(path, list(pixels), pix_fmt, codec)


def rewritten(path, new, **labels):
    with opened(path, **labels) as masks:
        masks.write(new, str(path.parent / "to"), f"{path.parent}/{{stem}}{path.suffix}")
    return path.parent / "to" / path.name


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        *[("m.mkv", "ffv1", "gray"), ("m.mkv", "ffv1", "bgr0"), ("m.avi", "png", "gray")],
        *[("m.mkv", "ffv1", "gray16le"), ("m.avi", "rawvideo", "bgr24")],
        ("m.avi", "utvideo", "gbrp"),
    ],
)
def test_masks_come_back_and_only_the_new_ones_change(tmp_path, name, codec, pix_fmt):
    pixels = MASKS.astype(np.uint16) * 1000 if pix_fmt == "gray16le" else MASKS
    shown = pixels if pix_fmt.startswith("gray") else np.repeat(pixels[..., None], 3, axis=3)
    path = video(tmp_path / name, shown, pix_fmt, codec)
    with opened(path) as masks:
        assert masks.frames.tolist() == [0, 1, 2, 3]
        for frame in (0, 1, 3, 2, 2):  # in order, and back
            np.testing.assert_array_equal(masks.mask(frame), pixels[frame])
    assert rewritten(path, lambda frame: None).read_bytes() == path.read_bytes()
    copy = rewritten(path, lambda frame: pixels[0] if frame == 2 else None)
    with opened(copy) as masks:
        for frame, expected in enumerate((0, 1, 0, 3)):
            np.testing.assert_array_equal(masks.mask(frame), pixels[expected])


@pytest.mark.parametrize(("name", "codec"), [("m.mkv", "ffv1"), ("m.avi", "png")])
def test_masks_of_a_video_that_breaks_off_cannot_be_read_and_are_no_masks_that_nobody_made(
    tmp_path, name, codec
):
    path = video(tmp_path / name, np.repeat(MASKS, 5, axis=0), "gray", codec)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    with opened(path) as masks:
        assert masks.frames.tolist() == [*range(20)]
        np.testing.assert_array_equal(masks.mask(0), MASKS[0])
        with pytest.raises(SampleError):
            masks.mask(19)


def test_colours_are_values(tmp_path):
    path = video(tmp_path / "m.mkv", COLOURS[MASKS], "bgr0")
    with opened(path, values=NAMES) as masks:
        np.testing.assert_array_equal(masks.mask(1), COLOURS[MASKS[1]])
    with (
        pytest.raises(SampleError, match=r"channels of the frame 1 of .* differ"),
        opened(path) as m,
    ):
        m.mask(1)
    copy = rewritten(path, lambda k: COLOURS[MASKS[3]] if k == 1 else None, values=NAMES)
    with opened(copy, values=NAMES) as masks:
        np.testing.assert_array_equal(masks.mask(1), COLOURS[MASKS[3]])
        np.testing.assert_array_equal(masks.mask(2), COLOURS[MASKS[2]])


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "said"),
    [("mpeg4", "yuv420p", "mpeg4 as yuv420p"), ("ffv1", "yuv444p", "ffv1 as yuv444p")],
)
def test_a_video_with_loss_is_refused_with_what_to_do(tmp_path, codec, pix_fmt, said):
    path = video(tmp_path / "m.mkv", np.repeat(MASKS[..., None], 3, axis=3), pix_fmt, codec)
    with pytest.raises(SampleError, match=said) as error:
        opened(path)
    assert "ffmpeg" in str(error.value)
    assert error.value.error_class == "mask_format"


def test_a_value_above_the_depth_of_the_video_is_refused(tmp_path):
    path = video(tmp_path / "m.mkv", MASKS, "gray")
    with pytest.raises(LabelError, match=r"frame 1: value 300 does not fit uint8"):
        rewritten(path, lambda frame: np.full((24, 30), 300) if frame == 1 else None)
