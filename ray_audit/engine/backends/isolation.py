"""Which samples of a batch its model fails on: they fail, and the others go on without them.

Checkpoint by checkpoint: up to the one at which a sample fails, the others were in the batch as it
came; from there on they are in a batch without it. So numbers do not depend on how checkpoints are
spread over pools.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from ray_audit.engine.ledger.attempts import given_up_batch
from ray_audit.measures import measures
from ray_audit.samples import Batch, ShardFailure

Turns = Mapping[int, Any]
"""What each model does, by its place: the probes' own business."""

Observe = Callable[[Batch, Turns], dict[str, np.ndarray]]
FailsOn = Callable[[Batch, Turns], Iterator[tuple[int, tuple[ShardFailure, ...]]]]
"""The cuts of a batch that fail at a turn, each with the failures of its samples."""

_OF_ALL = ("vog/count",)  # one value for the whole batch


def part_of_batch(batch: Batch, cuts: np.ndarray) -> Batch:
    """Some of the inputs of a batch, in order, with what it carries of their samples."""
    place = batch.samples.schema.get_field_index("cut")
    of_row = batch.samples["cut"].to_numpy()
    rows = np.flatnonzero(np.isin(of_row, cuts))
    samples = batch.samples.take(rows)
    renumbered = np.searchsorted(cuts, of_row[rows]).astype(np.int32)
    samples = samples.set_column(place, samples.schema.field(place), [renumbered])
    of_key = {quantity.key: quantity for quantity in measures().quantities.values()}
    arrays = {}
    for name, values in batch.arrays.items():
        quantity = of_key.get(name)
        if quantity is None:
            arrays[name] = values[cuts]
        elif quantity.axis == "batch" or name in _OF_ALL:
            arrays[name] = values
        elif quantity.axis == "pieces":
            along = batch.arrays[quantity.along or name][:, 0].astype(np.int64)
            pieces = values[np.isin(along, rows)].copy()
            if not quantity.along:
                pieces[:, 0] = np.searchsorted(rows, pieces[:, 0].astype(np.int64))
            arrays[name] = pieces
        else:
            arrays[name] = values[rows]
    return Batch(batch.unit_id, batch.index, batch.task, samples, arrays)


def isolated(
    batch: Batch, turns: Turns, observe: Observe, fails_on: FailsOn
) -> tuple[Batch, tuple[ShardFailure, ...]]:
    """Take a batch through some checkpoints without the samples that fail at one of them.

    Args:
        batch: of which some fail, with what it carried before these turns.
        turns: of the checkpoints.
        observe: what they say of a batch; may raise.
        fails_on: finds the cuts that fail.

    Returns:
        The batch of the others, perhaps of none, and the failures.

    Raises:
        BaseException: what `observe` raises of a batch of which no cut fails alone.
    """
    failures: list[ShardFailure] = []
    for index in sorted(turns):
        turn = {index: turns[index]}
        found = dict(fails_on(batch, turn))
        failures += [failure for of_cut in found.values() for failure in of_cut]
        lost = {failure.sample_id for failure in failures}
        if found:
            batch = part_of_batch(batch, _others(batch, set(found), lost))
        if not batch.samples.num_rows:
            break
        batch = batch.with_arrays(observe(batch, turn))
    return batch, tuple(failures)


def _others(batch: Batch, failed: set[int], lost: set[str | None]) -> np.ndarray:
    """Cuts that neither fail nor belong, as tiles and clips may, to lost samples alone."""
    owners: dict[int, set[str]] = {}
    pairs = (batch.samples[name].to_pylist() for name in ("cut", "sample_id"))
    for cut, sample_id in zip(*pairs, strict=True):
        owners.setdefault(cut, set()).add(sample_id)
    others = [cut for cut, ids in owners.items() if cut not in failed and not ids <= lost]
    return np.array(sorted(others), np.int64)


def raising(
    observe: Observe, batch: Batch, turn: Turns, failed: Callable[[Batch, BaseException], Any]
) -> Iterator[tuple[int, Any]]:
    """Find the cuts of which a checkpoint raises, by halves.

    Args:
        observe: what it says of a batch.
        batch: the batch.
        turn: of the checkpoint.
        failed: what is given for a cut, as a batch of its own, and its error; raises where that
            says nothing of the samples.
    """
    waiting = [np.arange(len(batch.arrays["inputs"]))]
    while waiting:
        cuts = waiting.pop()
        part = part_of_batch(batch, cuts)
        try:
            observe(part, turn)
            continue
        except (Exception, SystemExit) as error:  # a user's model may raise anything
            answer = failed(part, error)
        if len(cuts) == 1:
            yield int(cuts[0]), answer
        else:
            half = len(cuts) // 2
            waiting += [cuts[half:], cuts[:half]]


class Trials(Protocol):
    """What was tried of a batch in processes that may have died of it."""

    def has_died(self, what: str) -> bool:
        """Whether a process has died while it tried this; else it is tried from now on."""
        ...

    def survived(self, what: str) -> None:
        """It has not."""
        ...


class TogetherError(Exception):
    """A process has died of inputs of which none is deadly by itself."""


def dying(
    observe: Observe,
    trials: Trials,
    batch: Batch,
    turn: Turns,
    failed: Callable[[Batch, BaseException], Any],
) -> Iterator[tuple[int, Any]]:
    """Find the cuts of which processes die at a checkpoint, or it raises, one by one.

    Args:
        observe: what it says of a batch.
        trials: what was tried before.
        batch: the batch.
        turn: of the checkpoint.
        failed: as `raising` takes it.
    """
    (place,) = turn
    for cut in range(len(batch.arrays["inputs"])):
        part, what = part_of_batch(batch, np.array([cut])), f"{place}-{cut}"
        if trials.has_died(what):
            yield cut, given_up_batch(part, alone=True)
            continue
        try:
            observe(part, turn)
        except (Exception, SystemExit) as error:  # a user's model may raise anything
            yield cut, failed(part, error)
        trials.survived(what)


def others_together(
    observe: Observe, trials: Trials, batch: Batch, turn: Turns
) -> dict[str, np.ndarray]:
    """What a checkpoint says of the cuts that it survives one by one.

    Raises:
        TogetherError: it does not survive them together, or raises.
    """
    (place,) = turn
    what = f"{place}-together"
    if trials.has_died(what):
        raise TogetherError
    try:
        observed = observe(batch, turn)
    except (Exception, SystemExit) as error:
        raise TogetherError from error
    trials.survived(what)
    return observed
