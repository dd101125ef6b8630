"""Masks that a COCO document describes: drawn of its objects, or PNG files of its segments.

What a document says of each image is kept beside the label index, ordered by key: a unit reads its
own part, and never the document.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ray_audit import parquet_io, storage
from ray_audit.config import DatasetConfig, Overlap
from ray_audit.config.categories import categories_of, reserved_numbers
from ray_audit.errors import LabelError, SampleError
from ray_audit.formats.accounting import of_labels
from ray_audit.formats.labels.classes import ClassNames
from ray_audit.formats.labels.nested_json import coco_image_name
from ray_audit.formats.pixels.encoding import read_labels
from ray_audit.formats.pixels.pictures import read_mask
from ray_audit.formats.pixels.polygons import segment_runs
from ray_audit.formats.stacks.pattern import has_star, listed_files
from ray_audit.samples import IGNORE, Shard

INDEX = "masks.parquet"
_ROW_GROUP_ROWS = 64
_SCHEMA = pa.schema([("shard", pa.string()), ("content", pa.string())])
_UNCLAIMED = -1
_BACKGROUND = "background"

Described = dict[str, Any]


def described_images(uri: str, document: Any) -> dict[str, Described]:
    """What a COCO document says of each of its images, by file name.

    Returns:
        `size` (H, W), the numbers `background` and `dropped`, and `objects`: of each its category,
        whether it is a crowd, and its segmentation.

    Raises:
        LabelError: it lacks what is needed.
    """
    try:
        background, dropped = reserved_numbers(categories_of(uri, document))
        found: dict[Any, Described] = {}
        names: dict[str, Described] = {}
        for image in document["images"]:
            described = {
                "size": [int(image["height"]), int(image["width"])],
                "background": background,
                "dropped": dropped,
                "objects": [],
            }
            found[image["id"]] = described
            name = coco_image_name(image)
            if names.setdefault(name, described) is not described:
                raise LabelError(f"{uri}: two images are called {name}")
        for annotation in document["annotations"]:
            if not annotation.get("segmentation"):  # exports of boxes have null, or an empty list
                raise LabelError(
                    f"{uri}: annotation {annotation.get('id')} has no segmentation: boxes alone "
                    "make no mask; audit one label an image with labels.images, or give masks"
                )
            crowd = bool(annotation.get("iscrowd", 0))
            shape = [int(annotation["category_id"]), crowd, annotation["segmentation"]]
            found[annotation["image_id"]]["objects"].append(shape)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LabelError(f"{uri}: no COCO document of masks: {error!r}") from error
    return names


def described_segments(uri: str, document: Any) -> dict[str, Described]:
    """What a COCO panoptic document says of each of its masks, by the mask's file name.

    Returns:
        `segments`: category of each segment's number (as text).

    Raises:
        LabelError: it lacks what is needed.
    """
    try:
        background, _ = reserved_numbers(categories_of(uri, document))
        return {
            str(annotation["file_name"]): {
                "background": background,
                "segments": {
                    str(int(s["id"])): int(s["category_id"]) for s in annotation["segments_info"]
                },
            }
            for annotation in document["annotations"]
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LabelError(f"{uri}: no COCO panoptic document: {error!r}") from error


def write_described(folder: Path, described: Mapping[str, Described]) -> dict[str, str]:
    """Write what is said of each shard; returns a digest of each."""
    folder.mkdir(parents=True, exist_ok=True)
    digests: dict[str, str] = {}
    keys = sorted(described)
    with pq.ParquetWriter(folder / INDEX, _SCHEMA, compression="zstd") as writer:
        for start in range(0, len(keys), _ROW_GROUP_ROWS):
            some = keys[start : start + _ROW_GROUP_ROWS]
            contents = [json.dumps(described[key]) for key in some]
            digests |= {k: storage.digest(c) for k, c in zip(some, contents, strict=True)}
            writer.write_table(pa.table({"shard": some, "content": contents}, _SCHEMA))
    return digests


class StoredMasks:
    """Reads the masks of some images, whatever they are made of.

    Args:
        dataset: with masks of image files.
        index_uri: where what a document says lies, if there is one.
        shards: whose masks will be asked for.

    Raises:
        StorageError: the index cannot be read.
    """

    def __init__(
        self, dataset: DatasetConfig, index_uri: str | None, shards: Sequence[Shard]
    ) -> None:
        self._dataset = dataset
        self._described: dict[str, str] = {}
        keys = sorted(shard.key for shard in shards if shard.label_uri is not None)
        if dataset.labels.document is not None and keys:
            if index_uri is None:
                raise LabelError(f"{keys[0]}: its mask is in the label index; give its URI")
            self._described = dict(_read(storage.join(index_uri, INDEX), keys))

    def stored(self, shard: Shard) -> bytes | np.ndarray | None:
        """Bytes of a mask file, or (H, W) numbers of a drawn mask; None where there is none.

        Raises:
            SampleError: a mask cannot be drawn.
            StorageError: a mask file cannot be read.
        """
        if shard.label_uri is None:
            return None
        if has_star(shard.label_uri):
            return merged_masks(shard.label_uri, self._dataset)
        if self._dataset.labels.document is None:
            return storage.read_bytes(shard.label_uri)
        described = json.loads(self._described[shard.key])
        if "segments" in described:
            content = storage.read_bytes(shard.label_uri)
            return _of_segments(content, described, self._dataset.max_px)
        return drawn_mask(described, self._dataset.labels.overlap, self._dataset.max_px)


def _read(uri: str, keys: Sequence[str]) -> Iterator[tuple[str, str]]:
    requested = set(keys)
    with storage.open_read(uri) as stream, storage.explained("read", uri):
        table = parquet_io.open_file(stream)
        for group in range(table.num_row_groups):
            statistics = table.metadata.row_group(group).column(0).statistics
            if statistics.max < keys[0] or statistics.min > keys[-1]:
                continue
            rows = table.read_row_group(group)
            pairs = zip(rows["shard"].to_pylist(), rows["content"].to_pylist(), strict=True)
            yield from ((key, content) for key, content in pairs if key in requested)


def drawn_mask(described: Described, overlap: Overlap, max_px: float) -> np.ndarray:
    """Draw the objects of an image: crowds first, then the others in the document's order.

    Args:
        described: see `described_images`.
        overlap: where two objects lie: the last or the first stays; drop leaves it out, of objects
            of two categories.
        max_px: a larger mask is refused.

    Returns:
        (H, W) int32 numbers of categories, and `background` and `dropped`.

    Raises:
        SampleError: `mask_format` or `too_large`.
    """
    height, width = described["size"]
    if height < 1 or width < 1 or height * width > max_px:
        raise SampleError("too_large", f"the document gives the image a size of {height} x {width}")
    flat = np.full(height * width, _UNCLAIMED, np.int32)  # runs go down the columns
    dropped = np.zeros(len(flat), bool) if overlap == "drop" else None
    objects = sorted(described["objects"], key=lambda item: not item[1])
    for number, (category, is_crowd, segmentation) in enumerate(objects):
        try:
            runs = segment_runs(segmentation, (height, width))
        except ValueError as error:
            raise SampleError("mask_format", f"object {number} of the image: {error}") from error
        for start, stop in runs.tolist():
            part = flat[start:stop]
            if dropped is not None and not is_crowd:
                dropped[start:stop] |= (part != _UNCLAIMED) & (part != category)
            if overlap == "first" and not is_crowd:
                part[part == _UNCLAIMED] = category
            else:
                part[:] = category
    flat[flat == _UNCLAIMED] = described["background"]
    if dropped is not None:
        flat[dropped] = described["dropped"]
    return np.ascontiguousarray(flat.reshape(width, height).T)


def merged_masks(pattern: str, dataset: DatasetConfig) -> np.ndarray:
    """The mask that several files of one image make: pixels above 0, later files above earlier.

    Where what the last `*` stands for is a class's name (or a text in `values`), in any case, the
    pixels of that file are of this class; the files of a dataset name classes all, or none does,
    and their pixels keep their values.

    Args:
        pattern: of the files.
        dataset: says how masks are stored.

    Returns:
        (H, W) integers.

    Raises:
        SampleError: sizes differ, a file is no mask of one channel, only some name a class, or
            pixels of no file would be of a class that has one.
        StorageError: the folder cannot be listed, or a file not be read.
    """
    classes, merged = ClassNames.of(dataset), np.zeros((0, 0), np.bool_)
    claimed = merged
    files = listed_files(pattern)
    named = _named_all([file.part for file in files], classes)
    for number, file in enumerate(files):
        uri = file.stored.uri
        with of_labels(f" (mask {uri})"):
            mask = read_labels(storage.read_bytes(uri), dataset, classes)
        if number == 0:
            claimed = merged = np.zeros(mask.shape[:2], np.bool_)
        if mask.shape != merged.shape:
            raise SampleError(
                "mask_size", f"{uri} is {mask.shape}, the files before it {merged.shape}"
            )
        values = _number_of(named[file.part], classes) if named else mask
        merged, claimed = np.where(mask > 0, values, merged), claimed | (mask > 0)
    _check_unclaimed(claimed, named, classes)
    return _numbers_of_truths(merged, classes) if merged.dtype.kind == "b" else merged


def _check_unclaimed(claimed: np.ndarray, named: dict[str, int], classes: ClassNames) -> None:
    """Pixels of no file are stored as 0: that must not be a class which has a file of its own."""
    num = int((~claimed).sum())
    of_zero = [index for index in named.values() if index != IGNORE]
    of_zero = [index for index in of_zero if 0 in classes.numbers_of(index)]
    if not num or not of_zero or classes.classes[of_zero[0]].lower() == _BACKGROUND:
        return
    name = classes.classes[of_zero[0]]
    raise SampleError(
        "mask_format",
        f"{num} pixels are in none of the files, and would be {name!r}, the class that is stored "
        f"as 0, which has a file of its own: put a class for them first, such as classes: "
        f"[{_BACKGROUND}, {', '.join(classes.classes[:2])}, ...]",
    )


def _numbers_of_truths(merged: np.ndarray, classes: ClassNames) -> np.ndarray:
    """Masks that were all truth values as numbers, which any file can hold."""
    try:
        false, true = (_number_of(classes.parse(truth), classes) for truth in (False, True))
    except ValueError as error:
        raise SampleError("label_outside", f"mask: {error}") from None
    return np.where(merged, np.int32(true), np.int32(false))


def named_parts(parts: Sequence[str], classes: ClassNames) -> dict[str, int]:
    """The class that parts of files' names mean, of those that mean one.

    Args:
        parts: what the last `*` of the pattern stands for in each name.
        classes: their names, and texts of `labels.values`, in any case.
    """
    texts = {name: at for at, name in enumerate(classes.classes)}
    texts |= {} if classes.values is None else classes.values.texts
    in_small = {text.lower(): at for text, at in texts.items()}
    found = {part: texts.get(part, in_small.get(part.lower())) for part in parts}
    return {part: at for part, at in found.items() if at is not None}


def _named_all(parts: Sequence[str], classes: ClassNames) -> dict[str, int]:
    """The class of each file of an image; empty where none means one."""
    named = named_parts(parts, classes)
    unnamed = [part for part in parts if part not in named]
    if named and unnamed:
        raise SampleError(
            "mask_format",
            f"masks of one image are named after a class ({', '.join(named)}) and after none "
            f"({', '.join(unnamed[:4])}): name each after a class, or say what it means in "
            f"labels.values, such as {{{unnamed[0]}: void}}",
        )
    return named


def _number_of(index: int, classes: ClassNames) -> int:
    numbers = sorted(classes.void_numbers) if index == IGNORE else classes.numbers_of(index)
    if not numbers:
        raise SampleError("mask_format", "labels.values: give the class of a file a number, too")
    return numbers[0]


def _of_segments(content: bytes, described: Described, max_px: float) -> np.ndarray:
    colours = read_mask(content, max_px, None, colours=True).astype(np.int32)
    ids = colours if colours.ndim == 2 else colours @ np.array([1, 256, 65536], np.int32)
    numbers, places = np.unique(ids, return_inverse=True)
    categories = {0: described["background"]}
    categories |= {int(number): category for number, category in described["segments"].items()}
    unknown = [number for number in numbers.tolist() if number not in categories]
    if unknown:
        raise SampleError(
            "label_outside", f"the mask has a segment {unknown[0]}, of which the document says none"
        )
    table = np.array([categories[number] for number in numbers.tolist()], np.int32)
    return table[places.reshape(ids.shape)]
