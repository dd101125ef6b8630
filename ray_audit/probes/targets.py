"""A batch on the device, and how gradients of it are taken."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ray_audit.probes.gradients import Moments
from ray_audit.probes.mask_clips import ClipFrames
from ray_audit.probes.masks import Masks
from ray_audit.probes.rows import Rows
from ray_audit.samples import Batch


@dataclass(frozen=True)
class GivenTargets:
    """A batch on the device.

    Attributes:
        batch: as it came; of clips of masks, as `owned_frames` gives it.
        inputs: of the model, without gradients.
        leaf: the same, by which targets are differentiated.
        owned: its rows, or its masks.
        clips: where these masks are in clips; None where each is an image by itself.
    """

    batch: Batch
    inputs: Tensor
    leaf: Tensor
    owned: Rows | Masks
    clips: ClipFrames | None = None


@dataclass(frozen=True)
class ReadyBatch:
    """A batch on its way to the device; `arrived` where that goes on beside other work."""

    given: GivenTargets
    arrived: torch.cuda.Event | None = None


@dataclass(frozen=True)
class Gradients:
    """How a turn takes gradients, and what they go into.

    Attributes:
        moments: of the batch.
        of: gradient of a target; what was given, and how many losses it sums, go with it.
    """

    moments: Moments
    of: Callable[[Tensor, GivenTargets, int], Tensor]
