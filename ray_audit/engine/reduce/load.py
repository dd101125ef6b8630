"""Committed records of one unit to samples: sets joined, tiles and clips of a sample merged."""

import json
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from operator import attrgetter
from typing import Any, Self

import numpy as np
import pyarrow as pa

from ray_audit import storage
from ray_audit.engine.ledger.crates import SetFiles, is_retry
from ray_audit.engine.ledger.record_sets import RecordSet, RequiredRecords
from ray_audit.engine.ledger.records import decode_crate
from ray_audit.engine.reduce.kept import Kept
from ray_audit.errors import StorageError
from ray_audit.measures import measures
from ray_audit.measures.base import Cuts, Pieces
from ray_audit.samples import ShardFailure, Tail

_FAILURE_BYTES = 1024


@dataclass(frozen=True)
class UnitFiles:
    """Where the records of one unit lie.

    Attributes:
        unit_id: the unit.
        sets: what each of its sets holds, the set with the wanted VoG first.
        files: their files, in the same order.
        num_shards: files of the dataset that the unit reads.
    """

    unit_id: str
    sets: tuple[RecordSet, ...]
    files: tuple[SetFiles, ...]
    num_shards: int = 1

    @classmethod
    def choose(
        cls,
        unit_id: str,
        sets: dict[str, RecordSet],
        files: dict[str, SetFiles],
        required: RequiredRecords,
    ) -> Self:
        """Take the fewest committed sets that give what is wanted, in a fixed order.

        Sets with failures that may pass are taken only where the others do not give all of it.
        """
        good = {
            set_id: set_files for set_id, set_files in files.items() if not set_files.may_do_better
        }
        if not required.missing_from([sets[set_id] for set_id in good if set_id in sets]):
            files = good
        last = required.checkpoints[-1].digest
        if required.only is not None:
            only = required.only.set_id
            files = {set_id: set_files for set_id, set_files in files.items() if set_id == only}

        def preference(set_id: str) -> tuple[bool, bool, bool, bool, int, str]:
            record_set, failed = sets[set_id], files[set_id].may_do_better
            has_vog = required.vog is not None and record_set.vog == required.vog
            is_base = record_set.is_continued_by(required.vog)
            return (
                not has_vog,
                not is_base,
                failed,
                record_set.final != last,
                -len(record_set.digests),
                set_id,
            )

        missing = {c.digest for c in required.checkpoints}
        chosen: list[str] = []
        needs_final, is_continued = True, False
        for set_id in sorted((s for s in files if s in sets), key=preference):
            record_set = sets[set_id]
            is_first_vog = (
                required.vog is not None and record_set.vog == required.vog and not chosen
            )
            # The gradients that the first did not take itself are in those that it continued.
            is_before = is_continued and record_set.is_continued_by(required.vog)
            gives = missing & set(record_set.digests) or (needs_final and record_set.final == last)
            if is_first_vog or is_before or gives:
                if is_first_vog and required.vog is not None:
                    is_continued = not set(required.vog[1:]) <= set(record_set.digests)
                chosen.append(set_id)
                missing -= set(record_set.digests)
                needs_final = needs_final and record_set.final != last
        return cls(unit_id, tuple(sets[s] for s in chosen), tuple(files[s] for s in chosen))

    def to_json(self) -> str:
        """Serialise; `from_json` gives equal files."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote."""
        values = json.loads(text)
        sets = tuple(RecordSet.from_json(json.dumps(value)) for value in values["sets"])
        files = tuple(SetFiles(tuple(f["crates"])) for f in values["files"])
        return cls(values["unit_id"], sets, files)


@dataclass(frozen=True)
class Samples:
    """The scored samples of one unit.

    Attributes:
        identity: sample_id, shard, frame_index, pts_s, label and num_labelled, a row each.
        values: of the samples, by the name under which a quantity is declared to give them: (N, E)
            of what is taken at each checkpoint, (N, ...) or a list of N of other things. Without
            what the records do not hold.
        failures: samples and shards that failed.
        tails: the unit's ends, one a set.
        reached: (N, E) bool: the checkpoints that a sample passed, where some left early; what it
            did not reach is the quantity's gap. None where all passed all.
    """

    identity: pa.Table
    values: dict[str, Any]
    failures: tuple[ShardFailure, ...] = ()
    tails: tuple[Tail, ...] = ()
    reached: np.ndarray | None = None

    @property
    def num_samples(self) -> int:
        """N."""
        num_rows: int = self.identity.num_rows
        return num_rows


