"""Logits and given classes to losses, likelihoods and margins, in few passes.

Shape suffixes: M elements (rows, frames or pixels in any arrangement), K classes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module

import numpy as np
import torch
from torch import Tensor

from ray_audit.errors import MeasureError
from ray_audit.measures import Quantity, measures

Observe = Callable[[Tensor, Tensor], Tensor]
"""Probabilities (N, K, ...), which are not to be changed, and given classes (N, ...) to one number
of each element, (N, ...)."""


@dataclass(frozen=True)
class Likelihood:
    """What logits say of the given class, element by element, in one shape.

    Attributes:
        observed: float32 under the names of the quantities that are declared for elements.
        p_predicted: softmax probability of the predicted class, float32.
        predicted: class of the largest logit, the first of equals; int64.
    """

    observed: dict[str, Tensor]
    p_predicted: Tensor
    predicted: Tensor

    @property
    def loss(self) -> Tensor:
        """Cross-entropy, in nats."""
        return self.observed["loss"]

    @property
    def p_label(self) -> Tensor:
        """Softmax probability of the given class."""
        return self.observed["p_label"]

    @cached_property
    def is_finite(self) -> Tensor:
        """Whether the loss is a number, bool. It is never below -infinity, so one pass tells."""
        return self.loss < torch.inf

    @property
    def prefers_other(self) -> Tensor:
        """Whether another class has a larger logit, bool: a tie does not speak against a label."""
        return self.observed["margin"] < 0


def likelihood(logits: Tensor, labels: Tensor) -> Likelihood:
    """Compare logits (N, K, ...) with labels (N, ...), which must all be classes.

    `logits` is used as scratch space. With one class only, margins are infinite.
    """
    index = labels.unsqueeze(1)
    p_NK = torch.softmax(logits, dim=1)
    (top_logit, predicted), top_p = first_largest(logits), p_NK.amax(dim=1)
    label_logit = logits.gather(1, index).squeeze(1)
    # The largest probability is at least 1/K: its logarithm never underflows.
    log_top_p = torch.log(top_p)
    loss = (top_logit - label_logit) - log_top_p
    p_label = torch.exp(-loss)
    observed = {name: _outside(name, p_NK, labels) for name in outside_observers()}
    # expm1 keeps 1 - p exact where the label is fitted, which p - 1 in float32 would not.
    error_NK = p_NK.scatter_(1, index, torch.expm1(-loss).unsqueeze(1))
    el2n = error_NK.square_().sum(dim=1).sqrt_()
    other_logit = logits.scatter_(1, index, -torch.inf).amax(dim=1)
    p_other = torch.exp((other_logit - top_logit) + log_top_p)
    observed |= {
        "loss": loss,
        "p_label": p_label,
        "margin": label_logit - other_logit,
        "prob_margin": p_label - p_other,
        "el2n": el2n,
        "correct": (predicted == labels).float(),
    }
    return Likelihood(observed, top_p, predicted)


def _outside(name: str, p_NK: Tensor, labels: Tensor) -> Tensor:
    values = outside_observers()[name](p_NK, labels)
    if values.shape != labels.shape:
        raise MeasureError(
            f"quantity {name} was observed as {tuple(values.shape)}; expected one number for each "
            f"of the labels, {tuple(labels.shape)}"
        )
    return values


@cache
def outside_observers() -> dict[str, Observe]:
    """What packages observe of each element, by the name of their quantity.

    Raises:
        MeasureError: a function is not where the declaration says.
    """
    return {
        quantity.name: _imported(quantity)
        for quantity in measures().quantities.values()
        if quantity.observe
    }


def _imported(quantity: Quantity) -> Observe:
    module, _, name = quantity.observe.partition(":")
    try:
        found: Observe = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise MeasureError(
            f"quantity {quantity.name} is observed by {quantity.observe!r}, which cannot be "
            f"imported: {error}; expected `module:function`"
        ) from error
    return found


_PLACES = (torch.uint8, torch.int16, torch.int32)
"""Of the classes of an answer: the smallest that holds their number is the fastest."""


def first_largest(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The largest logit and its class, of equals the first; the last class where one is NaN."""
    num_classes = logits.shape[1]
    top = logits.amax(dim=1)
    small = next(kind for kind in _PLACES if num_classes <= torch.iinfo(kind).max)
    if logits.device.type == "cpu" and logits.ndim > 2:
        # Class by class, as its map lies in memory: three times as fast.
        maps, tops = logits.detach().numpy(), top.detach().numpy()
        best = torch.zeros(top.shape, dtype=small)
        place = best.numpy()
        for number in range(num_classes):
            is_top = (maps[:, number] == tops).view(np.uint8)
            np.maximum(place, is_top * place.dtype.type(num_classes - number), out=place)
    else:
        # Later classes weigh less, so that the first of equals wins, as argmax has it.
        weights = torch.arange(num_classes, 0, -1, dtype=small, device=logits.device)
        is_top = logits == top.unsqueeze(1)
        best = (is_top * weights.view(-1, *[1] * (logits.ndim - 2))).amax(dim=1)
    # A row of NaN equals nothing: it gets the last class rather than one outside the list.
    return top, (num_classes - best.long()).clamp_max_(num_classes - 1)
