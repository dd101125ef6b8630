"""Stored mask values to class indices, and class indices back to stored values.

Both ways in one place: what is read is written in the same encoding, and what did not change
keeps its value, bit for bit.
"""

from typing import IO

import numpy as np

from ray_audit.config import DatasetConfig
from ray_audit.config.mask_numbers import mask_number, uses_colours
from ray_audit.errors import LabelError, SampleError
from ray_audit.formats.array_files import is_array_file, only_array
from ray_audit.formats.labels.classes import ClassNames
from ray_audit.formats.labels.values import packed_colour
from ray_audit.formats.pixels.pictures import read_mask
from ray_audit.samples import IGNORE

_NUM_NAMED = 5
_LUT_LIMIT = 2**16
_UNKNOWN = IGNORE - 1


def read_labels(
    source: bytes | IO[bytes] | np.ndarray, dataset: DatasetConfig, classes: ClassNames
) -> np.ndarray:
    """Decode a mask as the specification says: which channel, and whether colours are values.

    Returns:
        (H, W) integers as stored, or (H, W, 3) colours.

    Raises:
        SampleError: it cannot be read.
    """
    if isinstance(source, np.ndarray):  # a slice of a volume
        return source
    labels = dataset.labels
    if isinstance(source, bytes) and is_array_file(source):
        return whole_numbers(
            only_array(source, labels.variable), dataset.max_px, classes.has_colours
        )
    if labels.number is not None:
        return _numbers(source, labels.number, dataset.max_px)
    return read_mask(source, dataset.max_px, labels.channel, classes.has_colours)


def _numbers(source: bytes | IO[bytes], expression: str, max_px: float) -> np.ndarray:
    """(H, W) int64: what arithmetic makes of the channels of a mask."""
    is_colour = uses_colours(expression)
    mask = read_mask(source, max_px, None, colours=is_colour).astype(np.int64)
    if not is_colour:
        channels = {"V": mask}
    else:
        colours = mask if mask.ndim == 3 else np.repeat(mask[:, :, None], 3, axis=2)
        channels = dict(zip("RGB", np.moveaxis(colours, 2, 0), strict=True))
    numbers: np.ndarray = mask_number(expression, channels)
    return numbers


def whole_numbers(values: np.ndarray, max_px: float, has_colours: bool) -> np.ndarray:
    """A mask that is stored as an array: whole numbers, of whatever type, or truth values.

    Raises:
        SampleError: `mask_format`, `too_large` or `label_outside`.
    """
    is_mask = values.ndim == 2 or (has_colours and values.shape[2:] == (3,))
    if not is_mask or values.dtype.kind not in "fiub":
        raise SampleError(
            "mask_format",
            f"the mask is an array of shape {values.shape} and type {values.dtype}; expected "
            "(H, W) whole numbers",
        )
    if values.shape[0] * values.shape[1] > max_px:
        raise SampleError("too_large", f"the mask has the shape {values.shape}")
    if values.dtype.kind == "f" and not (values == np.floor(values)).all():
        raise SampleError("label_outside", "the mask holds numbers that are not whole")
    if values.dtype.kind in "iu" and values.dtype.itemsize <= 4:
        return values
    if values.dtype.kind == "b" and values.ndim == 2:
        return values
    whole: np.ndarray = values.astype(np.int64)
    return whole


def targets_of(mask: np.ndarray, classes: ClassNames) -> np.ndarray:
    """Map stored mask values to class indices, void ones to `IGNORE`.

    Args:
        mask: (H, W) integers or truth values, or (H, W, 3) colours.
        classes: the dataset's classes and void values.

    Returns:
        (H, W) of `classes.target_dtype`.

    Raises:
        SampleError: `label_outside`: a value is neither a class nor void.
    """
    if mask.dtype.kind == "b":
        return _targets_of_truths(mask, classes)
    stored = _packed(mask)
    highest = int(stored.max(initial=0))
    if mask.ndim == 2 and highest < _LUT_LIMIT and int(stored.min(initial=0)) >= 0:
        table = classes.numbers_table(highest, unknown=_UNKNOWN)
        targets: np.ndarray = table.astype(classes.target_dtype)[stored]
        if targets.min(initial=0) > _UNKNOWN:
            return targets
    values, places = np.unique(stored, return_inverse=True)
    meanings = _meanings(values, mask, classes).astype(classes.target_dtype)
    return meanings[places.reshape(stored.shape)]


def _targets_of_truths(mask: np.ndarray, classes: ClassNames) -> np.ndarray:
    there = np.array([int(truth) for truth in (False, True) if (mask == truth).any()], np.int64)
    table = np.zeros(2, classes.target_dtype)
    table[there] = _meanings(there, mask, classes)
    targets: np.ndarray = table[mask.view(np.uint8)]
    return targets


