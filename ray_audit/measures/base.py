"""What a measure is: quantities that the device observes, and scores that are finished from them.

Each is declared once, in its family's file. What travels in batches, what records hold, how parts
of a sample and units of a dataset are merged, what an audit that lets samples leave early fills in,
the columns of the tables, the list in `docs/scores.md` and the identity of a run are derived from
the declarations.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa

from ray_audit.config.scoring import ScoreFamily
from ray_audit.errors import MeasureError
from ray_audit.schemas import Column, Direction
from ray_audit.task import Task

ROWS = frozenset((Task.CLASS, Task.FRAMES, Task.CLIPS))
DENSE = frozenset((Task.DENSE,))
SEQUENCES = frozenset((Task.FRAMES,))
EVERY = ROWS | DENSE

Axis = Literal["rows", "pieces", "batch"]
"""Of what a quantity is: each row of a batch (a sample, or a tile or clip of one), any number of
pieces of a row, or the batch as a whole."""

When = Literal["each", "turn", "window", "fixed", "last", "carried", "recount"]
"""At which checkpoints it is taken: at each; at each, and in the second pass too; at those of VoG's
window, where its target is the loss; at each, where it is the same; at the last; over several
together, as the batch carries it along; in the second pass of confident learning."""


@dataclass(frozen=True)
class Cuts:
    """Rows of one set's records, some of which are tiles or clips of one sample.

    Attributes:
        rows: the records.
        group: (R,) sample of each row.
        first: (N,) first row of each sample.
        num_labelled: (N,) labelled elements of each sample.
    """

    rows: pa.Table
    group: np.ndarray
    first: np.ndarray
    num_labelled: np.ndarray

    def array(self, name: str) -> np.ndarray:
        """A column: (R,), or of lists of equal length (R, length)."""
        flat = self.rows[name].combine_chunks()
        if not pa.types.is_list(flat.type):
            return np.asarray(flat.to_numpy(zero_copy_only=False))
        values: np.ndarray = flat.flatten().to_numpy(zero_copy_only=False)
        return values.reshape(len(flat), -1) if len(flat) else values.reshape(0, 0)

    def summed(self, values: np.ndarray) -> np.ndarray:
        """Rows of each sample added up, in row order."""
        sums = np.zeros((len(self.first), *values.shape[1:]), values.dtype)
        np.add.at(sums, self.group, values)
        return sums

    def pieces(self, name: str, width: int = 1, along: str = "") -> "Pieces":
        """A column of pieces: of so many numbers each, or as many as `along`, of one each, has."""
        flat = self.rows[name].combine_chunks()
        lengths = self.rows[along or name].combine_chunks().value_lengths().to_numpy() // width
        values = flat.flatten().to_numpy(zero_copy_only=False)
        keys = np.zeros(int(lengths.sum()), np.int64)
        if along:
            keys = self.rows[along].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        per_piece = len(values) // len(keys) if len(keys) else width
        return Pieces(np.repeat(self.group, lengths), keys, values.reshape(len(keys), per_piece))

    @cached_property
    def rows_of(self) -> list[np.ndarray]:
        """Rows of each sample, in row order."""
        order = np.argsort(self.group, kind="stable")
        counts = np.bincount(self.group, minlength=len(self.first))
        return np.split(order, np.cumsum(counts)[:-1])


@dataclass(frozen=True)
class Pieces:
    """Numbers of any number of pieces of each sample, P over all samples.

    Attributes:
        sample: (P,) place of the sample.
        key: (P,) what the piece is, such as a class.
        values: (P, L) its numbers.
    """

    sample: np.ndarray
    key: np.ndarray
    values: np.ndarray

    def take(self, index: np.ndarray) -> "Pieces":
        """Of some of the samples, in their new order, which the place in `index` tells."""
        place = np.full(max(self.sample.max(initial=-1), index.max(initial=-1)) + 1, -1)
        place[index] = np.arange(len(index))
        sample = place[self.sample]
        # A stable order, so that sums of floats do not depend on how records were read.
        kept = np.argsort(sample, kind="stable")[np.count_nonzero(sample < 0) :]
        return Pieces(sample[kept], self.key[kept], self.values[kept])

    def total(self, kept: np.ndarray, num_keys: int) -> np.ndarray:
        """Sum by key over the samples of (N,) bool: (num_keys, L); counts in 64 bit."""
        is_float = self.values.dtype.kind == "f"
        sums = np.zeros((num_keys, self.values.shape[1]), np.float64 if is_float else np.int64)
        chosen = kept[self.sample]
        np.add.at(sums, self.key[chosen], self.values[chosen])
        return sums


Merge = Callable[[Cuts, str], Any]
"""Cuts of samples and a quantity's name to one value per sample: an array (N, ...) or a list."""


