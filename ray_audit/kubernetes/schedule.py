"""The schedule of a CronJob and of a RayCronJob: five fields, as both controllers read them."""

import re
from zoneinfo import available_timezones

from ray_audit.errors import SpecificationError

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTH_LENGTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
# (name, lowest, highest, words): a day of the week is 0 to 6, 7 is refused by both.
_FIELDS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 6, _DAYS),
)
_PART = re.compile(r"(?P<all>[*?])|(?P<low>[0-9a-z]{1,9})(?:-(?P<high>[0-9a-z]{1,9}))?", re.ASCII)
_STEP = re.compile(r"0*[1-9][0-9]{0,8}", re.ASCII)
# Of a day of the week: the day of the month alone decides. A step above 1 lifts that.
_EVERY = re.compile(r"[*?](?:/0*1)?", re.ASCII)


def check_schedule(schedule: str) -> None:
    """Refuse what the controllers would refuse, or would never start.

    Raises:
        SpecificationError: with the field that is wrong.
    """
    fields = schedule.split(" ")
    if len(fields) != len(_FIELDS):
        raise SpecificationError(
            f"--schedule {schedule!r}: expected five fields with one blank between them, such as "
            f"'0 2 * * *', got {len(fields)}"
        )
    values = [_values(schedule, text, *field) for text, field in zip(fields, _FIELDS, strict=True)]
    days, months = values[2], values[3]
    longest = max(_MONTH_LENGTHS[month - 1] for month in months)
    # With a day of the week as well, either of the two starts a night.
    if min(days) > longest and any(map(_EVERY.fullmatch, fields[4].split(","))):
        raise SpecificationError(f"--schedule {schedule!r}: there is no such day, it never starts")


def check_time_zone(name: str) -> None:
    """Refuse a time zone that is not in the database by that name.

    Raises:
        SpecificationError: it is unknown.
    """
    if name not in available_timezones():
        raise SpecificationError(f"--time-zone {name!r}: unknown; expected e.g. Europe/Berlin")


def _values(
    schedule: str, text: str, name: str, low: int, high: int, words: tuple[str, ...]
) -> set[int]:
    """What a field stands for."""
    found: set[int] = set()
    for part in text.lower().split(","):
        span, slash, step = part.partition("/")
        matched = _PART.fullmatch(span)
        bounds = _bounds(matched, bool(slash), low, high, words) if matched else None
        is_step = not slash or _STEP.fullmatch(step) is not None
        if bounds is None or not is_step:
            raise SpecificationError(
                f"--schedule {schedule!r}: {part!r} is no {name}; expected {low} to {high}, a "
                "range, a list, or * and a step"
            )
        found.update(range(bounds[0], bounds[1] + 1, int(step) if slash else 1))
    return found


def _bounds(
    matched: re.Match[str], has_step: bool, low: int, high: int, words: tuple[str, ...]
) -> tuple[int, int] | None:
    if matched["all"]:
        return low, high
    start = _number(matched["low"], low, words)
    # A step without an end goes on to the highest.
    end = high if has_step else start
    if matched["high"]:
        end = _number(matched["high"], low, words)
    if start is None or end is None or not low <= start <= end <= high:
        return None
    return start, end


def _number(text: str, low: int, words: tuple[str, ...]) -> int | None:
    if text in words:
        return low + words.index(text)
    return int(text) if text.isdigit() else None
