"""Committed records of one unit to samples: sets joined, tiles and clips of a sample merged."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np
import pyarrow as pa

from ray_audit import storage
from ray_audit.engine.ledger.adaptive import NOT_REACHED, REACHED
from ray_audit.engine.ledger.record_sets import RecordSet, SetFiles, Wanted
from ray_audit.engine.ledger.records import Part, decode_part, decode_tail
from ray_audit.engine.reduce.merge_regions import (
    VoidSeen,
    joined_voids,
    merged_regions,
    merged_voids,
)
from ray_audit.samples import ShardFailure, Tail

_CLASSES = ("predicted", "other")
_FINAL = (
    "p_predicted",
    "class_counts",
    "tccp",
    "below",
    "softmin",
    "interior",
    "components",
    "image_size",
    "regions",
)
_MEANS = ("loss", "p_label", "margin", "prob_margin", "el2n", "correct")


@dataclass(frozen=True)
class UnitFiles:
    """Where the records of one unit lie.

    Attributes:
        unit_id: the unit.
        sets: what each of its sets holds, the set with the wanted VoG first.
        files: their files, in the same order.
    """

    unit_id: str
    sets: tuple[RecordSet, ...]
    files: tuple[SetFiles, ...]

    @classmethod
    def choose(
        cls,
        unit_id: str,
        sets: dict[str, RecordSet],
        files: dict[str, SetFiles],
        wanted: Wanted,
    ) -> Self:
        """Take the fewest committed sets that give what is wanted, in a fixed order.

        Sets with failures that may pass are taken only where the others do not give all of it.
        """
        good = {set_id: held for set_id, held in files.items() if not held.may_do_better}
        if not wanted.missing_from([sets[set_id] for set_id in good if set_id in sets]):
            files = good
        last = wanted.checkpoints[-1].digest
        if wanted.only is not None:
            only = wanted.only.set_id
            files = {set_id: held for set_id, held in files.items() if set_id == only}

        def preference(set_id: str) -> tuple[bool, bool, bool, bool, int, str]:
            one, failed = sets[set_id], files[set_id].may_do_better
            has_vog = wanted.vog is not None and one.vog == wanted.vog
            is_base = one.is_continued_by(wanted.vog)
            return (not has_vog, not is_base, failed, one.final != last, -len(one.digests), set_id)

        missing = {c.digest for c in wanted.checkpoints}
        chosen: list[str] = []
        needs_final = True
        for set_id in sorted((s for s in files if s in sets), key=preference):
            one = sets[set_id]
            is_first_vog = wanted.vog is not None and one.vog == wanted.vog and not chosen
            if is_first_vog or missing & set(one.digests) or (needs_final and one.final == last):
                chosen.append(set_id)
                missing -= set(one.digests)
                needs_final = needs_final and one.final != last
        return cls(unit_id, tuple(sets[s] for s in chosen), tuple(files[s] for s in chosen))

    def to_json(self) -> str:
        """Serialise; `from_json` gives equal files."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote."""
        values = json.loads(text)
        sets = tuple(RecordSet.from_json(json.dumps(one)) for one in values["sets"])
        files = tuple(SetFiles(tuple(f["parts"]), f["tail"]) for f in values["files"])
        return cls(values["unit_id"], sets, files)


