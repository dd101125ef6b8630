"""Tables that say which mask is that of which image."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ray_audit.discovery.kinds_of_files import is_table
from ray_audit.discovery.table_heads import Head, read_heads
from ray_audit.discovery.tree import Tree
from ray_audit.formats.registry import format_of

_NUM_TABLES = 10


@dataclass(frozen=True)
class PairTable:
    """A table with two columns of pictures.

    Attributes:
        path: of it.
        head: its first rows.
        columns: positions of the two.
        pairs: of files, in the order of the columns.
    """

    path: str
    head: Head
    columns: tuple[int, int]
    pairs: tuple[tuple[str, str], ...]

    def title(self, second: bool) -> str:
        """What a column is called, or empty."""
        return "" if self.head.names is None else self.head.names[self.columns[second]]

    def keys(self, masks_first: bool) -> dict[str, Any]:
        """Further keys of `dataset.labels`."""
        names = ("mask", "image") if masks_first else ("image", "mask")
        fields = dict(zip(self.columns, names, strict=True))
        if self.head.names is None:
            num = len(self.head.rows[0])
            header = [fields.get(at, f"field_{at + 1}") for at in range(num)]
            return {**self.head.keys, "header": header}
        titles = {name: self.head.names[at] for at, name in fields.items()}
        usual = {name: title for name, title in titles.items() if name != title}
        return {**self.head.keys, **({"columns": usual} if usual else {})}


@lru_cache(maxsize=1)  # each shape of a dataset asks, and each time tables would be read
def pair_tables(tree: Tree) -> tuple[PairTable, ...]:
    """The tables of a folder that pair pictures, or volumes."""
    names: dict[str, str] = {}
    for path in tree.files:
        form = format_of(path)
        if form is not None and form.kind == "images" and not form.holds_several:
            for spelling in (path, path.rsplit("/", 1)[-1]):
                names.setdefault(spelling, path)
    paths = [path for path in tree.files if is_table(path)][:_NUM_TABLES] if names else []
    return tuple(found for path in paths for found in _of_table(tree, path, names))


def _of_table(tree: Tree, path: str, names: Mapping[str, str]) -> Iterator[PairTable]:
    for head in read_heads(tree, path):
        if head.names is not None and any(_plain(name) in names for name in head.names):
            continue  # its first line is a row
        columns: tuple[int, int] | None = None
        pairs: dict[tuple[str, str], None] = {}
        for row in head.rows:
            named = {
                at: names[field] for at, field in enumerate(map(_plain, row)) if field in names
            }
            if len(set(named.values())) == 2 and columns in (None, tuple(named)):
                first, second = columns = tuple(named)  # type: ignore[assignment]
                pairs[named[first], named[second]] = None
        if columns is not None:
            yield PairTable(path, head, columns, tuple(pairs))
        return


def pairs_by_table(tree: Tree) -> Mapping[str, str]:
    """Picture -> another picture that stands beside it in a table, each way; empty without one."""
    found: dict[str, str] = {}
    for table in pair_tables(tree):
        for first, second in table.pairs:
            found |= {first: second, second: first}
    return found


def table_of_pairs(tree: Tree) -> str | None:
    """A sentence where a table pairs pictures in a way that is not read."""
    found = pairs_by_table(tree)
    if not found:
        return None
    media, label = next(iter(found.items()))
    return (
        f"a table pairs {media} with {label}: it is read (labels.masks: the table) where it has "
        "the path of each mask below the table's folder, or below one above it, and pictures and "
        "masks are of one size"
    )


def _plain(value: str) -> str:
    return value.replace("\\", "/").removeprefix("./").lstrip("/")
