"""What the finishing of a sample must know of all others, as the measures declare it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from ray_audit.config import AuditConfig
from ray_audit.engine.reduce.load import Samples
from ray_audit.engine.reduce.unit_scores import unit_states
from ray_audit.measures import measures
from ray_audit.scores.confident import class_thresholds
from ray_audit.scores.label_noise import NoiseEstimate, estimate_pixels
from ray_audit.task import Task


@dataclass(frozen=True)
class Summary:
    """State of the first pass over a dataset.

    Attributes:
        task: what labels belong to.
        states: of the quantities of the whole dataset, by name; without what was not observed.
    """

    task: Task
    states: Mapping[str, Any] = field(default_factory=dict)

    def merge(self, other: Self) -> Self:
        """Both together; fold in a fixed order for sums that are equal to the last bit."""
        states = {
            name: quantity.merged(self.states.get(name), other.states.get(name))
            for name, quantity in measures().dataset(self.task).items()
            if name in self.states or name in other.states
        }
        return type(self)(self.task, states)

    def finish(self) -> dict[str, Any]:
        """What scores are given, by name."""
        declared = measures().dataset(self.task)
        return {name: declared[name].finish(state) for name, state in self.states.items()}

    def estimate(self, protocol: str) -> NoiseEstimate | None:
        """How many labels are wrong, as checkpoints of a protocol tell; None of no samples."""
        noise, confident = self.states.get("noise"), self.states.get("confident")
        if noise is not None:
            estimate: NoiseEstimate = noise.finish(is_held_out=protocol == "held_out")
            return estimate
        return None if confident is None else estimate_pixels(confident)

    @property
    def thresholds(self) -> np.ndarray | None:
        """(E, K) class thresholds of confident learning, NaN where unknown; None of nothing."""
        confusion, p_label_sum = (self.states.get(name) for name in ("confusion", "p_label_sum"))
        if confusion is None:
            return None
        count = confusion.given()
        thresholds = np.full(count.shape, np.nan)
        if p_label_sum is not None:
            thresholds = class_thresholds(p_label_sum, count)
        elif "confident" in self.states:
            state = self.states["confident"]
            thresholds[-1] = class_thresholds(state.class_sum, state.class_count)
        return np.where(count > 0, thresholds, np.nan)


def summarise(samples: Samples, config: AuditConfig) -> Summary:
    """The summary of one unit."""
    return Summary(config.dataset.task, unit_states(samples, config))
