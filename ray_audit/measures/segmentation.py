"""Scores of one mask, from what the last checkpoint sees of its labelled pixels."""

from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from ray_audit.measures.base import (
    DENSE,
    Cuts,
    DatasetQuantity,
    Family,
    Quantity,
    Score,
    apart,
    first,
    score,
    total,
)
from ray_audit.measures.confident import Confusion
from ray_audit.schemas import Column
from ray_audit.scores import segmentation
from ray_audit.scores.component_doubt import ComponentDoubt, ComponentSample

_LAD = "Lad and Mueller 2023, arXiv 2307.05080"


def _components(cuts: Cuts, name: str) -> list[np.ndarray]:
    flat = cuts.rows[name].to_pylist()
    return [np.concatenate([np.reshape(flat[r], (-1, 5)) for r in rows]) for rows in cuts.rows_of]


_final = partial(Quantity, when="last", tasks=DENSE)

QUANTITIES = (
    _final("final/softmin", "sum of w*s, sum of w, least s, over labelled pixels", merge=apart),
    _final("final/interior", "the same without the 1-px band along boundaries", merge=apart),
    _final("final/class_counts", "(K, 3) pixels: right, predicted, given", merge=total),
    _final("final/tccp", "(K, T) pixels on which threshold map and label agree", merge=total),
    _final(
        "final/components",
        "of each component of the mask: id, class, sum of p, pixels, first pixel",
        axis="pieces",
        merge=_components,
    ),
    _final("final/image_size", "height and width of the image, in px", merge=first),
)


def _size(image_size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return image_size[:, 0], image_size[:, 1]


def _softmin(states: list[np.ndarray], temperature: float) -> np.ndarray:
    merged = [segmentation.merge_softmin(state, temperature) for state in states]
    return segmentation.finish_softmin(np.stack(merged))


def _cil(p_label: np.ndarray) -> np.ndarray:
    last: np.ndarray = p_label[:, -1]
    return last


def _counts(flat: np.ndarray, classes: np.ndarray) -> np.ndarray:
    return flat.reshape(len(flat), len(classes), 3)


def _ccp(class_counts: np.ndarray, classes: np.ndarray) -> np.ndarray:
    return segmentation.finish_ccp(_counts(class_counts, classes))


def _tccp(agreement: np.ndarray, class_counts: np.ndarray, classes: np.ndarray) -> np.ndarray:
    by_class = agreement.reshape(len(agreement), len(classes), -1)
    return segmentation.finish_tccp(by_class, _counts(class_counts, classes))


def _iou(class_counts: np.ndarray, classes: np.ndarray) -> np.ndarray:
    return segmentation.finish_iou(_counts(class_counts, classes))


def _late_iou(pixels: Confusion, num_px: np.ndarray, classes: np.ndarray) -> np.ndarray:
    sizes = len(num_px), len(classes)
    ious = [segmentation.finish_iou(pixels.counts(*sizes, e)) for e in range(len(pixels.source))]
    return segmentation.late_iou(np.stack(ious, axis=1))


def _coco(components: list[np.ndarray]) -> np.ndarray:
    merged = [segmentation.merge_components([component]) for component in components]
    return np.array([segmentation.finish_coco(item) for item in merged])


def _component_doubt(components: list[np.ndarray], usual: ComponentDoubt | None) -> np.ndarray:
    if usual is None:
        return np.full(len(components), np.nan)
    return usual.of([segmentation.merge_components([item]) for item in components])


def _component_deviation(components: list[np.ndarray], usual: ComponentDoubt | None) -> np.ndarray:
    if usual is None:
        return np.full(len(components), np.nan)
    return usual.deviations([segmentation.merge_components([item]) for item in components])


def _component_sample(
    components: list[np.ndarray], samples: Any, scored: np.ndarray, classes: np.ndarray
) -> ComponentSample:
    names = samples.identity["sample_id"].to_pylist()
    rows = np.flatnonzero(scored).tolist()
    merged = [segmentation.merge_components([components[row]]) for row in rows]
    return ComponentSample.of([names[row] for row in rows], merged, len(classes))


_fraction = partial(
    score, unit="fraction", direction="lower", source=_LAD, tasks=DENSE, family="softmin"
)

SCORES = (
    _fraction(
        "softmin",
        _softmin,
        "soft minimum over pixels of p(given class)",
        "softmin setting.temperature",
    ),
    _fraction(
        "softmin_interior",
        _softmin,
        "soft minimum without the 1-px band along label boundaries",
        "interior setting.temperature",
        source="Lad and Mueller 2023; band: our definition",
    ),
    _fraction("cil", _cil, "mean over pixels of p(given class)", "p_label"),
    _fraction("ccp", _ccp, "share of pixels predicted as labelled", "class_counts setting.classes"),
    _fraction(
        "tccp",
        _tccp,
        "best agreement of thresholded class maps",
        "tccp class_counts setting.classes",
        source="our reading",
    ),
    _fraction("iou", _iou, "mean IoU of prediction and given mask", "class_counts setting.classes"),
    _fraction(
        "late_iou",
        _late_iou,
        "mean of `iou` over the later half of the checkpoints",
        "confusion sample.num_labelled setting.classes",
        source="our definition",
    ),
    _fraction(
        "coco", _coco, "mean p(given class) over components", "components", source="our reading"
    ),
    _fraction(
        "component_doubt",
        _component_doubt,
        "what p(given class) of components lacks of the usual of their class, mean over pixels",
        "components dataset.components",
        direction="higher",
        source="our definition",
        version=2,
    ),
    _fraction(
        "component_deviation",
        _component_deviation,
        "by how many spreads of their class components fall short of its middle p(given class)",
        "components dataset.components",
        unit="1",
        direction="higher",
        source="our definition",
        version=2,
    ),
    Score(
        (
            Column("mask_height_px", pa.int32(), "height of the mask", "px"),
            Column("mask_width_px", pa.int32(), "width of the mask", "px"),
        ),
        ("image_size",),
        _size,
        tasks=DENSE,
    ),
)

DATASET = (
    DatasetQuantity(
        "components",
        "confidence in the components of a sample of masks, and in each class",
        ("components", "sample.all", "sample.scored", "setting.classes"),
        _component_sample,
        ComponentSample.merge,
        finish=ComponentSample.finish,
        tasks=DENSE,
        version=2,
    ),
)

FAMILY = Family(
    "From the last checkpoint's probability map (dense labels)", QUANTITIES, SCORES, DATASET
)
