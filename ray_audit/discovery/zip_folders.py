"""What lies in zip archives, looked at as folders are."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from ray_audit import archives, storage
from ray_audit.discovery.kinds_of_files import not_for_training
from ray_audit.discovery.tree import Tree, extension, folder_of
from ray_audit.errors import RayAuditError

_NUM_ARCHIVES = 4
_NUM_MEMBERS = 200_000


def zip_trees(tree: Tree) -> Iterator[Tree]:
    """The archives of a folder as trees of their members; those for training first."""
    zips = [path for path in tree.files if extension(path) == archives.ENDING]
    for path in sorted(zips, key=not_for_training)[:_NUM_ARCHIVES]:
        with suppress(RayAuditError):
            uri = tree.at(path)
            members = storage.list_data(uri)
            sizes = {
                archives.parted(item.uri)[1]: item.size_bytes for item in members[:_NUM_MEMBERS]
            }
            files = sorted(sizes, key=storage.natural_key)
            folders = {parent for name in files for parent in _above(name)}
            is_cut = len(members) > _NUM_MEMBERS
            yield Tree(uri, tuple(files), sizes, tuple(sorted(folders)), is_cut, is_archive=True)


def chained(value: Any) -> Any:
    """Keys of a specification, with members of archives as a person writes them.

    >>> chained({"uri": "zip:///d/a.zip!/x/*.png"})
    {'uri': 'zip://x/*.png::/d/a.zip'}
    """
    if isinstance(value, dict):
        return {key: chained(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [chained(inner) for inner in value]
    if isinstance(value, str) and archives.is_member(value):
        archive, member = archives.parted(value)
        return f"{archives.SCHEME}{member}::{archive}"
    return value


def _above(name: str) -> Iterator[str]:
    folder = folder_of(name)
    while folder:
        yield folder
        folder = folder_of(folder)
