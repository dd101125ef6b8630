"""Decoded arrays to the model's input on its device."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (the name that everybody uses)
from torch import Tensor

from ray_audit.config import InputConfig
from ray_audit.probes.transfer import lent, upload

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's grey
_COLOURS = 3
_FULL_SCALE = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}


def model_input(inputs: np.ndarray, config: InputConfig, device: torch.device) -> Tensor:
    """Scale, resize, choose channels and normalise; sequences (N, T, D) go in as they are.

    Args:
        inputs: (N, C, H, W) or (N, T, C, H, W), uint8 or uint16 as decoded, or float32 that is
            scaled and resized already; or (N, T, D) float32.
        config: size, channels, scale, mean and std.
        device: where the model is.

    Returns:
        float32 tensor on `device`; of sequences, on a CPU, the memory of `inputs`, which nobody may
        write into. The channels of images lie side by side in memory, as
        `torch.channels_last`, where they came so and nothing had to be computed across pixels.

    Raises:
        ValueError: the number of channels is not that of mean or std.
    """
    if inputs.ndim == 3:
        return lent(inputs.astype(np.float32, copy=False), device)
    full_scale = _FULL_SCALE.get(inputs.dtype)
    # uint16 has few kernels in torch: widen it first. uint8 travels to the device as it is, and
    # becomes float32 in memory of its own.
    taken = upload if full_scale is None else lent
    pixels = taken(inputs.astype(np.int32) if inputs.dtype == np.uint16 else inputs, device)
    if inputs.ndim != 4 or config.channels == "grey" or _is_resized(pixels, config.size):
        pixels = pixels.contiguous()  # sums run in one order, whatever the order in memory
    if full_scale is not None:
        # What was uploaded is ours: in place nothing as large is asked of the system once more.
        scaled = pixels.to(torch.float32).div_(full_scale / config.scale)
        pixels = _resized(scaled, config.size)
    elif config.scale != 1:
        pixels = pixels.mul_(config.scale)
    return _normalised(_with_channels(pixels, config.channels), config)


def as_laid_out(inputs: Tensor, layout: str | None) -> Tensor:
    """Inputs in the order of axes that the model takes; NCHW and ND are of single frames.

    Raises:
        ValueError: they have other axes than the layout.
    """
    if layout in (None, "NTCHW") or (layout == "NCHW" and inputs.ndim == 4):
        return inputs
    if (layout, inputs.ndim) in (("NCHW", 5), ("ND", 3)):
        return inputs.flatten(0, 1)
    if layout == "NHWC" and inputs.ndim in (4, 5):
        return inputs.movedim(-3, -1)
    if (layout, inputs.ndim) in (("NCTHW", 5), ("NDT", 3)):
        return inputs.transpose(1, 2)
    raise ValueError(f"model.input.layout {layout} does not fit inputs {tuple(inputs.shape)}")


def with_axes(shape: Sequence[int]) -> str:
    """A shape as a message says it, with what its axes are: `(8, 3, 64, 64) as N, C, H, W`."""
    axes = {3: "NTD", 4: "NCHW", 5: "NTCHW"}.get(len(shape), "")
    return str(tuple(shape)) + (f" as {', '.join(axes)}" if axes else "")


class ModelInput:
    """Makes the inputs of models of one architecture.

    Grey images among colour ones are given three channels where the model takes no others: what
    it takes is tried once, at the first grey batch. Colour among grey is never made grey unasked:
    how the training did so is for the user to say.

    Args:
        config: size, channels, scale, mean and std.
        device: where the models are.
    """

    def __init__(self, config: InputConfig, device: torch.device) -> None:
        self._config = config
        self._device = device
        self._as_colour: InputConfig | None = None
        if len(config.mean or config.std or []) == _COLOURS and config.channels is None:
            self._as_colour = config.model_copy(update={"channels": "rgb"})
        self._is_grey: bool | None = None  # whether colour images fit a model that takes grey ones
        self._is_known = config.channels is not None or self._as_colour is not None

    def __call__(self, inputs: np.ndarray, answer: Callable[[Tensor], Any]) -> Tensor:
        """Inputs on the device, as `model_input` gives them.

        Args:
            inputs: as `model_input` takes them.
            answer: runs a model on inputs.

        Raises:
            ValueError: they have colours, and the model takes grey images alone.
        """
        if inputs.ndim == 3 or inputs.shape[-3] != 1:
            self._check_colour(inputs, answer)
            return model_input(inputs, self._config, self._device)
        if not self._is_known:
            self._is_known = True
            if not self._takes(inputs, self._config, answer):
                as_colour = self._config.model_copy(update={"channels": "rgb"})
                if self._takes(inputs, as_colour, answer):
                    self._as_colour = as_colour
            else:
                self._is_grey = True
        return model_input(inputs, self._as_colour or self._config, self._device)

    def _check_colour(self, inputs: np.ndarray, answer: Callable[[Tensor], Any]) -> None:
        """Name what is wrong where grey images went through a model, and these do not."""
        if self._is_grey is None or inputs.ndim == 3 or inputs.shape[-3] != _COLOURS:
            return
        if self._is_grey and self._takes(inputs, self._config, answer):
            self._is_grey = None
        if self._is_grey:
            raise ValueError(
                "the image has 3 channels, and the model takes grey images only: give "
                "model.input.channels: grey, which makes them so"
            )

    @torch.inference_mode()
    def _takes(
        self, inputs: np.ndarray, config: InputConfig, answer: Callable[[Tensor], Any]
    ) -> bool:
        try:
            answer(model_input(inputs, config, self._device))
        except (Exception, SystemExit):  # a user's model, at what it does not take
            return False
        return True


def _with_channels(pixels: Tensor, channels: str | None) -> Tensor:
    num = pixels.shape[-3]
    if channels is None or num not in (1, _COLOURS):
        return pixels
    if channels == "grey":
        if num == 1:
            return pixels
        luma = upload(np.asarray(_LUMA, np.float32), pixels.device).view(-1, 1, 1)
        return (pixels * luma).sum(dim=-3, keepdim=True)
    if num == 1:
        return pixels.expand(*pixels.shape[:-3], _COLOURS, *pixels.shape[-2:]).contiguous()
    return pixels.flip(-3) if channels == "bgr" else pixels


def _is_resized(pixels: Tensor, size: tuple[int, int] | None) -> bool:
    return size is not None and tuple(pixels.shape[-2:]) != tuple(size)


def _resized(pixels: Tensor, size: tuple[int, int] | None) -> Tensor:
    if size is None or not _is_resized(pixels, size):
        return pixels
    flat = pixels.flatten(0, -4) if pixels.ndim == 5 else pixels
    resized = F.interpolate(flat, size=tuple(size), mode="bilinear", align_corners=False)
    return resized.reshape(*pixels.shape[:-2], *size)


def _normalised(pixels: Tensor, config: InputConfig) -> Tensor:
    """In place."""
    channels = pixels.shape[-3]
    for name, values in (("mean", config.mean), ("std", config.std)):
        if values and len(values) not in (1, channels):
            raise ValueError(
                f"the input has {channels} channel(s), model.input.{name} has {len(values)}"
            )
    if config.mean:
        pixels = pixels.sub_(_by_channel(config.mean, pixels))
    if config.std:
        pixels = pixels.div_(_by_channel(config.std, pixels))
    return pixels


def _by_channel(values: list[float], pixels: Tensor) -> Tensor:
    return upload(np.asarray(values, np.float32), pixels.device).view(-1, 1, 1)
