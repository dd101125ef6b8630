"""A network for pictures of 32 px that few see often: `small_cnn`, with pictures moved about."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from ray_audit.training.models import small_cnn

_REACH_PX = 3


def moved_cnn(num_classes: int, width: int) -> nn.Module:
    """`small_cnn` that flips and shifts pictures at random while it is trained.

    Args:
        num_classes: K.
        width: of the first convolution.

    Returns:
        (N, 3, H, W) -> logits (N, K); in evaluation pictures are taken as they are.
    """
    return MovedCNN(small_cnn(num_classes, width=width))


class MovedCNN(nn.Module):
    """See `moved_cnn`."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        # Of few channels, convolutions on a CPU are faster by two fifths in this layout.
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> logits (N, K)."""
        if self.training:
            images = _moved(images)
        logits: Tensor = self.network(images.contiguous(memory_format=torch.channels_last))
        return logits


def _moved(images: Tensor) -> Tensor:
    """Half of the pictures flipped, and all of a batch shifted by up to 3 px each way."""
    is_flipped = torch.rand(len(images), device=images.device) < 0.5
    images = torch.where(is_flipped[:, None, None, None], images.flip(3), images)
    padded = functional.pad(images, (_REACH_PX,) * 4, mode="reflect")
    top, left = (int(n) for n in torch.randint(0, 2 * _REACH_PX + 1, (2,)))
    return padded[:, :, top : top + images.shape[2], left : left + images.shape[3]]
