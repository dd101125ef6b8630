"""Training batches in memory, with pixels exactly as the audit gives them to the model."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ray_audit.config import InputConfig
from ray_audit.formats.pixels.resize import FULL_SCALE, resize

_MAX_PX = 1e6


def model_input(pixels: np.ndarray, config: InputConfig) -> np.ndarray:
    """Scale to [0, 1], resize where asked for, subtract the mean and divide by the spread.

    Args:
        pixels: (H, W, C) uint8 or uint16.
        config: `model.input` of the specification.

    Returns:
        (C, height, width) float32.
    """
    if config.size is None:
        scaled = pixels.astype(np.float32) / FULL_SCALE[pixels.dtype]
    else:
        scaled = resize(pixels, config.size)
    mean = np.array(config.mean or [0.0], dtype=np.float32)
    std = np.array(config.std or [1.0], dtype=np.float32)
    return np.ascontiguousarray(((scaled - mean) / std).transpose(2, 0, 1))


@dataclass(frozen=True)
class ClipBatches:
    """Clips at random places, every video covered about once an epoch.

    Attributes:
        frames: (T, C, H, W) float32 of each video.
        labels: (T,) int64 of each video.
        clip_frames: frames in a clip; each video has at least as many.
        batch_size: clips in a batch.
        seed: of places and order.
    """

    frames: tuple[Tensor, ...]
    labels: tuple[Tensor, ...]
    clip_frames: int
    batch_size: int
    seed: int

    def __call__(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Give (N, T, C, H, W) inputs with (N, T) targets; the last batch may be smaller."""
        rng = np.random.default_rng([self.seed, epoch])
        clips = rng.permutation([clip for i in range(len(self.frames)) for clip in self._clips(i)])
        for first in range(0, len(clips), self.batch_size):
            places = [
                (video, slice(start, start + self.clip_frames))
                for video, start in self._shifted(clips[first : first + self.batch_size], rng)
            ]
            inputs = torch.stack([self.frames[video][frames] for video, frames in places])
            yield inputs, torch.stack([self.labels[video][frames] for video, frames in places])

    def _clips(self, video: int) -> list[tuple[int, int]]:
        num_frames = len(self.labels[video])
        return [(video, start) for start in range(0, num_frames, self.clip_frames)]

    def _shifted(self, clips: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[int, int]]:
        half = self.clip_frames // 2
        for video, start in clips.tolist():
            last = len(self.labels[video]) - self.clip_frames
            yield video, int(np.clip(start + rng.integers(-half, half + 1), 0, last))
