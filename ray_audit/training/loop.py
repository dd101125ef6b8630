"""A plain training loop in one process that keeps the weights of every epoch."""

import os
from collections.abc import Callable, Iterable, Sequence, Sized
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from ray_audit.errors import RunError, SpecificationError

Batch = tuple[Tensor, Tensor]
Batches = Callable[[int], Iterable[Batch]]
Progress = Callable[[int, float], None]


def train_and_keep(
    model: nn.Module,
    batches: Batches,
    *,
    num_epochs: int,
    checkpoint_dir: Path,
    learning_rate: float,
    seed: int,
    ignore_index: int = -1,
    class_weights: Sequence[float] | None = None,
    one_cycle: bool = True,
    progress: Progress | None = None,
) -> list[Path]:
    """Train with cross-entropy and AdamW; save the weights after every epoch.

    Args:
        model: on its device already; trained in place and left in training mode.
        batches: epoch (from 0) -> (inputs float, targets int64) batches, as many in each epoch.
        num_epochs: passes over the data.
        checkpoint_dir: made where absent; gets `epoch_001.safetensors` and so on.
        learning_rate: the largest rate of the cycle, or the constant one.
        seed: of what the model draws while training; the global generator is left as it was.
        ignore_index: target value of elements without a label.
        class_weights: K weights of the loss; equal where absent.
        one_cycle: let the rate rise and fall once over the whole training; else it is constant,
            and a model with room enough memorises.
        progress: called after each epoch with its number (from 1) and its mean loss.

    Returns:
        The checkpoints in order.

    Raises:
        SpecificationError: logits and targets do not fit, or there are no batches.
        RunError: the loss is no finite number any more.
    """
    num_steps = _num_steps(batches)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)
    schedule = None
    if one_cycle:
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=learning_rate, total_steps=num_steps * num_epochs
        )
    device = next(model.parameters()).device
    weights = None if class_weights is None else torch.tensor(class_weights, device=device)
    kept = []
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        for epoch in range(num_epochs):
            model.train()
            losses = []
            for inputs, targets in batches(epoch):
                logits = model(inputs.to(device))
                loss = cross_entropy(logits, targets.to(device), ignore_index, weights)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                if schedule is not None:
                    schedule.step()
                losses.append(loss.detach())
            mean_loss = _mean_loss(losses, epoch + 1)
            kept.append(save_epoch(model, checkpoint_dir, epoch + 1))
            if progress is not None:
                progress(epoch + 1, mean_loss)
    return kept


def cross_entropy(
    logits: Tensor, targets: Tensor, ignore_index: int = -1, weights: Tensor | None = None
) -> Tensor:
    """Mean cross-entropy over the labelled elements; 0 where there are none.

    Args:
        logits: (N, K), (N, T, K) or (N, K, H, W).
        targets: (N,), (N, T) or (N, H, W), int64.
        ignore_index: target value that does not count.
        weights: (K,) weight of each class; the mean is weighted by them.

    Raises:
        SpecificationError: the shapes do not belong together.
    """
    by_class = logits.transpose(1, 2) if logits.ndim == 3 else logits
    expected = (by_class.shape[0], *by_class.shape[2:])
    if logits.ndim not in (2, 3, 4) or targets.shape != expected:
        raise SpecificationError(
            f"training: the model gave logits {tuple(logits.shape)} for targets "
            f"{tuple(targets.shape)}; expected (N, K) for (N,), (N, T, K) for (N, T), or "
            "(N, K, H, W) for (N, H, W)"
        )
    labelled = targets != ignore_index
    total = functional.cross_entropy(
        by_class, targets, weights, ignore_index=ignore_index, reduction="sum"
    )
    if weights is None:
        return total / labelled.sum().clamp(min=1)
    weight_sum = weights[targets[labelled]].sum()
    return total / weight_sum if bool(weight_sum > 0) else total


def save_epoch(model: nn.Module, checkpoint_dir: Path, epoch: int) -> Path:
    """Write `epoch_<number, 3 digits>.safetensors`, complete or not at all."""
    checkpoint_dir.mkdir(parents=True, exist_ok=True)
    path = checkpoint_dir / f"epoch_{epoch:03d}.safetensors"
    temporary = checkpoint_dir / f".{path.name}.{os.getpid()}.tmp"
    # Copies, because the format refuses tensors that share memory.
    state = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
    try:
        save_file(state, temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _num_steps(batches: Batches) -> int:
    first = batches(0)
    num_steps = len(first) if isinstance(first, Sized) else sum(1 for _ in first)
    if num_steps == 0:
        raise SpecificationError("training: epoch 0 has no batches; check the data and its labels")
    return num_steps


def _mean_loss(losses: list[Tensor], epoch: int) -> float:
    mean = float(torch.stack(losses).mean()) if losses else float("nan")
    if not mean < float("inf"):
        raise RunError(
            f"training: the mean loss of epoch {epoch} is {mean}; lower the learning rate, and "
            "look for missing batches and for inputs that are no finite numbers"
        )
    return mean
