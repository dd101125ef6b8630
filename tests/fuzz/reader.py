"""A model that gives its input back as logits, and fails when it is told to."""

import torch
from torch import nn


class Trouble:
    """When the model raises: at the call that many from now; never where it is None."""

    calls_left = None

    @classmethod
    def count(cls):
        if cls.calls_left is None:
            return
        cls.calls_left -= 1
        if cls.calls_left < 0:
            cls.calls_left = None
            raise RuntimeError("out of memory, as it were")


class Reader(nn.Module):
    """Sequences (N, T, K) and, with `pool`, images (N, K, H, W): the input times `scale`."""

    def __init__(self, pool=False):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.pool = pool

    def forward(self, x):
        Trouble.count()
        logits = x * self.scale
        return logits.mean((2, 3)) if self.pool else logits
