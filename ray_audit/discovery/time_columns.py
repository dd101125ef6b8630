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
_DURATION = re.compile(r"dur[aeé]|length|dauer|länge|elapsed", re.IGNORECASE)
_NEAR = 1e-6
_MOST_FOLLOW = 0.8


def time_columns(head: Head, names: Sequence[str], name_index: int | None) -> dict[str, int]:
    """Columns of frames or of edges of segments: `frame`, or `start_s` and `end_s`, and so on."""

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
    frame = first(_FRAME.pattern)
    if frame is not None and all(is_whole(v) for v in head.column(frame)[:200]):
        return {"frame": frame}
    return {} if head.names is None else _following(head, name_index)


def _following(head: Head, name_index: int | None) -> dict[str, int]:
    """Two columns of times that are segments by what they hold, however they are called."""
    columns = {
        at: times_of(values)
        for at in range(len(head.rows[0]))
        if at != name_index
        and not _DURATION.search((head.names or ())[at])
        and _are_times((values := head.column(at))[:50])
    }
    owners = [""] * len(head.rows) if name_index is None else head.column(name_index)
    pairs = [
        (start, end)
        for start, end in pairwise(columns)
        if _are_segments(owners, columns[start], columns[end])
    ]
    if len(pairs) != 1:
        return {}
    ((start, end),) = pairs
    unit = "frame" if all(map(is_whole, head.column(start) + head.column(end))) else "s"
    return {f"start_{unit}": start, f"end_{unit}": end}


def _are_segments(owners: Sequence[str], starts: np.ndarray, ends: np.ndarray) -> bool:
    """Whether each row ends behind its start, and most begin where the row before has ended."""
    if not (starts < ends).all():
        return False
    same = [at for at, (owner, after) in enumerate(pairwise(owners)) if owner == after]
    later = [at for at in same if starts[at]]
    added = sum(abs(starts[at] + ends[at] - starts[at + 1]) < _NEAR for at in later)
    if later and added > len(later) / 2:
        return False  # durations
    num = sum(starts[at + 1] >= ends[at] - _NEAR for at in same)
    return bool(same) and num >= _MOST_FOLLOW * len(same)


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
