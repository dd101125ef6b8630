"""The ledger: which work is committed, under names that do not depend on who did it.

    OUTPUT/units/<unit_id>/<set_id>/<crate>.parquet     records of some batches: see `crates`
    OUTPUT/sets/<set_id>.json                           what a set computes

A set is the list of checkpoints that a relay ran, and whether it took the final scores and VoG. A
unit is done for a set when crates that join, from its first batch to its tail, are there.
"""

import contextlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Self

from ray_audit import storage
from ray_audit.checkpoints.catalog import Checkpoint
from ray_audit.engine.ledger.adaptive import LeavingRule
from ray_audit.engine.ledger.crates import RETRY, CrateFile, CrateName, FoundSet, SetFiles, is_retry
from ray_audit.samples import ShardFailure
from ray_audit.storage import StoredObject

_FEW_UNITS = 16
_RETRIED_STAGES = ("read", "probe")
CRASH = "crash"
"""Error class of what killed its process; it may do better with more memory."""
_RETRIED_CLASSES = (CRASH, "read", "memory")

Failures = Sequence[ShardFailure]


@dataclass(frozen=True)
class RecordSet:
    """What one relay computes for a unit.

    Attributes:
        digests: of the checkpoints whose trajectories it holds, in order.
        final: digest of the checkpoint whose final scores it holds, or None.
        vog: target and digests of the checkpoints whose gradients its VoG spans, or None. They
            may be more than `digests`: the first of them were continued from kept moments.
        moments: whether the moments of its VoG are kept.
        recount: digest of what a second pass of confident learning counted, of a set that holds
            nothing else, or None.
    """

    digests: tuple[str, ...]
    final: str | None
    vog: tuple[str, ...] | None
    moments: bool = False
    recount: str | None = None

    @property
    def set_id(self) -> str:
        """Deterministic name."""
        kept = ("moments",) if self.moments else ()
        recount = () if self.recount is None else (self.recount,)
        # Sets with equal checkpoints once took the gradients of those outside of the window too.
        has_twins = self.vog is not None and len(set(self.digests)) < len(self.digests)
        twins = ("by position",) if has_twins else ()
        return storage.digest(self.digests, self.final, self.vog, *kept, *recount, *twins)

    def gradients(self, num: int) -> tuple[str, ...]:
        """Digests of the checkpoints whose gradients it took itself, in order, if these are `num`.

        They are the last of the window: those before were continued from kept moments.
        """
        return self.vog[len(self.vog) - num :] if self.vog else ()

    def is_continued_by(self, vog: tuple[str, ...] | None) -> bool:
        """Whether its VoG over some more checkpoints, after all of its own, is `vog`."""
        own = self.vog
        return bool(own and vog and len(own) < len(vog) and own == vog[: len(own)])

    def to_json(self) -> str:
        """Serialise; `from_json` gives an equal set."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read what `to_json` wrote."""
        values = json.loads(text)
        vog = tuple(values["vog"]) if values["vog"] is not None else None
        return cls(
            tuple(values["digests"]),
            values["final"],
            vog,
            moments=values.get("moments", False),
            recount=values.get("recount"),
        )


