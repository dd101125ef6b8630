"""Models of the size of ResNet-50 and ViT-B/16 in plain torch, for benchmarks of probes."""

import torch
from torch import Tensor, nn
from torch.nn import functional

_BLOCKS = (3, 4, 6, 3)
_PATCH_PX = 16


class _Bottleneck(nn.Module):
    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        after = 4 * width
        self.body = nn.Sequential(
            nn.Conv2d(before, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, after, 1, bias=False), nn.BatchNorm2d(after),
        )  # fmt: skip
        self.skip: nn.Module = nn.Identity()
        if before != after or stride > 1:
            convolution = nn.Conv2d(before, after, 1, stride, bias=False)
            self.skip = nn.Sequential(convolution, nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.body(x) + self.skip(x))


def resnet50(num_classes: int, width: int = 64) -> nn.Module:
    """Residual network of 50 layers (He et al. 2016): 25.6 million weights with 1,000 classes."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
    ]  # fmt: skip
    before = width
    for stage, num in enumerate(_BLOCKS):
        for block in range(num):
            stride = 2 if stage and not block else 1
            layers.append(_Bottleneck(before, width * 2**stage, stride))
            before = 4 * width * 2**stage
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, num_classes)
    )


class _ViT(nn.Module):
    def __init__(self, num_classes: int, side_px: int, width: int, depth: int) -> None:
        super().__init__()
        num_patches = (side_px // _PATCH_PX) ** 2
        self.embed = nn.Conv2d(3, width, _PATCH_PX, _PATCH_PX)
        self.first = nn.Parameter(torch.zeros(1, 1, width))
        self.place = nn.Parameter(torch.randn(1, num_patches + 1, width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width, max(1, width // 64), 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        patches = self.embed(images).flatten(2).transpose(1, 2)
        first = self.first.expand(len(images), -1, -1)
        encoded = self.encoder(torch.cat([first, patches], dim=1) + self.place)
        return self.head(self.norm(encoded[:, 0]))


def vit_b(num_classes: int, side_px: int = 224, width: int = 768, depth: int = 12) -> nn.Module:
    """Vision transformer, base size, patches of 16 px (Dosovitskiy et al. 2021): 86 M weights."""
    return _ViT(num_classes, side_px, width, depth)
