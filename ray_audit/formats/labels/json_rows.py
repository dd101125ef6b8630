"""Rows of a JSON array or of JSON lines, parsed as they arrive."""

import json
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

from ray_audit.errors import LabelError
from ray_audit.json_text import unrepeated

_READ_CHARS = 2**20
_MAX_ROW_CHARS = 2**24
_BETWEEN = " \t\r\n,[]\ufeff"


class JsonRow(NamedTuple):
    """An object, or (without values) the end of the file.

    Attributes:
        between: what stands before it: blanks, commas and brackets.
        text: of the object, as it stands.
        values: the object; None at the end.
    """

    between: str
    text: str
    values: dict[str, Any] | None


def json_rows(uri: str, stream: IO[str]) -> Iterator[JsonRow]:
    """The objects in turn, then what stands behind the last; takes time in proportion to the file.

    Raises:
        LabelError: not JSON, not one object a row, a key twice in one, or a row of more than
            16 MiB.
    """
    decoder = json.JSONDecoder(object_pairs_hook=unrepeated)
    text, at, ended = "", 0, False
    while True:
        start = at
        while at < len(text) and text[at] in _BETWEEN:
            at += 1
        if at == len(text) and ended:
            yield JsonRow(text[start:at], "", None)
            return
        try:
            if at == len(text):
                raise json.JSONDecodeError("more", text, at)
            values, end = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            if ended:
                raise LabelError(f"{uri}: not valid JSON: {error}") from error
            _check_length(uri, len(text) - start)
            # As much again as there is, so that no part of a long row is parsed many times.
            more = stream.read(max(_READ_CHARS, len(text) - start))
            text, at, ended = text[start:] + more, 0, not more
            continue
        except ValueError as error:
            raise LabelError(f"{uri}: {error}") from error
        except RecursionError as error:
            raise LabelError(f"{uri}: JSON nested too deep; expected one object a row") from error
        if not isinstance(values, dict):
            raise LabelError(f"{uri}: expected JSON objects, one a row; got {str(values)[:50]!r}")
        yield JsonRow(text[start:at], text[at:end], values)
        at = end


def _check_length(uri: str, num_chars: int) -> None:
    if num_chars > _MAX_ROW_CHARS:
        raise LabelError(
            f"{uri}: a value of more than {_MAX_ROW_CHARS >> 20} MiB where one object a row was "
            'expected, such as {"video": "a.mp4", "frame": 0, "label": "x"}; a whole '
            "annotation file is no label table: give labels.rows, or write its labels as rows"
        )
