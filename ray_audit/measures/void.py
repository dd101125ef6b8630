"""What the checkpoints see in the unlabelled components of a mask."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ray_audit.measures.base import DENSE, Cuts, Family, Quantity, score
from ray_audit.scores.void import void_evidence


@dataclass(frozen=True)
class VoidSeen:
    """What the checkpoints see in the unlabelled components of one image.

    Attributes:
        component: (V,) numbers as in the records.
        top_class: (V, E) class with the largest mean probability.
        top_p: (V, E) that mean.
    """

    component: np.ndarray
    top_class: np.ndarray
    top_p: np.ndarray

    def at(self, checkpoints: np.ndarray) -> "VoidSeen":
        """The same at some of the checkpoints, (E,) bool."""
        return VoidSeen(self.component, self.top_class[:, checkpoints], self.top_p[:, checkpoints])


def _merged(cuts: Cuts, name: str) -> list[VoidSeen]:
    """The sums of a component's parts in several tiles, added up."""
    num_checkpoints = cuts.array("loss").shape[1]
    columns = [cuts.rows[column].to_pylist() for column in ("void/index", "void_class", name)]
    of_sample: list[list[tuple[np.ndarray, ...]]] = [[] for _ in cuts.first]
    for sample, index, classes, sums in zip(cuts.group.tolist(), *columns, strict=True):
        if index:
            numbers = np.reshape(np.asarray(index, np.int64), (-1, 2))
            shape = (len(numbers), -1, num_checkpoints)
            table = np.reshape(np.asarray(classes, np.int64), shape)
            of_sample[sample].append((numbers, table, np.reshape(np.asarray(sums), shape)))
    return [_top_classes(tiles, num_checkpoints) for tiles in of_sample]


def _top_classes(tiles: list[tuple[np.ndarray, ...]], num_checkpoints: int) -> VoidSeen:
    """Add up the sums of tiles, and take the largest of each component and checkpoint."""
    if not tiles:
        empty = np.zeros((0, num_checkpoints))
        return VoidSeen(np.zeros(0, np.int64), empty.astype(np.int64), empty)
    index = np.concatenate([tile[0] for tile in tiles])
    classes, sums = (np.concatenate([tile[i] for tile in tiles]) for i in (1, 2))
    component, place = np.unique(index[:, 0], return_inverse=True)
    num_px = np.bincount(place, weights=index[:, 1])
    totals = np.zeros((len(component), int(classes.max()) + 1, num_checkpoints))
    checkpoint = np.arange(num_checkpoints)
    np.add.at(totals, (place[:, None, None], classes, checkpoint), sums)
    return VoidSeen(component, totals.argmax(axis=1), totals.max(axis=1) / num_px[:, None])


def _joined(
    sets: Sequence[list[VoidSeen]], source: Sequence[tuple[int, int]], reached: np.ndarray | None
) -> list[VoidSeen]:
    joined = []
    for sample, of_sets in enumerate(zip(*sets, strict=True)):
        top_class = np.stack([of_sets[s].top_class[:, e] for s, e in source], axis=1)
        top_p = np.stack([of_sets[s].top_p[:, e] for s, e in source], axis=1)
        seen = VoidSeen(of_sets[0].component, top_class, top_p)
        joined.append(seen if reached is None else seen.at(reached[sample]))
    return joined


QUANTITIES = (
    Quantity(
        "void/index",
        "component, owned pixels",
        axis="pieces",
        when="fixed",
        tasks=DENSE,
        merge=None,
    ),
    Quantity(
        "void_class",
        "classes whose sums are kept",
        axis="pieces",
        tasks=DENSE,
        merge=None,
        gap=0,
        along="void/index",
    ),
    Quantity(
        "void_sum",
        "sums of their probabilities over the component's pixels",
        axis="pieces",
        tasks=DENSE,
        merge=_merged,
        join=_joined,
        into="voids",
        along="void/index",
    ),
)


def _evidence(voids: list[VoidSeen]) -> np.ndarray:
    """Largest evidence of the unlabelled components of each sample, NaN where it has none."""
    every = [void_evidence(v.top_class, v.top_p)[1] for v in voids]
    return np.array([item.max() if item.size else np.nan for item in every])


SCORES = (
    score(
        "void_evidence",
        _evidence,
        "how surely the later checkpoints see one class in an unlabelled region; null without one",
        "voids",
        "fraction",
        "higher",
        source="our definition",
        tasks=DENSE,
        family="softmin",
    ),
    score(
        "num_labelled_px",
        np.asarray,
        "labelled pixels",
        "sample.num_labelled",
        "px",
        type=pa.int64(),
        tasks=DENSE,
    ),
)

FAMILY = Family("From the unlabelled pixels of a mask", QUANTITIES, SCORES)
