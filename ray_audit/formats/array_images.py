"""Images along the first axis of an array, with labels in another array or in a table."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ray_audit.config import LabelsConfig
from ray_audit.errors import SampleError, SpecificationError
from ray_audit.formats.array_files import ArrayFile
from ray_audit.formats.array_labels import flat_labels
from ray_audit.formats.base import Item, table_labels
from ray_audit.formats.job import UnitContext
from ray_audit.formats.labels.cells import label_of, text_of
from ray_audit.formats.labels.classes import named_otherwise
from ray_audit.formats.pixels.encoding import whole_numbers
from ray_audit.formats.pixels.opened import check_num_px
from ray_audit.sample_ids import Owner
from ray_audit.samples import Shard

_ROWS = 64


def check_columns(shard: Shard, found: list[str], labels: LabelsConfig) -> None:
    """Refuse a file that lacks an array.

    Raises:
        SpecificationError: names it, and those that there are.
    """
    columns = [labels.image_column, labels.column, labels.key_column, labels.masks]
    missing = [column for column in columns if column and column not in found]
    if missing:
        few = ", ".join(map(repr, found[:8])) + (", ..." if len(found) > 8 else "")
        raise SpecificationError(
            f"dataset: {shard.key} has no array {', '.join(map(repr, missing))}; it has {few}. "
            "See dataset.labels.column, masks, image_column, key_column"
        )


def num_rows(file: ArrayFile, labels: LabelsConfig) -> int:
    """How many images a file has.

    Raises:
        SampleError: they have no pixels, so that a header of no size may claim any number of them.
    """
    shape = file.shape(labels.image_column)
    if labels.image_axis == "last":
        shape = (*shape[-1:], *shape[:-1])
    if 0 in shape[1:] and shape[0]:
        raise SampleError("array_shape", f"images of shape {shape[1:]} have no pixels")
    return shape[0] if shape else 0


def array_items(shard: Shard, file: ArrayFile, job: UnitContext) -> Iterator[Item]:
    """The images of a file, not yet decoded, a few at a time.

    Raises:
        SampleError: arrays of other lengths.
    """
    labels, max_px = job.dataset.labels, job.dataset.max_px
    num = num_rows(file, labels)
    stored = _companion_values(file, labels.column, num)
    keys = _companion_values(file, labels.key_column, num)
    table = table_labels(shard, job)
    wrong = None
    if labels.column is not None:
        names, where = file.class_names(labels.column), f"{labels.column!r} of {shard.key}"
        wrong = named_otherwise(names, job.dataset, where)
    if labels.masks is not None:
        _check_masks(file.shape(labels.masks), labels, num)
    for start in range(0, num, _ROWS):
        stop = min(start + _ROWS, num)
        images = _rows_of(file, labels.image_column, labels, start, stop)
        masks = None
        if labels.masks is not None:
            masks = _rows_of(file, labels.masks, labels, start, stop)
        for index, pixels in enumerate(images, start):
            key = str(index) if keys is None else str(text_of(keys[index]))
            item = Item(Owner(shard.key, key).key, shard.key, class_index=table.get(key))
            if stored is not None:
                label = label_of(stored[index])
                item = replace(item, label=label, error=None if label is None else wrong)
            if masks is not None:
                yield _masked(_with(item, pixels, max_px), masks[index - start], job)
                continue
            is_labelled = item.label is not None or item.class_index is not None
            yield _with(item, pixels, max_px) if is_labelled else item


def _rows_of(file: ArrayFile, name: str, labels: LabelsConfig, start: int, stop: int) -> np.ndarray:
    """Some of the images, or masks, (n, H, W) or (n, H, W, C)."""
    if labels.image_axis == "first":
        return file.rows(name, start, stop)
    return first_axis(file.last_axis(name, start, stop), labels)


def first_axis(values: np.ndarray, labels: LabelsConfig) -> np.ndarray:
    """A view of an array of images or masks in which they lie along the first axis."""
    turned: np.ndarray = np.moveaxis(values, -1, 0) if labels.image_axis == "last" else values
    return turned


def _check_masks(shape: tuple[int, ...], labels: LabelsConfig, num: int) -> None:
    """Masks lie along the axis along which images do.

    Raises:
        SampleError: `length`: they are for another number of images there.
    """
    at = 0 if labels.image_axis == "first" else len(shape) - 1
    if shape[at : at + 1] != (num,):
        raise SampleError(
            "length",
            f"{num} images, and {labels.masks} of shape {shape} is for another number along its "
            f"{labels.image_axis} axis (labels.image_axis)",
        )


def _companion_values(file: ArrayFile, name: str | None, num: int) -> list[object] | None:
    if name is None:
        return None
    values: list[object] = flat_labels(file.array(name), name).tolist()
    if len(values) != num:
        raise SampleError("length", f"{num} images, but {len(values)} values of {name}")
    return values


def _masked(item: Item, mask: np.ndarray, job: UnitContext) -> Item:
    plane = mask[:, :, 0] if mask.ndim == 3 and mask.shape[2] == 1 else mask
    try:
        return replace(item, mask=whole_numbers(plane, job.dataset.max_px, job.classes.has_colours))
    except SampleError as error:
        return replace(item, error=error)


def _with(item: Item, pixels: np.ndarray, max_px: float) -> Item:
    try:
        return replace(item, image=as_decoded(pixels, max_px))
    except SampleError as error:
        return replace(item, error=error)


def as_decoded(pixels: np.ndarray, max_px: float) -> np.ndarray:
    """(H, W) or (H, W, C) of an array as a decoded image file would be: see `read_image`.

    Args:
        pixels: of one image.
        max_px: a larger image is refused.

    Returns:
        (H, W, 1) or (H, W, 3); a view. Alpha is dropped.

    Raises:
        SampleError: no image has this shape or type, or it is too large.
    """
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    channels = pixels.shape[2] if pixels.ndim == 3 else 0
    is_colour = channels in (3, 4) and pixels.dtype == np.uint8
    is_grey = channels == 1 and pixels.dtype in (np.uint8, np.uint16)
    if not (is_colour or is_grey) or 0 in pixels.shape:
        raise SampleError(
            "image_format",
            f"an image of shape {pixels.shape} and type {pixels.dtype}; expected (H, W) uint8 or "
            "uint16, or (H, W, 3) uint8, along the first axis of the array",
        )
    check_num_px(pixels.shape[1], pixels.shape[0], max_px)
    return pixels[:, :, :3]
