"""Planted errors in frame labels: wrong, exchanged, reversed, displaced and missing segments."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np

from ray_audit.sample_ids import frame_id
from ray_audit.samples import IGNORE
from ray_audit.training.noise.planted_truth import TruthRow, plant_in_turn

_NUM_TRIES = 20
_REVERSED_SEGMENTS = (3, 5)  # fewest and most, inclusive

Change = Callable[[np.ndarray, int, np.random.Generator], np.ndarray | None]


@dataclass(frozen=True)
class CorruptedFrames:
    """Frame labels with planted errors.

    Attributes:
        labels: every sequence; those without an error are the arrays that came in.
        kinds: key of each changed sequence -> kind of its error.
        truth: one row per labelled frame, `sample_id` being `<key>#<frame>`.
    """

    labels: dict[str, np.ndarray]
    kinds: dict[str, str]
    truth: list[TruthRow]


@dataclass(frozen=True)
class PlantedFrames:
    """Sequences with an error.

    Attributes:
        changed: key -> (T,) labels, of the sequences with an error only.
        kinds: key of each -> kind of its error.
    """

    changed: dict[str, np.ndarray]
    kinds: dict[str, str]


def plant_frames(
    labels: Mapping[str, np.ndarray],
    num_classes: int,
    rate: float,
    kinds: Sequence[str],
    seed: int,
) -> PlantedFrames:
    """Plant one error in each of int(rate * N) sequences, the kinds taking turns.

    Args:
        labels: key -> (T,) class indices; frames without a label hold -1 and stay so. May load
            lazily: one sequence is read at a time, and only chosen ones.
        num_classes: K.
        rate: fraction of sequences with an error.
        kinds: some of `FRAME_KINDS`. `mislabel`: one segment gets a random other class.
            `adjacent`, `distant`: two neighbouring, or two other, segments exchange their labels.
            `reversed`: a span of 3 to 5 segments is turned round in time. `boundary`: each
            boundary moves by less than half the shorter of its segments. `missing`: one segment
            gets the class of one that it touches, so that it is none any more.
        seed: of the errors.

    Raises:
        SpecificationError: an unknown kind, a rate outside [0, 1], or too few sequences that the
            kinds can change.
    """
    keys = list(labels)
    rng = np.random.default_rng(seed)

    def attempt(kind: str, item_index: int) -> np.ndarray | None:
        given = np.asarray(labels[keys[item_index]])
        return _changed(FRAME_KINDS[kind], given, num_classes, rng)

    attempts = {kind: partial(attempt, kind) for kind in FRAME_KINDS}
    planted = plant_in_turn(attempts, kinds, len(keys), rate, rng)
    return PlantedFrames(
        {keys[i]: changed for i, (_, changed) in planted.items()},
        {keys[i]: kind for i, (kind, _) in sorted(planted.items())},
    )


def corrupt_frames(
    labels: Mapping[str, np.ndarray],
    num_classes: int,
    rate: float,
    kinds: Sequence[str],
    seed: int,
) -> CorruptedFrames:
    """`plant_frames` for a set that fits in memory: every sequence, and the truth."""
    planted = plant_frames(labels, num_classes, rate, kinds, seed)
    given = dict(labels) | planted.changed
    truth = [
        row
        for key in labels
        for row in frame_truth(
            key, np.arange(len(labels[key])), labels[key], given[key], planted.kinds.get(key)
        )
    ]
    return CorruptedFrames(given, planted.kinds, truth)


def _changed(
    change: Change, labels: np.ndarray, num_classes: int, rng: np.random.Generator
) -> np.ndarray | None:
    """Try until at least one frame has another label."""
    for _ in range(_NUM_TRIES):
        changed = change(labels, num_classes, rng)
        if changed is not None and (changed != labels).any():
            return changed
    return None


def frame_truth(
    key: str, frames: np.ndarray, true: np.ndarray, given: np.ndarray, kind: str | None
) -> list[TruthRow]:
    """A row for each labelled frame of a sequence, `sample_id` being `<key>#<frame>`.

    Args:
        key: of the sequence.
        frames: (T,) frame indices.
        true: (T,) class indices, -1 where there is no label.
        given: (T,) with the error.
        kind: of the error.
    """
    rows = []
    for at in np.flatnonzero(true != IGNORE).tolist():
        true_label = int(true[at])
        is_error = true_label != int(given[at])
        rows.append(
            TruthRow(frame_id(key, frames[at]), is_error, kind if is_error else None, true_label)
        )
    return rows


def runs(labels: np.ndarray) -> np.ndarray:
    """Maximal runs of one label, without those of unlabelled frames.

    Returns:
        (S, 3) int64: start, end (exclusive) and label, in time order.

    >>> runs(np.array([4, 4, -1, 4, 2])).tolist()
    [[0, 2, 4], [3, 4, 4], [4, 5, 2]]
    """
    cuts = np.flatnonzero(np.diff(labels)) + 1
    starts = np.concatenate([[0], cuts]) if len(labels) else np.empty(0, dtype=int)
    ends = np.concatenate([cuts, [len(labels)]]) if len(labels) else starts
    found = np.stack([starts, ends, labels[starts]], axis=1).astype(np.int64)
    labelled: np.ndarray = found[found[:, 2] != IGNORE]
    return labelled


def _mislabel(labels: np.ndarray, num_classes: int, rng: np.random.Generator) -> np.ndarray | None:
    segments = runs(labels)
    if not len(segments) or num_classes < 2:
        return None
    start, end, label = segments[rng.integers(len(segments))]
    changed = labels.copy()
    changed[start:end] = (label + rng.integers(1, num_classes)) % num_classes
    return changed


def _exchange(
    fewest_apart: int, labels: np.ndarray, num_classes: int, rng: np.random.Generator
) -> np.ndarray | None:
    segments = runs(labels)
    first, second = np.triu_indices(len(segments), k=fewest_apart)
    near = second - first == 1 if fewest_apart == 1 else np.ones(len(first), dtype=bool)
    near &= segments[first, 2] != segments[second, 2]
    pairs = np.flatnonzero(near)
    if not len(pairs):
        return None
    pair = rng.choice(pairs)
    changed = labels.copy()
    for to, taken_from in ((first[pair], second[pair]), (second[pair], first[pair])):
        changed[segments[to, 0] : segments[to, 1]] = segments[taken_from, 2]
    return changed


def _reverse(labels: np.ndarray, num_classes: int, rng: np.random.Generator) -> np.ndarray | None:
    segments = runs(labels)
    fewest, max_segments = _REVERSED_SEGMENTS
    max_segments = min(max_segments, len(segments))
    if max_segments < fewest:
        return None
    num_reversed = int(rng.integers(fewest, max_segments + 1))
    first = int(rng.integers(len(segments) - num_reversed + 1))
    start, end = segments[first, 0], segments[first + num_reversed - 1, 1]
    changed = labels.copy()
    span = changed[start:end]
    labelled = span != IGNORE
    span[labelled] = span[labelled][::-1]
    return changed


def _jitter(labels: np.ndarray, num_classes: int, rng: np.random.Generator) -> np.ndarray | None:
    segments = runs(labels)
    changed = labels.copy()
    for left, right in pairwise(segments):
        boundary = left[1]
        if boundary != right[0]:  # unlabelled frames lie between: there is no boundary to move
            continue
        # Less than half of each segment, so that two moved boundaries never meet.
        max_shift = (int(min(left[1] - left[0], right[1] - right[0])) - 1) // 2
        moved = boundary + int(rng.integers(-max_shift, max_shift + 1))
        changed[min(boundary, moved) : max(boundary, moved)] = (
            left[2] if moved > boundary else right[2]
        )
    return changed


def _miss(labels: np.ndarray, num_classes: int, rng: np.random.Generator) -> np.ndarray | None:
    segments = runs(labels)
    touching = np.flatnonzero(segments[:-1, 1] == segments[1:, 0])
    if not len(touching):
        return None
    first = int(rng.choice(touching))
    missing, neighbour = rng.permutation([first, first + 1])
    changed = labels.copy()
    changed[segments[missing, 0] : segments[missing, 1]] = segments[neighbour, 2]
    return changed


FRAME_KINDS: dict[str, Change] = {
    "mislabel": _mislabel,
    "adjacent": partial(_exchange, 1),
    "distant": partial(_exchange, 2),
    "reversed": _reverse,
    "boundary": _jitter,
    "missing": _miss,
}
"""Kinds of error in frame labels."""
