"""Small reference models as factories: `model.factory: ray_audit.training.models:unet`.

Shape legend: N samples, T frames, C channels, H and W pixels, D features, K classes. All are
deterministic given `torch.manual_seed`, and avoid operations whose input gradient is not
deterministic on a GPU (bilinear upsampling, adaptive pooling, fused attention).
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

_ATTENTION_WIDTH = 16  # channels of one attention head


def unet(num_classes: int, in_channels: int = 3, width: int = 12, depth: int = 3) -> nn.Module:
    """U-Net (Ronneberger et al. 2015) with batch normalisation.

    Args:
        num_classes: K.
        in_channels: C.
        width: channels of the first level; each of the `depth` levels below has twice as many.
        depth: how often the size is halved.

    Returns:
        (N, C, H, W) -> logits (N, K, H, W), for any H and W.
    """
    return UNet(num_classes, in_channels, width, depth)


def tcn(num_classes: int, in_features: int, width: int = 48, num_layers: int = 7) -> nn.Module:
    """Temporal convolutional network: dilated residual blocks (Farha and Gall 2019, one stage).

    Args:
        num_classes: K.
        in_features: D.
        width: channels of the blocks.
        num_layers: blocks; the i-th (from 0) is dilated by 2^i frames.

    Returns:
        (N, T, D) -> logits (N, T, K), for any T.
    """
    return TemporalConvNet(num_classes, in_features, width, num_layers)


def small_cnn(num_classes: int, in_channels: int = 3, width: int = 32) -> nn.Module:
    """Four convolutions of width, 2, 4 and 4 times width, and a mean over pixels.

    Returns:
        (N, C, H, W) -> logits (N, K), for any H and W.
    """
    return SmallCNN(num_classes, in_channels, width)


def frame_transformer(
    num_classes: int, in_channels: int = 3, width: int = 32, num_layers: int = 1
) -> nn.Module:
    """Residual frame encoder, then a transformer over time with sinusoidal positions.

    The small sibling of the model of Alwis et al. 2026 (arXiv 2602.15154): ResNet-18 and ViT.

    Args:
        num_classes: K.
        in_channels: C.
        width: channels of a frame's embedding, a multiple of 4; the encoder starts with a quarter.
        num_layers: transformer layers.

    Returns:
        (N, T, C, H, W) -> logits (N, T, K), for any T, H and W.
    """
    return FrameTransformer(num_classes, in_channels, width, num_layers)


def clip_cnn(num_classes: int, in_channels: int = 3, width: int = 32) -> nn.Module:
    """Residual frame encoder, one convolution over time, and a mean over frames.

    Returns:
        (N, T, C, H, W) -> logits (N, K), for any T, H and W.
    """
    return ClipCNN(num_classes, in_channels, width)


def _conv_block(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )


class UNet(nn.Module):
    """See `unet`."""

    def __init__(self, num_classes: int, in_channels: int, width: int, depth: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(depth + 1)]
        befores = [in_channels, *widths[:-1]]
        self.down = nn.ModuleList(
            nn.Sequential(_conv_block(before, after), _conv_block(after, after))
            for before, after in zip(befores, widths, strict=True)
        )
        self.up = nn.ModuleList(
            nn.Sequential(_conv_block(3 * after, after), _conv_block(after, after))
            for after in reversed(widths[:-1])
        )
        self.head = nn.Conv2d(width, num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K, H, W)."""
        skips: list[Tensor] = []
        x = images
        for level, block in enumerate(self.down):
            # Rounding up keeps a 1-pixel image alive; the way up takes each skip's own size.
            x = functional.max_pool2d(x, 2, ceil_mode=True) if level else x
            x = block(x)
            skips.append(x)
        for block, skip in zip(self.up, reversed(skips[:-1]), strict=True):
            x = functional.interpolate(x, size=skip.shape[-2:], mode="nearest")
            x = block(torch.cat([skip, x], dim=1))
        logits: Tensor = self.head(x)
        return logits


class _DilatedBlock(nn.Module):
    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.dilated = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.mixed = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.mixed(functional.relu(self.dilated(x)))
        return x + change


