"""Findings of images and videos whose labels the checkpoints never saw, weighed by Bayes' rule.

What the last checkpoint says of each sample is in the tables already. Which class is mistaken for
which is counted over all samples (`Mistakes`), and of each finding it follows how probably its
given class is right, and how probably the class is that the checkpoint prefers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ray_audit.scores.label_noise import NoiseState
from ray_audit.scores.mistakes import Mistakes
from ray_audit.tables.run_tables import RunTables
from ray_audit.tables.trajectories import of_checkpoints

_COLUMNS = ["sample_id", "label", "predicted", "suggested"]


@dataclass(frozen=True)
class LastSeen:
    """What the last checkpoint says of N samples.

    Attributes:
        sample_id: (N,) str.
        given: (N,) int64 given class.
        other: (N,) int64 best other class; the suggested one where the given class is predicted.
        p_given: (N,) float64.
        p_other: (N,) float64.
    """

    sample_id: np.ndarray
    given: np.ndarray
    other: np.ndarray
    p_given: np.ndarray
    p_other: np.ndarray

    def state(self, num_classes: int) -> NoiseState:
        """Counts of confident learning."""
        given, other = self.given, self.other
        return NoiseState.observe(self.p_given, self.p_other, given, other, num_classes)


def weighed(
    rows: Sequence[dict[str, Any]], tables: RunTables, share: float
) -> list[dict[str, Any]]:
    """Findings with the last checkpoint's class and the probabilities that each class is right.

    Args:
        rows: findings with `FINDING_COLUMNS`, of images or videos with one label.
        tables: of the run, which never saw the labels.
        share: of all labels, taken to be wrong, 0-1.

    Returns:
        The rows; `suggested`, `p_given` and `p_suggested` are new. The latter two add up to less
        than 1 where a third class may be right. `sureness` is p(suggested) / (p(suggested) +
        p(given)) as the checkpoint says them.
    """
    classes = tables.config.dataset.classes
    wanted = {row["sample_id"] for row in rows}
    state, parts = NoiseState.empty(len(classes)), []
    for seen in _last_seen(tables):
        state = state.merge(seen.state(len(classes)))
        parts.append(_only(seen, np.isin(seen.sample_id, list(wanted))))
    mistakes = Mistakes.of(*state.confident_pairs(), state.class_count, share)
    found: dict[str, dict[str, Any]] = {}
    for seen in parts:
        p = mistakes.posterior(seen.p_given, seen.p_other, seen.given, seen.other)
        columns = (seen.other, *p, seen.p_other / np.maximum(seen.p_other + seen.p_given, 1e-300))
        values = zip(*(column.tolist() for column in columns), strict=True)
        for name, (other, p_given, p_other, sureness) in zip(seen.sample_id, values, strict=True):
            found[name] = {
                "suggested": classes[other],
                "p_given": p_given,
                "p_suggested": p_other,
                "sureness": sureness,
            }
    return [row | found.get(row["sample_id"], {}) for row in rows]


def _last_seen(tables: RunTables) -> Iterator[LastSeen]:
    """Part by part, without samples of which the last checkpoint says nothing."""
    for scores, trajectories in tables.parts("scores", "trajectories"):
        part = tables.read(scores, _COLUMNS)
        lists = tables.read(trajectories, ["loss", "margin"])
        loss, margin = (of_checkpoints(lists, name)[:, -1:] for name in ("loss", "margin"))
        if not part.num_rows:
            continue
        # The margin is the difference of the logits, so of the logarithms of the probabilities.
        p_given, p_other = np.exp(-loss[:, 0]), np.exp(-(loss + margin)[:, 0])
        given, predicted, suggested = (
            part[name].to_numpy().astype(np.int64) for name in ("label", "predicted", "suggested")
        )
        seen = LastSeen(
            np.asarray(part["sample_id"].to_pylist(), object),
            given,
            np.where(predicted == given, suggested, predicted),
            np.minimum(p_given, 1.0),
            np.minimum(p_other, 1.0),
        )
        yield _only(seen, np.isfinite(p_given) & np.isfinite(p_other))


def _only(seen: LastSeen, chosen: np.ndarray) -> LastSeen:
    return LastSeen(*(column[chosen] for column in vars(seen).values()))
