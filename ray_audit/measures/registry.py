"""All measures that there are: ours, and those of installed packages.

Another package offers a `Family`, or a `Score`, under an entry point of the group
`ray_audit.measures`.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Self

from ray_audit import storage
from ray_audit.config import AuditConfig
from ray_audit.errors import MeasureError
from ray_audit.measures import (
    areas,
    boundaries,
    confident,
    fit,
    gradients,
    order,
    ranking,
    regions,
    segmentation,
    trajectory,
    void,
)
from ray_audit.measures.base import (
    EVERY,
    SAMPLE,
    SETTINGS,
    DatasetQuantity,
    Family,
    Quantity,
    Score,
    When,
    side_by_side,
)
from ray_audit.measures.versions import RECORD_VERSION, SCORE_VERSION
from ray_audit.schemas import IDENTITY, Column
from ray_audit.task import Task

GROUP = "ray_audit.measures"
OURS = (trajectory, gradients, order, boundaries, segmentation, confident, void, regions, areas)
"""The families, in the order of their columns; the ranking comes last."""


@dataclass(frozen=True)
class Kind:
    """What of a specification decides which measures there are.

    Attributes:
        task: what labels belong to.
        families: of scores that are asked for.
        target: whose gradient VoG takes.
    """

    task: Task
    families: frozenset[str] = frozenset(("csl", "vog", "softmin"))
    target: str = "loss"

    @classmethod
    def of(cls, config: AuditConfig) -> Self:
        """The kind of a specification."""
        return cls(config.dataset.task, frozenset(config.scores), config.vog.target)


@dataclass(frozen=True)
class Measures:
    """Declarations that fit together.

    Attributes:
        families: with the name of what declares each, in the order of their columns.
    """

    families: tuple[tuple[str, Family], ...]

    def __post_init__(self) -> None:
        _check(self.families)

    @cached_property
    def quantities(self) -> dict[str, Quantity]:
        """All quantities by name."""
        return {
            quantity.name: quantity for _, family in self.families for quantity in family.quantities
        }

    @cached_property
    def _scores(self) -> tuple[Score, ...]:
        return tuple(score for _, family in self.families for score in family.scores)

    @cached_property
    def _dataset(self) -> tuple[DatasetQuantity, ...]:
        return tuple(quantity for _, family in self.families for quantity in family.dataset)

    def dataset(self, task: Task) -> dict[str, DatasetQuantity]:
        """What is known of a whole dataset of such labels, by name."""
        return {quantity.name: quantity for quantity in self._dataset if task in quantity.tasks}

    def scores(self, kind: Kind) -> tuple[Score, ...]:
        """Scores that are finished for a kind, or whose columns its table has."""
        return tuple(
            score
            for score in self._scores
            if kind.task in score.tasks | score.shown and score.target in ("", kind.target)
        )

    def columns(self, kind: Kind) -> list[Column]:
        """Columns of the `scores` table."""
        shown = (
            column
            for score in self.scores(kind)
            if kind.task in (score.shown or score.tasks) and score.family in ("", *kind.families)
            for column in score.columns
        )
        return [*IDENTITY, *shown]

    def trajectories(self) -> list[Column]:
        """Columns of the `trajectories` table after the sample's name."""
        return [
            quantity.column for quantity in self.quantities.values() if quantity.column is not None
        ]

    def of(self, task: Task, *when: When) -> frozenset[str]:
        """Names of the quantities of a task that are taken then."""
        every = self.quantities.values()
        return frozenset(q.name for q in every if task in q.tasks and q.when in when)

    @cached_property
    def digest(self) -> str:
        """Of all declarations."""
        every: Iterable[Quantity | Score | DatasetQuantity]
        every = (*self.quantities.values(), *self._scores, *self._dataset)
        return storage.digest(_plain([declared.identity() for declared in every]))

    @cached_property
    def _values(self) -> dict[str, Quantity]:
        return {
            quantity.value: quantity
            for quantity in self.quantities.values()
            if quantity.merge is not None
        }

    def is_per_checkpoint(self, value: str) -> bool:
        """Whether a value of samples is (N, E), of checkpoints that each may not have reached."""
        quantity = self._values.get(value)
        return quantity is not None and quantity.when == "each" and quantity.join is side_by_side

    def may_be_absent(self, value: str) -> bool:
        """Whether records may be whole without a value: it depends on the specification."""
        return self._values[value].when not in ("each", "last")

    def check_observed(self, names: Iterable[str], task: Task, *when: When) -> None:
        """Hold what a checkpoint's turn gave to what is declared for it.

        Raises:
            MeasureError: something is declared and was not computed, or the other way round.
        """
        computed, expected = frozenset(names), self.of(task, *when)
        if computed == expected:
            return
        lists = {
            "declared and not computed": sorted(expected - computed),
            "computed and not declared": sorted(computed - expected),
        }
        said = [f"{', '.join(names)} {what}" for what, names in lists.items() if names]
        raise MeasureError(
            f"measures of {task} labels: {'; '.join(said)}. Declare in ray_audit/measures what "
            "the probes compute, and the other way round"
        )

    def behind(self, task: Task, *columns: str) -> dict[str, int]:
        """Versions of the scores that give some columns, and of all that these stand on."""
        of_column = {c.name: s for s in self._scores if task in s.tasks for c in s.columns}
        of_dataset = self.dataset(task)
        found: dict[str, int] = {}
        left = [f"score.{column}" for column in columns]
        while left:
            need = left.pop()
            what, _, name = need.rpartition(".")
            if need == "score.all":
                left += [f"score.{ranked}" for ranked in fit.RANKED[task]]
            elif what == "dataset" and name in of_dataset and need not in found:
                found[need] = of_dataset[name].version
                left += of_dataset[name].needs
            elif what == "score" and name in of_column and need not in found:
                found[need] = of_column[name].version
                left += of_column[name].needs
            elif not what and name in self._values:
                found[name] = self._values[name].version
        return found

    def versions(self) -> dict[str, int]:
        """Versions that were raised, by name; all others are 1."""
        every = {quantity.name: quantity.version for quantity in self.quantities.values()}
        every |= {f"score.{score.name}": score.version for score in self._scores}
        every |= {f"dataset.{state.name}": state.version for state in self._dataset}
        return {name: version for name, version in sorted(every.items()) if version != 1}

    def identity(self, kind: Kind) -> dict[str, Any]:
        """What a manifest keeps of the declarations."""
        return {
            "records": self.record_identity(kind.task),
            "scores": self.score_identity(kind),
            "ranking": self.ranking(kind.task),
            "packages": [origin for origin, _ in self.families if origin.startswith(_PACKAGE)],
        }

    def record_identity(self, task: Task) -> str:
        """Digest of what makes the numbers in records of such labels what they are."""
        return self._of_records[task]

    @cached_property
    def _of_records(self) -> dict[Task, str]:
        every = self.quantities.values()
        own = {task: [q.identity() for q in every if task in q.tasks] for task in Task}
        return {task: storage.digest(RECORD_VERSION, _plain(own[task])) for task in Task}

    def score_identity(self, kind: Kind) -> str:
        """Digest of what makes scores of equal records, and their ranking, what they are."""
        scores = [score.identity() for score in self.scores(kind)]
        merges = [
            [quantity.name, quantity.into, getattr(quantity.merge, "__qualname__", "")]
            for quantity in self.quantities.values()
            if kind.task in quantity.tasks
        ]
        dataset = [quantity.identity() for quantity in self.dataset(kind.task).values()]
        return storage.digest(_plain([scores, merges, dataset, self.ranking(kind.task)]))

    def ranking(self, task: Task) -> dict[str, Any]:
        """By which rule samples are ranked, for a manifest and for comparing two runs."""
        scores = dict(fit.RANKED[task])
        versions = {k: v for k, v in sorted(self.behind(task, *scores).items()) if v != 1}
        rule = {"weights": scores, "rule": fit.RULE}
        return rule | {"version": SCORE_VERSION, "raised": versions}


