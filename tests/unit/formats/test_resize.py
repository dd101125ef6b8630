import numpy as np
import pytest
import torch

from ray_audit.formats.pixels.resize import pays_off, resize

SIZES = [
    ((48, 64), (24, 32)),
    ((37, 53), (112, 112)),
    ((480, 640), (112, 113)),
    ((7, 5), (3, 11)),
    ((1, 9), (4, 4)),
    ((1001, 33), (17, 17)),
    ((12, 12), (12, 12)),
]


@pytest.mark.parametrize(("native", "size"), SIZES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_resize_equals_torch(native, size, dtype):
    full = np.iinfo(dtype).max
    pixels = np.random.default_rng(0).integers(0, full, (*native, 3), dtype, endpoint=True)
    planes = torch.from_numpy(pixels.astype(np.float32) / full).permute(2, 0, 1)[None]
    expected = torch.nn.functional.interpolate(
        planes, size=size, mode="bilinear", antialias=False, align_corners=False
    )[0]
    actual = resize(pixels, size)
    assert actual.dtype == np.float32
    assert actual.shape == (*size, 3)
    np.testing.assert_allclose(actual, expected.permute(1, 2, 0).numpy(), atol=1e-6)


def test_resize_at_decode_pays_only_where_bytes_fall():
    assert pays_off((100, 100, 3), 1, (49, 50))
    assert not pays_off((100, 100, 3), 1, (50, 50))
    assert pays_off((100, 100, 3), 2, (50, 50))
    assert not pays_off((100, 100, 3), 1, None)
