"""Stored values that a specification gives a meaning: `dataset.labels.values`.

A value is a number, a text, a colour (`#804080` or `128, 64, 128`) or a range (`0..127`, both ends
included); it means a class by name, or `void`.
"""

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ray_audit import storage
from ray_audit.errors import SpecificationError
from ray_audit.json_text import unrepeated
from ray_audit.samples import IGNORE

VOID = "void"
NUMBER = re.compile(r"-?[0-9]+(\.0*)?")
"""Text that is a whole number: digits alone, as spreadsheets and pandas write them."""

_HEX = re.compile(r"#([0-9a-fA-F]{6})")
_RANGE = re.compile(r"(-?[0-9]+)\.\.(-?[0-9]+)")
_CHANNELS = re.compile(r"[(\[]?\s*([0-9]{1,5})[\s,]+([0-9]{1,5})[\s,]+([0-9]{1,5})\s*[)\]]?")
_MAX_BYTES = 16 * 2**20
_MAX_DIGITS = 18
_LISTS = ("labels", "classes", "categories")
_COLOURS = ("color", "colour", "rgb")
_NUMBERS = ("classid", "class_id", "id", "trainId", "index")
_NUM_CHANNELS = 3


def whole_number(text: str) -> int | None:
    """The whole number that a text is, or None.

    >>> [whole_number(text) for text in ("7", "7.0", "-1", "1_2", "1e1", "٣")]
    [7, 7, -1, None, None, None]
    """
    text = text.strip()
    if len(text) > _MAX_DIGITS or not NUMBER.fullmatch(text):
        return None
    return int(text.partition(".")[0])


def packed_colour(red: int, green: int, blue: int) -> int:
    """A colour of up to 16 bits a channel as one number."""
    return red << 32 | green << 16 | blue


Range = tuple[int, int, int]


@dataclass(frozen=True)
class ValueTable:
    """What stored values mean: a class index, or `IGNORE` for void.

    Attributes:
        numbers: whole numbers.
        texts: texts, exactly.
        colours: packed colours.
        ranges: first and last number, and what those between mean.
    """

    numbers: dict[int, int] = field(default_factory=dict)
    texts: dict[str, int] = field(default_factory=dict)
    colours: dict[int, int] = field(default_factory=dict)
    ranges: tuple[Range, ...] = ()

    def of_number(self, number: int) -> int | None:
        """What a number means; None where it is not listed."""
        if number in self.numbers:
            return self.numbers[number]
        return next((to for low, high, to in self.ranges if low <= number <= high), None)

    def of_text(self, text: str) -> int | None:
        """What a text means; None where it is not listed."""
        if text in self.texts:
            return self.texts[text]
        number = whole_number(text)
        return None if number is None else self.of_number(number)

    def of_colour(self, packed: int) -> int | None:
        """What a colour means; a grey one may be listed as its number."""
        if packed in self.colours:
            return self.colours[packed]
        red, green, blue = packed >> 32, packed >> 16 & 0xFFFF, packed & 0xFFFF
        return self.of_number(red) if red == green == blue else None

    def numbers_of(self, index: int) -> list[int]:
        """Numbers that mean a class, in the order of the table; of a range its first."""
        listed = [number for number, to in self.numbers.items() if to == index]
        return listed + [low for low, _, to in self.ranges if to == index]

    def texts_of(self, index: int) -> list[str]:
        """Texts that mean a class, in the order of the table."""
        return [text for text, to in self.texts.items() if to == index]

    def colours_of(self, index: int) -> list[int]:
        """Packed colours that mean a class, in the order of the table."""
        return [packed for packed, to in self.colours.items() if to == index]


