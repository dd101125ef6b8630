"""Decoded arrays to the model's input on its device, and the model's answer to its logits."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (the name that everybody uses)
from torch import Tensor

from ray_audit.config import InputConfig
from ray_audit.probes.transfer import upload

_FULL_SCALE = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}


def model_input(inputs: np.ndarray, config: InputConfig, device: torch.device) -> Tensor:
    """Scale to [0, 1], resize and normalise; feature sequences (N, T, D) go in as they are.

    Args:
        inputs: (N, C, H, W) or (N, T, C, H, W), uint8 or uint16 as decoded, or float32 that is
            scaled and resized already; or (N, T, D) float32.
        config: size, mean and std.
        device: where the model is.

    Returns:
        float32 tensor on `device`.

    Raises:
        ValueError: the number of channels is not that of mean or std.
    """
    if inputs.ndim == 3:
        return upload(inputs.astype(np.float32, copy=False), device)
    full_scale = _FULL_SCALE.get(inputs.dtype)
    # uint16 has few kernels in torch: widen it first. uint8 travels to the device as it is.
    pixels = upload(inputs.astype(np.int32) if inputs.dtype == np.uint16 else inputs, device)
    if full_scale is not None:
        pixels = _resized(pixels.to(torch.float32) / full_scale, config.size)
    return _normalised(pixels, config)


def _resized(pixels: Tensor, size: tuple[int, int] | None) -> Tensor:
    if size is None or tuple(pixels.shape[-2:]) == tuple(size):
        return pixels
    flat = pixels.flatten(0, -4) if pixels.ndim == 5 else pixels
    resized = F.interpolate(flat, size=tuple(size), mode="bilinear", align_corners=False)
    return resized.reshape(*pixels.shape[:-2], *size)


def _normalised(pixels: Tensor, config: InputConfig) -> Tensor:
    channels = pixels.shape[-3]
    for name, values in (("mean", config.mean), ("std", config.std)):
        if values and len(values) not in (1, channels):
            raise ValueError(
                f"the input has {channels} channel(s), model.input.{name} has {len(values)}"
            )
    if config.mean:
        pixels = pixels - _by_channel(config.mean, pixels)
    if config.std:
        pixels = pixels / _by_channel(config.std, pixels)
    return pixels


def _by_channel(values: list[float], pixels: Tensor) -> Tensor:
    return upload(np.asarray(values, np.float32), pixels.device).view(-1, 1, 1)


def logits_of(answer: Any, output: str | int | None) -> Tensor:
    """The logits in a model's answer.

    Args:
        answer: what the model gave.
        output: entry of it that holds the logits; None where it is the logits.

    Raises:
        ValueError: it is no tensor.
    """
    if output is not None:
        answer = answer[output]
    if not torch.is_tensor(answer):
        raise ValueError(
            f"the model answered a {type(answer).__name__}, expected a tensor of logits; "
            "name the entry that holds them with model.output"
        )
    return answer
