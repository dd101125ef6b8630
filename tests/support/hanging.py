"""Models and a loss that do not answer for as long as a file is there."""

import time
from pathlib import Path

from torch import nn

from tests.support.tiny_models import ImageModel, PixelModel


def wait_for_none(flag):
    while Path(flag).exists():
        time.sleep(0.01)


class _Flagged:
    def __init__(self, num_classes, flag):
        super().__init__(num_classes)
        self._flag = flag


class _Hanging(_Flagged):
    def forward(self, images):
        wait_for_none(self._flag)
        return super().forward(images)


class HangingImages(_Hanging, ImageModel):
    """Of images with a class each."""


class HangingPixels(_Hanging, PixelModel):
    """Of masks."""


def hanging_loss(flag):
    def loss(logits, labels):
        wait_for_none(flag)
        return nn.functional.cross_entropy(logits.flatten(0, -2), labels.flatten())

    return loss


class HoldingPython(_Flagged, ImageModel):
    """Sleeps in native code without giving Python's lock away, as long as a file is there."""

    def forward(self, images):
        import ctypes

        if Path(self._flag).exists():
            ctypes.PyDLL(None).sleep(600)
        return super().forward(images)