def value_table(values: Mapping[int | str, int | str], classes: Sequence[str]) -> ValueTable:
    """Read the mapping of a specification.

    Raises:
        SpecificationError: a value means a class that there is not, or two.
    """
    index = {name: position for position, name in enumerate(classes)}
    table = ValueTable()
    ranges = list(table.ranges)
    for stored, meaning in values.items():
        text, name = str(stored).strip(), str(meaning).strip()
        to = index.get(name, IGNORE if name == VOID else None)
        if to is None:
            raise SpecificationError(_unknown(text, name, classes))
        number, colour, between = whole_number(text), _colour(text), _RANGE.fullmatch(text)
        if between:
            ranges.append(_range(int(between[1]), int(between[2]), to, ranges))
        elif colour is not None:
            _add(table.colours, colour, to, text)
        elif number is not None:
            _add(table.numbers, number, to, text)
        else:
            _add(table.texts, text, to, text)
    return ValueTable(table.numbers, table.texts, table.colours, tuple(ranges))


def _add(listed: dict[Any, int], key: int | str, to: int, text: str) -> None:
    if listed.setdefault(key, to) != to:
        raise _twice(text)


def _range(low: int, high: int, to: int, ranges: Sequence[Range]) -> Range:
    if low > high:
        raise SpecificationError(f"labels.values: the range {low}..{high} ends before it begins")
    if any(first <= high and low <= last and other != to for first, last, other in ranges):
        raise _twice(f"{low}..{high} (or a part of it)")
    return low, high, to


def _twice(text: str, where: str = "") -> SpecificationError:
    return SpecificationError(
        f"labels.values: {where}{text} is listed twice, with two meanings; keep one"
    )


def _colour(text: str) -> int | None:
    if found := _HEX.fullmatch(text):
        packed = int(found[1], 16)
        return packed_colour(packed >> 16, packed >> 8 & 0xFF, packed & 0xFF)
    if found := _CHANNELS.fullmatch(text):
        red, green, blue = (int(part) for part in found.groups())
        return packed_colour(red, green, blue)
    return None


def _unknown(text: str, name: str, classes: Sequence[str]) -> str:
    nearest = difflib.get_close_matches(name, classes, n=1, cutoff=0.0)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    return f"labels.values: {text} means {name!r}, which is no class and not {VOID!r}{hint}"


def read_values(uri: str, classes: Sequence[str]) -> dict[int | str, int | str]:
    """Read a file of values: JSON, or a table of value and class a row.

    A JSON mapping may go either way, from values to classes or from classes to values; or it is a
    list of objects with a name, a colour or a number. A table has two columns, or four (red, green,
    blue and class), also with the class first, separated by commas, semicolons, tabs or blanks; a
    first row that has neither a class nor a number or colour is its header, and `#` begins a
    comment but for colours.

    Raises:
        SpecificationError: the file cannot be read as either, gives a value two meanings, or one
            that is no class.
    """
    values = _listed_in(uri, classes)
    try:
        value_table(values, classes)
    except SpecificationError as error:
        raise SpecificationError(f"{error} (in {uri})") from error
    return values


def _listed_in(uri: str, classes: Sequence[str]) -> dict[int | str, int | str]:
    content = storage.read_bytes(uri)
    if len(content) > _MAX_BYTES:
        raise SpecificationError(f"labels.values: {uri} has {len(content)} bytes, expected a table")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecificationError(f"labels.values: {uri} is no text: {error}") from error
    known = {*classes, VOID}
    if text.lstrip().startswith(("{", "[")):
        return _from_json(uri, text, known)
    rows = [_fields(line) for line in text.splitlines() if line.strip() and not _is_comment(line)]
    if sum(row[0] in known for row in rows) > sum(row[-1] in known for row in rows):
        rows = [[*row[1:], row[0]] for row in rows]
    if rows and rows[0] and rows[0][-1] not in known and not _is_value(", ".join(rows[0][:-1])):
        rows = rows[1:]
    values: dict[int | str, int | str] = {}
    for row in rows:
        if len(row) not in (2, 4):
            raise SpecificationError(
                f"labels.values: {uri} has a row of {len(row)} fields ({' | '.join(row[:5])}); "
                "expected value and class, or red, green, blue and class"
            )
        _mean(values, ", ".join(row[:-1]), row[-1], uri)
    return values


