"""Probe of batches whose labels belong to images, frames or whole videos."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from ray_audit.probes.gradients import channel_mean
from ray_audit.probes.likelihood import first_largest, likelihood
from ray_audit.probes.transfer import Observed, upload
from ray_audit.samples import IGNORE, Batch

_AT_ONCE = 2**20  # numbers


@dataclass(frozen=True)
class Rows:
    """The rows that a batch owns, on the device.

    Attributes:
        index: of the rows in the first axis (and the time axis) of inputs and logits.
        labels: (R,) int64.
        targets: int64 with `IGNORE`, of all rows or frames of the inputs.
    """

    index: tuple[Tensor, ...]
    labels: Tensor
    targets: Tensor

    @classmethod
    def of(cls, batch: Batch, device: torch.device) -> "Rows":
        """Read the rows of a batch."""
        names = ("cut", "position") if batch.task.is_sequence else ("cut",)
        *index, labels = (
            upload(batch.samples[name].to_numpy().astype(np.int64), device)
            for name in (*names, "label")
        )
        targets = upload(batch.arrays["targets"].astype(np.int64), device)
        return cls(tuple(index), labels, targets)


def row_logits(logits: Tensor, batch: Batch, rows: Rows, num_classes: int) -> Tensor:
    """Logits of the rows that the batch owns, (R, K).

    Raises:
        ValueError: the model's output has another shape than the task needs.
    """
    inputs = batch.arrays["inputs"]
    expected = [len(inputs), num_classes]
    if batch.task.is_sequence:
        expected.insert(1, inputs.shape[1])
    if list(logits.shape) != expected:
        raise ValueError(
            f"the model answered logits of shape {tuple(logits.shape)} to inputs "
            f"{inputs.shape}; expected {tuple(expected)} (a row per "
            f"{'frame' if batch.task.is_sequence else 'sample'}, {num_classes} classes)"
        )
    return logits[rows.index]


def gradient_target(logits: Tensor, rows: Rows, kind: str) -> Tensor:
    """Sum over all labelled rows or frames of the loss, or of the given class's logit."""
    flat, labels = logits.float().reshape(-1, logits.shape[-1]), rows.targets.reshape(-1)
    if kind == "loss":
        return F.cross_entropy(flat, labels, ignore_index=IGNORE, reduction="sum")
    given = flat.gather(1, labels.clamp_min(0).unsqueeze(1)).squeeze(1)
    # Only the gradient counts: zeros leave it as it is, and the host waits for no number of rows.
    return torch.where(labels != IGNORE, given, 0.0).sum()


def row_gradients(gradient: Tensor, rows: Rows) -> tuple[Tensor, Tensor]:
    """Channel-mean gradient map of each owned row, and its squared norm over all inputs."""
    own = gradient[rows.index]
    # A few rows at a time: in float64 those of a clip are larger than any cache.
    parts = torch.split(own, max(1, _AT_ONCE * len(own) // max(1, own.numel())))
    squared = [part.double().square_().flatten(1).sum(dim=1) for part in parts]
    return channel_mean(gradient)[rows.index], torch.cat(squared)


def observe_rows(
    logits: Tensor, batch: Batch, rows: Rows, num_classes: int, final: bool
) -> Observed:
    """Observations of one checkpoint, one value a row, on the device."""
    own = row_logits(logits, batch, rows, num_classes).detach().float().clone()
    others = own.scatter(1, rows.labels.unsqueeze(1), -torch.inf)
    _, other = first_largest(others)
    seen = likelihood(own, rows.labels)
    observed: Observed = {name: values.double() for name, values in seen.observed.items()}
    observed |= {"predicted": seen.predicted.int(), "other": other.int()}
    if final:
        observed["final/p_predicted"] = seen.p_predicted.double()
    return observed
