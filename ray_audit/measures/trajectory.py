"""What each checkpoint says of a sample's given label, and what its trajectory tells.

Sums over the labelled elements of a row (1 but for masks) in float64, so that tiles and clips of
a sample add up.
"""

from functools import partial

import numpy as np
import pyarrow as pa

from ray_audit.measures.base import (
    EVERY,
    ROWS,
    DatasetQuantity,
    Family,
    Quantity,
    Score,
    first,
    least,
    majority,
    score,
)
from ray_audit.schemas import Column
from ray_audit.scores import csl, dynamics
from ray_audit.scores.class_pairs import ClassPairs
from ray_audit.scores.suggested import suggested_class
from ray_audit.scores.vog import csg

REACHED = "adaptive/reached"
"""Of each row: how many checkpoints it passed, in the order in which they are visited."""

_EACH = pa.list_(pa.float32())
_LOSS = Column("loss", _EACH, "loss at each checkpoint", "nat", "higher")
_P_LABEL = Column("p_label", _EACH, "probability of the given label", "fraction", "lower")
_MARGIN = Column("margin", _EACH, "logit margin of the given label", "logit", "lower")

QUANTITIES = (
    Quantity("loss", "cross-entropy of the given label, in nats", column=_LOSS),
    Quantity("p_label", "softmax probability of the given label", column=_P_LABEL),
    Quantity("margin", "logit of the given label minus the best other", column=_MARGIN),
    Quantity("prob_margin", "the same of probabilities"),
    Quantity("el2n", "Euclidean norm of probabilities minus one-hot label"),
    Quantity("correct", "1 where the given label is predicted, else 0"),
    Quantity("predicted", "class of the largest logit", tasks=ROWS, merge=majority, gap=-1),
    Quantity("other", "best class but the given one", tasks=ROWS, merge=majority, gap=-1),
    Quantity("final/p_predicted", "its probability", when="last", tasks=ROWS, merge=first),
    Quantity("probe_s", "seconds of the probe", axis="batch", when="turn", merge=None, gap=0),
    Quantity(REACHED, "checkpoints passed, of those that leave", when="carried", merge=least),
)


def _num_checkpoints(loss: np.ndarray) -> np.ndarray:
    return np.full(len(loss), loss.shape[1], np.int32)


def _prob_margin(prob_margin: np.ndarray, classes: np.ndarray) -> np.ndarray:
    # Of one class there is no best other: like the margin of logits, it is none.
    none = np.full(len(prob_margin), np.nan)
    return dynamics.prob_margin(prob_margin) if len(classes) > 1 else none


def _forgetting(correct: np.ndarray) -> np.ndarray:
    return dynamics.forgetting(correct > 0.5)


def _suggestions(
    other: np.ndarray, p_label: np.ndarray, prob_margin: np.ndarray, classes: np.ndarray
) -> tuple[np.ndarray, ...] | None:
    if len(classes) < 2:
        return None
    # A margin is the given class's probability minus that of the best other; what is lost of
    # small ones by rounding is 0, and then the class that is named most counts.
    p_other = np.maximum(p_label - prob_margin, 0.0)
    # NaN at a checkpoint: the sample fails, and must not be an error here.
    label, p = suggested_class(other, np.nan_to_num(p_other))
    return label, classes[label], p


_SUGGESTED = (
    Column(
        "suggested",
        pa.int32(),
        "class other than the given with most probability over checkpoints; null for dense labels",
        source="our definition",
    ),
    Column("suggested_name", pa.string(), "suggested class"),
    Column(
        "p_suggested",
        pa.float64(),
        "its probability, mean over checkpoints (0 where it is not the best other class)",
        "fraction",
    ),
)
_ALWIS = "Alwis et al. 2026, arXiv 2602.15154"
_loss = partial(score, needs="loss", unit="nat", direction="higher")
_p_label = partial(score, needs="p_label", unit="fraction", source="Swayamdipta et al. 2020")
_count = partial(score, needs="correct", unit="count", direction="none", is_count=True)

