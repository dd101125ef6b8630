"""Cross-entropy of the three shapes of logits that models give."""

from torch import Tensor
from torch.nn import functional

from ray_audit.errors import SpecificationError


def cross_entropy(
    logits: Tensor, targets: Tensor, ignore_index: int = -1, weights: Tensor | None = None
) -> Tensor:
    """Mean cross-entropy over the labelled elements; 0 where there are none.

    Args:
        logits: (N, K), (N, T, K) or (N, K, H, W).
        targets: (N,), (N, T) or (N, H, W), int64.
        ignore_index: target value that does not count.
        weights: (K,) weight of each class; the mean is weighted by them.

    Raises:
        SpecificationError: the shapes do not belong together.
    """
    by_class = logits.transpose(1, 2) if logits.ndim == 3 else logits
    expected = (by_class.shape[0], *by_class.shape[2:])
    if logits.ndim not in (2, 3, 4) or targets.shape != expected:
        raise SpecificationError(
            f"training: the model gave logits {tuple(logits.shape)} for targets "
            f"{tuple(targets.shape)}; expected (N, K) for (N,), (N, T, K) for (N, T), or "
            "(N, K, H, W) for (N, H, W)"
        )
    labelled = targets != ignore_index
    total = functional.cross_entropy(
        by_class, targets, weights, ignore_index=ignore_index, reduction="sum"
    )
    if weights is None:
        return total / labelled.sum().clamp(min=1)
    weight_sum = weights[targets[labelled]].sum()
    return total / weight_sum if bool(weight_sum > 0) else total