def _plain(values: Any) -> str:
    return json.dumps(values, sort_keys=True)


def _check(families: tuple[tuple[str, Family], ...]) -> None:
    """Names are told once, and what is needed is declared.

    Raises:
        MeasureError: it is not so.
    """
    quantities = [(origin, q) for origin, family in families for q in family.quantities]
    scores = [(origin, score) for origin, family in families for score in family.scores]
    _once("quantity", ((q.name, origin) for origin, q in quantities))
    _once("value", ((q.value, origin) for origin, q in quantities if q.merge is not None))
    table = [(f"{column.name} ", "the table of scores") for column in IDENTITY]
    columns = (
        (f"{c.name} {score.target}", origin) for origin, score in scores for c in score.columns
    )
    _once("column", [*table, *columns])
    names = {q.name for _, q in quantities}
    tasks = {q.value: q.tasks for _, q in quantities if q.merge is not None} | _GIVEN
    for origin, quantity in quantities:
        if quantity.along and quantity.along not in names:
            raise MeasureError(
                f"{origin}: {quantity.name} lies along an undeclared {quantity.along}"
            )
    dataset = [(origin, quantity) for origin, family in families for quantity in family.dataset]
    _once(
        "dataset",
        ((f"{q.name} ({task})", origin) for origin, q in dataset for task in sorted(q.tasks)),
    )
    without = dict(tasks)
    # Of labels that have no such thing, a score is given None.
    tasks |= {f"dataset.{quantity.name}": EVERY for _, quantity in dataset}
    for origin, score in scores:
        _needed(f"{origin}: score {score.name}", score.needs, score.tasks, tasks)
        given = {f"score.{column.name}": score.tasks for column in score.columns}
        tasks |= given
        without |= {} if score.needs_dataset else given
    for origin, state in dataset:
        _needed(f"{origin}: dataset {state.name}", state.needs, state.tasks, without)