class TemporalConvNet(nn.Module):
    """See `tcn`."""

    def __init__(self, num_classes: int, in_features: int, width: int, num_layers: int) -> None:
        super().__init__()
        self.stem = nn.Conv1d(in_features, width, 1)
        self.blocks = nn.Sequential(*(_DilatedBlock(width, 2**i) for i in range(num_layers)))
        self.head = nn.Conv1d(width, num_classes, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(N, T, D) -> logits (N, T, K)."""
        logits: Tensor = self.head(self.blocks(self.stem(features.transpose(1, 2))))
        return logits.transpose(1, 2)


class SmallCNN(nn.Module):
    """See `small_cnn`."""

    def __init__(self, num_classes: int, in_channels: int, width: int) -> None:
        super().__init__()
        widths = [in_channels, width, 2 * width, 4 * width, 4 * width]
        self.blocks = nn.ModuleList(
            _conv_block(before, after) for before, after in pairwise(widths)
        )
        self.head = nn.Linear(widths[-1], num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K)."""
        x = images
        for level, block in enumerate(self.blocks):
            x = functional.max_pool2d(x, 2, ceil_mode=True) if level else x
            x = block(x)
        logits: Tensor = self.head(x.mean(dim=(2, 3)))
        return logits


class _ResidualBlock(nn.Module):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.first = _conv_block(in_channels, out_channels, stride=2)
        self.second = nn.Sequential(
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride=2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.second(self.first(x)) + self.shortcut(x))


class FrameEncoder(nn.Module):
    """Residual network over single frames: (N, T, C, H, W) -> embeddings (N, T, width)."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            _conv_block(in_channels, width // 4, stride=2),
            _ResidualBlock(width // 4, width // 2),
            _ResidualBlock(width // 2, width),
        )

    def forward(self, clips: Tensor) -> Tensor:
        """(N, T, C, H, W) -> (N, T, width)."""
        maps: Tensor = self.blocks(clips.flatten(0, 1))
        return maps.mean(dim=(2, 3)).reshape(*clips.shape[:2], -1)


class _TransformerLayer(nn.Module):
    """Pre-norm self-attention and feed-forward, written out.

    PyTorch's own layer takes another kernel in evaluation without gradients, so that scores
    would depend on whether gradients are asked for.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_heads = max(1, width // _ATTENTION_WIDTH)
        while width % self.num_heads:
            self.num_heads -= 1
        self.attention_norm = nn.LayerNorm(width)
        self.to_query_key_value = nn.Linear(width, 3 * width)
        self.to_output = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._attend(self.attention_norm(x))
        change: Tensor = self.feed_forward(x)
        return x + change

    def _attend(self, x: Tensor) -> Tensor:
        heads = self.to_query_key_value(x).unflatten(-1, (3, self.num_heads, -1))
        query, key, value = heads.permute(2, 0, 3, 1, 4)  # each (N, heads, T, width of a head)
        weights = (query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])).softmax(dim=-1)
        output: Tensor = self.to_output((weights @ value).transpose(1, 2).flatten(2))
        return output


def sinusoidal_positions(num_frames: int, width: int) -> Tensor:
    """Position code of Vaswani et al. 2017: (T, width), even columns sine, odd ones cosine."""
    steps = torch.arange(num_frames, dtype=torch.float32)[:, None]
    pairs = torch.arange((width + 1) // 2, dtype=torch.float32)[None, :]
    angles = steps * torch.exp(-math.log(10_000.0) * 2 * pairs / width)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :width]


class FrameTransformer(nn.Module):
    """See `frame_transformer`."""

    def __init__(self, num_classes: int, in_channels: int, width: int, num_layers: int) -> None:
        super().__init__()
        self.encoder = FrameEncoder(in_channels, width)
        self.layers = nn.Sequential(*(_TransformerLayer(width) for _ in range(num_layers)))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, num_classes))

    def forward(self, clips: Tensor) -> Tensor:
        """(N, T, C, H, W) -> logits (N, T, K)."""
        x: Tensor = self.encoder(clips)
        x = x + sinusoidal_positions(x.shape[1], x.shape[2]).to(x)
        logits: Tensor = self.head(self.layers(x))
        return logits


class ClipCNN(nn.Module):
    """See `clip_cnn`."""

    def __init__(self, num_classes: int, in_channels: int, width: int) -> None:
        super().__init__()
        self.encoder = FrameEncoder(in_channels, width)
        self.over_time = nn.Conv1d(width, width, 3, padding=1)
        self.head = nn.Linear(width, num_classes)

    def forward(self, clips: Tensor) -> Tensor:
        """(N, T, C, H, W) -> logits (N, K)."""
        x = functional.relu(self.over_time(self.encoder(clips).transpose(1, 2)))
        logits: Tensor = self.head(x.mean(dim=2))
        return logits
