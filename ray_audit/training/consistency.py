"""ADELE's loss over several scales: cross-entropy on each, and a pull of each towards their mean.

Liu et al. 2022, arXiv 2110.03740, section 3.3, as in the released code. Its quirks are options: see
`MultiScale`. Shape suffixes: N images, K classes, H, W pixels, S scales.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from ray_audit.training.cross_entropy import cross_entropy

_LEAST_P = 1e-3


@dataclass(frozen=True)
class MultiScale:
    """How the scales are weighed.

    Attributes:
        scales: factors of the input's size.
        weight: lambda of the consistency term; 0 leaves cross-entropy at scale 1.
        confidence: rho: the mean prediction must be more probable than this to pull.
        gate: `image`: an image pulls everywhere once one of its pixels is that confident, as in
            the released code (almost always); `pixel`: each pixel for itself.
        scaled_logits: cross-entropy of w_s z_s, as in the released code, which flattens the
            probabilities to a temperature of 1 / w_s, and slowed short trainings down by .1 mIoU;
            else of z_s, weighed by w_s.
        mean_over_scales: divide the whole loss by the number of scales, as the code for SegTHOR
            does and that for PASCAL VOC does not.
    """

    scales: tuple[float, ...] = (0.7, 1.0, 1.5)
    weight: float = 1.0
    confidence: float = 0.8
    gate: Literal["image", "pixel"] = "image"
    scaled_logits: bool = False
    mean_over_scales: bool = True

    def __post_init__(self) -> None:
        if not self.scales or min(self.scales) <= 0:
            raise ValueError(f"scales {self.scales}: expected factors above 0")
        if not 0 <= self.confidence <= 1 or self.weight < 0:
            raise ValueError("confidence must be 0 to 1, and weight not below 0")
        if self.weight == 0 and 1.0 not in self.scales:
            raise ValueError("with weight 0 only scale 1.0 is used, and it is not among the scales")

    def fitted(self, logits: Sequence[Tensor]) -> Tensor:
        """Logits at scale 1 whose softmax the cross-entropy fits to the labels.

        z / S where it is taken of scaled logits (as the code for PASCAL VOC divides before it
        corrects): the softmax of z itself is far surer than what was learnt.

        Args:
            logits: S tensors, as from `logits_at_scales`.
        """
        at_one = logits[self.scales.index(1.0)]
        return at_one / len(self.scales) if self.scaled_logits and self.weight else at_one


def logits_at_scales(
    model: Callable[[Tensor], Tensor],
    images: Tensor,
    scales: Sequence[float],
    size: Sequence[int] | None = None,
) -> list[Tensor]:
    """Run the model at each scale; all logits come back at one size.

    Args:
        model: (N, C, H, W) -> (N, K, H', W').
        images: (N, C, H, W).
        scales: factors of H and W.
        size: height and width of the logits; those of the images where absent.

    Returns:
        S tensors (N, K, H, W).
    """
    size = images.shape[2:] if size is None else size
    answers = []
    for scale in scales:
        scaled = images
        if scale != 1.0:
            target = [max(1, round(scale * side)) for side in images.shape[2:]]
            scaled = functional.interpolate(images, target, mode="bilinear", align_corners=True)
        logits = model(scaled)
        if tuple(logits.shape[2:]) != tuple(size):
            logits = functional.interpolate(logits, list(size), mode="bilinear", align_corners=True)
        answers.append(logits)
    return answers


def multi_scale_loss(
    logits: Sequence[Tensor],
    targets: Tensor,
    settings: MultiScale,
    scale_weights: Tensor | None = None,
    ignore_index: int = -1,
) -> Tensor:
    """Cross-entropy on all scales plus the consistency term.

    Args:
        logits: S tensors (N, K, H, W), as from `logits_at_scales`.
        targets: (N, H, W) int64 with `ignore_index`.
        settings: scales and gate.
        scale_weights: (S,) before their softmax, learnable or not; equal where absent.
        ignore_index: target value that does not count in the cross-entropy.

    Returns:
        A scalar.

    Raises:
        ValueError: another number of logits than of scales.
    """
    if len(logits) != len(settings.scales):
        raise ValueError(f"{len(logits)} logits for {len(settings.scales)} scales")
    if settings.weight == 0:
        return cross_entropy(logits[settings.scales.index(1.0)], targets, ignore_index)
    if scale_weights is None:
        scale_weights = logits[0].new_ones(len(logits))
    w_S = torch.softmax(scale_weights, dim=0)
    losses = [
        cross_entropy(w * z, targets, ignore_index)
        if settings.scaled_logits
        else w * cross_entropy(z, targets, ignore_index)
        for w, z in zip(w_S, logits, strict=True)
    ]
    total = torch.stack(losses).sum() + settings.weight * consistency(logits, w_S, settings)
    return total / len(logits) if settings.mean_over_scales else total


def consistency(logits: Sequence[Tensor], w_S: Tensor, settings: MultiScale) -> Tensor:
    """Sum over scales of KL(p_s || q), mean over pixels; q is the weighted mean prediction.

    Without the clamp this is S times a generalised Jensen-Shannon divergence. q is clamped to
    0.001 to 0.999, as in the released code; pixels behind a closed gate count as 0.
    """
    p_SNKHW = torch.stack([torch.softmax(z, dim=1) for z in logits])
    q_NKHW = torch.einsum("s,snkhw->nkhw", w_S, p_SNKHW).clamp(_LEAST_P, 1 - _LEAST_P)
    terms = p_SNKHW * (torch.log(p_SNKHW.clamp_min(1e-12)) - torch.log(q_NKHW))
    divergence_NHW = terms.sum(dim=(0, 2))
    confident = q_NKHW.amax(dim=1) >= settings.confidence
    if settings.gate == "image":
        confident = confident.flatten(1).any(dim=1).view(-1, 1, 1)
    return (divergence_NHW * confident).mean()