@dataclass(frozen=True)
class Samples:
    """The scored samples of one unit.

    Attributes:
        identity: sample_id, shard, frame_index, pts_s, label and num_labelled, a row each.
        means: (N, E) float64 per name: mean over the sample's labelled elements.
        predicted: (N, E) int32, or None for dense labels.
        other: (N, E) int32 best class other than the given one, or None for dense labels.
        vog: (N,) float64, NaN where there is none.
        csg: (N,) float64, summed over the checkpoints whose gradient was taken; NaN likewise.
        final: mergeable states of the last checkpoint, first axis N; `components` and `regions`
            are lists.
        state: arrays over the whole unit, summed: confusion (E, K, K), `confident/...`.
        failures: samples and shards that failed.
        tails: the unit's ends, one a set.
        vog_by_class: (N, K) float64, NaN where a class has no pixel; None where labels are not
            dense or there is no VoG.
        voids: what is seen in the unlabelled components of each mask, at the checkpoints that it
            passed; None where labels are not dense.
        reached: (N, E) bool: the checkpoints that a sample passed, where some left early; what it
            did not reach is NaN, or -1. None where all passed all.
    """

    identity: pa.Table
    means: dict[str, np.ndarray]
    predicted: np.ndarray | None
    other: np.ndarray | None
    vog: np.ndarray
    csg: np.ndarray
    final: dict[str, Any]
    state: dict[str, np.ndarray]
    failures: tuple[ShardFailure, ...]
    tails: tuple[Tail, ...] = field(default=())
    vog_by_class: np.ndarray | None = None
    voids: list[VoidSeen] | None = None
    reached: np.ndarray | None = None

    @property
    def num_samples(self) -> int:
        """N."""
        num_rows: int = self.identity.num_rows
        return num_rows


def load_samples(files: UnitFiles, wanted: Wanted) -> Samples:
    """Read a unit's records and give each sample once, sorted by shard and frame."""
    loaded = [_load_set(one) for one in files.files]
    merged = [_merge_cuts(part) for part, _ in loaded]
    tails = tuple(tail for _, tail in loaded)
    failures = _failures(loaded)
    failed = {f.sample_id for f in failures if f.sample_id is not None and f.num_samples}
    order = _common_order([one.identity for one in merged], failed)
    aligned = [_taken(one, order) for one in merged]
    return _joined(aligned, files.sets, wanted, failures, tails)


def named_failures(files: UnitFiles) -> tuple[ShardFailure, ...]:
    """Failures in a unit's tails, and in those of its parts whose names tell of some."""
    named = [
        SetFiles(tuple(uri for uri in one.parts if ".retry." in uri), one.tail)
        for one in files.files
    ]
    return _failures([_load_set(one) for one in named])


def _failures(loaded: list[tuple[Part, Tail]]) -> tuple[ShardFailure, ...]:
    every = [f for part, tail in loaded for f in (*part.failures, *tail.failures)]
    # A sample cut into tiles or clips may fail in several batches: it is lost once.
    unique = {f.sample_id or (f.shard, f.message, f.stage): f for f in reversed(every)}
    return tuple(reversed(unique.values()))


@dataclass(frozen=True)
class _Merged:
    """Samples of one set: like `Samples`, over the set's own checkpoints."""

    identity: pa.Table
    columns: dict[str, Any]
    state: dict[str, np.ndarray]


def _load_set(files: SetFiles) -> tuple[Part, Tail]:
    parts = [decode_part(storage.read_bytes(uri)) for uri in files.parts]
    tail = decode_tail("", storage.read_bytes(files.tail))
    # A failed batch has no trajectory columns: its rows are empty, and its failures remain.
    tables = [part.rows for part in parts if part.rows.num_rows]
    rows = pa.concat_tables(tables) if tables else (parts[0].rows if parts else pa.table({}))
    state: dict[str, np.ndarray] = {}
    for part in parts:
        for name, values in part.state.items():
            state[name] = state[name] + values if name in state else values
    failures = tuple(f for part in parts for f in part.failures)
    return Part(rows, state, failures), tail


def _matrix(column: pa.ChunkedArray) -> np.ndarray:
    """List column of equal lengths to (R, length)."""
    flat = column.combine_chunks()
    values: np.ndarray = flat.flatten().to_numpy(zero_copy_only=False)
    return values.reshape(len(flat), -1) if len(flat) else values.reshape(0, 0)


