"""Which columns of a table are times: by their titles, or by what they hold."""

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ray_audit.discovery.table_heads import Head
from ray_audit.formats.labels.clocks import times_of

_FRAME = re.compile(r"frames?|frame[_ ]?(index|id|idx|number|no|nr)|t|time_?step", re.IGNORECASE)
_FIRST, _LAST = r"(start|begin|onset|from|first|t_?start)", r"(stop|end|offset|to|last|t_?end)"
_UNITS = {
    "frame": r"[_ ]?(frame|frame_?(index|idx|number))",
    "s": r"([_ ]?\(?(s|sec|secs|seconds|time|timestamp|ts)\)?)?",
    "ms": r"[_ ]?(ms|msec|milliseconds)",
}
_DURATION = re.compile(
    r"dur[aeé]|(^|[_ ])dur([_ ]|$)|length|num_?(of_?)?frames|frame_?count|dauer|länge|elapsed",
    re.IGNORECASE,
)
_MARKS = {
    "frame": re.compile(r"frame", re.IGNORECASE),
    "ms": re.compile(r"[_ (](ms|msec|milliseconds)\)?$", re.IGNORECASE),
    "s": re.compile(r"[_ (](s|sec|secs|seconds)\)?$", re.IGNORECASE),
}
_NEAR = 1e-6
_MOST_FOLLOW = 0.8


def time_columns(head: Head, names: Sequence[str], name_index: int | None) -> dict[str, int]:
    """Columns of frames or of edges of segments: `frame`, or `start_s` and `end_s`, and so on.

    The second one of a segment is `duration_s`, `duration_ms` or `duration_frames` where it has no
    end.
    """

    def first(pattern: str) -> int | None:
        fitting = (
            i
            for i, name in enumerate(names)
            if i != name_index
            and re.fullmatch(pattern, name, re.IGNORECASE)
            and _are_times(head.column(i)[:50])
        )
        return next(fitting, None)

    for unit, ending in _UNITS.items():
        start, end = first(f"{_FIRST}{ending}"), first(f"{_LAST}{ending}")
        if start is not None and end is not None and start != end:
            whole = all(is_whole(v) for v in head.column(end)[:200])
            bare = re.fullmatch(f"{_FIRST}", names[start], re.IGNORECASE)
            key = "frame" if unit == "s" and bare and whole else unit
            return {f"start_{key}": start, f"end_{key}": end}
    for unit, ending in _UNITS.items():
        start = first(f"{_FIRST}{ending}")
        durations = [i for i, name in enumerate(names) if _is_duration(head, i, name, start)]
        if start is not None and len(durations) == 1:
            found = _with_duration(head, start, durations[0], unit, names)
            # What is longer than to the next start is the length of the whole video, say.
            return found if _mostly_follow(head, name_index, found) else {}
    frame = first(_FRAME.pattern)
    if frame is not None and all(is_whole(v) for v in head.column(frame)[:200]):
        return {"frame": frame}
    return {} if head.names is None else _following(head, name_index)


def _is_duration(head: Head, at: int, name: str, start: int | None) -> bool:
    return at != start and bool(_DURATION.search(name)) and _are_times(head.column(at)[:50])


def _with_duration(
    head: Head, start: int, duration: int, unit: str, names: Sequence[str]
) -> dict[str, int]:
    """A column of starts and one of durations; none where their units are not one."""
    said = next((key for key, mark in _MARKS.items() if mark.search(names[duration])), None)
    whole = all(map(is_whole, head.column(start) + head.column(duration)))
    if re.fullmatch(_FIRST, names[start], re.IGNORECASE):  # its title says no unit
        unit = said or ("frame" if whole else "s")
    if (said or unit) != unit or (unit == "frame" and not whole):
        return {}
    return _spans(start, duration, unit, "duration")


def _mostly_follow(head: Head, name_index: int | None, found: dict[str, int]) -> bool:
    """Whether most segments, by their starts and durations, end before the next one begins."""
    owners = [""] * len(head.rows) if name_index is None else head.column(name_index)
    if not found:
        return False
    starts, lengths = (times_of(head.column(at)) for at in found.values())
    rows = sorted(zip(owners, starts.tolist(), lengths.tolist(), strict=True))
    follow = [
        after >= begin + length - _NEAR
        for (owner, begin, length), (other, after, _) in pairwise(rows)
        if owner == other
    ]
    return 2 * sum(map(bool, follow)) >= len(follow)


def _spans(start: int, end: int, unit: str, what: str) -> dict[str, int]:
    plural = "s" if (unit, what) == ("frame", "duration") else ""
    return {f"start_{unit}": start, f"{what}_{unit}{plural}": end}


def _following(head: Head, name_index: int | None) -> dict[str, int]:
    """Two columns of times that are segments by what they hold, however they are called."""
    names = head.names or ()
    columns = {
        at: times_of(values)
        for at in range(len(head.rows[0]))
        if at != name_index and _are_times((values := head.column(at))[:50])
    }
    owners = [""] * len(head.rows) if name_index is None else head.column(name_index)
    pairs = [
        (start, end, what)
        for start, end in pairwise(columns)
        if (what := _second_of(owners, columns[start], columns[end], names[end])) is not None
        and not _DURATION.search(names[start])
    ]
    if len(pairs) != 1:
        return {}
    ((start, end, what),) = pairs
    unit = "frame" if all(map(is_whole, head.column(start) + head.column(end))) else "s"
    return _spans(start, end, unit, what)


def untitled_spans(head: Head, name_index: int) -> dict[int, str]:
    """Names for the first two columns of times, where they are segments by what they hold."""
    times = [
        at
        for at in range(len(head.rows[0]))
        if at != name_index and _are_times(head.column(at)[:50])
    ][:2]
    if len(times) < 2:
        return {}
    start, end = times
    starts, others = times_of(head.column(start)), times_of(head.column(end))
    what = _second_of(head.column(name_index), starts, others, "")
    if what is None:
        return {}
    unit = "frame" if all(map(is_whole, head.column(start) + head.column(end))) else "s"
    return {at: name for name, at in _spans(start, end, unit, what).items()}


def _second_of(
    owners: Sequence[str], starts: np.ndarray, others: np.ndarray, name: str
) -> str | None:
    """What a column is beside one of starts, `end` or `duration`; None where it is neither."""
    same = [at for at, (owner, after) in enumerate(pairwise(owners)) if owner == after]
    if not same or not (others > 0).all():
        return None
    follow = {
        "end": [starts[at + 1] >= others[at] - _NEAR for at in same],
        "duration": [starts[at + 1] >= starts[at] + others[at] - _NEAR for at in same],
    }
    later = [at for at in same if starts[at]]
    added = sum(abs(starts[at] + others[at] - starts[at + 1]) < _NEAR for at in later)
    is_added = bool(later) and added > len(later) / 2
    what = "duration" if is_added or _DURATION.search(name) else "end"
    if what == "end" and not (starts < others).all():
        return None
    return what if sum(follow[what]) >= _MOST_FOLLOW * len(same) else None


def _are_times(values: Sequence[str]) -> bool:
    return bool(values) and bool(np.isfinite(times_of(values)).all())


def are_numbers(values: Sequence[str]) -> bool:
    """Whether all fields are numbers."""
    return all(number_of(v) is not None for v in values)


def number_of(text: str) -> float | None:
    """The number that a field is, if it is one."""
    try:
        return float(text)
    except ValueError:
        return None


def is_whole(text: str) -> bool:
    """Whether a field is a number without a fraction."""
    number = number_of(text)
    return number is not None and number.is_integer() and "." not in text
