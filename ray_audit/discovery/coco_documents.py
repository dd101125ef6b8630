"""COCO documents of objects beside images: masks are drawn of them."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from ray_audit import storage
from ray_audit.config.categories import categories_of
from ray_audit.discovery.guess import Guess
from ray_audit.discovery.kinds_of_files import not_for_training
from ray_audit.discovery.media_groups import MediaGroup, media_groups
from ray_audit.discovery.tree import Tree, folder_of
from ray_audit.errors import RayAuditError
from ray_audit.formats.labels.nested_json import coco_image_name, load_document, looks_like_coco

_NUM_DOCUMENTS = 8
_MAX_BYTES = 2**29
_LEAST_FRACTION = 0.5
_BACKGROUND = "background"


def coco_proposals(tree: Tree) -> Iterator[Guess]:
    """Images whose objects a COCO document outlines; those for training first."""
    paths = [p for p in tree.files if p.lower().endswith(".json") and tree.sizes[p] < _MAX_BYTES]
    paths.sort(key=lambda path: (not_for_training(path), path.count("/"), path))
    for path in paths[:_NUM_DOCUMENTS]:
        with suppress(RayAuditError, OSError, ValueError, KeyError, TypeError, AttributeError):
            document = _coco(tree, path)
            if document is not None:
                yield from _of_document(tree, path, document)


def _coco(tree: Tree, path: str) -> Any:
    uri = tree.at(path)
    with storage.open_read(uri, tree.sizes[path]) as stream:
        return load_document(uri, stream) if looks_like_coco(stream) else None


def _of_document(tree: Tree, path: str, document: dict[str, Any]) -> Iterator[Guess]:
    first = document["annotations"][0]
    names = list(categories_of(path, document).values())
    images = [coco_image_name(image).rsplit("/", 1)[-1] for image in document["images"]]
    if "segments_info" in first:
        yield from _panoptic(tree, path, names, images, document)
    elif first.get("segmentation"):
        group = _group_of(tree, path, images)
        if group is not None:
            has_background = any(name.lower() == _BACKGROUND for name in names)
            classes = names if has_background else [_BACKGROUND, *names]
            dataset = {
                "kind": "images",
                "uri": group.uri(tree),
                "labels": {"masks": tree.at(path)},
                "classes": classes,
            }
            assumed = (
                f"masks are drawn of the objects in {path}: later annotations lie above earlier "
                "ones (labels.overlap), crowds below all",
                *(() if has_background else ("pixels of no object are a class of their own",)),
                *_parts(group),
            )
            yield Guess("images with the objects of a COCO document", dataset, assumed)


def _panoptic(
    tree: Tree, path: str, names: list[str], images: list[str], document: dict[str, Any]
) -> Iterator[Guess]:
    masks = {str(annotation["file_name"]) for annotation in document["annotations"]}
    found = [p for p in tree.files if p.rsplit("/", 1)[-1] in masks]
    folders = {folder_of(p) for p in found}
    group = _group_of(tree, path, images, frozenset(found))
    if group is None or len(folders) != 1:
        return
    dataset = {
        "kind": "images",
        "uri": group.uri(tree),
        "labels": {
            "masks": tree.at(f"{folders.pop()}/{{stem}}.png"),
            "panoptic": tree.at(path),
        },
        "classes": names,
    }
    assumed = (f"{path} says what category each segment of the masks has", *_parts(group))
    yield Guess("images with panoptic masks", dataset, assumed)


def _group_of(
    tree: Tree, path: str, names: list[str], excluded: frozenset[str] = frozenset()
) -> MediaGroup | None:
    """The images that a document names; of several parts the one that lies with the document."""
    requested, own = set(names), folder_of(path)

    def is_named(file: str) -> bool:
        return file.rsplit("/", 1)[-1] in requested and file not in excluded

    nearby = media_groups(tree, "images", lambda p: is_named(p) and folder_of(p) == own)
    for group in [*nearby, *media_groups(tree, "images", is_named)]:
        few = min(len(requested), len(group.files))
        if few and len(group.files) >= _LEAST_FRACTION * few:
            return group
    return None


def _parts(group: MediaGroup) -> tuple[str, ...]:
    return (f"only the part for training: {', '.join(group.others)}",) if group.others else ()
