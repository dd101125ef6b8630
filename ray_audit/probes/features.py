"""Gradients at the features of a model's last layer, without a pass back through the network.

What goes into the last linear layer is taken as a leaf, so that autograd sees that layer and what
comes after it only: of logits W f + b it gives W^T (p - y), and takes an upsampling along.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

_LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class FeatureTap:
    """The features that a model's last layer is given.

    Args:
        model: its linear layers and convolutions with an output for each class are watched.
        num_classes: K.
    """

    def __init__(self, model: nn.Module, num_classes: int) -> None:
        self._layers = [
            layer
            for layer in model.modules()
            if isinstance(layer, _LINEAR) and num_outputs(layer) == num_classes
        ]
        self._taken: list[tuple[nn.Module, Tensor]] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        """While a forward pass with autograd runs."""
        self._taken.clear()
        handles = [layer.register_forward_pre_hook(self._take) for layer in self._layers]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _take(self, layer: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        leaf = given[0].detach().clone().requires_grad_()
        self._taken.append((layer, leaf))
        return (leaf, *given[1:])

    def gradient(self, target: Tensor, num_frames: int | None) -> Tensor:
        """Gradient of the scalar `target` at the features, float32, arranged as inputs are.

        Of several layers with an output for each class, such as that of an auxiliary head, it is
        the last one that `target` depends on.

        Args:
            target: what is differentiated.
            num_frames: T of inputs that have frames; None of others.

        Returns:
            (N, D) or (N, D, h, w); with frames (N, T, D) or (N, T, D, h, w).

        Raises:
            ValueError: no such layer, or features that are arranged in another way.
        """
        leaves = [leaf for _, leaf in self._taken]
        found: Sequence[Tensor | None] = []
        if leaves and target.requires_grad:
            found = torch.autograd.grad(target, leaves, retain_graph=True, allow_unused=True)
        pairs = zip(self._taken, found, strict=False)
        used = [(layer, g.float()) for (layer, _), g in pairs if g is not None]
        if not used:
            raise ValueError(
                "vog.at: features needs a linear layer or convolution with an output for each "
                "class as the last one; this model shows none. Use vog.at: inputs"
            )
        return _arranged(*used[-1], num_frames)


def num_outputs(layer: nn.Module) -> int:
    """Of a linear layer or a convolution."""
    return int(getattr(layer, "out_features", 0) or getattr(layer, "out_channels", 0))


def _arranged(layer: nn.Module, gradient: Tensor, num_frames: int | None) -> Tensor:
    """Frames on the second axis, channels after it."""
    if num_frames is None:
        if isinstance(layer, nn.Linear) and gradient.ndim == 4:  # (N, h, w, D)
            gradient = gradient.movedim(-1, 1)
        if gradient.ndim in (2, 4):
            return gradient
    elif isinstance(layer, nn.Conv1d | nn.Conv3d) and gradient.shape[2] == num_frames:
        return gradient.transpose(1, 2)
    elif gradient.ndim == 3 and gradient.shape[1] == num_frames:
        return gradient
    elif gradient.ndim in (2, 4) and len(gradient) % num_frames == 0:
        return gradient.reshape(-1, num_frames, *gradient.shape[1:])
    raise ValueError(
        f"vog.at: features: the last layer is given features of shape {tuple(gradient.shape)}, "
        "which are not arranged by sample (and frame), channel, row and column. Use vog.at: inputs"
    )
