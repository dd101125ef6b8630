"""Labels that lie deeper in a JSON document than one object a row: found by a path; COCO's too.

A path is names, numbers and `*` with dots between them: `*` stands for every element of a list, or
every value of an object; `{video}` for every value of an object, whose name is then a column.
"""

import copy
import json
import re
from codecs import BOM_UTF8
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any

from ray_audit.errors import LabelError
from ray_audit.json_text import unrepeated

Cells = dict[str, Any]
_MAX_BYTES = 2**30
_COCO = ("images", "annotations", "categories")
_FIRST_KEY = re.compile(rb'[\s\xef\xbb\xbf]*\{\s*"(images|annotations|categories|info|licenses)"')
_HEAD_BYTES = 2**12
_ITSELF = "."
_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_MISSING = object()


@dataclass
class Place:
    """A row's value, and where it stands.

    Attributes:
        holder: the list or object that holds it.
        key: its place in that.
        names: what `{name}` steps of the path found.
        around: the objects that it lies in, the outermost first.
    """

    holder: Any
    key: Any
    names: Cells = field(default_factory=dict)
    around: tuple[Cells, ...] = ()

    @property
    def value(self) -> Any:
        """The row itself."""
        return self.holder[self.key]


def looks_like_coco(stream: IO[bytes]) -> bool:
    """Whether a JSON file begins as COCO's do; the stream is at its beginning afterwards."""
    head = stream.read(_HEAD_BYTES)
    stream.seek(0)
    return _FIRST_KEY.match(head) is not None


def coco_image_name(image: Cells) -> str:
    """File name of an image of a COCO document; LVIS has it in `coco_url` only.

    Raises:
        KeyError: it has none.
    """
    if "file_name" in image or "coco_url" not in image:
        return str(image["file_name"])
    return str(image["coco_url"]).rsplit("/", 1)[-1]


def load_document(uri: str, stream: IO[bytes]) -> Any:
    """A whole JSON document.

    Raises:
        LabelError: it is none, or has more than 1 GiB.
    """
    content = stream.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise LabelError(f"{uri}: a JSON document of more than 1 GiB; split it")
    try:
        return json.loads(content.decode("utf-8-sig"), object_pairs_hook=unrepeated)
    except (ValueError, RecursionError) as error:
        raise LabelError(f"{uri}: not valid JSON: {error}") from error


def places(uri: str, document: Any, path: str) -> list[Place]:
    """The rows that a path leads to, in the order of the document.

    Raises:
        LabelError: it leads nowhere.
    """
    found = [Place([document], 0)]
    for step in [] if path == _ITSELF else path.split("."):
        found = [inner for item in found for inner in _inside(item, step)]
        if not found:
            raise LabelError(f"{uri}: labels.rows: {path!r} leads nowhere: there is no {step!r}")
    return found


def _inside(place: Place, step: str) -> Iterator[Place]:
    value = place.value
    around = (*place.around, value) if isinstance(value, dict) else place.around
    if step == "*" or (step.startswith("{") and step.endswith("}")):
        keys = value if isinstance(value, dict) else range(len(value) if _is_list(value) else 0)
        for key in keys:
            names = {} if step == "*" else {step[1:-1]: str(key)}
            yield Place(value, key, place.names | names, around)
    elif isinstance(value, dict) and step in value:
        yield Place(value, step, place.names, around)
    elif _is_list(value) and step.isdecimal() and int(step) < len(value):
        yield Place(value, int(step), place.names, around)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def cell(value: Any, path: str) -> Any:
    """What a path without `*` leads to in a row; `_MISSING` where that is nothing."""
    for step in [] if path == _ITSELF else path.split("."):
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif _is_list(value) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return _MISSING
    return value


def _lists(place: Place, columns: dict[str, str]) -> dict[str, tuple[str, str]]:
    """Columns whose path has a `*`: name -> path of the list, and path within each element."""
    starred = {name: path.partition("*") for name, path in columns.items() if "*" in path}
    return {n: (a.rstrip("."), b.lstrip(".") or _ITSELF) for n, (a, _, b) in starred.items()}


def own_columns(found: list[Place], columns: dict[str, str]) -> frozenset[str]:
    """Names of the columns that some row has itself: the others are looked for around rows.

    One that most rows have and one lacks is missing there, whatever an object around it is called.
    """
    return frozenset(
        name
        for name, path in columns.items()
        if any(cell(place.value, path) is not _MISSING for place in found)
    )


