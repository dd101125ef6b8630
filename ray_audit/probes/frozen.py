"""Layers of a frozen model in forms that cost less, with the same answers bit for bit.

Under autocast every pass casts every weight anew: torch keeps casts only of weights that are being
trained. And torch's way back through a batch norm in eval mode loses the channels-last layout on a
GPU, so that each convolution below it copies its gradient once more (measured: half of the way
back of a ResNet-50). Only layers of torch's own exact classes are changed, and only their calls:
parameters stay what and where they are.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  (the name that everybody uses)
from torch import Tensor, nn

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def lighten(model: nn.Module, dtype: torch.dtype | None, device: torch.device) -> None:
    """Change the calls of a frozen model's layers; its weights must not change any more.

    Args:
        model: in eval mode, with its weights loaded, on `device`.
        dtype: of autocast, or None without.
        device: where it runs.
    """
    for module in model.modules():
        call: Callable[..., Any] | None = None
        if dtype is not None and type(module) in (*_CONVOLUTIONS, nn.Linear):
            call = _Cast(module, dtype)
        elif device.type == "cuda" and type(module) in _BATCH_NORMS:
            call = norm_call(module) if module.running_var is not None else None
        if call is not None:
            module.forward = call


class _Cast:
    """A convolution's or linear layer's call with weights that are cast once."""

    def __init__(self, layer: nn.Module, dtype: torch.dtype) -> None:
        self._layer: Any = layer
        self._dtype = dtype
        self._weight: Tensor | None = None
        self._bias: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        layer = self._layer
        # The layout of the weights, and with it that of the answer, may be changed on the way.
        if self._weight is None or self._weight.stride() != layer.weight.stride():
            with torch.inference_mode(False), torch.no_grad():
                self._weight = layer.weight.to(self._dtype)
                self._bias = None if layer.bias is None else layer.bias.to(self._dtype)
        if isinstance(layer, nn.Linear):
            return F.linear(x, self._weight, self._bias)
        answer: Tensor = layer._conv_forward(x, self._weight, self._bias)
        return answer


def norm_call(layer: nn.Module) -> Callable[[Tensor], Tensor]:
    """A batch norm's call in eval mode whose way back is one product, in the layout it gets."""
    norm: Any = layer
    scale = torch.rsqrt(norm.running_var.float() + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight.detach().float()
    plain = type(norm).forward

    def call(x: Tensor) -> Tensor:
        if norm.training or not (torch.is_grad_enabled() and x.requires_grad):
            return plain(norm, x)  # type: ignore[no-any-return]
        by_channel = scale.view(1, -1, *[1] * (x.ndim - 2))
        answer: Tensor = _Norm.apply(x, norm, plain, by_channel)  # type: ignore[no-untyped-call]
        return answer

    return call


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, norm: Any, plain: Any, scale: Tensor) -> Tensor:
        ctx.scale = scale
        return plain(norm, x)  # type: ignore[no-any-return]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        # Multiplied in float32, rounded once to what the gradient is, in one kernel.
        return torch.mul(gradient, ctx.scale, out=torch.empty_like(gradient)), None, None, None
