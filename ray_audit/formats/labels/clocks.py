"""The clock of a label table: its numbers to frames from 0 or seconds, and back."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from ray_audit.config import LabelsConfig

_CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d+(?:[.,]\d+)?)")
_COMMA = re.compile(r"-?\d+,\d+")
_THOUSANDS = re.compile(r"-?[1-9]\d{0,2},\d{3}")


@dataclass(frozen=True)
class LabelClock:
    """How a table counts.

    Attributes:
        fps: frames a second of the labels' own clock; None where they count the video's frames.
        first_frame: number of the first frame.
        is_inclusive: whether a segment's end is its last frame, and not the one behind it.
        unit_s: seconds of one unit, where the table has times.
    """

    fps: float | None = None
    first_frame: int = 0
    is_inclusive: bool = False
    unit_s: float = 1.0

    @classmethod
    def of(cls, labels: LabelsConfig) -> Self:
        """The clock that a specification describes."""
        return cls(labels.fps, labels.first_frame, labels.ends == "inclusive")

    def read(self, numbers: dict[str, np.ndarray], is_timed: bool) -> dict[str, np.ndarray]:
        """The numbers of some rows as frames from 0, or as seconds.

        Args:
            numbers: `frame`, or `start` and `end`, (R,) float64 each, as they are stored.
            is_timed: whether they are times.

        Returns:
            The same in frames, ends exclusive; `start` and `end` in seconds where there are times,
            or frames that count on a clock of their own.
        """
        if is_timed:
            return {name: values * self.unit_s for name, values in numbers.items()}
        counted = {name: values - self.first_frame for name, values in numbers.items()}
        if "end" in counted and self.is_inclusive:
            counted["end"] = counted["end"] + 1
        if self.fps is None or not counted:
            return counted
        if "frame" in counted:
            counted = {"start": counted["frame"], "end": counted["frame"] + 1}
        return {name: values / self.fps for name, values in counted.items()}

    def stored(self, name: str, value: float, old: Any, is_timed: bool) -> Any:
        """An edge of a segment as the table stores it.

        Args:
            name: `start`, `end` or `length`.
            value: in frames from 0, exclusive, or in seconds.
            old: the cell that it replaces; a clock text stays one.
            is_timed: whether the table has times.
        """
        if is_timed:
            if isinstance(old, str) and ":" in old:
                return clock_text(value, old)
            plain = _plain(value / self.unit_s)
            is_comma = isinstance(old, str) and _COMMA.fullmatch(old.strip())
            return str(plain).replace(".", ",") if is_comma else plain
        number = value if self.fps is None else value * self.fps
        if name != "length":
            number += self.first_frame - int(name == "end" and self.is_inclusive)
        return _plain(number)


def rows_at(middles_s: np.ndarray, fps: float) -> np.ndarray:
    """Numbers from 0 of the labels that hold some times, where there are `fps` a second.

    >>> rows_at(np.array([0.05, 0.95, 1.05]), 1.0).tolist()
    [0, 0, 1]
    """
    return np.floor(middles_s * fps).astype(np.int64)


def voted(
    rows: np.ndarray, given: np.ndarray, new: np.ndarray, held: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """What is left of new labels of frames where one stored label stands for several of them.

    It changes to the class that more than half of its frames got, else it stays.

    Args:
        rows: (R,) number of the stored label of each frame.
        given: (R,) classes before; those of one row are the same.
        new: (R,) classes that are wanted.
        held: (R,) bool, frames whose stored label must stay.

    Returns:
        (R,) int32 classes afterwards, and (R,) int64 for each frame that changes the position of
        the frame that brought its class, itself or the first of its row; -1 for others.

    >>> labels, voters = voted(np.repeat([0, 1], 3), np.zeros(6, int), np.array([1, 1, 0, 0, 1, 0]))
    >>> labels.tolist(), voters.tolist()
    ([1, 1, 1, 0, 0, 0], [0, 1, 0, -1, -1, -1])
    """
    _, places, num_frames = np.unique(rows, return_inverse=True, return_counts=True)
    changed = np.flatnonzero(new != given)
    pairs = np.stack([places[changed], new[changed]])
    votes, firsts, nums = np.unique(pairs, axis=1, return_index=True, return_counts=True)
    wins = 2 * nums > num_frames[votes[0]]
    if held is not None:
        wins &= ~np.isin(votes[0], places[held])
    voters = np.full(len(num_frames), -1)
    voters[votes[0, wins]] = changed[firsts[wins]]
    of_frames = voters[places]
    labels = np.where(of_frames >= 0, new[of_frames], given).astype(np.int32)
    by_itself = (of_frames >= 0) & (labels == new)
    return labels, np.where(by_itself, np.arange(len(new)), of_frames)


def _plain(value: float) -> float | int:
    """Without the digits that only arithmetic brought."""
    rounded = round(value, 9)
    return int(rounded) if rounded == int(rounded) else rounded


def is_clock_text(text: str) -> bool:
    """Whether a text is hours, minutes and seconds, or minutes and seconds.

    >>> is_clock_text("1:15"), is_clock_text("75.5")
    (True, False)
    """
    return _CLOCK.fullmatch(text) is not None


def seconds_of(text: str) -> float:
    """Seconds of a number, or of hours, minutes and seconds; NaN of anything else.

    >>> seconds_of("75.5"), seconds_of("00:01:15.50"), seconds_of("1:15,5")
    (75.5, 75.5, 75.5)
    """
    found = _CLOCK.fullmatch(text)
    if found is None:
        try:
            return float(text)
        except ValueError:
            return float("nan")
    hours, minutes, seconds = found.groups()
    return 3600 * int(hours or 0) + 60 * int(minutes) + float(seconds.replace(",", "."))


def times_of(texts: Sequence[str]) -> np.ndarray:
    """Seconds of the cells of a column, (R,) float64; NaN of what is no time.

    A comma is a decimal point where some cell shows that it does not part thousands.

    >>> times_of(["0,5", "1:15", "12,250"]).tolist(), times_of(["1,250", "2"]).tolist()
    ([0.5, 75.0, 12.25], [nan, 2.0])
    """
    commas = [text for text in texts if _COMMA.fullmatch(text)]
    if any(not _THOUSANDS.fullmatch(text) for text in commas):
        texts = [text.replace(",", ".") if _COMMA.fullmatch(text) else text for text in texts]
    return np.array([seconds_of(text) for text in texts], np.float64)


def clock_text(seconds: float, like: str) -> str:
    """Seconds in the form of another clock text, to the millisecond at least.

    >>> clock_text(75.5, "00:00:10.00"), clock_text(4000.25, "0:10")
    ('00:01:15.500', '66:40.250')
    """
    mark = "," if "," in like else "."
    decimals = max(3, len(like.partition(mark)[2]))
    whole, fraction = divmod(round(seconds * 10**decimals), 10**decimals)
    fields = like.split(":")
    tail = f"{whole % 60:02d}{mark}{fraction:0{decimals}d}"
    if len(fields) == 2:
        return f"{whole // 60:0{len(fields[0])}d}:{tail}"
    return f"{whole // 3600:0{len(fields[0])}d}:{whole // 60 % 60:02d}:{tail}"
