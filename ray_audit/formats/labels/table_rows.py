"""Rows of a label table as numbers: parsed, checked, and located when they are wrong."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ray_audit.config import LabelColumns
from ray_audit.errors import LabelError
from ray_audit.formats.labels.array_tables import is_array_table
from ray_audit.formats.labels.classes import ClassNames
from ray_audit.formats.labels.clocks import LabelClock, is_clock_text, seconds_of, times_of
from ray_audit.formats.labels.indicators import label_cells, label_texts
from ray_audit.formats.labels.tables import TextChunk, column_names, read_table
from ray_audit.formats.labels.text_tables import TextForm

_NUM_NAMED = 8
_DECIMALS = 9


@dataclass(frozen=True)
class TableLayout:
    """How a form of labels is laid out in a table.

    Attributes:
        name_column: column with the video or image, None where a file is of one video.
        number_columns: `frame`; or `start` and `end`, or `start` and `length`; -> column with it.
        label_column: column with the label, or those of which one is 1 in each row.
        is_timed: whether the numbers are times, and not frames.
        clock: how they count.
        text: how a text table is written.
        is_by_row: whether each row is a frame, and no column says which.
    """

    name_column: str | None
    number_columns: dict[str, str]
    label_column: str | list[str]
    is_timed: bool = False
    clock: LabelClock = field(default_factory=LabelClock)
    text: TextForm = field(default_factory=TextForm)
    is_by_row: bool = False

    @property
    def in_seconds(self) -> bool:
        """Whether rows are given out in seconds."""
        has_numbers = bool(self.number_columns) or self.is_by_row
        return has_numbers and (self.is_timed or self.clock.fps is not None)

    @property
    def has_clock_texts(self) -> bool:
        """Whether a number may be a text such as 00:01:15.5: seconds may, nothing else."""
        return self.is_timed and self.clock.unit_s == 1.0

    @property
    def numbers(self) -> tuple[str, ...]:
        """Names of the numbers that are given out: `frame`, or `start` and `end`, or none."""
        names = ("frame",) if self.is_by_row else tuple(self.number_columns)
        is_span = "start" in names or ("frame" in names and self.clock.fps is not None)
        return ("start", "end") if is_span else names


@dataclass(frozen=True)
class LabelRows:
    """Some rows: `names` may be empty where the table is of one video.

    Attributes:
        first_row: number of the first row, from 1.
        names: distinct values of the name column.
        name_codes: (R,) position in `names` of each row.
        numbers: name -> (R,) float64.
        labels: (R,) int32 class index or `IGNORE`.
    """

    first_row: int
    names: list[str]
    name_codes: np.ndarray
    numbers: dict[str, np.ndarray]
    labels: np.ndarray


def layout_of(
    uri: str,
    form: str,
    columns: LabelColumns,
    with_name: bool,
    clock: LabelClock = LabelClock(),  # noqa: B008, it is frozen
    text: TextForm = TextForm(),  # noqa: B008
) -> TableLayout:
    """Layout of the table at `uri` for a form of `labels`.

    Raises:
        LabelError: the clock does not go with the table.
    """
    name = columns.image if form == "images" else columns.video
    named = name if with_name else None
    if form == "frames":
        has_no_frame = text.header is not None and columns.frame not in text.header
        if not with_name and (has_no_frame or is_array_table(uri)):
            return TableLayout(None, {}, columns.label, False, clock, text, is_by_row=True)
        return TableLayout(named, {"frame": columns.frame}, columns.label, False, clock, text)
    if form != "segments":
        if text.header is not None and name not in text.header:
            named = None  # a label a line, in the order of the files' names
        return TableLayout(named, {}, columns.label, text=text)
    found = column_names(uri, text)
    is_timed = columns.start_s in found or columns.start_ms in found
    if columns.start_frame in found or not is_timed:
        edges = _edges(columns, found, "frame", "duration_frames")
        if "length" in edges and clock.is_inclusive:
            raise LabelError(
                f"{uri}: its segments have a duration, and no end: leave labels.ends out"
            )
        return TableLayout(named, edges, columns.label, False, clock, text)
    _check_times(uri, clock)
    if columns.start_s in found:
        edges = _edges(columns, found, "s", "duration_s")
        return TableLayout(named, edges, columns.label, True, clock, text)
    edges = _edges(columns, found, "ms", "duration_ms")
    return TableLayout(named, edges, columns.label, True, replace(clock, unit_s=0.001), text)


def _edges(
    columns: LabelColumns, found: Collection[str], unit: str, duration: str
) -> dict[str, str]:
    """Columns of a segment's start and end; or length, where its column is named or no end is."""
    start, end = (str(getattr(columns, f"{edge}_{unit}")) for edge in ("start", "end"))
    length = str(getattr(columns, duration))
    has_length = length != duration or (end not in found and length in found)
    return {"start": start, "length": length} if has_length else {"start": start, "end": end}