def mean(cuts: Cuts, name: str) -> np.ndarray:
    """Of sums over labelled elements: the mean over those of the sample."""
    means: np.ndarray = cuts.summed(cuts.array(name)) / cuts.num_labelled[:, None]
    return means


def total(cuts: Cuts, name: str) -> np.ndarray:
    """The sum; counts in 64 bit."""
    values = cuts.array(name)
    return cuts.summed(values.astype(np.int64) if values.dtype.kind == "i" else values)


def first(cuts: Cuts, name: str) -> np.ndarray:
    """What all cuts of a sample say alike."""
    values: np.ndarray = cuts.array(name)[cuts.first]
    return values


def least(cuts: Cuts, name: str) -> np.ndarray:
    """The smallest."""
    values = cuts.array(name)
    smallest: np.ndarray = values[cuts.first].copy()
    np.minimum.at(smallest, cuts.group, values)
    return smallest


def majority(cuts: Cuts, name: str) -> np.ndarray:
    """Class that most clips of a sample name at each checkpoint, the first of equals."""
    classes = cuts.array(name)
    winners: np.ndarray = classes[cuts.first].astype(np.int32)
    # Most samples are whole, and have one voice: only the others are counted, one by one.
    sizes = np.bincount(cuts.group, minlength=len(cuts.first))
    for sample in np.flatnonzero(sizes > 1):
        votes = np.sort(classes[cuts.rows_of[sample]], axis=0)
        num = (votes[:, None] == votes[None]).sum(axis=1)
        winners[sample] = np.take_along_axis(votes, num.argmax(axis=0)[None], axis=0)[0]
    return winners


def apart(cuts: Cuts, name: str) -> list[np.ndarray]:
    """The cuts' own values, (cuts, length) for each sample: its score merges them itself."""
    values = cuts.array(name)
    return [values[rows] for rows in cuts.rows_of]


Join = Callable[[Sequence[Any], Sequence[tuple[int, int]], "np.ndarray | None"], Any]
"""Values of several sets of records, the set and column of each checkpoint, and (N, E) bool which
were reached (None: all) to one value per sample."""


def side_by_side(
    sets: Sequence[np.ndarray], source: Sequence[tuple[int, int]], reached: np.ndarray | None
) -> np.ndarray:
    """(N, E): the checkpoints in their order."""
    return np.stack([sets[place][:, column] for place, column in source], axis=1)


@dataclass(frozen=True)
class Quantity:
    """What is observed of a batch, and how it becomes a value of each sample.

    Attributes:
        name: of the array in a batch, and of the column in its records.
        definition: what it is, with its dtype and unit, in one sentence.
        axis: of what it is.
        when: at which checkpoints it is taken.
        tasks: for which labels.
        merge: how tiles or clips of a sample become one value; None where `name` is merged with
            another quantity, or is none of the sample's values. What belongs to a batch is added.
        into: name of that value; the last part of the quantity's where absent.
        join: how checkpoints of several sets of records are put together.
        gap: what stands at a checkpoint that a sample did not reach.
        along: of pieces that do not begin with the number of their row: the quantity that does.
        is_stored: whether records hold it.
        column: its column in the `trajectories` table, one list entry per checkpoint.
        observe: `module:function` from outside of this package that gives it on the device, as
            `Observe` has it; empty where the probes do.
        version: raised whenever its numbers change.
    """

    name: str
    definition: str
    axis: Axis = "rows"
    when: When = "each"
    tasks: frozenset[Task] = EVERY
    merge: Merge | None = mean
    into: str = ""
    join: Join = side_by_side
    gap: float = float("nan")
    along: str = ""
    is_stored: bool = True
    column: Column | None = None
    observe: str = ""
    version: int = 1

    def __post_init__(self) -> None:
        _one_of(self.name, "axis", self.axis, get_args(Axis))
        _one_of(self.name, "when", self.when, get_args(When))
        if self.observe and (self.axis, self.when) != ("rows", "each"):
            raise MeasureError(
                f"quantity {self.name} is observed by {self.observe}, which gives one number for "
                "each labelled element at each checkpoint: expected axis 'rows' and when 'each'"
            )

    @property
    def is_trajectory(self) -> bool:
        """Whether a batch carries one value a checkpoint, in its array's last axis."""
        return self.when in ("each", "turn", "window")

    @property
    def key(self) -> str:
        """Name of the array that a batch carries."""
        return f"trajectory/{self.name}" if self.is_trajectory else self.name

    @property
    def value(self) -> str:
        """Name of the samples' value, by which scores ask for it."""
        return self.into or self.name.rpartition("/")[2]

    def identity(self) -> list[Any]:
        """What makes the numbers in its records what they are; how they merge comes later."""
        names = ("name", "axis", "when", "gap", "along", "is_stored", "observe", "version")
        return [sorted(self.tasks), *(str(getattr(self, name)) for name in names)]


