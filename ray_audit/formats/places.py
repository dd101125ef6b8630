"""Where the files of a copy go: always below its folder, whatever they are named."""

import os

from ray_audit import archives, storage
from ray_audit.claims import files_in
from ray_audit.errors import SpecificationError
from ray_audit.sample_ids import shard_keys
from ray_audit.samples import Shard

SPECIFICATION = "spec.yaml"  # written last into a copy: what has one is finished


def below(folder: str, name: str) -> str:
    """The URI of `name` (a path with `/`) below `folder`.

    Raises:
        SpecificationError: the name would lead out of the folder.

    >>> below("s3://b/copy", "a/x.png")
    's3://b/copy/a/x.png'
    """
    parts = name.split("/")
    if not name or any(part in ("", ".", "..") for part in parts) or "\\" in name or "\0" in name:
        raise SpecificationError(
            f"{name!r} cannot be the name of a file below {folder}: expected a plain relative path"
        )
    return storage.join(folder, name)


def absolute(uri: str) -> str:
    """A URI that means the same from every working directory.

    >>> absolute("s3://b/x"), absolute("/a/../b")
    ('s3://b/x', '/b')
    """
    return uri if "://" in uri else os.path.abspath(uri) + "/" * uri.endswith("/")


def check_target(to_uri: str) -> None:
    """Refuse a target that holds files already, or whose name would read as a pattern.

    What an interrupted call left there is no reason: its claim says who may go on.

    Raises:
        SpecificationError: says what to do.
        StorageError: the store cannot be listed.
    """
    if "{" in to_uri or storage.has_wildcard(to_uri):
        raise SpecificationError(f"{to_uri}: choose a target without {{, *, ? and [ in its name")
    is_claimed, is_filled = files_in(to_uri)
    if is_filled and not (is_claimed and not storage.exists(storage.join(to_uri, SPECIFICATION))):
        raise SpecificationError(
            f"{to_uri} is not empty: labels are never written in place or over others; choose a "
            "new folder"
        )


def copied_uri(uri: str | list[str], shards: tuple[Shard, ...], folder: str) -> str | list[str]:
    """`dataset.uri` of shards that were copied below `folder` under their keys."""
    if isinstance(uri, str) and uri.lower().endswith(archives.ENDING):
        endings = {os.path.splitext(shard.key)[1] for shard in shards}
        return storage.join(folder, f"**/*{endings.pop() if len(endings) == 1 else ''}")
    if isinstance(uri, str):
        (tail,) = shard_keys(uri, [uri])
        return storage.join(folder, tail)
    return [storage.join(folder, storage.escape_glob(shard.key)) for shard in shards]


def template_tail(template: str) -> str:
    """What of a template lies below its fixed folder.

    >>> template_tail("s3://b/masks/{path}.png")
    '{path}.png'
    """
    return template[len(fixed_folder(template)) :].removeprefix("/")


def file_below(template: str, label_uri: str) -> str:
    """Path of a label file below the fixed folder of its template.

    Where a table names it: below the nearest folder above both it and the table.

    Raises:
        SpecificationError: it and its table lie in different stores.
    """
    if not set("{*") & set(template):
        return _below_shared(template, label_uri)
    folder = str(storage.filesystem(fixed_folder(template) or ".")[1])
    path = str(storage.filesystem(label_uri)[1])
    return path[len(folder.rstrip("/")) + 1 :]


def _below_shared(table: str, uri: str) -> str:
    """A path below the nearest folder above both it and a table.

    >>> _below_shared("/d/lists/train.csv", "/d/masks/x.png")
    'masks/x.png'
    """
    own, other = (str(storage.filesystem(address)[1]).split("/") for address in (table, uri))
    pairs = enumerate(zip(own[:-1], other[:-1], strict=False))
    shared = next((at for at, (a, b) in pairs if a != b), min(len(own), len(other)) - 1)
    if not shared:
        raise SpecificationError(f"{uri} lies in another store than its table {table}")
    return "/".join(other[shared:])


def fixed_folder(template: str) -> str:
    """The folder in which all files of a template lie: what comes before its fields and stars.

    >>> fixed_folder("s3://b/masks/{path}.png"), fixed_folder("m/*/{stem}.png")
    ('s3://b/masks', 'm')
    """
    places = [template.index(mark) for mark in "{*" if mark in template]
    return template[: min(places)].rpartition("/")[0]