def _check_times(uri: str, clock: LabelClock) -> None:
    if clock != LabelClock():
        raise LabelError(
            f"{uri}: its segments are times, which have no fps, first_frame or last frame: "
            "labels.fps, labels.first_frame and labels.ends go with frame numbers"
        )


def read_rows(uri: str, layout: TableLayout, classes: ClassNames) -> Iterator[LabelRows]:
    """Stream a label table.

    Raises:
        LabelError: a missing column, a label outside the classes, a number that is none;
            the message names the file, the row and the value.
    """
    columns = {f"number:{k}": column for k, column in layout.number_columns.items()}
    columns |= label_cells(layout.label_column)
    if layout.name_column:
        columns["name"] = layout.name_column
    for chunk in read_table(uri, columns, layout.text):
        yield _parsed(uri, chunk, layout, classes)


def _parsed(uri: str, chunk: TextChunk, layout: TableLayout, classes: ClassNames) -> LabelRows:
    def locate(row: int) -> str:
        return f"{uri}, row {chunk.first_row + row}"

    texts = label_texts(chunk.columns, layout.label_column, locate)
    labels = _mapped(texts, classes.parse, locate)
    numbers = {
        key: _numbers(chunk.columns[f"number:{key}"], column, layout.has_clock_texts, locate)
        for key, column in layout.number_columns.items()
    }
    if layout.is_by_row:
        counted = np.arange(len(labels)) + chunk.first_row - 1 + layout.clock.first_frame
        numbers = {"frame": counted.astype(np.float64)}
    elif "frame" in numbers:
        first = layout.clock.first_frame
        _check_frames(numbers["frame"], layout.number_columns["frame"], first, locate)
    elif "start" in numbers and not layout.is_timed and layout.clock.first_frame:
        _check_starts(numbers["start"], layout, locate)
    if "length" in numbers:
        _check_lengths(numbers["length"], layout.number_columns["length"], locate)
        numbers = _with_ends(numbers["start"], numbers["length"])
    numbers = layout.clock.read(numbers, layout.is_timed)
    if "start" in numbers:
        _check_spans(numbers["start"], numbers["end"], locate)
    encoded = chunk.columns["name"].dictionary_encode() if layout.name_column else None
    return LabelRows(
        first_row=chunk.first_row,
        names=encoded.dictionary.to_pylist() if encoded is not None else [],
        name_codes=_codes(encoded) if encoded is not None else np.zeros(len(labels), np.int32),
        numbers=numbers,
        labels=labels,
    )


Locate = Callable[[int], str]


def _with_ends(starts: np.ndarray, lengths: np.ndarray) -> dict[str, np.ndarray]:
    """Starts and ends; the last digits of sums must not make a segment overlap the next one."""
    return {"start": np.round(starts, _DECIMALS), "end": np.round(starts + lengths, _DECIMALS)}


def _codes(encoded: Any) -> np.ndarray:
    codes: np.ndarray = encoded.indices.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int32)
    return codes


