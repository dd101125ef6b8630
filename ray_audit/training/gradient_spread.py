"""VoG while a model is trained: from the gradients that the training itself computes.

    tracker = GradientSpread()
    images.requires_grad_()
    loss = cross_entropy(model(images), targets)
    loss.backward()
    tracker.observe(sample_ids, per_sample_gradient(images.grad, targets))
    ...
    tracker.end_epoch()
    tracker.scores()

No pass more than training has. Unlike the audit's VoG these are gradients in train mode: batch
statistics couple the samples of a batch, and augmentation, if there is any, moves the pixels.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ray_audit.training.sample_store import SampleStore


def per_sample_gradient(gradient: Tensor, targets: Tensor, ignore_index: int = -1) -> Tensor:
    """Gradient of each sample's own mean loss, from that of the mean over the batch.

    Args:
        gradient: (N, C, ...) gradient of the batch's mean cross-entropy over labelled elements,
            without class weights.
        targets: (N, ...) int64.
        ignore_index: target value that does not count.

    Returns:
        Like `gradient`; 0 for samples without a label.
    """
    num_labelled = (targets.reshape(len(targets), -1) != ignore_index).sum(dim=1).to(gradient.dtype)
    factor = num_labelled.sum() / num_labelled.clamp_min(1)
    return gradient * factor.view(-1, *[1] * (gradient.ndim - 1))


class GradientSpread:
    """Running moments of each sample's input gradient, one observation a sample and epoch.

    VoG needs a window: gradients shrink as a model learns, so that scores of different windows
    do not compare. The window here is the last reset up to now; it is reset by itself after
    `window_epochs` full epochs, with the first observation of the next.

    Args:
        window_epochs: epochs from reset to reset; never where None.
        store: where the moments are kept: mean and squared deviations in float32, 8 bytes a
            pixel a sample; in memory where absent.
    """

    def __init__(self, window_epochs: int | None = None, store: SampleStore | None = None) -> None:
        if window_epochs is not None and window_epochs < 2:
            raise ValueError(f"window_epochs {window_epochs}: a spread needs at least 2 epochs")
        self._window_epochs = window_epochs
        self._store = store or SampleStore()
        self._counts: dict[str, int] = {}
        self._num_epochs = 0

    @property
    def num_epochs(self) -> int:
        """Full epochs in the present window."""
        return self._num_epochs

    def observe(self, sample_ids: list[str], gradient: Tensor) -> None:
        """Merge the gradients of a batch (Welford 1962).

        Args:
            sample_ids: N names, each once an epoch.
            gradient: (N, C, H, W) of each sample's own loss; the mean over C is kept.
        """
        if self._window_epochs is not None and self._num_epochs >= self._window_epochs:
            self.reset()
        maps = gradient.detach().float().mean(dim=1).cpu().numpy()
        for sample_id, of_sample in zip(sample_ids, maps, strict=True):
            self._merge(sample_id, of_sample)

    def _merge(self, sample_id: str, gradient: npt.NDArray[np.float32]) -> None:
        count = self._counts.get(sample_id, 0) + 1
        moments = self._store.get(sample_id) if count > 1 else None
        if moments is None:
            moments = np.zeros((2, *gradient.shape), np.float32)
        mean, m2 = moments
        delta = gradient - mean
        mean = mean + delta / count
        self._store.put(sample_id, np.stack([mean, m2 + delta * (gradient - mean)]))
        self._counts[sample_id] = count

    def end_epoch(self) -> None:
        """An epoch is over."""
        self._num_epochs += 1

    def reset(self) -> None:
        """Begin a new window."""
        self._store.clear()
        self._counts.clear()
        self._num_epochs = 0

    def scores(self) -> dict[str, float]:
        """VoG of each sample over the window: mean over pixels of the population spread.

        NaN for samples that were seen once.
        """
        found = {}
        for sample_id, count in sorted(self._counts.items()):
            moments = self._store.get(sample_id)
            assert moments is not None
            spread = np.sqrt(moments[1].astype(np.float64) / count)
            found[sample_id] = float(spread.mean()) if count > 1 else float("nan")
        return found


def mean_per_sample_loss(loss: Tensor, targets: Tensor, ignore_index: int = -1) -> Tensor:
    """Mean over the labelled elements of each sample, (N,); NaN where it has none.

    Args:
        loss: (N, ...) cross-entropy of each element.
        targets: (N, ...) int64.
        ignore_index: target value that does not count.
    """
    labelled = (targets != ignore_index).reshape(len(targets), -1)
    total = torch.where(labelled, loss.reshape(labelled.shape), 0.0).sum(dim=1)
    return total / labelled.sum(dim=1)
