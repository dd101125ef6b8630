"""How much two regions overlap: spans of frames, boxes, and run-length encoded masks."""

import numpy as np

_OFFSET, _CONTINUES, _BITS = 48, 0x20, 5


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


def rle_runs(counts: str) -> np.ndarray:
    """Run lengths of a compressed COCO mask, (R,) int64: background first, in column order.

    Source: the format of pycocotools (`rleFrString`): five bits a character from 48 on, the
    lowest first, and from the third run on the difference to the run two before.
    """
    runs: list[int] = []
    value, shift = 0, 0
    for character in counts:
        bits = ord(character) - _OFFSET
        value |= (bits & (_CONTINUES - 1)) << shift
        shift += _BITS
        if bits & _CONTINUES:
            continue
        if bits & (1 << (_BITS - 1)):
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value, shift = 0, 0
    return np.array(runs, np.int64)


def mask_iou(a: str, b: str) -> float:
    """Intersection over union of two compressed COCO masks of one image, without their pixels."""
    runs_a, runs_b = rle_runs(a), rle_runs(b)
    ends_b = np.cumsum(runs_b)
    starts_b = ends_b - runs_b
    covered = _num_covered(runs_a, ends_b[1::2]) - _num_covered(runs_a, starts_b[1::2])
    both = float(covered.sum())
    union = float(runs_a[1::2].sum() + runs_b[1::2].sum()) - both
    return both / union if union else 0.0


def _num_covered(runs: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Foreground pixels before each place: linear between the ends of runs, so exact."""
    foreground = runs.copy()
    foreground[0::2] = 0
    at = np.concatenate([[0], np.cumsum(runs)])
    covered: np.ndarray = np.interp(places, at, np.concatenate([[0], np.cumsum(foreground)]))
    return covered
