import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from ray_audit import rle

coco = pytest.importorskip("pycocotools.mask")


@st.composite
def masks(draw, num=1):
    size = draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    density = draw(st.sampled_from([0.0, 0.05, 0.5, 0.95, 1.0]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return [rng.random(size) < density for _ in range(num)]


def in_coco(mask):
    return coco.encode(np.asfortranarray(mask.astype(np.uint8)))


@given(masks())
def test_codes_equal_pycocotools_both_ways(drawn):
    (mask,) = drawn
    counts = rle.encode(mask)
    assert counts == in_coco(mask)["counts"].decode()
    assert np.array_equal(rle.decode(counts, mask.shape), mask)
    assert rle.area(rle.decode_runs(counts, mask.shape)) == mask.sum()


def test_long_runs_and_large_images_equal_pycocotools():
    mask = np.zeros((3000, 2000), bool)
    mask[5:2900, 100:1700] = True
    mask[1000:1001, 300:1200] = False
    mask[:, 1999] = True
    assert rle.encode(mask) == in_coco(mask)["counts"].decode()
    runs = rle.decode_runs(rle.encode(mask), mask.shape)
    assert np.array_equal(runs, rle.runs_of(mask))


def test_counts_beyond_32_bits_come_back():
    runs = np.array([[2**33, 2**33 + 5], [2**34, 2**34 + 1]])
    size = (2**17, 2**18)
    assert np.array_equal(rle.decode_runs(rle.encode_runs(runs, size), size), runs)


@given(masks())
def test_box_and_first_pixel_equal_those_of_the_mask(drawn):
    (mask,) = drawn
    if not mask.any():
        return
    runs, height = rle.runs_of(mask), len(mask)
    y, x = np.nonzero(mask)
    assert rle.box(runs, height) == (x.min(), y.min(), x.max() + 1, y.max() + 1)
    assert rle.first_pixel(runs, height) == (x[0], y[0])
    assert all(
        (stop - 1) // height == start // height for start, stop in rle.by_column(runs, height)
    )


@given(masks(num=2))
def test_union_iou_and_touch_equal_those_of_masks(drawn):
    left, right = drawn
    a, b = rle.runs_of(left), rle.runs_of(right)
    assert np.array_equal(rle.union([a, b]), rle.runs_of(left | right))
    whole = (left | right).sum()
    expected = (left & right).sum() / whole if whole else 0.0
    assert rle.iou(a, b) == pytest.approx(expected)
    near = ndimage.binary_dilation(left)
    assert rle.touch(a, b, len(left)) == (near & right).any()


def test_union_of_nothing_is_empty():
    assert rle.union([]).shape == (0, 2)


@pytest.mark.parametrize("counts", ["", "P", "22 2", "0"])
def test_broken_counts_are_refused(counts):
    with pytest.raises(ValueError, match="run-length"):
        rle.decode(counts, (2, 2))


def test_counts_of_another_size_are_refused_with_both():
    with pytest.raises(ValueError, match=r"4 px for an image of 3 x 2"):
        rle.decode(rle.encode(np.eye(2, dtype=bool)), (3, 2))
