"""What reviewers said of a run's findings, in it and in the other runs of its output.

A finding has the same id on every night on which a label is found wrong in the same way: what was
decided on one night is decided.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ray_audit import storage
from ray_audit.errors import StorageError
from ray_audit.findings.decisions import Decision, read_decisions, saved_rows, standing
from ray_audit.printable import plural
from ray_audit.tables.manifest import Manifest
from ray_audit.tables.run_tables import RunTables

_COMPARED = ("given", "suggested", "start_frame", "end_frame", "mask_rle")

_Seen = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class KeptDecisions:
    """Decisions on the findings of a run.

    Attributes:
        own: saved in the run itself, withdrawals and what they replaced included.
        others: saved in other runs; a withdrawal in the place of one that holds no more.
        gone: rows of `findings` of other runs that are rejected there and not found here, where the
            label is still the one that was rejected: what they speak of stays, whatever else looks
            wrong in it. Of masks, where no label of the dataset has changed since.
        notes: for how many findings others hold, and how many hold no more.
    """

    own: tuple[Decision, ...]
    others: tuple[Decision, ...] = ()
    gone: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> tuple[Decision, ...]:
        """All of them."""
        return (*self.others, *self.own)


def kept_decisions(tables: RunTables) -> KeptDecisions:
    """Of a run and of the other runs of its output, on this run's findings and rejected ones.

    A rejection holds: it says that the given label is right, and that is part of the id. What was
    accepted or relabelled holds where the finding is still the same: its labels and its place.

    Raises:
        StorageError: something cannot be listed or read.
        LabelError: a file holds no decisions.
    """
    own = tuple(saved_rows(tables.run_uri))
    folder, _, run_id = tables.run_uri.rstrip("/").rpartition("/")
    others = {name: uris for name, uris in _decided_runs(folder).items() if name != run_id}
    if not others:
        return KeptDecisions(own)
    now, classes = _seen(tables), set(tables.config.dataset.classes)
    said, kept, gone = list[Decision](), list[Decision](), dict[str, dict[str, Any]]()
    for name, uris in others.items():
        then, is_same = _seen_in(storage.join(folder, name), tables)
        decided = [d for uri in uris for d in read_decisions(uri)]
        lost = {
            d.finding_id: then[d.finding_id] for d in decided if d.finding_id in then.keys() - now
        }
        gone |= lost if is_same else _still_labelled(lost, tables)
        decided = [d for d in decided if d.finding_id in now or d.finding_id in gone]
        said += decided
        kept += [_kept(decision, now, then, classes) for decision in decided]
    rejected = {d.finding_id for d in standing(kept)} & gone.keys()
    return KeptDecisions(
        own,
        tuple(kept),
        tuple(gone[finding_id] for finding_id in sorted(rejected)),
        tuple(_notes(own, said, kept, now)),
    )


def _decided_runs(folder: str) -> dict[str, list[str]]:
    """Files of decisions of each run below a folder."""
    found: dict[str, list[str]] = {}
    above = storage.path_of(folder) + "/"
    for item in storage.list_prefix(folder):
        run_id, _, name = storage.path_of(item.uri).removeprefix(above).partition("/")
        if name.startswith("decisions/") and name.endswith(".parquet"):
            found.setdefault(run_id, []).append(item.uri)
    return found


def _seen(tables: RunTables) -> _Seen:
    """Findings by their id."""
    return {row["finding_id"]: row for row in tables.findings().to_pylist()}


def _seen_in(run_uri: str, tables: RunTables) -> tuple[_Seen, bool]:
    """Findings of another run, and whether its labels are those of this one."""
    with suppress(StorageError):  # a run that failed afterwards, or whose tables were removed
        manifest = Manifest.read(run_uri)
        is_same = manifest.labels_digest == tables.manifest.labels_digest
        return _seen(RunTables(run_uri, manifest)), is_same
    return {}, False


def _still_labelled(lost: _Seen, tables: RunTables) -> _Seen:
    """Those findings of another run whose samples all have the given label in this one.

    Of a mask the tables say no label of a pixel: none.
    """
    if tables.task.is_dense:
        return {}
    shards = {finding["shard"] for finding in lost.values()}
    numbers = {index for shard in shards for index in tables.parts_by_shard.get(shard, ())}
    right, wrong = set[str](), set[str]()
    for index, (file,) in enumerate(tables.parts("scores")):
        if index in numbers:
            rows = tables.read(file, ["shard", "sample_id", "frame_index", "label_name"])
            for finding_id, finding in lost.items():
                labels = _labels_in(rows, finding)
                right |= {finding_id} if labels else set()
                wrong |= {finding_id} if labels - {finding["given"]} else set()
    return {finding_id: lost[finding_id] for finding_id in right - wrong}


def _labels_in(rows: pa.Table, finding: dict[str, Any]) -> set[str]:
    """Labels of the samples that a finding is about, in a part of `scores`."""
    if finding["start_frame"] is None:
        inside = pc.equal(rows["sample_id"], finding["sample_id"])
    else:
        frames = rows["frame_index"]
        behind = pc.greater_equal(frames, finding["start_frame"])
        inside = pc.and_(behind, pc.less(frames, finding["end_frame"]))
        inside = pc.and_(inside, pc.equal(rows["shard"], finding["shard"]))
    return set(rows.filter(inside)["label_name"].to_pylist())


def _kept(decision: Decision, now: _Seen, then: _Seen, classes: set[str]) -> Decision:
    """The decision, or a withdrawal where it was made of something else."""
    if decision.label is None and decision.decision in ("reject", "withdraw"):
        return decision
    shown = [_shown(seen.get(decision.finding_id)) for seen in (then, now)]
    is_same = shown[0] == shown[1] is not None
    if is_same and (decision.label is None or decision.label in classes):
        return decision
    return replace(decision, decision="withdraw", label=None)


def _shown(finding: dict[str, Any] | None) -> list[Any] | None:
    """What a decision to write something is made of."""
    return None if finding is None else [finding[name] for name in _COMPARED]


def _notes(
    own: Sequence[Decision], said: Sequence[Decision], kept: Sequence[Decision], now: _Seen
) -> Iterator[str]:
    held, stood = set(standing([*own, *kept])), set(standing([*own, *said]))
    num_held = len({decision.finding_id for decision in held - set(own)})
    if num_held:
        yield (
            "Decisions that were saved in other runs of this output hold for "
            f"{plural(num_held, 'finding')}"
        )
    open_ids = {decision.finding_id for decision in stood - held} & now.keys()
    if open_ids:
        yield (
            "Accepted or relabelled in other runs of this output, and of another place or class "
            f"now: {plural(len(open_ids), 'finding')}; decide anew"
        )
