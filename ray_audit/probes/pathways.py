"""Inputs as a model takes them: in its order of axes, or a list of clips at several rates."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ray_audit.config import InputConfig
from ray_audit.probes.prepare import as_laid_out
from ray_audit.probes.transfer import upload

ModelInputs = Tensor | list[Tensor]
"""What a model is called with."""


def as_taken(inputs: Tensor, config: InputConfig) -> ModelInputs:
    """Inputs in the model's order of axes, cut into its pathways where it has some.

    Args:
        inputs: (N, C, H, W), (N, T, C, H, W) or (N, T, D).
        config: its layout and pathways.

    Raises:
        ValueError: they have other axes than the layout, or too few frames for a pathway.
    """
    if config.pathways is None:
        return as_laid_out(inputs, config.layout)
    parts = pathways_of(inputs, config.pathways)
    return [as_laid_out(part, config.layout) for part in parts]


def pathways_of(clips: Tensor, every: Sequence[int]) -> list[Tensor]:
    """Each clip at several rates, from its first frame to its last.

    SlowFast networks (Feichtenhofer et al. 2019, arXiv 1812.03982, section 3) see a clip at two
    rates. Which frames these are is as PyTorchVideo and the authors' own code pack them: T // n of
    them, at `linspace(0, T - 1, T // n)`, cut off to whole numbers in float32.

    Args:
        clips: (N, T, ...).
        every: for each pathway n, one frame of n goes into it.

    Returns:
        (N, T // n, ...) for each n, on the device of `clips`; a gradient flows back through all.

    Raises:
        ValueError: a clip has fewer than n frames.
    """
    num_frames = clips.shape[1]
    if num_frames < max(every):
        raise ValueError(
            f"model.input.pathways {list(every)} needs clips of at least {max(every)} frames, this "
            f"one has {num_frames}"
        )
    return [clips if n == 1 else clips.index_select(1, _places(clips, n)) for n in every]


def _places(clips: Tensor, every: int) -> Tensor:
    num_frames = clips.shape[1]
    steps = num_frames // every
    places = torch.linspace(0, num_frames - 1, steps, dtype=torch.float32).long()
    return upload(np.asarray(places), clips.device)


def with_each(inputs: ModelInputs, change: Callable[[Tensor], Tensor]) -> ModelInputs:
    """What `change` makes of each tensor of inputs."""
    return [change(part) for part in inputs] if isinstance(inputs, list) else change(inputs)
