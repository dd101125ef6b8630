"""The mask files of each video, found in one listing of the folder that holds them all."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from ray_audit import storage
from ray_audit.errors import LabelError
from ray_audit.formats.drawn_masks import named_parts
from ray_audit.formats.labels.classes import ClassNames
from ray_audit.formats.stacks.pattern import MaskFile, matching
from ray_audit.printable import few, plural
from ray_audit.samples import IGNORE, Shard
from ray_audit.sources.etags import by_content
from ray_audit.storage import StoredObject

_UNKNOWN = IGNORE - 1


def with_mask_folders(
    shards: Sequence[Shard],
    patterns: Sequence[str],
    stored: Mapping[str, StoredObject],
    classes: ClassNames | None,
) -> tuple[list[Shard], list[str]]:
    """Shards with the pattern of their masks, and with a digest of all files that it matches.

    And notes on images that have files of some classes, and none of others.

    Args:
        shards: videos.
        patterns: `labels.masks` filled in for each, empty where it has none.
        stored: all files of the folder, by URI.
        classes: that each file of one mask may name; None where each is the mask of a frame.

    Raises:
        LabelError: a file is a mask of two videos; or those of some images name classes, and those
            of others none.
    """
    uris = sorted(stored)
    found: list[list[MaskFile]] = []
    taken: dict[str, Shard] = {}
    for shard, pattern in zip(shards, patterns, strict=True):
        files = _files(pattern, uris, stored) if pattern else []
        for file in files:
            other = taken.setdefault(file.stored.uri, shard)
            if other is not shard:
                raise LabelError(
                    f"labels.masks: {file.stored.uri} would be a mask of {other.key} and of "
                    f"{shard.key}; put more of the video's name into the template"
                )
        found.append(files)
    notes = list[str]()
    if classes is not None:
        _check_named([files for files in found if files], classes)
        of_shards = zip(shards, found, strict=True)
        notes += _lacking({shard.key: files for shard, files in of_shards if files}, classes)
    digests = {o.uri: o for o in by_content([file.stored for files in found for file in files])}
    labelled = [
        _labelled(shard, pattern, [digests[file.stored.uri] for file in files], classes is None)
        for shard, pattern, files in zip(shards, patterns, found, strict=True)
    ]
    return labelled, notes


def _check_named(found: Sequence[Sequence[MaskFile]], classes: ClassNames) -> None:
    """Whether files name classes is one rule for all images: of one alone it cannot be told."""
    names = {file.part for files in found for file in files}
    classes_of = named_parts(sorted(names), classes)
    named = next((f for files in found for f in files if f.part in classes_of), None)
    without = [files[0] for files in found if not any(f.part in classes_of for f in files)]
    if named is not None and without:
        few_names = few(file.stored.uri for file in without)
        raise LabelError(
            f"labels.masks: the files of {plural(len(without), 'image')} name no class "
            f"({few_names}), and those of others do ({named.stored.uri}): name each after a class, "
            "or say what a name means in labels.values, such as "
            f"{{{without[0].part or without[0].stored.uri.rpartition('/')[2]}: void}}"
        )


def _lacking(found: Mapping[str, Sequence[MaskFile]], classes: ClassNames) -> Iterator[str]:
    """Classes of which an image has no file, where files name classes: no pixel is of them there.

    Args:
        found: the files of each image that has some, by its key.
        classes: that they may name.
    """
    names = {file.part for files in found.values() for file in files}
    classes_of = named_parts(sorted(names), classes)
    if not classes_of:
        return
    there = {key: {classes_of.get(file.part) for file in files} for key, files in found.items()}
    under_all = int(classes.numbers_table(0, unknown=_UNKNOWN)[0])  # what no file claims
    for index, name in enumerate(classes.classes):
        without = [key for key, present in there.items() if index not in present]
        if not without or index == under_all:
            continue
        if len(without) == len(there):
            yield f"no file of labels.masks names class {name!r}: no pixel is of that class"
        else:
            yield (
                f"{len(without)} of {plural(len(there), 'image')} have no mask file of class "
                f"{name!r} ({few(without)}): none of their pixels is taken to be of that class. "
                "Where a file was lost, leave these images out (dataset.split)"
            )


def _files(pattern: str, uris: Sequence[str], stored: Mapping[str, StoredObject]) -> list[MaskFile]:
    """Only what begins as the pattern does is looked at: a dataset may have a million masks."""
    prefix = pattern[: pattern.index("*")]
    start, stop = bisect_left(uris, prefix), bisect_left(uris, prefix + "\U0010ffff")
    candidates = [stored[uri] for uri in uris[start:stop]]
    return matching(pattern, candidates)


def _labelled(shard: Shard, pattern: str, files: Sequence[StoredObject], are_frames: bool) -> Shard:
    if not files:
        return replace(shard, num_labelled=0)
    digest = storage.digest(*(f"{item.uri}\x1e{item.size_bytes}\x1e{item.etag}" for item in files))
    return replace(
        shard,
        label_uri=pattern,
        label_digest=digest,
        num_labelled=len(files) if are_frames else None,
    )
