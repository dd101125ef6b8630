"""Samples of one unit to the score columns that need no other unit."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from ray_audit.config import AuditConfig
from ray_audit.engine.reduce.load import Samples
from ray_audit.errors import MeasureError
from ray_audit.measures import Kind, Score, measures
from ray_audit.samples import ShardFailure

NON_FINITE = "non_finite"


def split_non_finite(samples: Samples) -> tuple[np.ndarray, tuple[ShardFailure, ...]]:
    """Which samples have a finite loss at every checkpoint, and a failure for each other one."""
    unknown = _unknown(samples)
    finite = ~np.asarray(unknown.any(axis=1))
    failures = []
    for row in np.flatnonzero(~finite):
        where = np.flatnonzero(unknown[row])
        failures.append(
            ShardFailure(
                shard=samples.identity["shard"][int(row)].as_py(),
                sample_id=samples.identity["sample_id"][int(row)].as_py(),
                stage="scores",
                error_class=NON_FINITE,
                message=f"the loss is not finite at {len(where)} checkpoint(s), first at "
                f"position {where[0]}: look at the weights and the input's normalisation",
                num_samples=1,
            )
        )
    return finite, tuple(failures)


def _unknown(samples: Samples) -> np.ndarray:
    """(N, E) bool: checkpoints that a sample passed without a finite loss."""
    if not samples.num_samples:
        return np.zeros((0, 0), bool)
    unknown: np.ndarray = ~np.isfinite(samples.values["loss"])
    return unknown if samples.reached is None else unknown & samples.reached


def unit_scores(
    samples: Samples, config: AuditConfig, dataset: Mapping[str, Any] | None = None
) -> dict[str, np.ndarray]:
    """Score columns of one unit, (N,) each, by name; those that are null in this run are left out.

    Args:
        samples: of the unit.
        config: the specification.
        dataset: what is known of the whole of it, by name, and `flagged_px`; None while other units
            are not known, for the scores that need none.

    Raises:
        MeasureError: the records do not hold what is declared, or a formula gives another shape.
    """
    found: dict[str, np.ndarray] = {}
    if not samples.num_samples:
        return found
    given = _GivenScores(samples, config, dataset or {}, found)
    for score in measures().scores(Kind.of(config)):
        if config.dataset.task in score.tasks and not (dataset is None and score.needs_dataset):
            found |= given.finished(score)
    return found


def unit_states(samples: Samples, config: AuditConfig) -> dict[str, Any]:
    """A unit's states of the quantities of the whole dataset, by name; without what is null."""
    states: dict[str, Any] = {}
    if not samples.num_samples:
        return states
    given = _GivenScores(samples, config, {}, unit_scores(samples, config))
    for name, quantity in measures().dataset(config.dataset.task).items():
        needed = [given.needed(need, f"dataset.{name}") for need in quantity.needs]
        if not any(value is _ABSENT for value in needed):
            states[name] = quantity.observe(*needed)
    return states


