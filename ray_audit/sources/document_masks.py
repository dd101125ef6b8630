"""Masks that a COCO document describes: which images have one, and what is said of each."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray_audit import storage
from ray_audit.config import DatasetConfig
from ray_audit.errors import LabelError, SpecificationError
from ray_audit.formats.contents import owner_names
from ray_audit.formats.drawn_masks import described_images, described_segments, write_described
from ray_audit.formats.labels.nested_json import load_document
from ray_audit.formats.registry import known_format
from ray_audit.printable import few
from ray_audit.samples import Shard


def with_drawn_masks(
    dataset: DatasetConfig, shards: Sequence[Shard], index_dir: Path
) -> tuple[list[Shard], list[str]]:
    """Shards whose masks are drawn of the objects of a document; and notes.

    Raises:
        LabelError: the document names none of the images, or lacks what is needed.
        SpecificationError: the images are no files of their own.
    """
    uri, document = _document_beside(shards, dataset)
    named = described_images(uri, document)
    names = owner_names(shards, dataset.labels, "file_name")
    described: dict[str, dict[str, Any]] = {}
    unmatched = []
    for name, image in named.items():
        owner = names.find(name) or names.find(name.rsplit("/", 1)[-1])
        if owner is None:
            unmatched.append(name)
        elif described.setdefault(owner.shard_key, image) is not image:
            raise LabelError(f"{uri}: two of its images are {owner.shard_key}")
    if not described:
        raise LabelError(
            f"{uri}: no image of it is one of the {len(shards)} files; it names {few(named)}, the "
            f"files are {few(shard.key for shard in shards)}"
        )
    digests = write_described(index_dir, described)
    labelled = [
        replace(shard, label_uri=uri, label_digest=digests[shard.key])
        if shard.key in digests
        else replace(shard, num_labelled=0)
        for shard in shards
    ]
    note = f"masks of {len(unmatched)} images match no file: {few(unmatched)}"
    return labelled, [note] if unmatched else []


def with_segments(
    dataset: DatasetConfig, shards: Sequence[Shard], index_dir: Path
) -> tuple[list[Shard], list[str]]:
    """Shards with mask files, and what a panoptic document says of each; masks without are left.

    Raises:
        LabelError: the document names none of the masks, or lacks what is needed.
        SpecificationError: the images are no files of their own.
    """
    uri, document = _document_beside(shards, dataset)
    named = described_segments(uri, document)
    files = {s.key: str(s.label_uri).rsplit("/", 1)[-1] for s in shards if s.label_uri}
    described = {key: named[file] for key, file in files.items() if file in named}
    if not described:
        raise LabelError(
            f"{uri}: it says nothing of any of the {len(files)} masks; it names {few(named)}, the "
            f"masks are {few(files.values())}"
        )
    digests = write_described(index_dir, described)
    labelled = [
        replace(shard, label_digest=storage.digest(shard.label_digest, digests[shard.key]))
        if shard.key in digests
        else replace(shard, label_uri=None, label_digest="")
        for shard in shards
    ]
    without = [file for key, file in files.items() if key not in described]
    note = f"{uri} says nothing of {len(without)} masks, which are left out: {few(without)}"
    return labelled, [note] if without else []


def _document_beside(shards: Sequence[Shard], dataset: DatasetConfig) -> tuple[str, Any]:
    """Where the document is, and what it holds; the images must be files of their own."""
    form = known_format(shards[0].key)
    if form.holds_several or form.is_volume:
        raise SpecificationError(
            f"labels.masks: masks of a COCO document go with image files; {shards[0].key} is "
            f"{form.name}"
        )
    uri = str(dataset.labels.document)
    with storage.open_read(uri) as stream:
        return uri, load_document(uri, stream)
