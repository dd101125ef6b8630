"""What one model does with one batch, for people to see before a run."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from ray_audit.probes.pathways import ModelInputs


@dataclass(frozen=True)
class Look:
    """What went into a model and came out.

    Attributes:
        input_shapes: of the batch as the model gets it; several where it has pathways.
        input_range: least and greatest number of it.
        answer_shape: of the tensor in its answer that holds the logits.
        answer_range: least and greatest number of it.
        sums_to_one: whether its numbers lie in 0 to 1 and sum to 1 over the classes.
    """

    input_shapes: tuple[tuple[int, ...], ...]
    input_range: tuple[float, float]
    answer_shape: tuple[int, ...]
    answer_range: tuple[float, float]
    sums_to_one: bool

    @classmethod
    def of(cls, inputs: ModelInputs, answer: Tensor, logits: Tensor, class_axis: int) -> Self:
        """What can be seen of tensors of any shape; `class_axis` is that of `logits`."""
        parts = inputs if isinstance(inputs, list) else [inputs]
        lows, highs = zip(*map(_range, parts), strict=True)
        return cls(
            tuple(tuple(part.shape) for part in parts),
            (min(lows), max(highs)),
            tuple(answer.shape),
            _range(answer),
            _sums_to_one(logits, class_axis),
        )


def _range(values: Tensor) -> tuple[float, float]:
    return (float(values.min()), float(values.max())) if values.numel() else (0.0, 0.0)


def _sums_to_one(logits: Tensor, axis: int) -> bool:
    if logits.shape[axis] < 2 or not torch.isfinite(logits).all():
        return False
    sums = logits.float().sum(dim=axis)
    is_share = bool((logits >= 0).all() and (sums - 1).abs().max() < 1e-3)
    # Rows of a single 1 are more likely made up than what a softmax gives.
    return is_share and bool(((logits > 0) & (logits < 1)).any())
