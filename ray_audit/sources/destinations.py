"""Where results may be written: nowhere that the patterns of a specification look for files.

What is written there would be data, labels or checkpoints of the next audit.
"""

import os
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Literal

from ray_audit import storage
from ray_audit.config import AuditConfig
from ray_audit.errors import SpecificationError

Use = Literal["output", "copy"]
_FORMS = ("frames", "segments", "videos", "images", "masks")
_WITH_FOLDERS = ("{key}", "{path}", "{folder}")
_FIELD = re.compile(r"\{[^{}]*\}")
_WILDCARD = re.compile(r"[*?\[\]]")
# Runs write tables, JSON and reports, and never directly below the output.
_OUTPUT_DEPTH = 2
_NEVER_IN_OUTPUTS = (
    ".mp4", ".avi", ".mkv", ".mov", ".webm", ".ts", ".mpg", ".mpeg", ".m4v", ".flv", ".wmv",
    ".npy", ".npz", ".tar", ".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".bmp", ".tif", ".tiff",
)  # fmt: skip


def check_destination(config: AuditConfig, destination: str, key: str, use: Use = "copy") -> None:
    """Refuse a folder in which the specification's own patterns would find what is written.

    Args:
        config: whose data, labels and checkpoints.
        destination: a folder, local or of any store.
        key: how the folder was given, for messages: `output`, `--to`.
        use: `output` of runs, or a `copy` of labels, findings or weights, of any name.

    Raises:
        SpecificationError: one of them would.
    """
    for name, pattern in _patterns(config):
        if _may_match(pattern, destination, use):
            raise SpecificationError(
                f"{key}: {destination} lies where {name} ({pattern}) looks for files: what is "
                "written there would be read as its own by the next audit. Choose a folder outside "
                f"of it, or narrow {name}"
            )


def check_files(config: AuditConfig, uris: Sequence[str], key: str) -> None:
    """Refuse files to be written that the specification's own patterns or names stand for.

    Args:
        config: whose data, labels and checkpoints.
        uris: of the files, local or of any store.
        key: how the place was given, for messages: `--to`.

    Raises:
        SpecificationError: one is named, or would be found.
    """
    labels = config.dataset.labels
    tables = [(f"dataset.labels.{form}", getattr(labels, form)) for form in _FORMS]
    for name, pattern in [*_patterns(config), *((n, p) for n, p in tables if isinstance(p, str))]:
        found = [uri for uri in uris if _stands_for(pattern, uri)]
        if found:
            raise SpecificationError(
                f"{key}: {found[0]} is among the files of {name} ({pattern}), and would be "
                "replaced or read as one of them. Choose another place"
            )


def _stands_for(pattern: str, uri: str) -> bool:
    pattern = _FIELD.sub(lambda field: "**" if field[0] in _WITH_FOLDERS else "*", pattern)
    if _scheme(pattern) != _scheme(uri):
        return False
    pairs = [(pattern, uri)]
    if not _scheme(pattern):
        pairs.append((_unlinked(pattern), _unlinked(uri)))
    return any(_is_one(_parts(each), _parts(file)) for each, file in pairs)


def _is_one(parts: list[str], names: list[str]) -> bool:
    """Whether the names of a pattern stand for those of a file, all of them."""
    if not parts or not names:
        return not parts and not names
    if parts[0] == "**":
        return _is_one(parts[1:], names) or _is_one(parts, names[1:])
    return fnmatchcase(names[0], parts[0]) and _is_one(parts[1:], names[1:])


def _patterns(config: AuditConfig) -> Iterator[tuple[str, str]]:
    dataset = config.dataset
    for uri in [dataset.uri] if isinstance(dataset.uri, str) else dataset.uri:
        yield "dataset.uri", uri
    for form in _FORMS:
        uri = getattr(dataset.labels, form)
        if isinstance(uri, str) and _FIELD.search(uri):
            yield f"dataset.labels.{form}", uri
    for uri in [config.checkpoints] if isinstance(config.checkpoints, str) else config.checkpoints:
        yield "checkpoints", uri


def _may_match(pattern: str, destination: str, use: Use) -> bool:
    """Whether the pattern could match a file below the destination."""
    # A key or a path has folders in it, a name or a stem none. Copies of labels stay out of the
    # folders of labels all the same: nobody could tell the one from the other.
    named = "**" if use == "copy" else "*"
    pattern = _FIELD.sub(lambda field: "**" if field[0] in _WITH_FOLDERS else named, pattern)
    if not _WILDCARD.search(pattern) or _scheme(pattern) != _scheme(destination):
        return False
    ending = _WILDCARD.split(pattern)[-1]
    if use == "output" and ending.endswith(_NEVER_IN_OUTPUTS):
        return False
    depth = _OUTPUT_DEPTH if use == "output" else 1
    as_given = _reaches(_parts(pattern), _parts(destination), depth)
    if as_given or _scheme(pattern):
        return as_given
    return _reaches(_parts(_unlinked(pattern)), _parts(_unlinked(destination)), depth)


def _unlinked(path: str) -> str:
    """A local path or pattern with the links before its first wildcard followed."""
    names = storage.path_of(path).split("/")
    fixed = next((at for at, name in enumerate(names) if _WILDCARD.search(name)), len(names))
    return "/".join([os.path.realpath("/".join(names[:fixed]) or "/"), *names[fixed:]])


def _scheme(uri: str) -> str:
    scheme, colon, _ = uri.partition("://")
    return scheme if colon and scheme != "file" else ""


def _parts(uri: str) -> list[str]:
    """The names of a path, `**` (also within a name) as one of its own."""
    names = storage.path_of(uri).strip("/").split("/")
    return ["**" if "**" in name else name for name in names]


def _reaches(parts: list[str], folders: list[str], depth: int) -> bool:
    """Whether a pattern goes on for `depth` names or more below a folder that it goes through."""
    if not folders:
        return "**" in parts or len(parts) >= depth
    if not parts:
        return False
    if parts[0] == "**":
        return _reaches(parts[1:], folders, depth) or _reaches(parts, folders[1:], depth)
    return fnmatchcase(folders[0], parts[0]) and _reaches(parts[1:], folders[1:], depth)
