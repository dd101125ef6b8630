"""Names of classes, where a file or folders have them."""

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from ray_audit import storage
from ray_audit.config.class_files import named_classes
from ray_audit.discovery.tree import Tree, folder_of
from ray_audit.errors import RayAuditError
from ray_audit.formats.labels.values import named_colours

_FILES = re.compile(
    r"_?(classes|class_?names|labels?|names|label_?names|mapping|class_?mapping|classInd|class_?list|"
    r"categories|id2label|label2id|label_?map|config|dataset)(\.(txt|json|names|csv|yaml))|"
    r".*(label|class|categor).*(map|dict?|names)(_?final)?\.json",
    re.IGNORECASE,
)
_COLOUR_FILES = re.compile(
    r".*(colou?rs?|palette|class|label|config|mapping).*\.(txt|csv|json)", re.IGNORECASE
)
_MAX_BYTES = 4 * 2**20
_MAX_DEPTH = 2
_MAX_CHARS = 80


class NamesFound(NamedTuple):
    """Names of classes, and where they were found.

    Attributes:
        where: a file, in words.
        names: in index order.
        first: the number that is given to the first, where numbers follow each other.
        values: what each number means, where they do not.
    """

    where: str
    names: list[str]
    first: int | None = None
    values: dict[int | str, str] | None = None


def names_file(tree: Tree) -> NamesFound | None:
    """The file of class names that lies nearest to the top, and the names in it."""
    return next(_name_files(tree), None)


def _name_files(tree: Tree) -> Iterator[NamesFound]:
    fitting = [path for path in tree.files if _FILES.fullmatch(path.rsplit("/", 1)[-1])]
    for path in sorted(fitting, key=lambda p: (p.count("/"), len(p))):
        if path.count("/") > _MAX_DEPTH or tree.sizes[path] > _MAX_BYTES:
            continue
        with suppress(ValueError, RayAuditError, TypeError):
            names, first, values = named_classes(tree.at(path))
            if names and len(names) > 1 and all(_is_name(name) for name in names):
                yield NamesFound(path, names, first, values)


def colour_names(tree: Tree) -> tuple[str, dict[int, str]] | None:
    """The file that names the colours of masks (packed), and what it says."""
    for path in sorted(tree.files, key=lambda p: (p.count("/"), len(p))):
        name = path.rsplit("/", 1)[-1]
        if path.count("/") > _MAX_DEPTH or not _COLOUR_FILES.fullmatch(name):
            continue
        if tree.sizes[path] <= _MAX_BYTES:
            with suppress(ValueError, RayAuditError):
                found = named_colours(storage.read_bytes(tree.at(path)).decode("utf-8-sig"))
                if len(found) > 1:
                    return path, found
    return None


def _is_name(name: object) -> bool:
    # A line of a table, a path or a colour is no name of a class.
    return isinstance(name, str) and len(name) < _MAX_CHARS and not re.search(r"[,;\t/{}]", name)


def folder_classes(tree: Tree, paths: list[str]) -> list[str]:
    """Names of the folders that hold some files: all of their parent's, sorted."""
    parents = {folder_of(folder_of(path)) for path in paths}
    named = {folder_of(path).rsplit("/", 1)[-1] for path in paths}
    if tree.is_cut:  # more folders were seen than looked into
        named |= {name for parent in parents for name in tree.children(parent)}
    return sorted(named)