def load_samples(
    files: UnitFiles, required: RequiredRecords, kept: "Kept[LoadedSet] | None" = None
) -> Samples:
    """Read a unit's records and give each sample once, sorted by shard and frame.

    Args:
        files: of the unit.
        required: what an audit needs of it.
        kept: records that another pass over them has read.
    """
    kept = kept_records(0) if kept is None else kept
    loaded = [kept.given(file, partial(_load_set, file)) for file in files.files]
    merged = [_merge_cuts(loaded_set) for loaded_set in loaded]
    failures = _failures(loaded)
    failed = {f.sample_id for f in failures if f.sample_id is not None and f.num_samples}
    order = _common_order([item.identity for item in merged], failed)
    aligned = [_taken(item, order) for item in merged]
    tails = tuple(loaded_set.tail for loaded_set in loaded)
    return _joined(aligned, files.sets, required, failures, tails)


def named_failures(files: UnitFiles) -> tuple[ShardFailure, ...]:
    """Failures in a unit's last crates, and in those whose names tell of some."""
    named = [
        SetFiles((*(uri for uri in file.crates[:-1] if is_retry(uri)), file.crates[-1]))
        for file in files.files
    ]
    return _failures([_load_set(files_of_set) for files_of_set in named])


@dataclass(frozen=True)
class LoadedSet:
    """All crates of one set of one unit, and the unit's end."""

    rows: pa.Table
    failures: tuple[ShardFailure, ...]
    tail: Tail

    @property
    def num_bytes(self) -> int:
        """About what it takes in memory."""
        num_failures = len(self.failures) + len(self.tail.failures)
        tables = (self.rows, self.tail.filtered)
        num_bytes: int = sum(table.nbytes for table in tables)
        return num_bytes + _FAILURE_BYTES * num_failures


HeldRecords = dict[Hashable, LoadedSet]
"""Records of some sets, by their files, as one pass leaves them for the next."""


def kept_records(max_bytes: int) -> Kept[LoadedSet]:
    """Room for records that another pass will ask for."""
    return Kept(attrgetter("num_bytes"), max_bytes)


def read_before(held: HeldRecords | None) -> Kept[LoadedSet]:
    """What another pass has read; None where it is lost."""
    return Kept.holding(attrgetter("num_bytes"), held or {})


def _failures(loaded: Sequence[LoadedSet]) -> tuple[ShardFailure, ...]:
    every = [f for loaded_set in loaded for f in (*loaded_set.failures, *loaded_set.tail.failures)]
    # A sample cut into tiles or clips may fail in several batches: it is lost once.
    unique = {f.sample_id or (f.shard, f.message, f.stage): f for f in reversed(every)}
    return tuple(reversed(unique.values()))


@dataclass(frozen=True)
class _MergedSet:
    """Samples of one set: like `Samples`, over the set's own checkpoints."""

    identity: pa.Table
    values: dict[str, Any]


def _load_set(files: SetFiles) -> LoadedSet:
    crates = [decode_crate(storage.read_bytes(uri), uri) for uri in files.crates]
    # Where all batches of a crate failed there are no trajectory columns: only failures remain.
    tables = [crate.rows for crate in crates if crate.rows.num_rows]
    rows = pa.concat_tables(tables) if tables else crates[0].rows
    failures = tuple(f for crate in crates for f in crate.failures)
    tail = crates[-1].tail
    if tail is None:
        raise StorageError(f"{files.crates[-1]} is damaged: it does not end its unit. Remove it")
    return LoadedSet(rows, failures, tail)


def _merge_cuts(loaded: LoadedSet) -> _MergedSet:
    """Sum the rows of samples that were cut into tiles or clips."""
    rows = loaded.rows
    if not rows.num_rows:
        return _MergedSet(rows, {})
    ids = np.asarray(rows["sample_id"].to_pylist(), dtype=object)
    _, first, group = np.unique(ids.astype(str), return_index=True, return_inverse=True)
    num_labelled = np.bincount(group, weights=rows["num_labelled"].to_numpy())
    cuts = Cuts(rows, group, first, num_labelled)
    values = {
        quantity.value: quantity.merge(cuts, quantity.name)
        for quantity in measures().quantities.values()
        if quantity.merge is not None and quantity.name in rows.column_names
    }
    identity = rows.select(["sample_id", "shard", "frame_index", "pts_s", "label"]).take(first)
    identity = identity.append_column("num_labelled", pa.array(num_labelled.astype(np.int64)))
    return _MergedSet(identity, values)