def _merge_cuts(part: Part) -> _Merged:
    """Sum the rows of samples that were cut into tiles or clips."""
    rows = part.rows
    if not rows.num_rows:
        return _Merged(rows, {}, part.state)
    ids = np.asarray(rows["sample_id"].to_pylist(), dtype=object)
    _, first, group = np.unique(ids.astype(str), return_index=True, return_inverse=True)
    num = len(first)
    weights = rows["num_labelled"].to_numpy()
    total = np.bincount(group, weights=weights, minlength=num)
    columns: dict[str, Any] = {}
    for name in _MEANS:
        if name in rows.column_names:
            columns[name] = _grouped(_matrix(rows[name]), group, num) / total[:, None]
    for name in _CLASSES:
        if name in rows.column_names:
            columns[name] = _majority(_matrix(rows[name]), group, num)
    if "vog/sum" in rows.column_names:
        sums = np.bincount(group, weights=rows["vog/sum"].to_numpy(), minlength=num)
        num_px = np.bincount(group, weights=rows["vog/num_px"].to_numpy(), minlength=num)
        columns["vog"] = sums / num_px
    if "grad_sqnorm" in rows.column_names:
        columns["grad_sqnorm"] = _grouped(_matrix(rows["grad_sqnorm"]), group, num)
    if "vog/class_sum" in rows.column_names:
        sums = _grouped(_matrix(rows["vog/class_sum"]), group, num)
        num_px = _grouped(_matrix(rows["vog/class_px"]), group, num)
        columns["vog_by_class"] = np.divide(
            sums, num_px, out=np.full(sums.shape, np.nan), where=num_px > 0
        )
    if "void/index" in rows.column_names:
        columns["voids"] = merged_voids(rows, group, num, columns["loss"].shape[1])
    if REACHED in rows.column_names:
        columns[REACHED] = np.full(num, np.iinfo(np.int32).max)
        # A sample has passed what all of its clips have.
        np.minimum.at(columns[REACHED], group, rows[REACHED].to_numpy())
    columns |= _merged_final(rows, group, first, num)
    identity = rows.select(["sample_id", "shard", "frame_index", "pts_s", "label"]).take(first)
    identity = identity.append_column("num_labelled", pa.array(total.astype(np.int64)))
    return _Merged(identity, columns, part.state)


def _majority(predicted: np.ndarray, group: np.ndarray, num: int) -> np.ndarray:
    """Class that most clips of a sample predict at each checkpoint, the first of equals."""
    votes = np.zeros((num, predicted.shape[1], predicted.max() + 1), np.int64)
    np.add.at(votes, (group[:, None], np.arange(predicted.shape[1]), predicted), 1)
    winners: np.ndarray = votes.argmax(axis=2).astype(np.int32)
    return winners


def _grouped(values: np.ndarray, group: np.ndarray, num: int) -> np.ndarray:
    """Sum rows of `values` by group, in row order."""
    sums = np.zeros((num, values.shape[1]), values.dtype)
    np.add.at(sums, group, values)
    return sums


def _merged_final(rows: pa.Table, group: np.ndarray, first: np.ndarray, num: int) -> dict[str, Any]:
    names = set(rows.column_names)
    final: dict[str, Any] = {}
    if "final/p_predicted" in names:
        final["p_predicted"] = rows["final/p_predicted"].to_numpy()[first]
    if "final/image_size" in names:
        final["image_size"] = _matrix(rows["final/image_size"])[first]
        final["regions"] = merged_regions(rows, group, num)
    for name in ("class_counts", "tccp", "below"):
        if f"final/{name}" in names:
            values = _matrix(rows[f"final/{name}"]).astype(np.int64)
            final[name] = _grouped(values, group, num)
    for name in ("softmin", "interior"):
        if f"final/{name}" in names:
            # A tile's state is (sum w*s, sum w, least s): merged by the score's own rule later.
            states = _matrix(rows[f"final/{name}"])
            final[name] = [states[group == index] for index in range(num)]
    if "final/components" in names:
        flat = rows["final/components"].to_pylist()
        final["components"] = [
            np.concatenate([np.reshape(flat[r], (-1, 5)) for r in np.flatnonzero(group == index)])
            for index in range(num)
        ]
    return final


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


def _taken(merged: _Merged, order: list[str]) -> _Merged:
    if not order:
        return _Merged(merged.identity.slice(0, 0), {}, merged.state)
    place = {name: i for i, name in enumerate(merged.identity["sample_id"].to_pylist())}
    index = np.array([place[name] for name in order], np.int64)
    columns: dict[str, Any] = {}
    for name, values in merged.columns.items():
        columns[name] = [values[i] for i in index] if isinstance(values, list) else values[index]
    return _Merged(merged.identity.take(index), columns, merged.state)


