"""Clips whose frames have masks, as single masks: what is observed is that of each owned frame.

Shape suffixes: N clips of T frames, of which the batch owns R that have a mask.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from ray_audit.probes.masks import Masks
from ray_audit.probes.transfer import upload
from ray_audit.samples import IGNORE, Batch


def is_clips(batch: Batch) -> bool:
    """Whether a batch of masks holds clips: its targets are (N, T, H, W)."""
    return batch.task.is_dense and batch.arrays["targets"].ndim == 4


def owned_frames(batch: Batch) -> Batch:
    """The same rows with the targets of each, (R, H, W), in place of those of clips."""
    cuts, positions = _places(batch)
    samples = batch.samples
    for name, values in (("cut", np.arange(len(cuts))), ("position", np.zeros(len(cuts)))):
        at = samples.schema.get_field_index(name)
        samples = samples.set_column(at, samples.schema.field(at), pa.array(values, pa.int32()))
    arrays = batch.arrays | {"targets": batch.arrays["targets"][cuts, positions]}
    return Batch(batch.unit_id, batch.index, batch.task, samples, arrays)


def as_images(batch: Batch) -> Batch:
    """Clips of masks as single frames, each with its pixels; any other batch as it is."""
    if not is_clips(batch):
        return batch
    cuts, positions = _places(batch)
    return owned_frames(batch).with_arrays(
        batch.arrays | {name: batch.arrays[name][cuts, positions] for name in ("inputs", "targets")}
    )


def _places(batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    cuts, positions = (batch.samples[name].to_numpy() for name in ("cut", "position"))
    return cuts.astype(np.int64), positions.astype(np.int64)


@dataclass(frozen=True)
class ClipFrames:
    """Where the owned frames of clips are among all of them.

    Attributes:
        num_frames: T.
        cuts: (R,) int64, the clip of each.
        positions: (R,) int64, its place in the clip.
        every: masks of all N * T frames; a frame without one is void.
    """

    num_frames: int
    cuts: Tensor
    positions: Tensor
    every: Masks

    @classmethod
    def of(cls, batch: Batch, device: torch.device) -> "ClipFrames":
        """Read the clips of a batch."""
        targets = batch.arrays["targets"]
        flat = targets.reshape(-1, *targets.shape[2:]).astype(np.int64)
        cuts, positions = (upload(values, device) for values in _places(batch))
        num_labelled = (flat != IGNORE).sum(axis=(1, 2)).astype(np.float64)
        labels = upload(flat, device)
        every = Masks(
            labels,
            labels != IGNORE,
            upload(num_labelled, device),
            np.zeros(flat.shape, np.uint8),
            np.empty((0, 2), np.int64),
        )
        return cls(targets.shape[1], cuts, positions, every)

    def owned(self, maps: Tensor) -> Tensor:
        """Of what there is of all frames, (N * T, ...), that of the owned ones, (R, ...)."""
        return maps[self.cuts * self.num_frames + self.positions]
