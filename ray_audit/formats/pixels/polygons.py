"""Polygons and run-length codes of COCO as pixels, as COCO's own library draws them.

Rasterisers differ in whether the last row and column belong to a polygon. Here it is the rule of
COCO's `rleFrPoly` (pycocotools 2.0.11): the outline is drawn five times as large, and a pixel
belongs to the polygon where its middle lies inside. What is thinner than a pixel may vanish.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from ray_audit import rle

_SCALE = 5
_MAX_POINTS = 2**24
_MAX_COORDINATE = 1e6


def segment_runs(segmentation: Any, size: rle.Size) -> rle.Runs:
    """Pixels of a COCO `segmentation`, as runs.

    Args:
        segmentation: a list of polygons `[x0, y0, x1, y1, ...]` in pixels, or a run-length code
            `{"size": [H, W], "counts": ...}`, compressed or not.
        size: (H, W) of the image.

    Raises:
        ValueError: it is none of these, or of another size.
    """
    if isinstance(segmentation, dict):
        return _coded(segmentation, size)
    if not isinstance(segmentation, list) or not segmentation:
        raise ValueError(
            f"a segmentation is a list of polygons or an object; got {segmentation!r:.60}"
        )
    return rle.union([_polygon(polygon, size) for polygon in segmentation])


def _coded(coded: dict[str, Any], size: rle.Size) -> rle.Runs:
    counts, given = coded.get("counts"), coded.get("size")
    if given is not None and given != list(size):
        raise ValueError(f"runs of an image of size {given!r:.60}, and the image is {list(size)}")
    if isinstance(counts, str):
        return rle.decode_runs(counts, size)
    if not isinstance(counts, list) or not all(type(n) is int and n >= 0 for n in counts):
        raise ValueError("counts are neither text nor whole numbers from 0")
    if sum(counts) != size[0] * size[1]:
        raise ValueError(f"runs of {sum(counts)} px for an image of {size[0]} x {size[1]}")
    edges = np.cumsum(np.array(counts, np.int64))
    return _between(edges[: len(edges) // 2 * 2])


def _polygon(coordinates: Any, size: rle.Size) -> rle.Runs:
    try:
        points = np.array(coordinates, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"a polygon is a list of numbers: {error}") from error
    if points.ndim != 1 or len(points) < 6 or len(points) % 2:
        raise ValueError(f"a polygon has three or more pairs of numbers; got shape {points.shape}")
    if not (np.abs(points) < _MAX_COORDINATE).all():  # and no NaN
        raise ValueError("a polygon has points that are no pixels of any image")
    corners = np.trunc(_SCALE * points.reshape(-1, 2) + 0.5).astype(np.int64)
    edges = np.sort(_crossings(*_outline(corners), size))
    return _between(np.append(edges, size[0] * size[1]) if len(edges) % 2 else edges)


def _between(edges: npt.NDArray[np.int64]) -> rle.Runs:
    runs = edges.reshape(-1, 2)
    return runs[runs[:, 1] > runs[:, 0]]


def _outline(corners: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Points of the outline, one for each step along the longer axis of each edge."""
    ends = np.roll(corners, -1, axis=0)
    steps = np.abs(ends - corners)
    lengths = steps.max(axis=1)
    if int(lengths.sum()) > _MAX_POINTS:
        raise ValueError("a polygon's outline is longer than any image's")
    place = np.repeat(np.arange(len(corners)), lengths + 1)
    first = np.cumsum(lengths + 1) - (lengths + 1)
    at = np.arange(len(place)) - first[place]
    is_wide = steps[:, 0] >= steps[:, 1]
    longer = np.where(is_wide, 0, 1)
    each = np.arange(len(corners))
    is_turned = corners[each, longer] > ends[each, longer]
    start = np.where(is_turned[:, None], ends, corners)
    stop = np.where(is_turned[:, None], corners, ends)
    at = np.where(is_turned[place], lengths[place] - at, at)
    shorter = 1 - longer
    span = (stop - start)[each, shorter]
    slope = np.divide(span, lengths, out=np.zeros(len(each)), where=lengths > 0)
    along = start[each, longer][place] + at
    aside = np.trunc(start[each, shorter][place] + slope[place] * at + 0.5).astype(np.int64)
    return np.where(is_wide[place], along, aside), np.where(is_wide[place], aside, along)


def _crossings(
    across: npt.NDArray[np.int64], down: npt.NDArray[np.int64], size: tuple[int, int]
) -> npt.NDArray[np.int64]:
    """Column-major positions at which inside and outside change."""
    height, width = size
    moved = np.flatnonzero(np.diff(across)) + 1
    x = np.where(across[moved] < across[moved - 1], across[moved], across[moved] - 1)
    y = np.where(down[moved] < down[moved - 1], down[moved], down[moved - 1])
    column = (x + 0.5) / _SCALE - 0.5
    kept = (np.floor(column) == column) & (column >= 0) & (column <= width - 1)
    row = np.ceil(np.clip((y[kept] + 0.5) / _SCALE - 0.5, 0, height)).astype(np.int64)
    found: npt.NDArray[np.int64] = column[kept].astype(np.int64) * height + row
    return found