def cells_of(uri: str, place: Place, columns: dict[str, str], own: frozenset[str]) -> list[Cells]:
    """The wanted cells of a row: one, or as many as its parallel lists have elements.

    Args:
        uri: of the document, for messages.
        place: the row.
        columns: name to give out -> path.
        own: of `own_columns`.

    Raises:
        LabelError: the lists have different lengths.
    """
    lists = _lists(place, columns)
    shared = {n: _plain(place, p, n in own) for n, p in columns.items() if n not in lists}
    if not lists:
        return [shared]
    elements = {name: cell(place.value, path) for name, (path, _) in lists.items()}
    elements = {name: value if _is_list(value) else [] for name, value in elements.items()}
    lengths = {name: len(value) for name, value in elements.items()}
    if len(set(lengths.values())) > 1:
        raise LabelError(
            f"{uri}: lists that belong together have {lengths} elements; expected as many of each"
        )
    num = next(iter(lengths.values()))
    return [
        shared | {name: _given(cell(elements[name][at], lists[name][1])) for name in lists}
        for at in range(num)
    ]


def _plain(place: Place, path: str, is_own: bool) -> Any:
    """A cell of a row; or where no row has it, of the nearest object around that has one."""
    if path in place.names:
        return place.names[path]
    around = () if is_own else reversed(place.around)
    found = (cell(value, path) for value in (place.value, *around))
    return next((value for value in found if value is not _MISSING), None)


def value_at(document: Any, path: str) -> Any:
    """What a path without `*` leads to in a document; None where that is nothing."""
    return _given(cell(document, path))


def _given(value: Any) -> Any:
    return None if value is _MISSING else value


def has_column(found: list[Place], path: str) -> bool:
    """Whether any row has a column."""
    head = path.partition("*")[0].rstrip(".") or _ITSELF if "*" in path else path
    return any(
        head in item.names
        or any(cell(value, head) is not _MISSING for value in (item.value, *item.around))
        for item in found
    )


def names_in(found: list[Place]) -> list[str]:
    """Names of the columns of the first row, for messages."""
    first = found[0]
    return [*first.names, *(first.value if isinstance(first.value, dict) else ())]


def edit_rows(
    uri: str,
    found: list[Place],
    columns: dict[str, str],
    edit: Callable[[Cells], list[Cells] | None],
) -> None:
    """Change rows in place, in the order of the document.

    Args:
        uri: of the document, for messages.
        found: the rows.
        columns: name for `edit` -> path.
        edit: gives None where a row stays, else the rows that replace it.

    Raises:
        LabelError: a row would be cut in two where there is no list of rows.
    """
    new_rows: dict[int, tuple[list[Any], dict[int, list[Any]]]] = {}
    own = own_columns(found, columns)
    for place in found:
        edited = [(cells, edit(cells)) for cells in cells_of(uri, place, columns, own)]
        lists = _lists(place, columns)
        if lists:
            _edit_lists(place, lists, [rows for _, rows in edited])
            rows: list[Any] = [place.value]
        else:
            rows = _replaced(place, columns, edited[0][1])
        if _is_list(place.holder):
            new_rows.setdefault(id(place.holder), (place.holder, {}))[1][place.key] = rows
        elif len(rows) == 1:
            place.holder[place.key] = rows[0]
        else:
            raise LabelError(f"{uri}: {place.key!r} holds one row, which cannot be cut in two")
    for holder, by_place in new_rows.values():  # which others lie beside, as of `x.0`
        holder[:] = [row for at, value in enumerate(holder) for row in by_place.get(at, [value])]


def _replaced(place: Place, columns: dict[str, str], rows: list[Cells] | None) -> list[Any]:
    if rows is None:
        return [place.value]
    made = []
    for row in rows:
        replaced = [copy.deepcopy(place.value)]
        for name, new in row.items():
            if cell(place.value, columns[name]) is _MISSING:
                raise LabelError(
                    f"{columns[name]!r} of an object around several rows cannot be changed for one "
                    "of them"
                )
            replaced[0] = with_value(replaced[0], columns[name], new)
        made += replaced
    return made


def with_value(value: Any, path: str, new: Any) -> Any:
    """The value with a new cell; of the type of the old one."""
    if path == _ITSELF:
        return _of_type(value, new)
    *above, last = path.split(".")
    holder = cell(value, ".".join(above) or _ITSELF)
    key: Any = int(last) if _is_list(holder) else last
    holder[key] = with_value(holder[key], _ITSELF, new)
    return value


def _of_type(value: Any, new: Any) -> Any:
    """A new cell of the type of the old one; as text, where it is no number.

    >>> _of_type(1.0, "2.0"), _of_type(1, "-1"), _of_type("1", 2), _of_type(True, False)
    (2.0, -1, '2', False)
    """
    if isinstance(value, bool) and isinstance(new, bool):
        return new
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(new)
    if isinstance(new, int | float):
        return float(new) if isinstance(value, float) else new
    try:
        return type(value)(new)
    except ValueError:
        return str(new)