@dataclass(frozen=True)
class RequiredRecords:
    """What an audit needs of every unit.

    Attributes:
        checkpoints: in order.
        vog: target followed by the digests of the window, or None where VoG is not asked for.
        keep_moments: whether the moments of VoG are kept, for later checkpoints.
        rule: when samples leave early, or None where all pass all checkpoints.
    """

    checkpoints: tuple[Checkpoint, ...]
    vog: tuple[str, ...] | None
    keep_moments: bool = False
    rule: LeavingRule | None = None

    @property
    def order(self) -> tuple[int, ...]:
        """Positions of the checkpoints as they are visited."""
        return tuple(c.index for c in self.checkpoints) if self.rule is None else self.rule.order

    @property
    def window(self) -> tuple[int, ...]:
        """Positions of the checkpoints that VoG spans.

        By position, not by content: a checkpoint outside may be a copy of one inside. Where the
        first and the last checkpoints are the same, so is their VoG.
        """
        if self.vog is None:
            return ()
        digests, num = tuple(c.digest for c in self.checkpoints), len(self.vog) - 1
        start = 0 if digests[:num] == self.vog[1:] else len(digests) - num
        return tuple(range(start, start + num))

    @property
    def only(self) -> RecordSet | None:
        """The one set that serves, where samples leave early; None where any may."""
        return None if self.rule is None else self.set_for(self.order)

    @classmethod
    def of(
        cls,
        checkpoints: tuple[Checkpoint, ...],
        target: str | None,
        window: str,
        keep_moments: bool = False,
    ) -> Self:
        """Choose the window (early = the first half, rounded up) of the checkpoints."""
        if target is None:
            return cls(checkpoints, None)
        half = (len(checkpoints) + 1) // 2
        chosen = {"all": checkpoints, "early": checkpoints[:half], "late": checkpoints[half:]}
        return cls(checkpoints, (target, *(c.digest for c in chosen[window])), keep_moments)

    def missing_from(
        self, have: Iterable[RecordSet], base: RecordSet | None = None
    ) -> tuple[int, ...]:
        """Positions of the checkpoints that must run for a unit that has these sets.

        Args:
            have: its committed sets.
            base: the one of them whose moments VoG continues, as `base_of` gives it.
        """
        have = list(have)
        if self.only is not None:
            # Who left depends on all checkpoints: parts of two audits do not go together.
            return () if self.only in have else self.order
        needed = self._missing_apart_from_vog(have)
        if self.vog and not any(record_set.vog == self.vog for record_set in have):
            needed |= set(self.window) - self._spanned(base)
        return tuple(sorted(needed))

    def base_of(self, have: Iterable[RecordSet], kept: Iterable[RecordSet]) -> RecordSet | None:
        """The set, of those whose moments are there, that VoG can be continued from, if any."""
        have = list(have)
        if self.only is not None or any(record_set.vog == self.vog for record_set in have):
            return None
        # A checkpoint that must run again anyway would be counted twice.
        again = self._missing_apart_from_vog(have)
        bases = [
            record_set
            for record_set in kept
            if record_set.is_continued_by(self.vog) and not again & self._spanned(record_set)
        ]
        return max(
            bases,
            key=lambda record_set: (len(record_set.vog or ()), record_set.set_id),
            default=None,
        )

    def _missing_apart_from_vog(self, have: list[RecordSet]) -> set[int]:
        last = self.checkpoints[-1]
        known = {digest for record_set in have for digest in record_set.digests}
        needed = {c.index for c in self.checkpoints if c.digest not in known}
        if not any(record_set.final == last.digest for record_set in have):
            needed.add(last.index)
        return needed

    def _spanned(self, base: RecordSet | None) -> set[int]:
        """Positions of the window whose gradients are in the moments of an earlier set."""
        num = 0 if base is None or base.vog is None else len(base.vog) - 1
        return set(self.window[:num])

    def set_for(self, positions: tuple[int, ...], continues: bool = False) -> RecordSet:
        """The set that a relay over these positions computes.

        Args:
            positions: of the checkpoints that it runs.
            continues: whether it continues kept moments to the end of VoG's window.
        """
        digests = tuple(self.checkpoints[i].digest for i in positions)
        last = self.checkpoints[-1]
        spans_window = self.vog is not None and set(self.window) <= set(positions)
        vog = self.vog if spans_window or continues else None
        return RecordSet(
            digests,
            last.digest if last.index in positions else None,
            vog,
            moments=self.keep_moments and vog is not None,
        )


def may_pass(failures: Iterable[ShardFailure]) -> bool:
    """Whether another try could do better."""
    return any(f.stage in _RETRIED_STAGES or f.error_class in _RETRIED_CLASSES for f in failures)


def crate_uri(output: str, unit_id: str, set_id: str, name: CrateName, failures: Failures) -> str:
    """Where the records of a crate lie."""
    suffix = RETRY if may_pass(failures) else ".parquet"
    return storage.join(output, "units", unit_id, set_id, f"{name}{suffix}")


def completed(
    output: str, accept_retries: bool, unit_ids: Sequence[str] | None = None
) -> dict[str, dict[str, SetFiles]]:
    """List what is committed: unit id to set id to files.

    Args:
        output: of the audit.
        accept_retries: whether what a later run would try again counts.
        unit_ids: the units asked for; None for all. Few are listed one by one, because an output
            holds the units of all its nights.
    """
    done: dict[str, dict[str, SetFiles]] = defaultdict(dict)
    files = (CrateFile.of(item.uri) for item in _committed_files(output, unit_ids))
    some = (file for file in files if file and (accept_retries or not is_retry(file.uri)))
    # A listing is sorted: a set's files follow each other, and only what joins is kept of them.
    for (unit_id, set_id), of_set in groupby(some, lambda file: (file.unit_id, file.set_id)):
        found = FoundSet()
        for file in of_set:
            found.add(file)
        whole = found.whole()
        if whole is not None:
            done[unit_id][set_id] = whole
    return dict(done)


def _committed_files(output: str, unit_ids: Sequence[str] | None) -> Iterator[StoredObject]:
    everything = storage.join(output, "units")
    if unit_ids is None or len(unit_ids) > _FEW_UNITS:
        yield from storage.list_prefix(everything)
        return
    for unit_id in unit_ids:
        yield from storage.list_prefix(storage.join(everything, unit_id))


def read_sets(output: str) -> dict[str, RecordSet]:
    """What each set id under this output stands for; what another version wrote is left out."""
    uris = [item.uri for item in storage.list_prefix(storage.join(output, "sets"))]
    found = {}
    for uri in uris:
        if uri.endswith(".json"):
            # A set whose meaning is not known serves nobody: its units are computed again.
            with contextlib.suppress(KeyError, TypeError, ValueError):
                record_set = RecordSet.from_json(storage.read_bytes(uri))
                found[record_set.set_id] = record_set
    return found


def write_sets(output: str, sets: Iterable[RecordSet]) -> None:
    """Write the description of each set."""
    for set_ in sets:
        uri = storage.join(output, "sets", f"{set_.set_id}.json")
        storage.write_bytes(uri, set_.to_json().encode())
