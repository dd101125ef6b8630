"""The limit: a bare torch loop over decoded tensors, of forward passes or of input gradients."""

import multiprocessing
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from benchmarks.sets import Workload, decoded
from ray_audit.checkpoints.factory import build_model
from ray_audit.checkpoints.loading import load_weights
from ray_audit.config import AuditConfig

BATCH_INPUTS = {"images": 32, "masks": 32, "frames": 2}
"""Images or clips in a batch of the bare loops; the engine packs its own."""


def load_models(config: AuditConfig, num_checkpoints: int) -> list[nn.Module]:
    """Frozen models of all checkpoints, in the layout that is fastest."""
    models = []
    for epoch in range(num_checkpoints):
        model = build_model(config.model)
        load_weights(model, config.checkpoints.replace("*", f"epoch_{epoch + 1:03d}"))
        models.append(model.to(memory_format=torch.channels_last))
    return models


def as_input(pixels: Tensor) -> Tensor:
    """Float in [0, 1]; images channels-last."""
    scaled = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels
    return scaled.contiguous(memory_format=torch.channels_last) if scaled.ndim == 4 else scaled


def losses_of(logits: Tensor, targets: Tensor) -> Tensor:
    """Loss of every sample: rows, frames in order, or means over the pixels of a mask."""
    if logits.ndim == 3:  # (N, T, K)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    loss = F.cross_entropy(logits, targets, reduction="none")
    return loss.flatten(1).mean(1) if loss.ndim > 1 else loss


def bare_loop(
    models: list[nn.Module], inputs: Tensor, targets: Tensor, batch: int, num_threads: int
) -> tuple[np.ndarray, float]:
    """Losses (N, E) and the seconds that they took, warmed up before."""
    torch.set_num_threads(num_threads)
    per_input = targets.shape[1] if inputs.ndim == 5 else 1
    losses = torch.empty(len(inputs) * per_input, len(models))
    with torch.inference_mode():
        models[0](as_input(inputs[:batch]))
        started = time.perf_counter()
        for start in range(0, len(inputs), batch):
            part = slice(start, start + batch)
            rows = slice(start * per_input, (start + batch) * per_input)
            here = as_input(inputs[part])
            for e, model in enumerate(models):
                losses[rows, e] = losses_of(model(here), targets[part])
    return losses.numpy(), time.perf_counter() - started


def bare_vog(
    models: list[nn.Module], inputs: Tensor, targets: Tensor, batch: int, num_threads: int
) -> tuple[np.ndarray, float]:
    """VoG (N,) of images with a class, and the seconds that it took.

    The best that one would write: frozen parameters, one backward a batch, moments instead of
    kept gradients, and the losses, which cost nothing more.
    """
    torch.set_num_threads(num_threads)
    input_gradients(models[0], as_input(inputs[:batch]), targets[:batch])
    scores = []
    started = time.perf_counter()
    for start in range(0, len(inputs), batch):
        part = slice(start, start + batch)
        here = as_input(inputs[part])
        mean = m2 = torch.zeros(())
        for e, model in enumerate(models):
            gradient = input_gradients(model, here, targets[part]).mean(dim=1)
            delta = gradient - mean
            mean = mean + delta / (e + 1)
            m2 = m2 + delta * (gradient - mean)
        scores.append((m2 / len(models)).sqrt().flatten(1).mean(1))
    return torch.cat(scores).numpy(), time.perf_counter() - started


def input_gradients(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Gradient of each sample's loss with respect to its input, one backward for all."""
    leaf = inputs.detach().requires_grad_()
    loss = losses_of(model(leaf), targets).sum()
    (gradient,) = torch.autograd.grad(loss, leaf)
    return gradient


LOOPS = {"forward": bare_loop, "vog": bare_vog}


def _half(
    form: str, config: AuditConfig, work: Workload, folder: Path, half: int, barrier: Any, out: Any
) -> None:
    inputs, targets = decoded(work, folder)
    models = load_models(config, work.num_checkpoints)
    part = slice(half * len(inputs) // 2, (half + 1) * len(inputs) // 2)
    barrier.wait()
    out.put(LOOPS[form](models, inputs[part], targets[part], BATCH_INPUTS[work.kind], 1)[1])


def two_processes(form: str, config: AuditConfig, work: Workload, folder: Path) -> float:
    """Seconds of two one-thread loops side by side, each over half of the samples."""
    context = multiprocessing.get_context("spawn")
    barrier, seconds = context.Barrier(2), context.Queue()
    workers = [
        context.Process(target=_half, args=(form, config, work, folder, half, barrier, seconds))
        for half in range(2)
    ]
    for worker in workers:
        worker.start()
    slowest = max(seconds.get() for _ in workers)
    for worker in workers:
        worker.join()
    return float(slowest)