@dataclass(frozen=True)
class Score:
    """A number of each sample, or a few that are finished together.

    Attributes:
        columns: its columns in the `scores` table.
        needs: what the formula is given, in order: values of quantities by name; `score.x` a column
            that is finished before it; `sample.x` one of `SAMPLE`; `setting.x` one of `SETTINGS`;
            `dataset.x` a quantity of the whole dataset, for which all samples are looked at first:
            None where nothing was observed.
        formula: gives an array (N,), one for each column, or None: null in this run.
        tasks: labels for which it is computed.
        shown: labels whose tables have its columns; null where it is not computed.
        family: of `scores` in the specification without which its columns are left out.
        target: of `vog` in the specification with which it exists; empty: with any.
        is_count: whether it compares only between samples that passed all checkpoints.
        version: raised whenever its numbers change.
    """

    columns: tuple[Column, ...]
    needs: tuple[str, ...]
    formula: Callable[..., Any]
    tasks: frozenset[Task] = EVERY
    shown: frozenset[Task] = field(default=frozenset())
    family: str = ""
    target: str = ""
    is_count: bool = False
    version: int = 1

    def __post_init__(self) -> None:
        _one_of(self.name, "family", self.family, ("", *get_args(ScoreFamily)))
        _one_of(self.name, "target", self.target, ("", "loss", "logit"))

    @property
    def name(self) -> str:
        """Of its first column."""
        return self.columns[0].name

    @property
    def needs_dataset(self) -> bool:
        """Whether all samples must be known before it can be finished."""
        return any(need.startswith("dataset.") for need in self.needs)

    def identity(self) -> list[Any]:
        """What makes its numbers what they are, apart from the quantities that it needs."""
        columns = [
            (column.name, str(column.type), column.unit, column.direction)
            for column in self.columns
        ]
        return [columns, self.needs, sorted(self.tasks), self.is_count, self.version]


def _one_of(name: str, what: str, value: str, expected: Sequence[str]) -> None:
    if value not in expected:
        raise MeasureError(f"{name}: {what} is {value!r}; expected one of {', '.join(expected)}")


def score(
    name: str,
    formula: Callable[..., Any],
    definition: str,
    needs: str,
    unit: str,
    direction: Direction = "",
    *,
    source: str = "",
    type: pa.DataType | None = None,
    **rest: Any,
) -> Score:
    """A score of one column, float64 where no type is given; `needs` with blanks between."""
    column = Column(name, type or pa.float64(), definition, unit, direction, source)
    return Score((column,), tuple(needs.split()), formula, **rest)


def _same(state: Any) -> Any:
    return state


@dataclass(frozen=True)
class DatasetQuantity:
    """What the finishing of a sample must know of all others: small, mergeable, exact.

    Attributes:
        name: by which scores ask for it, as `dataset.name`.
        definition: what it is, in one sentence.
        needs: what `observe` is given, in order, of one unit: as a score's needs, of scores those
            that need no dataset. Where one of them is null in this run, so is the state.
        observe: gives the state of a unit; only samples of `sample.scored` may count.
        merge: two states to that of both; units are folded in their order.
        empty: state from which folding starts; None: from the first unit's.
        finish: the state of the whole dataset to what scores are given, once.
        tasks: labels for which it is observed.
        version: raised whenever its numbers change.
    """

    name: str
    definition: str
    needs: tuple[str, ...]
    observe: Callable[..., Any]
    merge: Callable[[Any, Any], Any]
    empty: Any = None
    finish: Callable[[Any], Any] = _same
    tasks: frozenset[Task] = EVERY
    version: int = 1

    def merged(self, first: Any, other: Any) -> Any:
        """The state of both; None stands for no unit."""
        if other is None:
            return first
        first = self.empty if first is None else first
        return other if first is None else self.merge(first, other)

    def identity(self) -> list[Any]:
        """What makes its numbers what they are, apart from the quantities that it needs."""
        return [self.name, self.needs, sorted(self.tasks), self.version]


SAMPLE: tuple[str, ...] = ("label", "shard", "frame_index", "num_labelled", "sequences", "group")
SAMPLE += ("reached", "scored", "flagged_px", "all")
SETTINGS = ("classes", "temperature", "task", "protocol")


@dataclass(frozen=True)
class Family:
    """Quantities and the scores that are finished from them; what an entry point may name.

    Attributes:
        title: of its part of the list of columns.
        quantities: what is observed.
        scores: what is finished, in the order of the columns.
        dataset: what is known of all samples together.
    """

    title: str
    quantities: tuple[Quantity, ...] = ()
    scores: tuple[Score, ...] = ()
    dataset: tuple[DatasetQuantity, ...] = ()