def _is_value(text: str) -> bool:
    is_range = _RANGE.fullmatch(text) is not None
    return is_range or whole_number(text) is not None or _colour(text) is not None


def _mean(values: dict[int | str, int | str], stored: int | str, name: str, uri: str = "") -> None:
    if values.setdefault(stored, name) != name:
        raise _twice(str(stored), f"{uri}: " if uri else "")


def named_colours(text: str) -> dict[int, str]:
    r"""Colours (packed) and their names, of a text of either form; empty where it has none.

    >>> named_colours("name,r,g,b\nroad,128,64,128\n") == {packed_colour(128, 64, 128): "road"}
    True
    """
    if text.lstrip().startswith(("{", "[")):
        try:
            listed = listed_classes(json.loads(text))
        except (ValueError, RecursionError, SpecificationError):
            return {}
        colours = ((_colour(str(stored)), name) for stored, name in listed.items())
        return {colour: str(name) for colour, name in colours if colour is not None}
    found: dict[int, str] = {}
    for line in text.splitlines():
        row = _fields(line)
        for name, channels in ((row[-1:], row[:-1]), (row[:1], row[1:])):
            colour = _colour(", ".join(channels))
            if colour is not None and name and not name[0].isdecimal():
                found.setdefault(colour, name[0])
    return found


def _is_comment(line: str) -> bool:
    return line.startswith("#") and not _HEX.match(line)


def _fields(line: str) -> list[str]:
    parts = [part.strip() for part in re.split(r"[,;\t]", line) if part.strip()]
    if len(parts) > 1 and not (len(parts) == 2 and _CHANNELS.fullmatch(parts[0])):
        return parts
    if len(parts) == 2:
        return [*parts[0].split(), parts[1]]
    numbers = re.match(r"\s*(\d+)\s+(\d+)\s+(\d+)\s+(.+)", line)
    return [part.strip() for part in numbers.groups()] if numbers else line.split(maxsplit=1)


def _from_json(uri: str, text: str, known: set[str]) -> dict[int | str, int | str]:
    try:
        loaded = json.loads(text, object_pairs_hook=unrepeated)
    except (ValueError, RecursionError) as error:
        raise SpecificationError(f"labels.values: {uri} is no JSON: {error}") from error
    listed = listed_classes(loaded)
    if listed:
        return listed
    plain = (str, int)
    if not isinstance(loaded, dict) or not all(isinstance(v, plain) for v in loaded.values()):
        raise SpecificationError(
            f"labels.values: {uri}: expected a mapping of values to classes, or a list of objects "
            "with name and color or id"
        )
    if not {str(part) for part in loaded.values()} & known and set(loaded) & known:
        values: dict[int | str, int | str] = {}
        for name, value in loaded.items():
            _mean(values, value, name, uri)
        return values
    return dict(loaded)


def listed_classes(loaded: Any) -> dict[int | str, int | str]:
    """Colours and numbers of a list of objects with names, such as `[{"name", "color", "id"}]`."""
    if isinstance(loaded, dict):
        loaded = next((loaded[key] for key in _LISTS if isinstance(loaded.get(key), list)), None)
    if not isinstance(loaded, list) or not all(isinstance(entry, dict) for entry in loaded):
        return {}
    values: dict[int | str, int | str] = {}
    numbers = [_number_of(entry) for entry in loaded]
    for entry, number in zip(loaded, numbers, strict=True):
        name = entry.get("name")
        colour = next((entry[key] for key in _COLOURS if key in entry), None)
        if not isinstance(name, str):
            return {}
        if isinstance(colour, list) and len(colour) == _NUM_CHANNELS:
            _mean(values, ", ".join(map(str, colour)), name)
        elif isinstance(colour, str):
            _mean(values, colour, name)
        # One that several have beside their colours is that of a group of classes.
        if number is not None and (colour is None or numbers.count(number) == 1):
            _mean(values, number, name)
    return values


def _number_of(entry: dict[str, Any]) -> int | None:
    return next((entry[key] for key in _NUMBERS if isinstance(entry.get(key), int)), None)
