"""The order of segments that a video should rather have, by the order of the other videos."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

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
    judge = OrderJudge(num_frames, others)
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


class OrderJudge:
    """Negative log-likelihood of classes for segments of known durations, in nats.

    Args:
        num_frames: (S,) labelled frames of each segment of one video.
        others: statistics of the other videos, see `OrderStatistics.without`.
    """

    def __init__(self, num_frames: npt.NDArray[np.integer], others: OrderStatistics) -> None:
        self._num_frames = np.asarray(num_frames, np.int64)
        self._total = int(self._num_frames.sum())
        self._end = others.num_classes
        self._steps = transition_nll(others.transitions)
        num_bins = others.durations.shape[1]
        classes = np.repeat(np.arange(self._end), num_bins)
        bins = np.tile(np.arange(num_bins), self._end)
        durations = duration_nll(classes, bins, others.durations).reshape(self._end, num_bins)
        self._durations = DURATION_WEIGHT * durations

    def nll(self, classes: Sequence[int] | npt.NDArray[np.integer]) -> float:
        """Of all steps from start to end, and of the durations; equal neighbours are one."""
        path = np.asarray(classes, np.int64)
        starts = np.flatnonzero(np.concatenate([path[:1] >= 0, path[1:] != path[:-1]]))
        frames = np.add.reduceat(self._num_frames, starts) if len(starts) else self._num_frames
        return self._of_runs(self._end, path[starts], frames, self._end)

    def added(self, path: npt.NDArray[np.integer], at: int, label: int) -> float:
        """What the NLL grows by where one segment has another class, in constant time.

        Args:
            path: (S,) class of each segment, none of them that of its neighbour.
            at: the segment.
            label: the class that it should have.
        """
        first = at - int(at > 0 and path[at - 1] == label)
        last = at + int(at + 1 < len(path) and path[at + 1] == label)
        before = int(path[first - 1]) if first else self._end
        after = int(path[last + 1]) if last + 1 < len(path) else self._end
        now, frames = path[first : last + 1], self._num_frames[first : last + 1]
        then, together = np.array([label]), np.array([frames.sum()])
        return self._of_runs(before, then, together, after) - self._of_runs(
            before, now, frames, after
        )

    def added_by_parts(
        self,
        path: npt.NDArray[np.integer],
        at: int,
        classes: Sequence[int],
        num_frames: Sequence[int],
    ) -> float:
        """What the NLL grows by where one segment is several of other classes, in constant time.

        Args:
            path: (S,) class of each segment, none of them that of its neighbour.
            at: the segment.
            classes: of its parts, none that of the part or segment beside it.
            num_frames: labelled frames of each part.
        """
        before = int(path[at - 1]) if at else self._end
        after = int(path[at + 1]) if at + 1 < len(path) else self._end
        parts, frames = np.array(classes), np.array(num_frames)
        whole, all_frames = path[at : at + 1], self._num_frames[at : at + 1]
        return self._of_runs(before, parts, frames, after) - self._of_runs(
            before, whole, all_frames, after
        )

    def _of_runs(
        self, before: int, runs: npt.NDArray[np.integer], num_frames: Integers, after: int
    ) -> float:
        """Of runs of different classes, the step into the first and out of the last included."""
        path = np.array([before, *runs, after])
        bins = duration_bins(num_frames, self._total)
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
        bins = duration_bins(self._num_frames)
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
