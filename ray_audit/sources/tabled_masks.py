"""Images whose masks a table names."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import takewhile

from ray_audit import storage
from ray_audit.config import DatasetConfig
from ray_audit.errors import LabelError
from ray_audit.formats.contents import owner_names
from ray_audit.formats.labels.names import OwnerNames
from ray_audit.formats.mask_tables import MaskRow, mask_rows
from ray_audit.printable import few, plural
from ray_audit.samples import Shard
from ray_audit.sources.etags import by_content, with_values
from ray_audit.stored_objects import StoredObject

_MOST_LISTED = 64


def with_masks_of_table(
    dataset: DatasetConfig, shards: list[Shard]
) -> tuple[list[Shard], list[str]]:
    """Shards with the mask files that `labels.masks`, a table, names; and notes.

    Raises:
        LabelError: the table is wrong, names no image of the dataset, or one mask of two images;
            or none of the masks that it names is there.
        StorageError: it cannot be read, or a folder of masks not be listed.
    """
    uri = str(dataset.labels.masks)
    names = owner_names(shards, dataset.labels, dataset.labels.columns.image)
    found, unmatched = _matched(uri, mask_rows(dataset.labels), names)
    if not found:
        raise LabelError(
            f"{uri}: no row names one of the {len(shards)} files; the table names "
            f"{few(unmatched) or 'none'}, the files are {few(shard.key for shard in shards)}"
        )
    listed_as = {row.mask: _listed_as(row.mask) for row in found.values()}
    stored = _stored(listed_as)
    gone = [row.mask for row in found.values() if listed_as[row.mask] not in stored]
    if len(gone) == len(found):
        raise LabelError(
            f"{uri}: none of the {len(found)} masks that it names is there; the first is {gone[0]}."
            " Paths of masks are below the table's folder, or one above it"
        )
    notes = [f"no file for {plural(len(gone), 'mask')} of {uri}: {few(gone)}"] * bool(gone)
    if unmatched:
        notes.append(f"no file for {plural(len(unmatched), 'image')} of {uri}: {few(unmatched)}")
    rows = {key: stored.get(listed_as[row.mask]) for key, row in found.items()}
    return [_with_mask(shard, rows.get(shard.key)) for shard in shards], notes


def _matched(
    uri: str, rows: Iterable[MaskRow], names: OwnerNames
) -> tuple[dict[str, MaskRow], list[str]]:
    """The row of each image, by key; and the names of images that are no file."""
    found: dict[str, MaskRow] = {}
    taken: dict[str, MaskRow] = {}
    unmatched: dict[str, None] = {}
    for row in rows:
        try:
            owner = names.find(row.image)
        except LabelError as error:
            raise LabelError(f"{uri}, row {row.row}: {error}") from None
        if owner is None:
            unmatched[row.image] = None
        elif row.mask:
            for other in (found.get(owner.shard_key), taken.get(row.mask)):
                if other is not None and other[1:] != row[1:]:
                    raise LabelError(
                        f"{uri}: rows {other.row} and {row.row} pair {other.image} with "
                        f"{other.mask} and {row.image} with {row.mask}; an image has one mask, "
                        "and a mask one image"
                    )
            found[owner.shard_key] = taken[row.mask] = row
    return found, list(unmatched)


def _stored(listed_as: Mapping[str, str]) -> dict[str, StoredObject]:
    """The mask files that are there, by URI: their folders are listed, or one above many."""
    folders = sorted({mask.rpartition("/")[0] for mask in listed_as})
    if len(folders) > _MOST_LISTED:
        pairs = zip(folders[0].split("/"), folders[-1].split("/"), strict=False)
        folders = ["/".join(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))]
    requested = set(listed_as.values())
    listed = (item for folder in folders for item in storage.list_prefix(folder))
    there = {item.uri: item for item in listed if item.uri in requested}
    return {item.uri: item for item in with_values(by_content(list(there.values())))}


def _listed_as(uri: str) -> str:
    """A URI as a listing shows it."""
    fs, path = storage.filesystem(uri)
    protocol = fs.protocol if isinstance(fs.protocol, str) else fs.protocol[0]
    return str(path) if protocol == "file" else f"{protocol}://{path}"


def _with_mask(shard: Shard, item: StoredObject | None) -> Shard:
    if item is None:
        return replace(shard, num_labelled=0)
    digest = storage.digest(item.size_bytes, item.etag)
    return replace(shard, label_uri=item.uri, label_digest=digest)
