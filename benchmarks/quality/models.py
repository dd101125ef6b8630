"""Models of the recipes that are no reference models of the package."""

import torch
from torch import Tensor, nn

from ray_audit.training.models import FrameTransformer


def frame_mlp(num_classes: int, in_features: int, width: int = 128) -> nn.Module:
    """Two hidden layers over each frame by itself: (N, T, D) -> logits (N, T, K)."""
    return nn.Sequential(
        nn.Linear(in_features, width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Linear(width, num_classes),
    )


class _FrameProjection(nn.Module):
    """Features as they are in place of an encoder of pictures."""

    def __init__(self, in_features: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, width)

    def forward(self, features: Tensor) -> Tensor:
        return torch.relu(self.linear(features))


def sequence_transformer(
    num_classes: int, in_features: int, width: int = 48, num_layers: int = 2
) -> nn.Module:
    """The frame transformer over features: (N, T, D) -> logits (N, T, K)."""
    model = FrameTransformer(num_classes, 1, width, num_layers)
    model.encoder = _FrameProjection(in_features, width)
    return model
