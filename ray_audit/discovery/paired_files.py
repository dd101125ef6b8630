"""Tables that say which mask is that of which image."""

from collections.abc import Mapping
from functools import lru_cache

from ray_audit.discovery.kinds_of_files import is_table, kind_of
from ray_audit.discovery.table_heads import read_heads
from ray_audit.discovery.tree import Tree

_NUM_TABLES = 10


@lru_cache(maxsize=1)  # each shape of a dataset asks, and each time tables would be read
def pairs_by_table(tree: Tree) -> Mapping[str, str]:
    """Picture -> another picture that stands beside it in a table, each way; empty without one."""
    names: dict[str, str] = {}
    for path in tree.files:
        if kind_of(path) == "image files":
            for spelling in (path, path.rsplit("/", 1)[-1]):
                names.setdefault(spelling, path)
    found: dict[str, str] = {}
    for path in [path for path in tree.files if is_table(path)][:_NUM_TABLES]:
        for head in read_heads(tree, path)[:1]:
            for row in head.rows:
                named = [names[field] for field in map(_plain, row) if field in names]
                if len(set(named)) == 2:
                    found |= {named[0]: named[1], named[1]: named[0]}
    return found


def table_of_pairs(tree: Tree) -> str | None:
    """A sentence where a table pairs pictures by other names than a rule could tell."""
    found = pairs_by_table(tree)
    if not found:
        return None
    media, label = next(iter(found.items()))
    return (
        f"a table pairs {media} with {label}: masks are found by their names alone, so rename "
        "them as their images are (images/x.jpg, masks/x.png)"
    )


def _plain(value: str) -> str:
    return value.replace("\\", "/").removeprefix("./").lstrip("/")
