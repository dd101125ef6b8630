"""A model that stands for a device: it sleeps, and notes when."""

import time

from torch import Tensor, nn

PAUSE_S = 0.08
"""Of a clip."""
PASSES: list[tuple[float, float]] = []
"""Start and end of each forward pass in this process, in seconds."""


class SleepingClips(nn.Module):
    """(N, T, 3, H, W) to logits of the first pixels, after a pause that it notes."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(3, num_classes)

    def forward(self, clips: Tensor) -> Tensor:
        """A device that is busy while the CPU is not."""
        started = time.perf_counter()
        time.sleep(PAUSE_S * len(clips))
        PASSES.append((started, time.perf_counter()))
        logits: Tensor = self.head(clips[:, :, :, 0, 0])
        return logits


def sleeping_clips(num_classes: int) -> nn.Module:
    """A factory for a specification."""
    return SleepingClips(num_classes)