@dataclass(frozen=True)
class _GivenScores:
    """What the formulas of one unit's scores are given."""

    samples: Samples
    config: AuditConfig
    dataset: Mapping[str, Any]
    found: dict[str, np.ndarray]

    def finished(self, score: Score) -> dict[str, np.ndarray]:
        """Its columns; none where it is null in this run."""
        needed = [self.needed(name, f"score {score.name}") for name in score.needs]
        if any(value is _ABSENT for value in needed):
            return {}
        reached = self.samples.reached
        of_checkpoints = [measures().is_per_checkpoint(name) for name in score.needs]
        if reached is None or not any(of_checkpoints) or "sample.reached" in score.needs:
            answers = score.formula(*needed)
        else:
            answers = self._by_way(score, needed, of_checkpoints, reached)
        if answers is None:
            return {}
        columns = answers if isinstance(answers, tuple) else (answers,)
        names = [column.name for column in score.columns]
        lengths = [len(values) for values in columns]
        if lengths != [self.samples.num_samples] * len(names):
            raise MeasureError(
                f"score {score.name} gave arrays of {lengths} values; expected for each of "
                f"{', '.join(names)} one of {self.samples.num_samples}"
            )
        return dict(zip(names, columns, strict=True))

    def needed(self, name: str, whose: str) -> Any:
        """What a name of `needs` stands for; `_ABSENT` where it is null in this run."""
        what, _, rest = name.rpartition(".")
        if what == "score":
            return self.found if rest == "all" else self.found.get(rest, _ABSENT)
        if what == "dataset":
            return self.dataset.get(rest)
        if what == "setting":
            return _SETTINGS[rest](self.config)
        if name == "sample.sequences":
            return self._sequences
        if what == "sample":
            return self.dataset.get(rest) if rest == "flagged_px" else _SAMPLE[rest](self.samples)
        if name not in self.samples.values and not measures().may_be_absent(name):
            raise MeasureError(
                f"the records hold no {name}, which {whose} needs: they were made by "
                "another version of ray_audit, or with other packages of measures installed"
            )
        return self.samples.values.get(name, _ABSENT)

    @cached_property
    def _sequences(self) -> list[tuple[np.ndarray, np.ndarray]]:
        return list(sequences_of(self.samples))

    def _by_way(
        self, score: Score, needed: list[Any], of_checkpoints: list[bool], reached: np.ndarray
    ) -> Any:
        """Of the checkpoints that each sample passed; counts over all of them else null."""
        found: list[np.ndarray] = []
        ways, way_of = np.unique(reached, axis=0, return_inverse=True)
        for way, passed in enumerate(ways):
            rows = np.flatnonzero(way_of.reshape(-1) == way)
            cut = [
                value[rows][:, passed] if is_cut else value
                for value, is_cut in zip(needed, of_checkpoints, strict=True)
            ]
            answers = score.formula(*cut)
            if answers is None:
                return None
            columns = answers if isinstance(answers, tuple) else (answers,)
            found = found or [np.zeros(len(reached), values.dtype) for values in columns]
            for whole, values in zip(found, columns, strict=True):
                whole[rows] = np.nan if score.is_count and not passed.all() else values
        return tuple(found)


def sequences_of(samples: Samples) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows and labels of each sequence of a unit, in frame order."""
    labels = samples.identity["label"].to_numpy()
    # Sorted once: a file may hold thousands of sequences.
    _, of_row, sizes = np.unique(_shards(samples), return_inverse=True, return_counts=True)
    in_order = np.argsort(of_row.reshape(-1), kind="stable")
    # Not np.split: a unit of images has a sequence for each, and that takes its time.
    for start, stop in pairwise([0, *np.cumsum(sizes).tolist()]):
        rows = in_order[start:stop]
        yield rows, labels[rows]


def _shards(samples: Samples) -> np.ndarray:
    return np.asarray(samples.identity["shard"].to_pylist(), dtype=str)


def group_labels(samples: Samples) -> np.ndarray:
    """The group within which VoG is compared: the given label, or all where labels are dense."""
    labels = samples.identity["label"]
    if labels.null_count:
        return np.zeros(len(labels), np.int64)
    groups: np.ndarray = labels.to_numpy().astype(np.int64)
    return groups


_ABSENT = object()
_SETTINGS: dict[str, Callable[[AuditConfig], Any]] = {
    "classes": lambda config: np.asarray(config.dataset.classes, dtype=object),
    "temperature": lambda config: config.softmin.temperature,
    "task": lambda config: config.dataset.task,
    "protocol": lambda config: config.protocol,
}
_SAMPLE: dict[str, Callable[[Samples], Any]] = {
    "all": lambda samples: samples,
    "label": lambda samples: samples.identity["label"].to_numpy(),
    "shard": _shards,
    "frame_index": lambda samples: samples.identity["frame_index"].to_numpy(),
    "num_labelled": lambda samples: samples.identity["num_labelled"].to_numpy(),
    "group": group_labels,
    "reached": lambda samples: samples.reached,
    "scored": lambda samples: ~_unknown(samples).any(axis=1),
}