def _edit_lists(
    place: Place, lists: dict[str, tuple[str, str]], rows: list[list[Cells] | None]
) -> None:
    """Change the parallel lists of one row; lists of their length beside them go along."""
    within: dict[str, dict[str, str]] = {}  # path of a list -> name -> path within its elements
    for name, (path, where) in lists.items():
        within.setdefault(path, {})[name] = where
    num = len(rows)
    for path in list(within):
        above = path.rpartition(".")[0]
        siblings = cell(place.value, above or _ITSELF)
        for key, value in siblings.items() if isinstance(siblings, dict) else ():
            if _is_list(value) and len(value) == num:
                within.setdefault(f"{above}.{key}" if above else key, {})
    for path, inner in within.items():
        elements = cell(place.value, path)
        new: list[Any] = []
        for element, replaced in zip(list(elements), rows, strict=True):
            for row in [{}] if replaced is None else replaced:
                edited = copy.deepcopy(element)
                for name in inner.keys() & row.keys():
                    edited = with_value(edited, inner[name], row[name])
                new.append(edited)
        elements[:] = new


@dataclass
class CocoImages:
    """One class an image, from a COCO file whose annotations of an image agree.

    Attributes:
        names: file name of each image that has annotations -> name of its category.
        annotations: file name -> its annotations.
        ids: name of a category -> its number.
    """

    names: dict[str, str]
    annotations: dict[str, list[Any]]
    ids: dict[str, int]

    @classmethod
    def of(cls, uri: str, document: Any) -> "CocoImages":
        """Join images, annotations and categories.

        Raises:
            LabelError: it is no COCO file, or an image has annotations of several categories.
        """
        if not isinstance(document, dict) or not all(_is_list(document.get(k)) for k in _COCO):
            raise LabelError(f"{uri}: expected COCO's lists {', '.join(_COCO)}, or labels.rows")
        try:
            files = {entry["id"]: coco_image_name(entry) for entry in document["images"]}
            categories = {entry["id"]: str(entry["name"]) for entry in document["categories"]}
            names: dict[str, str] = {}
            of_image: dict[str, list[Any]] = defaultdict(list)
            for entry in document["annotations"]:
                file, name = files[entry["image_id"]], categories[entry["category_id"]]
                if names.setdefault(file, name) != name:
                    raise LabelError(
                        f"{uri}: {file} has annotations of several categories ({names[file]}, "
                        f"{name}): one label an image is audited; for what is in an image give "
                        "labels.masks"
                    )
                of_image[file].append(entry)
        except (KeyError, TypeError) as error:
            raise LabelError(f"{uri}: a COCO file without {error} where it is needed") from error
        return cls(names, dict(of_image), {name: number for number, name in categories.items()})

    def edit(self, edit: Callable[[Cells], list[Cells] | None]) -> None:
        """Give images other categories, in place.

        Raises:
            LabelError: the file has no category of this name.
        """
        for file, name in self.names.items():
            rows = edit({"name": file, "label": name})
            if rows is None:
                continue
            label = str(rows[0]["label"])
            if label not in self.ids:
                raise LabelError(f"the COCO file has no category {label!r}")
            for annotation in self.annotations[file]:
                annotation["category_id"] = self.ids[label]


def dumped(document: Any, before: bytes) -> bytes:
    """The document as JSON, written as it was before: indentation, blanks, escapes, line ends.

    >>> dumped({"a": [1, 2]}, b'{"a":[1,1]}'), dumped({"a": [1, 2]}, b'{"a": [1, 1]}')
    (b'{"a":[1,2]}', b'{"a": [1, 2]}')
    """
    head = before[:_HEAD_BYTES].decode("utf-8", "replace")
    found = re.search(r"[\[{]\r?\n([ \t]+)", head)
    indent = None if found is None else found[1]
    bare = _TEXT.sub('""', head)
    comma, colon = re.search(r",[ \t]*", bare), re.search(r":[ \t]*", bare)
    separators = (
        "," if indent is not None else comma[0] if comma else ", ",
        colon[0] if colon else ": ",
    )
    is_escaped = before.isascii() and re.search(rb"\\u[0-9a-fA-F]{4}", before) is not None
    text = json.dumps(document, ensure_ascii=is_escaped, indent=indent, separators=separators)
    ending = before[len(before.rstrip(b" \t\r\n")) :]
    content = text.encode("utf-8", "surrogatepass")
    if b"\r\n" in before[:_HEAD_BYTES]:
        content = content.replace(b"\n", b"\r\n")
    return (BOM_UTF8 if before.startswith(BOM_UTF8) else b"") + content + ending