def _mapped(column: pa.Array, parse: Callable[[object], int], locate: Locate) -> np.ndarray:
    """Parse each distinct value once: text, or truth values, of which those that lack are empty."""
    encoded = column.dictionary_encode()
    texts: list[str | bool] = [*encoded.dictionary.to_pylist(), *[""] * bool(column.null_count)]
    missing = encoded.indices.is_null().to_numpy(zero_copy_only=False)
    codes = np.where(missing, len(texts) - 1, _codes(encoded))
    values = np.zeros(len(texts), np.int32)
    for code, text in enumerate(texts):
        try:
            values[code] = parse(text)
        except ValueError as error:
            row = int(np.flatnonzero(codes == code)[0])
            said = str(error)
            end = "" if said.endswith("?") else "."
            others = _other_labels(text, texts)
            raise LabelError(f"{locate(row)}: {said}{end if others else ''}{others}") from None
    mapped: np.ndarray = values[codes]
    return mapped


def _other_labels(text: str | bool, texts: list[str | bool]) -> str:
    """The other labels of a table in which one is wrong: they may all be named otherwise."""
    others = [other for other in texts if other != text]
    few = ", ".join(map(repr, others[:_NUM_NAMED])) + (", ..." if len(others) > _NUM_NAMED else "")
    return f" The table's other labels are {few}" if few else ""


def _numbers(column: pa.Array, name: str, has_clock_texts: bool, locate: Locate) -> np.ndarray:
    numbers: np.ndarray
    try:
        numbers = pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        texts = column.to_pylist()
        if not has_clock_texts:
            _refuse_clock_texts(texts, name, locate)
        numbers = times_of(texts) if has_clock_texts else np.array([*map(seconds_of, texts)])
    bad = np.flatnonzero(~np.isfinite(numbers))
    if len(bad):
        row = int(bad[0])
        raise LabelError(f"{locate(row)}: {name} is {column[row].as_py()!r}, expected a number")
    return numbers


def _refuse_clock_texts(texts: list[str], name: str, locate: Locate) -> None:
    row = next((at for at, text in enumerate(texts) if is_clock_text(text)), None)
    if row is not None:
        raise LabelError(
            f"{locate(row)}: {name} is {texts[row]!r}, a time, and no number; name columns of "
            "times in labels.columns.start_s and labels.columns.end_s"
        )


def _check_frames(frames: np.ndarray, name: str, first: int, locate: Locate) -> None:
    bad = np.flatnonzero((frames < first) | (frames != np.floor(frames)))
    if len(bad):
        row = int(bad[0])
        raise LabelError(
            f"{locate(row)}: {name} is {frames[row]:g}, expected a whole number from {first}"
        )


def _check_starts(starts: np.ndarray, layout: TableLayout, locate: Locate) -> None:
    """A segment that begins before the first frame: the table does not count from it."""
    first = layout.clock.first_frame
    bad = np.flatnonzero(starts < first)
    if len(bad):
        row = int(bad[0])
        name = layout.number_columns["start"]
        raise LabelError(
            f"{locate(row)}: {name} is {starts[row]:g}, expected a number from {first} "
            "(labels.first_frame)"
        )


def _check_lengths(lengths: np.ndarray, name: str, locate: Locate) -> None:
    bad = np.flatnonzero(lengths <= 0)
    if len(bad):
        row = int(bad[0])
        raise LabelError(
            f"{locate(row)}: {name} is {lengths[row]:g}, expected a duration above 0; leave rows "
            "of moments out of the table"
        )


def _check_spans(starts: np.ndarray, ends: np.ndarray, locate: Locate) -> None:
    bad = np.flatnonzero(ends <= starts)
    if len(bad):
        row = int(bad[0])
        raise LabelError(
            f"{locate(row)}: the segment ends at {ends[row]:g}, not after its start "
            f"{starts[row]:g}; ends are exclusive (labels.ends)"
        )