SCORES = (
    _loss("csl", csl.csl, "mean loss over all checkpoints", source=_ALWIS),
    _loss("final_loss", csl.final_loss, "loss at the last checkpoint"),
    _loss("early_loss", csl.early_loss, "mean loss over the first half of the checkpoints"),
    _loss("late_loss", csl.late_loss, "mean loss over the rest; null with one checkpoint"),
    _loss(
        "loss_std", csl.loss_std, "population spread of the loss over checkpoints", direction="none"
    ),
    _loss("loss_max", csl.loss_max, "largest loss over checkpoints"),
    _loss(
        "num_checkpoints",
        _num_checkpoints,
        "checkpoints that scored the sample",
        unit="count",
        direction="",
        type=pa.int32(),
    ),
    score(
        "el2n",
        dynamics.el2n,
        "mean norm of probabilities minus one-hot label",
        "el2n",
        "1",
        "higher",
        source="Paul et al. 2021, arXiv 2107.07075",
    ),
    _count(
        "correctness",
        dynamics.correctness,
        "checkpoints that predict the given label",
        direction="lower",
        source="Swayamdipta et al. 2020",
        is_count=False,
    ),
    _count(
        "learning_time",
        dynamics.learning_time,
        "first checkpoint (from 1) from which on the label is always predicted; null if never",
        unit="checkpoint",
        direction="higher",
        source="our definition",
    ),
    score(
        "csg",
        csg,
        "sum over checkpoints of the squared norm of the loss's input gradient",
        "grad_sqnorm",
        "1",
        "higher",
        source="Memorization Through the Lens of Sample Gradients, ICLR 2026",
    ),
    _p_label(
        "confidence", dynamics.confidence, "mean probability of the given label", direction="lower"
    ),
    _p_label(
        "variability",
        dynamics.variability,
        "population spread of the given label's probability",
        direction="none",
    ),
    score(
        "aum",
        dynamics.aum,
        "mean margin of the given label's logit over the best other",
        "margin",
        "logit",
        "lower",
        source="Pleiss et al. 2020, arXiv 2001.10528",
    ),
    score(
        "prob_margin",
        _prob_margin,
        "mean margin of the given label's probability over the best other; null with one class",
        "prob_margin setting.classes",
        "fraction",
        "lower",
    ),
    _count(
        "forgetting",
        _forgetting,
        "transitions from right to wrong between checkpoints; null for dense labels",
        source="Toneva et al. 2019, arXiv 1812.05159",
        tasks=ROWS,
        shown=EVERY,
    ),
    Score(
        _SUGGESTED,
        ("other", "p_label", "prob_margin", "setting.classes"),
        _suggestions,
        tasks=ROWS,
        shown=EVERY,
        version=2,
    ),
)


def _predictions(
    predicted: np.ndarray, labels: np.ndarray, scored: np.ndarray, classes: np.ndarray
) -> ClassPairs:
    """Of the samples' own predictions, at the checkpoints that they passed."""
    return ClassPairs.of(predicted[scored], labels[scored], len(classes))


def _p_label_sum(
    p_label: np.ndarray,
    labels: np.ndarray,
    scored: np.ndarray,
    reached: np.ndarray | None,
    classes: np.ndarray,
) -> np.ndarray:
    known = p_label if reached is None else np.where(reached, p_label, 0.0)
    columns = known[scored].T
    return np.stack([np.bincount(labels[scored], column, len(classes)) for column in columns])


DATASET = (
    DatasetQuantity(
        "confusion",
        "elements by given and predicted class, at each checkpoint",
        ("predicted", "sample.label", "sample.scored", "setting.classes"),
        _predictions,
        ClassPairs.merge,
        tasks=ROWS,
    ),
    DatasetQuantity(
        "p_label_sum",
        "(E, K) sum of p(given class) by given class",
        ("p_label", "sample.label", "sample.scored", "sample.reached", "setting.classes"),
        _p_label_sum,
        np.add,
        tasks=ROWS,
    ),
)

FAMILY = Family("From the loss and probability of each checkpoint", QUANTITIES, SCORES, DATASET)