def _joined(
    merged: list[_Merged],
    sets: tuple[RecordSet, ...],
    wanted: Wanted,
    failures: tuple[ShardFailure, ...],
    tails: tuple[Tail, ...],
) -> Samples:
    """Put the sets' checkpoints side by side, in the catalogue's order."""
    identity = merged[0].identity
    source = [_where(sets, c.digest) for c in wanted.checkpoints]
    # Of no sample too: a table's type tells the number of checkpoints.
    means = {name: np.zeros((0, len(source))) for name in _MEANS}
    if identity.num_rows:
        for name in _MEANS:
            means[name] = np.stack([merged[s].columns[name][:, e] for s, e in source], axis=1)
    seen: dict[str, np.ndarray | None] = dict.fromkeys(_CLASSES)
    if identity.num_rows and "predicted" in merged[0].columns:
        for name in _CLASSES:
            seen[name] = np.stack([merged[s].columns[name][:, e] for s, e in source], axis=1)
    reached = None
    if identity.num_rows and REACHED in merged[0].columns:
        reached = merged[0].columns[REACHED][:, None] > np.array([e for _, e in source])
        for name, values in seen.items():
            seen[name] = None if values is None else np.where(reached, values, NOT_REACHED)
    state = {}
    if all("confusion" in merged[s].state for s, _ in source):
        state["confusion"] = np.stack([merged[s].state["confusion"][..., e] for s, e in source])
    last = wanted.checkpoints[-1].digest
    final_from = next(m for m, one in zip(merged, sets, strict=True) if one.final == last)
    state |= {k: v for k, v in final_from.state.items() if k.startswith("confident/")}
    gradients = _gradient_scores(merged, sets, wanted, identity.num_rows)
    voids = None
    if identity.num_rows and "voids" in merged[0].columns:
        voids = joined_voids([one.columns["voids"] for one in merged], source, identity.num_rows)
        if reached is not None:
            voids = [one.at(passed) for one, passed in zip(voids, reached, strict=True)]
    final = {name: final_from.columns[name] for name in _FINAL if name in final_from.columns}
    return Samples(
        identity,
        means,
        seen["predicted"],
        seen["other"],
        **gradients,
        final=final,
        state=state,
        failures=failures,
        tails=tails,
        voids=voids,
        reached=reached,
    )


def _gradient_scores(
    merged: list[_Merged], sets: tuple[RecordSet, ...], wanted: Wanted, num_rows: int
) -> dict[str, Any]:
    """VoG, by class too, and the squared gradient norms summed over its window.

    NaN (by class: None) where there are none.
    """
    found: dict[str, Any] = {name: np.full(num_rows, np.nan) for name in ("vog", "csg")}
    found["vog_by_class"] = None
    squared: dict[str, np.ndarray] = {}
    for one, held in zip(merged, sets, strict=True):
        if wanted.vog is None or not (held.vog == wanted.vog or held.is_continued_by(wanted.vog)):
            continue
        if held.vog == wanted.vog:
            found |= {k: one.columns[k] for k in ("vog", "vog_by_class") if k in one.columns}
        if "grad_sqnorm" in one.columns:
            for index, digest in enumerate(held.gradients):
                squared.setdefault(digest, one.columns["grad_sqnorm"][:, index])
    window = wanted.vog[1:] if wanted.vog else ()
    if squared and all(digest in squared for digest in window):
        found["csg"] = np.stack([squared[digest] for digest in window], axis=1).sum(axis=1)
    return found


def _where(sets: tuple[RecordSet, ...], digest: str) -> tuple[int, int]:
    """The first set that holds a checkpoint, and its column there."""
    for index, one in enumerate(sets):
        if digest in one.digests:
            return index, one.digests.index(digest)
    raise LookupError(f"no committed set holds checkpoint {digest}")
