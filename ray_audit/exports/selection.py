"""Which findings are exported, and in which order."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from ray_audit.errors import SpecificationError


@dataclass(frozen=True)
class Selection:
    """What was asked for; everything by default.

    Attributes:
        kinds: of findings; None for all.
        classes: as which a finding is given or suggested; None for all.
        least_suspicion: findings below it are left out, 0-1.
        max_findings: how many, the most suspicious first; None for all.
    """

    kinds: Sequence[str] | None = None
    classes: Sequence[str] | None = None
    least_suspicion: float = 0.0
    max_findings: int | None = None

    def of(self, findings: pa.Table, classes: Sequence[str]) -> pa.Table:
        """The chosen rows of a `findings` table, first ranks first.

        Args:
            findings: all of a run.
            classes: of the dataset.

        Raises:
            SpecificationError: a kind that the run has not found, or an unknown class.
        """
        chosen = pc.greater_equal(findings["suspicion"], self.least_suspicion)
        if self.kinds is not None:
            there = sorted(set(findings["kind"].to_pylist()))
            _check("kind", "kinds of this run's findings", self.kinds, there)
            chosen = pc.and_(chosen, _is_any(findings["kind"], self.kinds))
        if self.classes is not None:
            there = [*classes, *set(findings["given"].to_pylist()) - set(classes)]
            _check("class", "classes", self.classes, there)
            given, suggested = (
                _is_any(findings[name], self.classes) for name in ("given", "suggested")
            )
            chosen = pc.and_(chosen, pc.or_(given, suggested))
        rows = findings.filter(chosen)
        order = pc.sort_indices(rows, [("rank", "ascending"), ("finding_id", "ascending")])
        return rows.take(order[: self.max_findings])


def _is_any(column: pa.ChunkedArray, names: Sequence[str]) -> pa.ChunkedArray:
    return pc.is_in(column, value_set=pa.array(list(names), pa.string()))


def _check(option: str, what: str, names: Sequence[str], there: Sequence[str]) -> None:
    unknown = [name for name in names if name not in there]
    if unknown:
        known = ", ".join(map(repr, there)) or "none"
        raise SpecificationError(
            f"--{option}: {', '.join(map(repr, unknown))} is not among the {what}: {known}"
        )
