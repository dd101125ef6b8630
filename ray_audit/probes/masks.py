"""Targets of a dense batch on the device, and which of their pixels count."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ray_audit.probes.transfer import upload
from ray_audit.samples import IGNORE, Batch
from ray_audit.scores.components import connected_components
from ray_audit.scores.segmentation import interior_mask
from ray_audit.scores.void import void_components

TILE_ARRAYS = ("owned_rect", "placement", "interior", "components", "void_components")
"""Arrays of a batch of tiles that probes read."""


@dataclass(frozen=True)
class Masks:
    """Targets of a dense batch on the device.

    Attributes:
        labels: (N, H, W) int64 with `IGNORE`.
        counted: (N, H, W) bool: labelled pixels that this batch owns.
        num_labelled: (N,) labelled pixels of the whole image, over all its tiles.
        voids: (N, H, W) uint8: sizeable unlabelled component of the whole mask, from 1; 0
            elsewhere.
        given: (P, 2) int64: mask and each class that counted pixels of it are given, in order.
    """

    labels: Tensor
    counted: Tensor
    num_labelled: Tensor
    voids: np.ndarray
    given: np.ndarray

    @classmethod
    def of(cls, batch: Batch, device: torch.device) -> "Masks":
        """Read the targets of a batch."""
        targets = batch.arrays["targets"]
        labels = upload(targets.astype(np.int64), device)
        owned = torch.zeros_like(labels, dtype=torch.bool)
        given = []
        for n, (y0, x0, y1, x1) in enumerate(owned_rects(batch)):
            owned[n, y0:y1, x0:x1] = True
            classes = np.unique(targets[n, y0:y1, x0:x1])
            given += [(n, int(class_)) for class_ in classes if class_ != IGNORE]
        totals = batch.samples["sample_num_labelled"].to_numpy().astype(np.float64)
        num_labelled = upload(totals, device)
        pieces = np.array(given, np.int64).reshape(-1, 2)
        counted = owned & (labels != IGNORE)
        return cls(labels, counted, num_labelled, _void_maps(batch), pieces)

    def part(self, part: slice) -> "Masks":
        """Some of the masks."""
        kept = (self.given[:, 0] >= part.start) & (self.given[:, 0] < part.stop)
        given = self.given[kept] - (part.start, 0)
        return Masks(
            self.labels[part], self.counted[part], self.num_labelled[part], self.voids[part], given
        )

    def of_given(self, values: Tensor) -> Tensor:
        """Of values by mask and class, (N, K, ...), those of `given`: (P, ...)."""
        flat = values.flatten(0, 1)
        place = self.given[:, 0] * values.shape[1] + self.given[:, 1]
        return flat[upload(place, values.device)]


def owned_rects(batch: Batch) -> np.ndarray:
    """Part of each mask that the batch owns, (N, 4) int: y0, x0, y1, x1."""
    given = batch.arrays.get("owned_rect")
    if given is not None:
        return given
    return _whole(batch, np.dtype(np.int32))


def _whole(batch: Batch, dtype: np.dtype) -> np.ndarray:
    """Of masks that are no tiles, (N, 4): 0, 0, height, width."""
    num, height, width = batch.arrays["targets"].shape
    return np.tile(np.array([0, 0, height, width], dtype), (num, 1))


def owned_input_rects(batch: Batch, input_size: tuple[int, int]) -> np.ndarray:
    """The owned rectangles in pixels of the (possibly resized) input."""
    rects = owned_rects(batch).astype(np.float64)
    height, width = batch.arrays["targets"].shape[1:]
    scale = np.array([input_size[0] / height, input_size[1] / width] * 2)
    at_input: np.ndarray = np.rint(rects * scale).astype(np.int64)
    return at_input


def placements(batch: Batch) -> np.ndarray:
    """Where each mask lies, (N, 4) int64: its y and x, the height and width of the image."""
    given = batch.arrays.get("placement")
    if given is not None:
        return given
    return _whole(batch, np.dtype(np.int64))


def _void_maps(batch: Batch) -> np.ndarray:
    given = batch.arrays.get("void_components")
    if given is not None:
        return given
    return np.stack([void_components(label) for label in batch.arrays["targets"]])


@dataclass(frozen=True)
class Maps:
    """What the final states need of the whole masks, cut to some of a batch.

    Attributes:
        interior: (N, H, W) bool: pixels outside the 1-px band along label boundaries.
        components: (N, H, W) int: component of the whole mask that a pixel belongs to.
        voids: (N, H, W) uint8: sizeable unlabelled component, from 1.
        rects: (N, 4) int: what is owned, as `owned_rects`.
        placements: (N, 4) int64: where the masks lie, as `placements`.
    """

    interior: Tensor
    components: np.ndarray
    voids: np.ndarray
    rects: np.ndarray
    placements: np.ndarray

    @classmethod
    def of(cls, batch: Batch, part: slice, voids: np.ndarray, device: torch.device) -> "Maps":
        """Take the maps that came with tiles, or make them from whole masks."""
        interior, components = batch.arrays.get("interior"), batch.arrays.get("components")
        labels = batch.arrays["targets"][part]
        inside = (
            np.stack([interior_mask(label) for label in labels])
            if interior is None
            else interior[part].astype(bool)
        )
        ids = (
            np.stack([connected_components(label) for label in labels])
            if components is None
            else components[part]
        )
        rects, places = owned_rects(batch)[part], placements(batch)[part]
        return cls(torch.from_numpy(inside).to(device), ids, voids, rects, places)