def stored_values(mask: np.ndarray, after: np.ndarray, classes: ClassNames) -> np.ndarray:
    """A mask with new classes, in the values in which it is stored.

    Args:
        mask: (H, W) or (H, W, 3) as read.
        after: (H, W) class indices with `IGNORE`.
        classes: the dataset's classes and void values.

    Returns:
        As `mask`; of a wider type where a new value needs it. A new value is the one that the
        class has most often in this mask, else the first that means it.

    Raises:
        LabelError: no stored value means a class.
    """
    before = targets_of(mask, classes)
    new = mask.copy()
    stored = _packed(mask)
    changed = after != before
    for index in np.unique(after[changed]).tolist():
        here = changed & (after == index)
        value = _value_of(index, stored[before == index], mask, classes)
        if mask.ndim == 3:
            new[here] = _unpacked(value)
            continue
        if mask.dtype.kind != "b":
            new = new.astype(np.promote_types(new.dtype, np.min_scalar_type(value)), copy=False)
        new[here] = value
    return new


def _value_of(index: int, present: np.ndarray, mask: np.ndarray, classes: ClassNames) -> int:
    if present.size:
        values, counts = np.unique(present, return_counts=True)
        return int(values[counts.argmax()])
    for value in _known(index, mask, classes):
        if _meaning(value, mask, classes) == index:
            return value
    name = "void" if index == IGNORE else repr(classes.classes[index])
    if mask.dtype.kind == "b":
        raise LabelError(
            f"the masks are truth values, of which none means {name}; save them as numbers"
        )
    raise LabelError(f"no stored value means {name}: list one in dataset.labels.values")


def _known(index: int, mask: np.ndarray, classes: ClassNames) -> list[int]:
    """Stored values that may mean a class, the first of them the one to write."""
    is_colour = mask.ndim == 3
    if mask.dtype.kind == "b":
        return [0, 1]
    if index == IGNORE and not is_colour:
        return _listed(IGNORE, is_colour, classes) or sorted(classes.void_numbers)
    return _listed(index, is_colour, classes)


def _listed(index: int, is_colour: bool, classes: ClassNames) -> list[int]:
    if is_colour:
        return classes.colours_of(index)
    return classes.numbers_of(index) if index != IGNORE or classes.values else []


def _meaning(value: int, mask: np.ndarray, classes: ClassNames) -> int | None:
    if mask.dtype.kind == "b":
        return classes.of_truth(bool(value))
    if mask.ndim == 2:
        return classes.of_number(value)
    return classes.of_colour(value)


def _meanings(values: np.ndarray, mask: np.ndarray, classes: ClassNames) -> np.ndarray:
    """(V,) int32 of distinct stored values."""
    try:
        found = [_meaning(value, mask, classes) for value in values.tolist()]
    except ValueError as error:
        raise SampleError("label_outside", f"mask: {error}") from None
    if None in found:
        unknown = [value for value, meaning in zip(values, found, strict=True) if meaning is None]
        raise SampleError("label_outside", _outside_message(unknown, mask, classes))
    return np.array(found, np.int32)


def _outside_message(unknown: list[int], mask: np.ndarray, classes: ClassNames) -> str:
    stored = _packed(mask)
    bad = [
        f"{_shown(value, mask)} ({int((stored == value).sum())} px)"
        for value in unknown[:_NUM_NAMED]
    ]
    if classes.values is not None:
        return (
            f"mask value {', '.join(bad)} is not listed in dataset.labels.values; list what it "
            "means: a class, or void"
        )
    return (
        f"mask value {', '.join(bad)} is none of the {len(classes)} classes and not in "
        "dataset.void; where the file counts otherwise, give dataset.labels.first_value, or what "
        "each value means in dataset.labels.values"
    )


def _shown(value: int, mask: np.ndarray) -> str:
    if mask.ndim == 2:
        return str(value) if mask.dtype.kind != "b" else str(bool(value)).lower()
    channels = _unpacked(value)
    deep = max(channels) > 255
    return ", ".join(map(str, channels)) if deep else "#" + "".join(f"{c:02x}" for c in channels)


def _packed(mask: np.ndarray) -> np.ndarray:
    if mask.ndim == 2:
        return mask
    channels = mask.astype(np.int64)
    packed: np.ndarray = channels[..., 0] << 32 | channels[..., 1] << 16 | channels[..., 2]
    return packed


def _unpacked(packed: int) -> tuple[int, int, int]:
    channels = packed >> 32, packed >> 16 & 0xFFFF, packed & 0xFFFF
    assert packed_colour(*channels) == packed
    return channels
