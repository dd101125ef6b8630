"""What lies below a folder: a bounded look, however much there is."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ray_audit import archives, storage
from ray_audit.errors import SpecificationError
from ray_audit.stored_objects import is_companion

_NUM_FOLDERS = 600
_NUM_SUBFOLDERS = 40  # of one folder are looked into
_NUM_FILES = 2_000  # of one folder are kept
_MAX_DEPTH = 8
_PAGE = 1_000
_NUM_FEW = 30


@dataclass(frozen=True, eq=False)
class Tree:
    """Some of the files below a folder, as they were looked at once: equal to itself only.

    Attributes:
        uri: the folder, without a slash at its end.
        files: paths below it, in natural order.
        sizes: of each, in bytes.
        folders: paths of the folders that were seen; more than were looked into.
        is_cut: whether there is more than was looked at.
        is_archive: whether the URI is a zip archive, and the files are its members.
    """

    uri: str
    files: tuple[str, ...]
    sizes: dict[str, int]
    folders: tuple[str, ...]
    is_cut: bool
    is_archive: bool = False

    def at(self, path: str) -> str:
        """The URI of a path below the folder."""
        if self.is_archive and path:
            return f"{archives.SCHEME}{self.uri}{archives.INSIDE}{path}"
        return storage.join(self.uri, path) if path else self.uri

    @cached_property
    def few(self) -> tuple[str, ...]:
        """Some files of each folder: enough to see how they are named."""
        seen: dict[tuple[str, str], int] = {}
        chosen = []
        for path in self.files:
            place = (folder_of(path), extension(path))
            seen[place] = seen.get(place, 0) + 1
            if seen[place] <= _NUM_FEW:
                chosen.append(path)
        return tuple(chosen)

    def children(self, folder: str) -> list[str]:
        """Names of the folders in a folder, sorted."""
        start = f"{folder}/" if folder else ""
        below = (folder[len(start) :] for folder in self.folders if folder.startswith(start))
        return sorted(name for name in below if name and "/" not in name)


def folder_of(path: str) -> str:
    """The folder of a path, empty for the top."""
    return path.rpartition("/")[0]


def extension(path: str) -> str:
    """Lower-case extension with its dot; that of packed files has two parts.

    >>> extension("a/CT.nii.gz"), extension("x.JPG"), extension("README")
    ('.nii.gz', '.jpg', '')
    """
    root, _, last = path.rsplit("/", 1)[-1].lower().rpartition(".")
    if last == "gz" and "." in root[1:]:
        return f".{root.rpartition('.')[2]}.gz"
    return f".{last}" if root else ""


def ending(path: str) -> str:
    """The extension of a path as it is written.

    >>> ending("a/CT.nii.gz"), ending("x.JPG")
    ('.nii.gz', '.JPG')
    """
    return path[len(path) - len(extension(path)) :]


def look(uri: str) -> Tree:
    """List a folder, breadth first, or the one file that the URI names.

    Raises:
        SpecificationError: nothing is there.
        StorageError: the store cannot be listed.
    """
    if storage.has_wildcard(uri):
        raise SpecificationError(f"{uri} is a pattern; give the folder in which the dataset lies")
    fs, top = storage.filesystem(uri)
    base = _shown(fs, top)
    found: dict[str, int] = {}
    folders: list[str] = []
    waiting, num, is_cut = deque([("", 0)]), 0, False
    while waiting:
        folder, depth = waiting.popleft()
        if num >= _NUM_FOLDERS:
            is_cut = True
            break
        num += 1
        path = f"{top.rstrip('/')}/{folder}" if folder else top
        with storage.explained("list", uri):
            entries, is_page = _entries(fs, path)
        named = (e for e in entries if not e[2] and not is_companion(e[0]))
        files = sorted(named, key=lambda e: storage.natural_key(e[0]))
        below = sorted((e[0] for e in entries if e[2]), key=storage.natural_key)
        inner = [f"{folder}/{name}" if folder else name for name in below if name[0] not in "._"]
        folders += inner
        found |= {
            (f"{folder}/{name}" if folder else name): size for name, size, _ in files[:_NUM_FILES]
        }
        is_cut |= is_page or len(files) > _NUM_FILES or len(inner) > _NUM_SUBFOLDERS
        if depth < _MAX_DEPTH:
            waiting += [(subfolder, depth + 1) for subfolder in inner[:_NUM_SUBFOLDERS]]
    if not found:
        raise SpecificationError(f"{uri}: no file is there; give the folder of a dataset")
    return Tree(base, tuple(found), found, tuple(folders), is_cut)


def _shown(fs: Any, path: str) -> str:
    protocol = fs.protocol if isinstance(fs.protocol, str) else fs.protocol[0]
    shown = path.rstrip("/") or "/"
    return shown if protocol == "file" else f"{protocol}://{shown}"


def _entries(fs: Any, path: str) -> tuple[list[tuple[str, int, bool]], bool]:
    """Names, sizes and whether it is a folder, of what lies in a folder; whether there is more."""
    if hasattr(fs, "call_s3"):
        return _first_page(fs, path)
    infos = fs.ls(path, detail=True)
    return [
        (str(i["name"]).rstrip("/").rsplit("/", 1)[-1], i["size"] or 0, i["type"] == "directory")
        for i in infos
        if str(i["name"]).rstrip("/") != path.rstrip("/")
    ], False


def _first_page(fs: Any, path: str) -> tuple[list[tuple[str, int, bool]], bool]:
    """One request for each folder, where `ls` would ask for all pages of a million objects."""
    bucket, _, prefix = path.partition("/")
    prefix = f"{prefix.rstrip('/')}/" if prefix else ""
    page = fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, Delimiter="/", MaxKeys=_PAGE)
    return list(_of_page(page, prefix)), bool(page.get("IsTruncated"))


def _of_page(page: dict[str, Any], prefix: str) -> Iterator[tuple[str, int, bool]]:
    for entry in page.get("CommonPrefixes", ()):
        yield entry["Prefix"][len(prefix) :].rstrip("/"), 0, True
    for entry in page.get("Contents", ()):
        if entry["Key"] != prefix:
            yield entry["Key"][len(prefix) :], entry["Size"], False


def merged(first: Tree, other: Tree | None) -> Tree:
    """Two trees as one, below what their URIs share."""
    if other is None or other.uri == first.uri or other.uri.startswith(f"{first.uri}/"):
        return first
    parts, others = first.uri.split("/"), other.uri.split("/")
    num = 0
    while num < min(len(parts), len(others)) and parts[num] == others[num]:
        num += 1
    if "://" in first.uri + other.uri and num < 3:
        raise SpecificationError(
            f"{other.uri} lies in another store or bucket than {first.uri}; write labels into the "
            "specification by hand"
        )
    base = "/".join(parts[:num])
    trees = ((first, parts[num:]), (other, others[num:]))
    sizes = {"/".join([*above, p]): n for tree, above in trees for p, n in tree.sizes.items()}
    folders = tuple("/".join([*above, p]) for tree, above in trees for p in tree.folders)
    return Tree(base or "/", tuple(sizes), sizes, folders, first.is_cut or other.is_cut)