def _common_order(identities: list[pa.Table], failed: set[str]) -> list[str]:
    """Samples that every set has and none failed, sorted by shard, frame and name."""
    rows: dict[str, tuple[str, int, str]] = {}
    common: set[str] | None = None
    for identity in identities:
        if not identity.num_rows:
            return []
        ids = identity["sample_id"].to_pylist()
        frames = identity["frame_index"].to_pylist()
        shards = identity["shard"].to_pylist()
        for sample_id, shard, frame in zip(ids, shards, frames, strict=True):
            rows[sample_id] = (shard, -1 if frame is None else frame, sample_id)
        common = set(ids) if common is None else common & set(ids)
    return sorted((common or set()) - failed, key=lambda sample_id: rows[sample_id])


def _taken(merged: _MergedSet, order: list[str]) -> _MergedSet:
    if not order:
        return _MergedSet(merged.identity.slice(0, 0), {})
    place = {name: i for i, name in enumerate(merged.identity["sample_id"].to_pylist())}
    index = np.array([place[name] for name in order], np.int64)
    values = {
        name: of_quantity.take(index)
        if isinstance(of_quantity, Pieces)
        else _at(of_quantity, index)
        for name, of_quantity in merged.values.items()
    }
    return _MergedSet(merged.identity.take(index), values)


def _at(values: Any, index: np.ndarray) -> Any:
    return [values[i] for i in index] if isinstance(values, list) else values[index]


def _joined(
    merged: list[_MergedSet],
    sets: tuple[RecordSet, ...],
    required: RequiredRecords,
    failures: tuple[ShardFailure, ...],
    tails: tuple[Tail, ...],
) -> Samples:
    """Put the sets' checkpoints side by side, in the catalogue's order."""
    identity = merged[0].identity
    source = [_where(sets, c.digest) for c in required.checkpoints]
    last = required.checkpoints[-1].digest
    final_from = next(
        m for m, record_set in zip(merged, sets, strict=True) if record_set.final == last
    )
    reached = None
    if "reached" in merged[0].values:
        # Who leaves depends on all checkpoints, so that there is one set, of all as they are
        # visited: a copy of a checkpoint has a place of its own, which a sample may not reach.
        source = [(0, required.order.index(c.index)) for c in required.checkpoints]
        reached = merged[0].values["reached"][:, None] > np.array([e for _, e in source])
    values: dict[str, Any] = {}
    for quantity in measures().quantities.values():
        name = quantity.value
        if quantity.when == "last" and name in final_from.values:
            values[name] = final_from.values[name]
        elif quantity.when == "each" and name in merged[0].values:
            joined = quantity.join([of_set.values[name] for of_set in merged], source, reached)
            if reached is not None and isinstance(joined, np.ndarray):
                joined = np.where(reached, joined, quantity.gap)
            values[name] = joined
        elif quantity.column is not None:
            # Of no sample too: a table's type tells the number of checkpoints.
            values[name] = np.zeros((0, len(source)))
    values |= _gradients(merged, sets, required)
    return Samples(identity, values, failures, tails, reached)


def _gradients(
    merged: list[_MergedSet], sets: tuple[RecordSet, ...], required: RequiredRecords
) -> dict[str, Any]:
    """What is taken over VoG's window together, and at each checkpoint of it, (N, W)."""
    values: dict[str, Any] = {}
    found: dict[tuple[str, str], np.ndarray] = {}
    window = required.vog[1:] if required.vog else ()
    quantities = measures().quantities.values()
    for merged_set, of_set in zip(merged, sets, strict=True):
        if required.vog is None or not (
            of_set.vog == required.vog or of_set.is_continued_by(required.vog)
        ):
            continue
        for quantity in quantities:
            name = quantity.value
            if name not in merged_set.values:
                continue
            if quantity.when == "carried" and of_set.vog == required.vog:
                values[name] = merged_set.values[name]
            elif quantity.when == "window":
                columns = merged_set.values[name].T
                for digest, column in zip(of_set.gradients(len(columns)), columns, strict=True):
                    found.setdefault((name, digest), column)
    for name in {name for name, _ in found}:
        if all((name, digest) in found for digest in window):
            values[name] = np.stack([found[name, digest] for digest in window], axis=1)
    return values


def _where(sets: tuple[RecordSet, ...], digest: str) -> tuple[int, int]:
    """The first set that holds a checkpoint, and its column there."""
    for index, record_set in enumerate(sets):
        if digest in record_set.digests:
            return index, record_set.digests.index(digest)
    raise LookupError(f"no committed set holds checkpoint {digest}")
