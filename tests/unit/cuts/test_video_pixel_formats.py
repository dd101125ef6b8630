"""Frames of every pixel format that is accepted, held against the standards' own formulas."""

import io

import av
import numpy as np
import pytest

from ray_audit.errors import SampleError
from ray_audit.formats.video.frames import decoded_frames
from tests.support.media import cut, dataset

LIMITED, FULL = 1, 2
# Kr and Kb of ITU-T H.273, by its number of the matrix; where none is named, it is BT.601's.
MATRICES = {
    2: (0.299, 0.114),
    1: (0.2126, 0.0722),  # BT.709
    4: (0.30, 0.11),
    5: (0.299, 0.114),  # BT.601
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),  # BT.2020
}
YUV = sorted(
    pixel_format.name
    for pixel_format in av.Codec("ffv1", "w").video_formats
    if pixel_format.name.startswith("yuv")
)
GREY = ("gray", "gray9le", "gray10le", "gray12le", "gray14le", "gray16le")
# Of FFmpeg's fast ways for chroma of half the size; where a matrix is wrong it is 10 and more.
TOLERANCE = 5
SIZE, NUM = (64, 64), 4


def planar(pix_fmt, *channels, size=SIZE):
    """A frame of 4 x 4 blocks: the value of each, (16,), for each channel."""
    frame = av.VideoFrame(size[1], size[0], pix_fmt)
    for number, component in enumerate(frame.format.components):
        plane = frame.planes[component.plane]
        dtype = np.dtype(np.uint8 if component.bits <= 8 else "<u2")
        rows = np.full((plane.height, plane.line_size // dtype.itemsize), 2**component.bits - 1)
        if number < len(channels):  # the rest is opaque
            values = channels[number].reshape(NUM, NUM)
            down, right = (
                np.minimum(np.arange(num) * NUM // num, NUM - 1)
                for num in (plane.height, plane.width)
            )
            rows[:, : plane.width] = values[down][:, right]
        plane.update(rows.astype(dtype).tobytes())
    return frame


def written(frame, codec="ffv1", container="matroska", matrix=2, colour_range=LIMITED, **options):
    stream = io.BytesIO()
    with av.open(stream, "w", format=container) as file:
        video = file.add_stream(codec, rate=25, options=options)
        video.width, video.height, video.pix_fmt = frame.width, frame.height, frame.format.name
        for tagged in (video.codec_context, frame):
            tagged.colorspace, tagged.color_range = matrix, colour_range
        frame.pts = 0
        file.mux([*video.encode(frame), *video.encode()])
    return stream.getvalue()


def read(content):
    return next(decoded_frames(io.BytesIO(content)))()


def in_blocks(pixels):
    """The middle of each block, (16, C)."""
    height, width = pixels.shape[:2]
    rows, columns = ((2 * np.arange(NUM) + 1) * size // (2 * NUM) for size in (height, width))
    return pixels[rows][:, columns].reshape(NUM * NUM, -1).astype(float)


def legal(bits, seed):
    """Luma and chroma that both ranges know."""
    rng, step = np.random.default_rng(seed), 2 ** (bits - 8)
    return (rng.integers(16 * step, 235 * step, 16), *rng.integers(64 * step, 192 * step, (2, 16)))


def by_formula(luma, cb, cr, bits, matrix, colour_range):
    """H.273, equations for E'R, E'G and E'B, 0 to 255."""
    step, peak = 2 ** (bits - 8), 2**bits - 1
    if colour_range == FULL:
        luma, cb, cr = (
            luma / peak,
            (cb - 128 * step) / peak,
            (cr - 128 * step) / peak,
        )
    else:
        luma = (luma - 16 * step) / (219 * step)
        cb, cr = ((item - 128 * step) / (224 * step) for item in (cb, cr))
    kr, kb = MATRICES[matrix]
    red, blue = luma + 2 * (1 - kr) * cr, luma + 2 * (1 - kb) * cb
    green = (luma - kr * red - kb * blue) / (1 - kr - kb)
    return 255 * np.clip(np.stack([red, green, blue], -1), 0, 1)


def difference(pix_fmt, matrix, colour_range, size=SIZE, **how):
    bits = av.VideoFormat(pix_fmt).components[0].bits
    channels = legal(bits, seed=matrix)
    content = written(
        planar(pix_fmt, *channels, size=size), matrix=matrix, colour_range=colour_range, **how
    )
    result = read(content)
    assert result.shape == (*size, 3)
    return np.abs(in_blocks(result) - by_formula(*channels, bits, matrix, colour_range)).max()


# findings/tagged_colours_need_pyav_17.sh shows what older ones made of them.
@pytest.mark.parametrize("colour_range", [LIMITED, FULL])
@pytest.mark.parametrize("pix_fmt", YUV)
def test_yuv_of_every_depth_and_sampling_is_what_the_formula_says(pix_fmt, colour_range):
    for matrix in MATRICES:
        assert difference(pix_fmt, matrix, colour_range) < TOLERANCE, matrix


@pytest.mark.parametrize("size", [(61, 67), (62, 65), (35, 49)])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le", "yuv411p", "yuv444p"])
def test_odd_sizes_keep_their_last_row_and_column(pix_fmt, size):
    assert difference(pix_fmt, 1, LIMITED, size) < 3 * TOLERANCE


def test_interlaced_frames_are_what_the_formula_says():
    how = {"codec": "libx264", "container": "mp4", "crf": "0", "x264-params": "interlaced=1"}
    assert difference("yuv420p", 1, LIMITED, **how) < TOLERANCE


@pytest.mark.parametrize("name", ["yuyv422", "uyvy422", "nv12", "vuya", "y210le", "xv30le"])
def test_packed_yuv_is_read_as_its_planes(name):
    luma, cb, cr = legal(8, seed=0)
    frame = planar("yuv444p", luma, cb, cr).reformat(format=name)
    actual = read(written(frame, "rawvideo", "nut"))
    expected = by_formula(luma, cb, cr, 8, 2, LIMITED)
    assert np.abs(in_blocks(actual) - expected).max() < TOLERANCE


@pytest.mark.parametrize(
    ("name", "codec", "container"),
    [
        *((name, "ffv1", "matroska") for name in ("bgr0", "bgra", "gbrp10le", "gbrp16le")),
        *((name, "rawvideo", "nut") for name in ("rgb24", "argb", "0bgr", "rgba64be", "gbrp9be")),
        ("gbrp", "rawvideo", "nut"),
        ("rgb555be", "qtrle", "mov"),
        ("rgb565le", "rawvideo", "nut"),
    ],
)
def test_rgb_keeps_its_values_as_far_as_its_depth_goes(name, codec, container):
    colours = np.random.default_rng(0).integers(0, 256, (16, 3))
    frame = planar("gbrp", *colours.T).reformat(format=name)
    step = 16 if "5" in name else 1
    result = read(written(frame, codec, container, matrix=0 if "gbr" in name else 2))
    assert np.abs(in_blocks(result) - colours).max() < step


@pytest.mark.parametrize("colour_range", [LIMITED, FULL])
@pytest.mark.parametrize("name", GREY)
def test_grey_is_one_channel_of_the_stored_values(name, colour_range):
    bits = av.VideoFormat(name).components[0].bits
    values = np.linspace(0, 2**bits - 1, 16).astype(int)
    result = read(written(planar(name, values), colour_range=colour_range))
    assert result.shape == (*SIZE, 1)
    assert result.dtype == (np.uint8 if bits == 8 else np.uint16)
    np.testing.assert_allclose(
        in_blocks(result)[:, 0] / np.iinfo(result.dtype).max, values / (2**bits - 1), atol=2e-5
    )


@pytest.mark.parametrize(
    ("name", "matrix"),
    [("yuv444p", 8), ("yuv420p10le", 10), ("yuv420p10le", 14)],
    ids=["YCgCo", "BT.2020 constant luminance", "ICtCp"],
)
def test_a_matrix_that_is_not_known_is_refused_with_a_sentence(name, matrix, tmp_path):
    bits = av.VideoFormat(name).components[0].bits
    (tmp_path / "v.mkv").write_bytes(written(planar(name, *legal(bits, 0)), matrix=matrix))
    (tmp_path / "labels.csv").write_text("video,frame,label\nv,0,a\n")
    config = dataset("video", tmp_path / "*.mkv", {"frames": str(tmp_path / "labels.csv")})
    found = cut(config, tmp_path)
    assert found.failed == [("v.mkv", "image_format", 1)]
    assert f"frames of {name} with colour matrix {matrix} " in found.failures[0].message
    assert "encode the video anew" in found.failures[0].message


# findings/big_endian_rgb_of_16_bits_is_misread.sh shows why.
@pytest.mark.parametrize("name", ["rgb555be", "bgr555be", "rgb565be", "bgr565be"])
def test_what_the_converter_would_misread_is_refused(name):
    frame = planar("gbrp", *np.arange(48).reshape(3, 16)).reformat(format=name)
    with pytest.raises(SampleError, match=f"frames of {name} are not read; encode"):
        read(written(frame, "rawvideo", "nut"))
