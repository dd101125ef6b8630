"""Markers of work that was begun, by which the unit or batch that kills its process is found.

    OUTPUT/attempts/<attempt_id>/<unit_id>/<set_id>/<name>/<n>
    OUTPUT/attempts/<attempt_id>/alive/<process>/<n>          signs of life, by the way

A process that dies (a crash in native code, no memory, `os._exit`, a hang that is cut short) says
nothing. Ray tries its task again; what is tried lies in the store as a marker, removed when it was
survived. What died three times is given up as failed. Markers belong to one call of `run`: a driver
that is killed from outside must not cast suspicion on what it was doing.
"""

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from ray_audit import storage
from ray_audit.engine.ledger.record_sets import CRASH
from ray_audit.errors import StorageError, redacted
from ray_audit.processes import has_died, own_name
from ray_audit.samples import Batch, Shard, ShardFailure, Tail, WorkUnit

MAX_CRASHES = 3
_OLD_S = 86_400.0
_CAUSES = "a crash in native code, no memory left, an exit, or no answer in time"


@dataclass(frozen=True)
class Attempts:
    """The markers of one call of `run`.

    Attributes:
        uri: folder that holds them.
    """

    uri: str

    @classmethod
    def below(cls, output: str) -> "Attempts":
        """A folder of its own for a call that begins."""
        name = f"{own_name()}-{os.urandom(8).hex()}"
        return cls(storage.join(output, "attempts", name))

    def begin(self, name: str) -> int:
        """Mark that `name` is tried; return how often that ended with the process's death."""
        folder = storage.join(self.uri, name)
        num_before = len(storage.list_prefix(folder))
        storage.write_bytes(storage.join(folder, str(num_before)), b"")
        return num_before

    def survived(self, name: str, num_before: int) -> None:
        """Remove the markers of what ended well, after so many times that it did not."""
        for number in range(num_before + 1):
            storage.remove(storage.join(self.uri, name, str(number)))

    @staticmethod
    def remove_old(output: str) -> None:
        """Remove markers of calls that were killed: on this machine, or silent for a day."""
        folder = storage.join(output, "attempts")
        for call, modified_s in storage.list_folders(folder).items():
            # A store that does not say when may hold those of a call that goes on.
            if time.time() - modified_s > _OLD_S or has_died(call.rpartition("-")[0]):
                storage.remove_prefix(storage.join(folder, call))

    @staticmethod
    def remove_own(output: str) -> None:
        """Remove markers of this process, whose workers were ended while they wrote some."""
        folder = storage.join(output, "attempts")
        for call in storage.list_folders(folder):
            if call.rpartition("-")[0] == own_name():
                storage.remove_prefix(storage.join(folder, call))

    def beat(self, who: str, number: int) -> None:
        """Say for the so-manieth time that somebody is at work; what cannot be said is left out."""
        folder = storage.join(self.uri, "alive", who)
        with contextlib.suppress(StorageError):
            storage.write_bytes(storage.join(folder, str(number)), b"")
            storage.remove(storage.join(folder, str(number - 1)))

    def beats(self) -> frozenset[str]:
        """The latest signs of life: others than before where somebody was at work meanwhile."""
        with contextlib.suppress(StorageError):
            listed = storage.list_prefix(storage.join(self.uri, "alive"))
            return frozenset(item.uri for item in listed)
        return frozenset()

    def remove(self) -> None:
        """Remove what is left."""
        storage.remove_prefix(self.uri)


def decode_name(unit_id: str, set_id: str) -> str:
    """Name of the decoding of a unit."""
    return f"{unit_id}/{set_id}/decode"


def probe_name(unit_id: str, set_id: str, first_position: int, batch_name: str) -> str:
    """Name of the probing of a batch by the pool whose first checkpoint is at a position."""
    return f"{unit_id}/{set_id}/probe-{first_position}-{batch_name}"


def given_up_unit(unit: WorkUnit, counts: Callable[[Shard], bool]) -> Tail:
    """The end of a unit whose decoding died too often: nothing of it is taken.

    Args:
        unit: what was read.
        counts: whether what is lost of a shard counts here, and not in another fold.
    """
    lost = [shard for shard in unit.shards if shard.num_labelled != 0] or unit.shards[:1]
    failures = tuple(_given_up_shard(shard, counts(shard)) for shard in lost)
    return Tail(unit.unit_id, 0, failures=failures)


def _given_up_shard(shard: Shard, counts: bool) -> ShardFailure:
    known = shard.num_labelled is not None
    message = (
        f"the process that decoded it died {MAX_CRASHES} times ({_CAUSES})"
        f"{'' if known else '; how many labels are lost is not known: at least 1'}. Look at the "
        "file, and at the workers' logs"
    )
    lost = 1 if shard.num_labelled is None else shard.num_labelled
    lost = lost if counts else 0
    return ShardFailure(shard.key, None, "decode", CRASH, message, lost, MAX_CRASHES)


def given_up_batch(batch: Batch, *, alone: bool = False) -> tuple[ShardFailure, ...]:
    """A failure for each sample of a batch on which actors died too often.

    Args:
        batch: the batch.
        alone: whether it is one input of the batch, of which one more died by itself.
    """
    num_deaths = MAX_CRASHES + alone
    which = "this sample, the last time alone" if alone else "this batch"
    message = (
        f"the process that ran the model died {num_deaths} times with {which} ({_CAUSES}). "
        "Look at the actors' logs; engine.batch_size lowers the memory that a batch takes"
    )
    return batch_failures(batch, CRASH, message, num_deaths)


def batch_failures(
    batch: Batch, error_class: str, message: str, attempts: int, stage: str = "probe"
) -> tuple[ShardFailure, ...]:
    """One failure for each sample of a batch that could not be probed."""
    rows = batch.samples.select(["sample_id", "shard"]).to_pylist()
    message = redacted(message)  # a user's model may raise anything
    return tuple(
        ShardFailure(row["shard"], row["sample_id"], stage, error_class, message, 1, attempts)
        for row in {row["sample_id"]: row for row in rows}.values()
    )
