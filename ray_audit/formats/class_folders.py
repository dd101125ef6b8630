"""A folder per class: images move with their label, so the images themselves are copied."""

import re

from ray_audit import storage
from ray_audit.config import DatasetConfig
from ray_audit.errors import SpecificationError
from ray_audit.formats.label_changes import LabelChanges, Progress, WrittenLabels
from ray_audit.formats.labels.classes import ClassNames
from ray_audit.formats.labels.names import fill_template, stem_of
from ray_audit.formats.labels.relabel import relabelled
from ray_audit.formats.places import absolute, below
from ray_audit.formats.video.stills import is_folder
from ray_audit.sample_ids import Owner
from ray_audit.samples import Shard


def check_folders(shards: tuple[Shard, ...]) -> None:
    """Refuse keys that do not hold the class folder.

    Raises:
        SpecificationError: says how to write `dataset.uri`.
    """
    flat = next((shard.key for shard in shards if "/" not in shard.key), None)
    if flat is not None:
        raise SpecificationError(
            f"labels.folder: the key {flat!r} does not hold its class folder, so a copy cannot be "
            "told apart by class; write dataset.uri with a wildcard for it, such as data/*/*.png"
        )


def write_folders(
    dataset: DatasetConfig,
    shards: tuple[Shard, ...],
    changes: LabelChanges,
    to_uri: str,
    progress: Progress,
) -> WrittenLabels:
    """Copy every image into the folder of its class.

    This costs a copy of the whole dataset; within one object store the bytes stay there. An image
    with a new class gets a new key, and where another image has that key already, `_from_<old
    folder>` after its stem.
    What `dataset.split` and `dataset.fold` leave out is not copied, and the copy is read without
    them.
    """
    classes = ClassNames.of(dataset)
    taken = {shard.key for shard in shards}
    renamed: dict[str, str] = {}
    for shard in shards:
        new = changes.classes.get(Owner(shard.key))
        if new is not None:
            renamed[shard.key] = _moved(shard.key, new, classes, taken, dataset.labels.match)
            taken.add(renamed[shard.key])
    for num_done, shard in enumerate(shards):
        progress("copying images", num_done, len(shards))
        _copy(shard.uri, below(to_uri, renamed.get(shard.key, shard.key)))
    depths = {shard.key.count("/") for shard in shards}
    pattern = "/".join(["*"] * (1 + depths.pop())) if len(depths) == 1 else "**/*"
    is_of_folders = all(is_folder(shard.uri) for shard in shards)
    uri = storage.join(absolute(to_uri), pattern) + "/" * is_of_folders
    # The copy holds only what split and fold name. They go by keys, and would lose the renamed.
    update = {"uri": uri, "split": None, "fold": None}
    return WrittenLabels(dataset.model_copy(update=update), renamed)


def _copy(uri: str, target: str) -> None:
    """Copy a file, or all files of a folder of frames."""
    if not is_folder(uri):
        storage.copy(uri, target)
        return
    for item in storage.list_prefix(uri):
        storage.copy(item.uri, below(target, item.uri.rsplit("/", 1)[-1]))


def _moved(
    key: str, class_index: int, classes: ClassNames, taken: set[str], match: str | None
) -> str:
    if match is not None:
        return _renamed(key, class_index, classes, taken, match)
    above, folder, name = ["", *key.rsplit("/", 2)][-3:]
    to_folder = str(relabelled(folder, class_index, classes))
    prefix = f"{above}/{to_folder}/" if above else f"{to_folder}/"
    stem, extension = stem_of(name), name[len(stem_of(name)) :]
    while prefix + stem + extension in taken:
        stem += f"_from_{folder}"
    return prefix + stem + extension


def _renamed(key: str, class_index: int, classes: ClassNames, taken: set[str], match: str) -> str:
    """The key with another class where the pattern found one."""
    found = re.search(match, key)
    assert found is not None  # else it would have no label
    start, stop = found.span(1)
    new = key[:start] + str(relabelled(found[1], class_index, classes)) + key[stop:]
    stem = fill_template("{path}", new)
    extension = new[len(stem) :]
    while stem + extension in taken:
        stem += f"_from_{found[1]}"
    return stem + extension