def _needed(
    whose: str,
    needs: Iterable[str],
    own: frozenset[Task],
    known: Mapping[str, frozenset[Task]],
) -> None:
    for need in needs:
        if not own <= known.get(need, frozenset()):
            raise MeasureError(
                f"{whose} of {'/'.join(sorted(own))} labels needs {need!r}, which is no quantity "
                "of all of these, no score before it and nothing else that may be needed"
            )


_GIVEN = {
    f"{what}.{name}": EVERY
    for what, names in (("sample", SAMPLE), ("setting", SETTINGS))
    for name in names
} | {"score.all": EVERY}


def _once(what: str, named: Iterable[tuple[str, str]]) -> None:
    known: dict[str, str] = {}
    for name, origin in named:
        if name in known:
            raise MeasureError(
                f"{what} {name.strip()} is declared twice, by {known[name]} and by {origin}"
            )
        known[name] = origin


def _theirs() -> Iterator[tuple[str, Family]]:
    """Families of installed packages, by the names of their entry points.

    Raises:
        MeasureError: two have one name, or one cannot be imported, is no family or cannot observe
            what it declares.
    """
    points = sorted(entry_points(group=GROUP), key=lambda point: (point.name, _package(point)))
    _once(f"entry point of {GROUP}", ((point.name, _package(point)) for point in points))
    for point in points:
        origin = f"{_package(point)} (entry point {point.name} = {point.value})"
        try:
            found = point.load()
        except (Exception, SystemExit) as error:  # a package may raise anything on import
            raise MeasureError(
                f"{origin} cannot be imported: {type(error).__name__}: {error}. Mend or uninstall "
                "the package"
            ) from error
        if isinstance(found, Score):
            found = Family(point.name, scores=(found,))
        if not isinstance(found, Family):
            raise MeasureError(
                f"{origin} is a {type(found).__name__}; expected a ray_audit.measures.Family, or "
                "a Score"
            )
        blind = [quantity.name for quantity in found.quantities if not quantity.observe]
        if blind:
            raise MeasureError(
                f'{origin}: nothing observes {", ".join(blind)}; give `observe="module:function"`'
            )
        yield origin, found


_PACKAGE = "package"


def _package(point: EntryPoint) -> str:
    return f"{_PACKAGE} {point.dist.name} {point.dist.version}" if point.dist else _PACKAGE


def collected(theirs: Iterable[tuple[str, Family]] = ()) -> Measures:
    """Our families, then others, then the ranking."""
    ours = [(module.__name__, module.FAMILY) for module in OURS]
    return Measures((*ours, *theirs, (ranking.__name__, ranking.FAMILY)))


# A mistake of ours shows as soon as anything is imported.
_OURS = collected()


@cache
def measures() -> Measures:
    """All measures, found once in a process.

    Raises:
        MeasureError: what a package offers is no measure, or fits no other.
    """
    theirs = tuple(_theirs())
    return collected(theirs) if theirs else _OURS
