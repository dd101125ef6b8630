"""What reviewers said of a run's findings, in it and in the other runs of its output.

A finding has the same id on every night on which a label is found wrong in the same way: what was
decided on one night is decided.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

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
        notes: of how many findings others speak, and how many hold no more.
    """

    own: tuple[Decision, ...]
    others: tuple[Decision, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> tuple[Decision, ...]:
        """All of them."""
        return (*self.others, *self.own)


def kept_decisions(tables: RunTables) -> KeptDecisions:
    """Of a run and of the other runs of its output, on this run's findings.

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
    said, kept = list[Decision](), list[Decision]()
    for name, uris in others.items():
        decided = [d for uri in uris for d in read_decisions(uri) if d.finding_id in now]
        then = _seen_in(storage.join(folder, name)) if decided else {}
        said += decided
        kept += [_kept(decision, now, then, classes) for decision in decided]
    return KeptDecisions(own, tuple(kept), tuple(_notes(own, said, kept)))


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
    """What a reviewer sees of each finding."""
    columns = ["finding_id", *_COMPARED]
    return {row["finding_id"]: row for row in tables.findings().select(columns).to_pylist()}


def _seen_in(run_uri: str) -> _Seen:
    with suppress(StorageError):  # a run that failed afterwards, or whose tables were removed
        return _seen(RunTables(run_uri, Manifest.read(run_uri)))
    return {}


def _kept(decision: Decision, now: _Seen, then: _Seen, classes: set[str]) -> Decision:
    """The decision, or a withdrawal where it was made of something else."""
    if decision.label is None and decision.decision in ("reject", "withdraw"):
        return decision
    is_same = then.get(decision.finding_id) == now[decision.finding_id]
    if is_same and (decision.label is None or decision.label in classes):
        return decision
    return replace(decision, decision="withdraw", label=None)


def _notes(
    own: Sequence[Decision], said: Sequence[Decision], kept: Sequence[Decision]
) -> Iterator[str]:
    held, stood = set(standing([*own, *kept])), set(standing([*own, *said]))
    num_held = len({decision.finding_id for decision in held - set(own)})
    if num_held:
        yield (
            f"Decisions that were saved in other runs of this output hold for "
            f"{plural(num_held, 'finding')} that this run has, too"
        )
    num_open = len({decision.finding_id for decision in stood - held})
    if num_open:
        yield (
            "Accepted or relabelled in other runs of this output, and of another place or class "
            f"now: {plural(num_open, 'finding')}; decide anew"
        )
