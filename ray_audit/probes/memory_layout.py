"""Models in the memory format that is fastest, and compiled."""

from typing import Any

import torch
from torch import nn

_MAX_PROGRAMS = 100_000


def lay_out(model: nn.Module, form: torch.memory_format) -> None:
    """Bring weights of rank 4 into a memory format; others (of 3-D convolutions) have none."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.ndim == 4:
            tensor.data = tensor.data.contiguous(memory_format=form)


def compiled(model: nn.Module) -> Any:
    """One program a shape: one for all would depend on what came before."""
    return torch.compile(model, dynamic=False)


def allow_many_programs() -> None:
    """Let this thread compile a program for each shape: by default there is none from the ninth on.

    What is compiled would depend on what came before. Torch keeps the limit thread by thread.
    """
    from torch._dynamo import config

    config.cache_size_limit = config.accumulated_cache_size_limit = _MAX_PROGRAMS
