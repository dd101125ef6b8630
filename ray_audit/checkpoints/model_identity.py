"""What a model is made of besides its specification: the factory's code, and files it is given.

A later run has to notice when they change. Code is digested without being imported: the files of
the factory's package, or of its module and those beside it that it imports. Of an installed
package the version counts.
"""

import ast
import hashlib
import importlib.util
import os
import re
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Any

from ray_audit import storage
from ray_audit.checkpoints.catalog import base_checkpoint
from ray_audit.config import ModelConfig
from ray_audit.errors import CheckpointError, StorageError
from ray_audit.processes import working_directory

WORKING_DIRECTORY = "RAY_AUDIT_WORKING_DIRECTORY"
"""Environment variable: the folder of the command, for the workers of a Ray that it starts."""
_OWN = __name__.partition(".")[0]
_MAX_FILES = 2000
_MAX_FILE_BYTES = 2**30
_LOOKS_LIKE_A_FILE = re.compile(r"[^\s]*[/\\][^\s]*\.\w{1,12}|\w+://\S+")


@dataclass(frozen=True)
class ModelIdentity:
    """What else a model depends on.

    Attributes:
        parts: names and digests; empty where there is nothing.
        notes: what could not be read, so that its change will not be noticed.
    """

    parts: tuple[str, ...]
    notes: tuple[str, ...]


def identity_of(config: ModelConfig) -> ModelIdentity:
    """Digest the code of a factory, the files in its arguments and the base of its weights."""
    made = identity_of_factory(config.factory, config.kwargs, "model.kwargs")
    if config.weights.base is None:
        return made
    base = f"model.weights.base {_digest_of_base(config.weights.base)}"
    return ModelIdentity((*made.parts, base), made.notes)


def identity_of_factory(factory: str, kwargs: Mapping[str, Any], section: str) -> ModelIdentity:
    """Digest the code of a factory and the files in its arguments.

    Args:
        factory: `package.module:function`.
        kwargs: its arguments.
        section: the key under which they are given, for notes.
    """
    see_working_directory()
    code, notes = _code_of(factory.partition(":")[0])
    parts = [*code]
    for key, value in _texts(kwargs, section):
        digest = _file_digest(value)
        if digest:
            parts.append(f"{key} {digest}")
        elif _LOOKS_LIKE_A_FILE.fullmatch(value):
            notes.append(
                f"{key} looks like a file and cannot be read here ({value}): a later run will not "
                "notice when it changes"
            )
    return ModelIdentity(tuple(parts), tuple(notes))


def _digest_of_base(uri: str) -> str:
    with suppress(CheckpointError):  # loading it says what is wrong
        return base_checkpoint(uri).digest
    return ""


def see_working_directory() -> None:
    """Let modules be found in the folder that a console script is run in, behind all others.

    A worker that Ray started for it may have been moved to another folder.
    """
    here = working_directory()
    for folder in (os.environ.get(WORKING_DIRECTORY, here), here):
        if folder and folder not in sys.path:
            sys.path.append(folder)


def _code_of(module: str) -> tuple[list[str], list[str]]:
    top = module.partition(".")[0]
    if top == _OWN:
        return [], []  # its records name their own version
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        return [], []  # it cannot be imported, which is said when it is called
    if spec.origin and _is_installed(spec.origin):
        return [f"code {top} {_version(top)}"], []
    if spec.submodule_search_locations:
        folders = [Path(location) for location in spec.submodule_search_locations]
        files = sorted(file for folder in folders for file in folder.rglob("*.py"))
        named = [(str(file.relative_to(_above(file, folders))), file) for file in files]
    elif spec.origin and Path(spec.origin).suffix == ".py":
        named = [(path.name, path) for path in _imported_siblings(Path(spec.origin))]
    else:
        named = []
    if not named or len(named) > _MAX_FILES:
        return [], [f"the code of {module} cannot be read: its changes will not be noticed"]
    return [f"code {name} {_digest(file)}" for name, file in named], []


def _above(file: Path, folders: Sequence[Path]) -> Path:
    return next(folder for folder in folders if folder in file.parents)


def _is_installed(origin: str) -> bool:
    paths = {sysconfig.get_paths()[name] for name in ("purelib", "platlib", "stdlib")}
    return origin in ("built-in", "frozen") or any(
        Path(path) in Path(origin).parents for path in paths
    )


def _version(top: str) -> str:
    names = packages_distributions().get(top, [top])
    try:
        return version(names[0])
    except PackageNotFoundError:
        return sys.version.partition(" ")[0]


def _imported_siblings(first: Path) -> list[Path]:
    """A module's file, and those in its folder that it imports, one after another."""
    found, waiting = {first}, [first]
    while waiting and len(found) <= _MAX_FILES:
        for name in _imports(waiting.pop()):
            paths = [first.parent / f"{name}.py", *sorted((first.parent / name).rglob("*.py"))]
            for file in paths:
                if file.is_file() and file not in found:
                    found.add(file)
                    waiting.append(file)
    return sorted(found)


def _imports(file: Path) -> set[str]:
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, OSError, RecursionError):
        return set()
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def _texts(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Texts anywhere in the arguments, with their dotted keys."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _texts(inner, f"{key}.{name}")
    elif isinstance(value, (list, tuple)):
        for place, inner in enumerate(value):
            yield from _texts(inner, f"{key}.{place}")


def _file_digest(text: str) -> str:
    """Of the file, or the files of the folder, that a text names; empty where it names none."""
    if "://" in text:
        try:
            (found,) = storage.list_objects(storage.escape_glob(text))
        except (StorageError, ValueError):
            return ""
        return storage.digest(found.size_bytes, found.etag)
    try:
        path = Path(text)
        if path.is_dir() and "/" in text:
            files = sorted(file for file in path.rglob("*") if file.is_file())
            if len(files) > _MAX_FILES:
                return ""
            return storage.digest([(str(o.relative_to(path)), _digest(o)) for o in files])
        return _digest(path) if path.is_file() else ""
    except (OSError, ValueError):  # no name that a file could have, say
        return ""


def _digest(file: Path) -> str:
    if file.stat().st_size > _MAX_FILE_BYTES:
        return storage.digest(file.stat().st_size, file.stat().st_mtime_ns)
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:32]
