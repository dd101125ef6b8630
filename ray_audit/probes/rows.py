"""Probe of batches whose labels belong to images, frames or whole videos."""

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from ray_audit.probes.gradients import channel_mean
from ray_audit.probes.likelihood import first_class_equal, likelihood
from ray_audit.samples import IGNORE, Batch


def row_logits(logits: Tensor, batch: Batch, num_classes: int) -> Tensor:
    """Logits of the rows that the batch owns, (R, K).

    Raises:
        ValueError: the model's output has another shape than the task needs.
    """
    inputs = batch.arrays["inputs"]
    expected = [len(inputs), num_classes]
    if batch.task == "frames":
        expected.insert(1, inputs.shape[1])
    if list(logits.shape) != expected:
        raise ValueError(
            f"the model answered logits of shape {tuple(logits.shape)} to inputs "
            f"{inputs.shape}; expected {tuple(expected)} (a row per "
            f"{'frame' if batch.task == 'frames' else 'sample'}, {num_classes} classes)"
        )
    return logits[row_index(batch, logits.device)]


def row_index(batch: Batch, device: torch.device) -> tuple[Tensor, ...]:
    """Index of the owned rows in the first axis (and the time axis) of inputs and logits."""
    cut = torch.from_numpy(batch.samples["cut"].to_numpy().astype(np.int64)).to(device)
    if batch.task != "frames":
        return (cut,)
    position = batch.samples["position"].to_numpy().astype(np.int64)
    return cut, torch.from_numpy(position).to(device)


def gradient_target(logits: Tensor, batch: Batch, kind: str) -> Tensor:
    """Sum over all labelled rows or frames of the loss, or of the given class's logit."""
    targets = torch.from_numpy(batch.arrays["targets"].astype(np.int64)).to(logits.device)
    flat, labels = logits.float().reshape(-1, logits.shape[-1]), targets.reshape(-1)
    if kind == "loss":
        return F.cross_entropy(flat, labels, ignore_index=IGNORE, reduction="sum")
    given = flat.gather(1, labels.clamp_min(0).unsqueeze(1)).squeeze(1)
    return given[labels != IGNORE].sum()


def row_gradients(gradient: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Channel-mean gradient map of each owned row, and its squared norm over all inputs."""
    index = row_index(batch, gradient.device)
    rows = gradient[index]
    return channel_mean(gradient)[index], rows.double().square().flatten(1).sum(dim=1)


def observe_rows(
    logits: Tensor, batch: Batch, num_classes: int, final: bool
) -> dict[str, np.ndarray]:
    """Observations of one checkpoint, one value a row."""
    rows = row_logits(logits, batch, num_classes).detach().float().clone()
    labels = torch.from_numpy(batch.samples["label"].to_numpy().astype(np.int64)).to(rows.device)
    others = rows.scatter(1, labels.unsqueeze(1), -torch.inf)
    other = first_class_equal(others, others.amax(dim=1))
    seen = likelihood(rows, labels)
    observed = {
        "loss": _float64(seen.loss),
        "p_label": _float64(seen.p_label),
        "margin": _float64(seen.margin),
        "prob_margin": _float64(seen.prob_margin),
        "el2n": _float64(seen.el2n),
        "correct": _float64(seen.predicted == labels),
        "predicted": seen.predicted.cpu().numpy().astype(np.int32),
        "other": other.cpu().numpy().astype(np.int32),
    }
    if final:
        observed["final/p_predicted"] = _float64(seen.p_predicted)
    return observed


def _float64(values: Tensor) -> np.ndarray:
    return values.double().cpu().numpy()
