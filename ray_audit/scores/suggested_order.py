"""The order of segments that a video should rather have, by the order of the other videos."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, groupby

import numpy as np
import numpy.typing as npt

from ray_audit.scores.durations import duration_bins, duration_nll
from ray_audit.scores.order import DURATION_WEIGHT, OrderStatistics, transition_nll

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

MARGIN = 3.0
"""What one edit must gain, in nats: the video becomes 20 times as likely."""
LEAD = 0.5
"""What the best edit must gain more than any that contradicts it, in nats."""
MAX_EDITS = 3
MAX_SUSPECTS = 24
"""Edits begin and end at the most unusual segments only, so that long videos stay cheap."""
_REVERSED = range(3, 7)  # segments of a span that may be turned round


@dataclass(frozen=True)
class SuggestedOrder:
    """Classes that the segments of a video should rather have.

    Attributes:
        classes: (S,) int64 class of each segment; the given ones where nothing is clearly better.
        nll_before: how unusual the given order is, in nats.
        nll_after: how unusual the suggested order is; the same where nothing changes.
    """

    classes: Integers
    nll_before: float
    nll_after: float


def suggest_order(
    path: npt.NDArray[np.integer],
    num_frames: npt.NDArray[np.integer],
    others: OrderStatistics,
    margin: float = MARGIN,
) -> SuggestedOrder:
    """Repair the order of one video by few edits, greedily, or leave it as it is.

    An edit gives one segment another class, exchanges the classes of two segments, or turns
    round those of 3 to 6 in a row; it begins and ends at unusual segments. The one that makes the
    video most likely is taken if it gains at least `margin` nats, and LEAD nats more than any
    that it contradicts; up to MAX_EDITS times. The likelihood is that of all transitions, and of
    durations as in `order_nll`; segments that come to have the class of their neighbour are one.

    Args:
        path: (S,) given class of each segment, in order.
        num_frames: (S,) labelled frames of each.
        others: statistics of the other videos, see `OrderStatistics.without`.
        margin: what an edit must gain, in nats.

    Returns:
        The given classes where the order is fine, or where nothing is clearly better.
    """
    classes = tuple(int(class_index) for class_index in path)
    judge = _Judge(np.asarray(num_frames, np.int64), others)
    before = now = judge.nll(classes)
    for _ in range(MAX_EDITS):
        suspects = judge.suspects(classes, margin)
        edits = _edits(classes, suspects, others.num_classes)
        # Different edits with the same answer are one.
        found = {edit: judge.nll(edit) for edit in edits}
        ranked = sorted(found, key=lambda edit: (found[edit], edit))
        if not ranked or now - found[ranked[0]] < margin:
            break
        close = [edit for edit in ranked[1:] if found[edit] - found[ranked[0]] < LEAD]
        if any(judge.contradict(classes, ranked[0], edit, margin) for edit in close):
            break
        classes, now = ranked[0], found[ranked[0]]
    return SuggestedOrder(np.array(classes, np.int64), before, now)


def path_nll(
    path: npt.NDArray[np.integer], num_frames: npt.NDArray[np.integer], others: OrderStatistics
) -> float:
    """How unusual an order is, in nats: what `suggest_order` lowers; arguments as there."""
    judge = _Judge(np.asarray(num_frames, np.int64), others)
    return judge.nll(tuple(int(class_index) for class_index in path))


class _Judge:
    """Negative log-likelihood of classes for segments of known durations."""

    def __init__(self, num_frames: Integers, others: OrderStatistics) -> None:
        self._num_frames = num_frames.tolist()
        self._end = others.num_classes
        self._steps = transition_nll(others.transitions)
        every_bin = np.arange(others.durations.shape[1])
        self._durations = DURATION_WEIGHT * np.stack(
            [
                duration_nll(np.full(len(every_bin), class_index), every_bin, others.durations)
                for class_index in range(self._end)
            ]
        )

    def nll(self, classes: tuple[int, ...]) -> float:
        """Of all steps from start to end, and of the durations."""
        runs = [
            (class_index, sum(num for _, num in members))
            for class_index, members in groupby(
                zip(classes, self._num_frames, strict=True), key=lambda pair: pair[0]
            )
        ]
        path = np.array([self._end, *(class_index for class_index, _ in runs), self._end])
        bins = duration_bins(np.array([num for _, num in runs], np.int64))
        steps = self._steps[path[:-1], path[1:]].sum()
        return float(steps + self._durations[path[1:-1], bins].sum())

    def contradict(
        self, now: tuple[int, ...], first: tuple[int, ...], other: tuple[int, ...], margin: float
    ) -> bool:
        """Whether two edits mend the same error: together they gain no more than one."""
        if any(a != given != b for given, a, b in zip(now, first, other, strict=True)):
            return True
        both = tuple(a if a != given else b for given, a, b in zip(now, first, other, strict=True))
        return self.nll(first) - self.nll(both) < margin

    def suspects(self, classes: tuple[int, ...], margin: float) -> list[int]:
        """Segments with something to gain: unusual steps in and out, or an unusual duration."""
        path = np.array([self._end, *classes, self._end])
        steps = np.where(path[:-1] == path[1:], 0.0, self._steps[path[:-1], path[1:]])
        bins = duration_bins(np.array(self._num_frames))
        local = steps[:-1] + steps[1:] + self._durations[path[1:-1], bins]
        order = np.argsort(-local, kind="stable")[:MAX_SUSPECTS]
        return sorted(int(at) for at in order if local[at] >= margin / 2)


def _edits(
    classes: tuple[int, ...], suspects: list[int], num_classes: int
) -> Iterator[tuple[int, ...]]:
    """Every other path that is one edit of suspects away; some more than once."""
    for at in suspects:
        for other in range(num_classes):
            if other != classes[at]:
                yield (*classes[:at], other, *classes[at + 1 :])
    for i, j in combinations(suspects, 2):
        if classes[i] != classes[j]:
            yield (*classes[:i], classes[j], *classes[i + 1 : j], classes[i], *classes[j + 1 :])
        if j - i + 1 in _REVERSED:
            yield (*classes[:i], *classes[i : j + 1][::-1], *classes[j + 1 :])
