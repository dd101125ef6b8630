"""Whether the order of segments predicts videos that it has not seen better than chance does.

Transitions always look ordered: a segment cannot follow itself, and few videos repeat few steps.
So an order is believed in only where it predicts: each video is judged by the counts of the
others, once by their transitions and once by chance, which takes any other class than the last
one, by frequency, and ends as often as the others do. What the order gains, in nats a video, and
the standard error of that mean, decide. Our definition.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

from ray_audit.scores.order import OrderStatistics, segment_contexts, steps_nll, transition_nll

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

MIN_VIDEOS = 3
MIN_STANDARD_ERRORS = 2.0
"""The gain must exceed 0 by this many standard errors."""
MIN_SPREAD = 1.0
"""Spread between videos, in nats, below which it is not believed: few may agree by chance."""
MAX_SEGMENTS = 2**15
"""Segments of videos that are kept; of larger datasets this many are judged."""

_COST_OF_VIDEO = 4  # in segments: a dataset of one-segment videos stays small too
_PASSES, _PASSES_LEFT_OUT = 100, 20
_CHUNK = 1024


@dataclass(frozen=True)
class VideoSegments:
    """The segments of one video, each kind of context once.

    Attributes:
        name: digest of the video's key: videos are chosen by it.
        contexts: (M, 4) int64, see `order.segment_contexts`; distinct.
        num_segments: (M,) int64 segments in each context.
        num_frames: (M,) int64 frames of those segments that are ranked.
    """

    name: str
    contexts: Integers
    num_segments: Integers
    num_frames: Integers

    @classmethod
    def of(
        cls,
        name: str,
        labels: npt.NDArray[np.integer],
        num_frames: npt.NDArray[np.integer],
        num_classes: int,
    ) -> Self:
        """Of (T,) labels in frame order, negative = unlabelled, and (S,) ranked frames each."""
        every = segment_contexts(labels, num_classes)
        contexts, place = np.unique(every, axis=0, return_inverse=True)
        frames = np.zeros(len(contexts), np.int64)
        np.add.at(frames, place.reshape(-1), np.asarray(num_frames, np.int64))
        return cls(name, contexts, np.bincount(place.reshape(-1)), frames)

    @property
    def cost(self) -> int:
        """What keeping the video costs, in segments."""
        return len(self.contexts) + _COST_OF_VIDEO


@dataclass(frozen=True)
class VideoSample:
    """The segments of up to MAX_SEGMENTS / (segments a video) videos, chosen by their digests.

    All of a small dataset. Of a large one those whose digests come first, until they are enough:
    the same whatever the order in which parts of a dataset were added.

    Attributes:
        videos: ascending in name.
    """

    videos: tuple[VideoSegments, ...] = ()

    def merge(self, other: Self) -> Self:
        """Sample of both parts."""
        return self.of((*self.videos, *other.videos))

    @classmethod
    def of(cls, videos: Iterable[VideoSegments]) -> Self:
        """Sample of videos in any order; of many at once in less time than one after another."""
        kept, cost = [], 0
        for video in sorted(videos, key=lambda item: item.name):
            # A video is kept if those before it are not yet enough: what is left out of a part
            # would be left out of the whole as well.
            if cost >= MAX_SEGMENTS:
                break
            kept.append(video)
            cost += video.cost
        return cls(tuple(kept))


@dataclass(frozen=True)
class OrderEvidence:
    """What an order gains over chance on videos that it has not seen.

    Attributes:
        gains: (V,) float64 nats that the order saves of each video; negative where chance is
            better.
        chance: (V,) float64 negative log-likelihood of each video by chance, in nats.
        fitted: negative log-likelihood of a video, in the mean over all, by the transitions of all
            videos, its own among them.
    """

    gains: Floats
    chance: Floats
    fitted: float

    @classmethod
    def of_none(cls) -> Self:
        """Of no videos."""
        return cls(np.zeros(0), np.zeros(0), float("nan"))

    @property
    def num_videos(self) -> int:
        """V."""
        return len(self.gains)

    @property
    def gain(self) -> float:
        """Mean gain, in nats a video; NaN of none."""
        return float(self.gains.mean()) if self.num_videos else float("nan")

    @property
    def standard_error(self) -> float:
        """Of the mean gain; NaN with fewer than 2 videos."""
        if self.num_videos < 2:
            return float("nan")
        spread = max(float(self.gains.std(ddof=1)), MIN_SPREAD)
        return spread / float(np.sqrt(self.num_videos))

    @property
    def strictness(self) -> float:
        """Share of what chance leaves open that the order explains, 0 to 1; NaN where unknown.

        The mean of two: of videos left out, which is too small while few others are known, and of
        all by themselves, which is too large.
        """
        open_nats = float(self.chance.mean()) if self.num_videos else 0.0
        if not open_nats > 0:
            return float("nan")
        unseen, seen = self.gain / open_nats, 1.0 - self.fitted / open_nats
        return float(np.clip((unseen + seen) / 2, 0.0, 1.0))

    @property
    def is_predictive(self) -> bool:
        """Whether the order is there, as far as these videos can tell."""
        return (
            self.num_videos >= MIN_VIDEOS and self.gain > MIN_STANDARD_ERRORS * self.standard_error
        )

    @property
    def reason(self) -> str:
        """What is known, in words."""
        if self.num_videos < MIN_VIDEOS:
            return (
                f"{self.num_videos} video{'' if self.num_videos == 1 else 's'}, and an order can "
                f"be held against others from {MIN_VIDEOS} on"
            )
        verdict = "predicts" if self.is_predictive else "does not predict"
        return (
            f"the order of the other videos {verdict} a video better than chance "
            f"({self.gain:+.2f} nats a video, standard error {self.standard_error:.2f}, over "
            f"{self.num_videos} videos)"
        )


@dataclass(frozen=True)
class JudgedVideos:
    """The videos of a sample, each judged by all other videos of the dataset.

    Attributes:
        nll: (M,) float64 `order_nll` of each context of each video.
        num_frames: (M,) int64 ranked frames there.
        evidence: what the order gains.
    """

    nll: Floats
    num_frames: Integers
    evidence: OrderEvidence


def judge(sample: VideoSample, statistics: OrderStatistics) -> JudgedVideos:
    """Judge each video of a sample by the statistics of all videos without its own.

    Args:
        sample: some or all of the videos that were counted.
        statistics: of all videos.
    """
    others = [_Others(video, statistics) for video in sample.videos]
    none = np.zeros(0)
    by_order = np.array([other.transitions_nll for other in others], np.float64)
    chance = np.concatenate([none, *_chance_nll(sample.videos, statistics)])
    return JudgedVideos(
        nll=np.concatenate([none, *(other.contexts_nll for other in others)]),
        num_frames=np.concatenate(
            [np.zeros(0, np.int64), *(video.num_frames for video in sample.videos)]
        ),
        evidence=OrderEvidence(chance - by_order, chance, _fitted_nll(statistics.transitions)),
    )


class _Others:
    """The other videos' counts, in the rows that one video's segments look at."""

    def __init__(self, video: VideoSegments, statistics: OrderStatistics) -> None:
        before, own, after, bins = video.contexts.T
        num, end = video.num_segments, statistics.num_classes
        rows, place = np.unique(np.concatenate([before, own]), return_inverse=True)
        into, out_of = np.split(place.reshape(-1), 2)
        transitions = statistics.transitions[rows]
        np.subtract.at(transitions, (into, own), num)
        last = after == end  # its way out is no other segment's way in
        np.subtract.at(transitions, (out_of[last], after[last]), num[last])
        classes, of_class = np.unique(own, return_inverse=True)
        durations = statistics.durations[classes]
        np.subtract.at(durations, (of_class.reshape(-1), bins), num)
        self._steps = transition_nll(np.maximum(transitions, 0))
        self._into, self._out_of, self._video = into, out_of, video
        self._durations = np.maximum(durations, 0), of_class.reshape(-1)

    @cached_property
    def contexts_nll(self) -> Floats:
        """(M,) `order_nll` of the contexts."""
        video, (durations, of_class) = self._video, self._durations
        _, own, after, bins = video.contexts.T
        steps = self._steps[self._into, own], self._steps[self._out_of, after]
        return steps_nll(*steps, of_class, bins, durations)

    @cached_property
    def transitions_nll(self) -> float:
        """Of all transitions of the video, start and end among them."""
        video = self._video
        _, own, after, _ = video.contexts.T
        last = after == self._steps.shape[1] - 1
        into = self._steps[self._into, own] @ video.num_segments
        return float(into + self._steps[self._out_of, after][last] @ video.num_segments[last])


def _fitted_nll(transitions: Integers) -> float:
    """Of a video, in the mean, by the frequencies of (K + 1, K + 1) transitions themselves."""
    totals = np.broadcast_to(transitions.sum(axis=1, keepdims=True), transitions.shape)
    is_seen = transitions > 0
    nll = transitions[is_seen] @ np.log(totals[is_seen] / transitions[is_seen])
    return float(nll) / max(int(totals[-1, 0]), 1)


def _chance_nll(videos: tuple[VideoSegments, ...], statistics: OrderStatistics) -> Iterator[Floats]:
    """Negative log-likelihoods of videos by chance, from the frequencies in all others."""
    end, total = statistics.num_classes, statistics.transitions
    seen, last = total[:, :end].sum(axis=0), total[:end, end]
    num_videos = int(total[end, :end].sum())
    start = _weights(seen[None], (seen - last)[None], np.array([num_videos]), None, _PASSES)
    for first in range(0, len(videos), _CHUNK):
        chunk = videos[first : first + _CHUNK]
        own = np.stack([_bincount(v.contexts[:, 1], v.num_segments, end) for v in chunk])
        is_last = [v.contexts[:, 2] == end for v in chunk]
        own_last = np.stack(
            [
                _bincount(v.contexts[at, 1], v.num_segments[at], end)
                for v, at in zip(chunk, is_last, strict=True)
            ]
        )
        seen_elsewhere = np.maximum(seen - own, 0)
        followed = np.maximum(seen - last - own + own_last, 0)
        others = np.full(len(chunk), max(num_videos - 1, 0))
        weights = _weights(seen_elsewhere, followed, others, start, _PASSES_LEFT_OUT)
        ends = (others + 1.0) / (seen_elsewhere.sum(axis=1) + 2.0)
        triples = zip(chunk, weights, ends.tolist(), strict=True)
        yield np.array([_video_nll(video, of, at_end, end) for video, of, at_end in triples])


def _video_nll(video: VideoSegments, weights: Floats, end: float, num_classes: int) -> float:
    """Of one video, where the next class is drawn by weight from those that are not the last."""
    before, own, _, _ = video.contexts.T
    inner = before < num_classes
    num = video.num_segments
    nll = -np.log(weights[own])
    # The rest of the weight where the last class is out.
    nll[inner] += np.log(1.0 - weights[before[inner]]) - np.log(1.0 - end)
    return float(nll @ num - np.log(end))


def _weights(
    seen: Integers, followed: Integers, num_starts: Integers, start: Floats | None, passes: int
) -> Floats:
    """Weights (V, K) of classes by which, without an order, they come as often as they do.

    Where the last class is out, frequencies are not weights: a class that is half of all segments
    must be every other one. Hunter's iteration for choices among some (2004), with one
    pseudo-choice a class.

    Args:
        seen: (V, K) segments of each class.
        followed: (V, K) those after which another segment came.
        num_starts: (V,) videos.
        start: weights to begin with.
        passes: number of iterations.
    """
    expected = seen + 1.0
    weights = expected / expected.sum(axis=1, keepdims=True) if start is None else start
    free = (num_starts + seen.shape[1])[:, None]
    for _ in range(passes):
        chances = followed / np.maximum(1.0 - weights, np.finfo(np.float64).tiny)
        weights = expected / (chances.sum(axis=1, keepdims=True) - chances + free)
        weights = weights / weights.sum(axis=1, keepdims=True)
    return weights


def _bincount(values: Integers, weights: Integers, num_bins: int) -> Integers:
    return np.bincount(values, weights, num_bins).astype(np.int64)
