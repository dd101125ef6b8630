import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_audit import rle
from ray_audit.tables.overlap import box_iou, mask_iou, span_iou

masks = st.integers(0, 2**20).map(
    lambda seed: np.random.default_rng(seed).random((7, 9)) < (seed % 10) / 10
)


@given(masks, masks)
def test_the_overlap_of_masks_is_that_of_their_pixels(a, b):
    union = (a | b).sum()
    expected = (a & b).sum() / union if union else 0.0
    assert mask_iou(rle.encode(a), rle.encode(b), (7, 9)) == pytest.approx(expected)


@given(st.tuples(*[st.integers(0, 20)] * 4), st.tuples(*[st.integers(0, 20)] * 4))
def test_boxes_and_spans_are_counted_like_cells(first, other):
    def cells(x0, y0, x1, y1):
        return {(x, y) for x in range(x0, x1) for y in range(y0, y1)}

    a, b = ((v[0], v[1], v[0] + v[2], v[1] + v[3]) for v in (first, other))
    both, union = cells(*a) & cells(*b), cells(*a) | cells(*b)
    assert box_iou(a, b) == (len(both) / len(union) if union else 0.0)
    spans = ({*range(a[0], a[2])}, {*range(b[0], b[2])})
    expected = len(spans[0] & spans[1]) / len(spans[0] | spans[1]) if any(spans) else 0.0
    assert span_iou((a[0], a[2]), (b[0], b[2])) == expected
