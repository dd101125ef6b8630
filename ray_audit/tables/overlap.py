"""How much two regions overlap: spans of frames, boxes, and run-length encoded masks."""

import numpy as np

from ray_audit import rle


def span_iou(a: tuple[int, int], b: tuple[int, int]) -> float:
    """Intersection over union of two half-open spans of frames.

    >>> span_iou((0, 10), (5, 15))
    0.3333333333333333
    """
    both = max(0, min(a[1], b[1]) - max(a[0], b[0]))
    union = (a[1] - a[0]) + (b[1] - b[0]) - both
    return both / union if union else 0.0


def box_iou(a: tuple[int, ...], b: tuple[int, ...]) -> float:
    """Intersection over union of two boxes x0, y0, x1, y1 (exclusive).

    >>> box_iou((0, 0, 2, 2), (0, 0, 2, 4))
    0.5
    """
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    both = width * height
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
    return both / union if union else 0.0


def mask_iou(a: str, b: str, size_px: tuple[int, int]) -> float:
    """Intersection over union of two compressed COCO masks of one image, without their pixels.

    Args:
        a: counts of one.
        b: counts of the other.
        size_px: height and width of the image.
    """
    runs_a, runs_b = rle.decode_runs(a, size_px), rle.decode_runs(b, size_px)
    num_a, num_b = (int((runs[:, 1] - runs[:, 0]).sum()) for runs in (runs_a, runs_b))
    ends = _num_covered(runs_a, runs_b)
    both = int((ends[:, 1] - ends[:, 0]).sum())
    union = num_a + num_b - both
    return both / union if union else 0.0


def _num_covered(runs: rle.Runs, places: rle.Runs) -> np.ndarray:
    """Pixels of `runs` before each place: linear between the ends of runs, so exact."""
    if not len(runs):
        return np.zeros(places.shape)
    before = np.concatenate([[0], np.cumsum(runs[:, 1] - runs[:, 0])])
    at_ends = np.stack([before[:-1], before[1:]], axis=1)
    covered: np.ndarray = np.interp(places, runs.ravel(), at_ends.ravel())
    return covered
