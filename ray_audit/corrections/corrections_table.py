"""The `corrections` table: its rows, what they add up to, and its file."""

from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from itertools import islice

import pyarrow as pa
import pyarrow.parquet as pq

from ray_audit import storage
from ray_audit.corrections.intents import Intent, Outcome, Rule
from ray_audit.schemas import CORRECTIONS, SCHEMA_VERSION, arrow_schema

_NUM_NAMED = 20
_ROWS_AT_ONCE = 10_000


@dataclass(frozen=True)
class CorrectionRow:
    """One row of the `corrections` table; see `schemas.CORRECTIONS`."""

    sample_id: str
    shard: str
    rule: Rule
    outcome: Outcome
    given: str
    corrected: str | None
    evidence: str
    start_frame: int | None = None
    end_frame: int | None = None
    finding_id: str | None = None
    num_changed: int = 0
    confidence: float | None = None
    p_given: float | None = None
    p_corrected: float | None = None
    num_harmed: float | None = None


def row_of(
    intent: Intent,
    outcome: Outcome,
    num_changed: int = 0,
    num_harmed: float | None = None,
    evidence: str | None = None,
) -> CorrectionRow:
    """What became of an intent."""
    return CorrectionRow(
        sample_id=intent.sample_id,
        shard=intent.shard,
        rule=intent.by,
        outcome=outcome,
        given=intent.given,
        corrected=intent.suggested,
        evidence=evidence or intent.evidence,
        start_frame=intent.start_frame,
        end_frame=intent.end_frame,
        finding_id=intent.finding_id,
        num_changed=num_changed,
        confidence=intent.confidence,
        p_given=intent.p_given,
        p_corrected=intent.p_suggested,
        num_harmed=num_harmed,
    )


def harm(p_given: float, p_new: float, num: int) -> float:
    """Expected right labels among `num` changed ones; see `ChangeCounts.of`."""
    total = p_given + p_new
    return num * (p_given / total if total > 0 else 0.5)


@dataclass
class Totals:
    """What all rows add up to.

    Attributes:
        pairs: (class before, class after) -> changed pixels, frames or images.
        outcomes: outcome -> findings or samples.
        num_harmed: expected right labels among those that a rule changed.
        p_neither: of those, the probability that neither class is right, summed.
        named: outcome -> the first of what was refused, disputed or in conflict.
    """

    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    num_harmed: float = 0.0
    p_neither: float = 0.0
    named: dict[str, list[str]] = field(default_factory=dict)

    def add(self, row: CorrectionRow) -> None:
        """Count a row."""
        self.outcomes[row.outcome] += 1
        if row.num_changed:
            self.pairs[row.given, str(row.corrected)] += row.num_changed
            self.num_harmed += row.num_harmed or 0.0
            if row.num_harmed is not None:
                p = (row.p_given or 0.0) + (row.p_corrected or 0.0)
                self.p_neither += row.num_changed * max(1.0 - p, 0.0)
        if row.outcome in ("refused", "disputed", "conflict", "unmatched"):
            named = self.named.setdefault(row.outcome, [])
            if len(named) < _NUM_NAMED:
                where = row.sample_id if row.finding_id is None else row.finding_id
                named.append(f"{where}: {row.evidence}")


class CorrectionsTable:
    """Takes the rows: writes them beside the new labels and into the run, and adds them up.

    Args:
        to_uri: folder of the new labels.
        run_uri: folder of the run.
        metadata: of the file.
        dry_run: only add up.
    """

    def __init__(self, to_uri: str, run_uri: str, metadata: dict[str, str], dry_run: bool) -> None:
        self.uri = storage.join(to_uri, "corrections.parquet")
        self.totals = Totals()
        self._copy = storage.join(run_uri, "corrections", f"{storage.digest(to_uri)[:12]}.parquet")
        versioned = metadata | {"ray_audit.schema_version": SCHEMA_VERSION}
        self._schema = arrow_schema(list(CORRECTIONS), versioned)
        self._dry_run = dry_run

    def take(self, rows: Iterable[CorrectionRow]) -> None:
        """Take all rows, some at a time."""
        left = iter(rows)
        with ExitStack() as stack:
            writer = None
            if not self._dry_run:
                sink = stack.enter_context(storage.open_write(self.uri))
                opened = pq.ParquetWriter(sink, self._schema, compression="zstd")
                writer = stack.enter_context(opened)
            while chunk := list(islice(left, _ROWS_AT_ONCE)):
                for row in chunk:
                    self.totals.add(row)
                if writer is not None:
                    values = [asdict(row) for row in chunk]
                    writer.write_table(pa.Table.from_pylist(values, schema=self._schema))
        if not self._dry_run:
            storage.copy(self.uri, self._copy)
