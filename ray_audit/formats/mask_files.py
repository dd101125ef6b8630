"""Index masks: an image file each; one at a time is in memory."""

import io
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import IO

import numpy as np
from PIL import Image, ImageFile
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from ray_audit import storage
from ray_audit.config import DatasetConfig, LabelsConfig
from ray_audit.errors import LabelError
from ray_audit.formats.array_files import is_array_file
from ray_audit.formats.array_masks import check_array_kept, encode_array_mask
from ray_audit.formats.label_changes import LabelChanges, MaskOf, Progress
from ray_audit.formats.mask_tables import copy_mask_table
from ray_audit.formats.pixels.deep import is_deep_colour, read_deep
from ray_audit.formats.pixels.opened import open_unlimited, oriented
from ray_audit.formats.pixels.pgm import pgm_like
from ray_audit.formats.pixels.pictures import read_mask
from ray_audit.formats.pixels.png import png_bytes, with_chunks_of
from ray_audit.formats.pixels.tiff_tags import (
    as_signed_16,
    as_unsigned,
    as_white_is_zero,
    check_depth,
    directory_of,
    is_signed_16,
    is_unsigned,
    is_white_zero,
    kept_tags,
    lost_tags,
    not_kept,
)
from ray_audit.formats.places import absolute, below, file_below, template_tail
from ray_audit.sample_ids import Owner
from ray_audit.samples import Shard

LOSSLESS = ("png", "tif", "tiff", "bmp", "pgm", "npy", "npz")
"""Formats in which a mask can be written so that it reads as it was."""

DRAWN = "{key}.png"
"""Where a mask lies that was drawn, and is written anew."""

TIFF_ENDINGS = (".tif", ".tiff")
_NPZ = ".npz"
_TIFF_MARKS = (b"II", b"MM")
_NUM_AHEAD = 8
_ORIENTATION_TAG = 0x0112
_PNG_DEPTH_AT = 24  # byte of the bit depth in IHDR


def write_mask_files(
    dataset: DatasetConfig,
    shards: tuple[Shard, ...],
    changes: LabelChanges,
    to_uri: str,
    progress: Progress,
) -> DatasetConfig:
    """Copy mask files below `to_uri`; those without a new mask byte for byte.

    Raises:
        LabelError: a new mask does not fit the format of the old one.
    """
    labelled = [shard for shard in shards if shard.label_uri is not None]
    is_remote = "://" in to_uri or "://" in str(dataset.labels.masks)
    with _InOrder(_NUM_AHEAD if is_remote else 1) as queue:
        for num_done, shard in enumerate(labelled):
            progress("writing masks", num_done, len(labelled))
            mask = changes.mask(Owner(shard.key))
            if dataset.has_drawn_masks:
                queue.put(write_drawn, shard, mask, changes.stored, to_uri)
            else:
                queue.put(write_mask_file, dataset.labels, shard, mask, to_uri)
    return copied_masks(dataset, to_uri)


def copied_masks(dataset: DatasetConfig, to_uri: str) -> DatasetConfig:
    """The dataset section that reads the mask files below `to_uri`."""
    template = str(dataset.labels.masks)
    if dataset.labels.has_mask_table:
        copy = copy_mask_table(dataset.labels, to_uri)
    else:
        tail = DRAWN if dataset.has_drawn_masks else template_tail(template)
        copy = storage.join(to_uri, tail)
    changed: dict[str, str | None] = {"masks": absolute(copy)}
    if dataset.has_drawn_masks:
        changed |= {"panoptic": None, "number": None, "overlap": "error"}
    labels = dataset.labels.model_copy(update=changed)
    return dataset.model_copy(update={"labels": labels})


def write_mask_file(
    labels: LabelsConfig, shard: Shard, mask: np.ndarray | None, to_uri: str
) -> None:
    """Write the mask of one image below `to_uri`, or copy the old one where `mask` is None."""
    uri = str(shard.label_uri)
    target = below(to_uri, file_below(str(labels.masks), uri))
    if mask is None:
        storage.copy(uri, target)
        return
    with _named(uri):
        content = mask_like(storage.read_bytes(uri), mask, labels)
    storage.write_bytes(target, content)


def write_drawn(shard: Shard, mask: np.ndarray | None, stored: MaskOf | None, to_uri: str) -> None:
    """Write a drawn mask as an index mask of its own, whether it changed or not.

    Raises:
        LabelError: it cannot be drawn, or has numbers that a PNG cannot hold.
    """
    if mask is None:
        assert stored is not None  # who writes drawn masks says how they are read
        mask = stored(Owner(shard.key))
    if mask is None:
        return
    low, high = int(mask.min(initial=0)), int(mask.max(initial=0))
    if low < 0 or high >= 2**16:
        raise LabelError(f"{shard.key}: a PNG cannot hold the mask's numbers {low} to {high}")
    content = png_bytes(mask, 8 if high < 2**8 else 16)
    storage.write_bytes(below(to_uri, DRAWN.replace("{key}", shard.key)), content)


class _InOrder:
    """A few calls under way at once; the first error comes out."""

    def __init__(self, num_ahead: int) -> None:
        self._pool = ThreadPoolExecutor(max_workers=num_ahead)
        self._waiting: deque[Future[None]] = deque()
        self._num_ahead = num_ahead

    def __enter__(self) -> "_InOrder":
        return self

    def put(self, call: Callable[..., None], *arguments: object) -> None:
        while len(self._waiting) >= self._num_ahead:
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(call, *arguments))

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=kind is not None)
        if kind is None:
            for future in self._waiting:
                future.result()


def mask_like(stored: bytes, mask: np.ndarray, labels: LabelsConfig) -> bytes:
    """Write a mask as another is stored: an image, or an array.

    Raises:
        LabelError: see `encode_mask` and `encode_array_mask`.
    """
    if is_array_file(stored):
        return encode_array_mask(stored, mask, labels.variable)
    return encode_mask(stored, mask, labels.channel)


def encode_mask(stored: bytes, mask: np.ndarray, channel: int | None = None) -> bytes:
    """Write a mask in the format of another: file format, mode, palette, channels, bit depth.

    Args:
        stored: the old mask's file.
        mask: (H, W) integers, or (H, W, 3) colours.
        channel: of a colour mask, the one that holds the classes; None where all are equal.

    Raises:
        LabelError: sizes differ, the format cannot hold the new values, or the file holds more
            than a copy would: several pages, or further directories of a TIFF file.
    """
    with Image.open(io.BytesIO(stored)) as old:
        _check_kept(old)
        tags = kept_tags(old)
        # Before anything else: what tells of the depth is gone once the picture is loaded.
        deep = read_deep(old) if is_deep_colour(old) else None
        _check_shape(old, mask)
        is_colour = deep is not None or old.mode in ("RGB", "RGBA", "LA")
        if is_colour:
            content = _channels_like(old, deep, mask, channel)
        else:
            content = _values_like(old, stored, mask)
        if old.format == "PNG":
            is_turned = old.getexif().get(_ORIENTATION_TAG, 1) != 1
            content = with_chunks_of(stored, content, is_turned)
        of_channel = channel if is_colour else None
        written = read_mask(content, np.inf, of_channel, colours=mask.ndim == 3)
        if not np.array_equal(written, mask):
            raise LabelError(
                f"a new mask does not come back as it was from {old.format} of mode {old.mode}; "
                "keep the masks as PNG"
            )
        _check_tags(content, tags)
    return content


def _check_kept(old: Image.Image, is_stack: bool = False) -> None:
    found = not_kept(old, is_stack)
    if found is not None:
        raise LabelError(
            f"the file holds {found}, and a new one would hold masks alone; save the masks as PNG, "
            "or as TIFF without them"
        )


def check_kept(uris: Sequence[str], labels: LabelsConfig, are_stacks: bool = False) -> None:
    """Refuse mask files that a new one could not stand for, before any is written.

    Args:
        uris: of those that may be written anew; only TIFF and npz files are opened.
        labels: which array of an npz is the mask.
        are_stacks: whether each page of a file is a mask.

    Raises:
        LabelError: one holds more than a mask, or a damaged array beside it.
        StorageError: one cannot be read.
    """
    with ThreadPoolExecutor(max_workers=_NUM_AHEAD) as pool:
        opened = [uri for uri in uris if uri.lower().endswith((*TIFF_ENDINGS, _NPZ))]
        for _ in pool.map(partial(_check_file, labels=labels, is_stack=are_stacks), opened):
            pass


def _check_file(uri: str, labels: LabelsConfig, is_stack: bool) -> None:
    if uri.lower().endswith(_NPZ):
        if not is_stack:
            check_stored(storage.read_bytes(uri), labels, uri)
        return
    with storage.open_read(uri) as stream, _named(uri):
        check_picture(stream, is_stack)


@contextmanager
def _named(name: str) -> Iterator[None]:
    try:
        yield
    except LabelError as error:
        raise LabelError(f"{name}: {error}") from None


def may_hold_more(stored: bytes) -> bool:
    """Whether a mask is of a kind that may hold more than a mask: TIFF, or a file of arrays."""
    return stored.startswith(_TIFF_MARKS) or is_array_file(stored)


def check_stored(stored: bytes, labels: LabelsConfig, name: str) -> None:
    """Refuse a mask that holds more than a new one would.

    Raises:
        LabelError: says whose it is, and what it holds.
    """
    with _named(name):
        if is_array_file(stored):
            check_array_kept(stored, labels.variable)
        else:
            check_picture(io.BytesIO(stored))


def check_picture(stream: IO[bytes], is_stack: bool = False) -> None:
    """Refuse a picture that holds more than a mask.

    Raises:
        LabelError: says what.
    """
    try:
        with open_unlimited(stream) as old:
            _check_kept(old, is_stack)
    except (OSError, ValueError, SyntaxError):
        return  # it cannot be read either, and keeps its bytes


def _check_tags(content: bytes, tags: dict[int, object]) -> None:
    """Refuse to lose what a TIFF file says beside its pixels."""
    if not tags:
        return
    with Image.open(io.BytesIO(content)) as new:
        lost = lost_tags(tags, new)
    if lost:
        raise LabelError(
            f"tags {', '.join(map(str, lost))} of the mask's TIFF file do not come back as they "
            "were; keep the masks as PNG, or without these tags"
        )


def _values_like(old: ImageFile.ImageFile, stored: bytes, mask: np.ndarray) -> bytes:
    is_low_grey = old.format == "PNG" and old.mode == "L" and stored[_PNG_DEPTH_AT] < 8
    if is_low_grey and int(mask.max(initial=0)) < 2 ** stored[_PNG_DEPTH_AT]:
        return png_bytes(mask, stored[_PNG_DEPTH_AT])
    if old.format == "PPM":
        return pgm_like(stored, mask)
    options, sink = _options(old, stored, mask), io.BytesIO()
    if old.format == "TIFF":
        picture, options["tiffinfo"] = tiff_page_like(old, mask)
    else:
        picture = picture_like(old, mask)
    picture.save(sink, format=old.format, **options)
    return as_unsigned(sink.getvalue()) if is_unsigned(old) else sink.getvalue()


def _channels_like(
    old: ImageFile.ImageFile, deep: np.ndarray | None, mask: np.ndarray, channel: int | None
) -> bytes:
    """The old channels with the new values in one, in all that were equal, or in all three."""
    if deep is not None and (old.format != "PNG" or old.mode != "RGB"):
        raise LabelError("16-bit colour masks are written as PNG without alpha only")
    channels = oriented(np.array(old) if deep is None else deep, old)
    if int(mask.max(initial=0)) > np.iinfo(channels.dtype).max or int(mask.min(initial=0)) < 0:
        raise LabelError(f"value {int(mask.max())} does not fit {channels.dtype} channels")
    num_colours = channels.shape[2] - (old.mode in ("RGBA", "LA"))
    if mask.ndim == 3:
        channels[:, :, :num_colours] = mask[:, :, :num_colours]
    elif channel is None:
        channels[:, :, :num_colours] = mask[:, :, None]
    else:
        channels[:, :, channel] = mask
    if channels.dtype == np.uint16:
        return png_bytes(channels, 16)
    sink = io.BytesIO()
    tags = {"tiffinfo": directory_of(old)} if old.format == "TIFF" else {}
    Image.fromarray(channels).save(sink, format=old.format, **_options(old, b"", mask), **tags)
    return sink.getvalue()


def _check_shape(old: Image.Image, mask: np.ndarray) -> None:
    turned = old.getexif().get(_ORIENTATION_TAG, 1) in (5, 6, 7, 8) and old.format != "TIFF"
    shape = old.size if turned else old.size[::-1]
    if mask.shape[:2] != shape:
        raise LabelError(f"the new mask is {mask.shape}, the old one {shape} (height, width)")


def picture_like(old: Image.Image, mask: np.ndarray) -> Image.Image:
    """A picture of new values in the mode and with the palette of another.

    Raises:
        LabelError: that cannot hold them.
    """
    if mask.ndim == 3:
        mask = _palette_indices(old, mask)
    kind = {"1": np.bool_, "P": np.uint8, "L": np.uint8, "I": np.int32}.get(old.mode, np.uint16)
    values: np.ndarray = mask.astype(kind)
    if (values.astype(np.int64) != mask).any():
        raise LabelError(f"value {int(mask.max())} does not fit a mask of mode {old.mode}")
    picture = Image.fromarray(values)
    if old.mode == "P" and old.palette is not None:
        mode = old.palette.mode
        picture.putpalette(old.getpalette(mode) or [], mode)
    return picture


def tiff_page_like(old: Image.Image, mask: np.ndarray) -> tuple[Image.Image, ImageFileDirectory_v2]:
    """A page of new values as a TIFF file has it, and the tags beside it, resolution included.

    Raises:
        LabelError: such a page cannot be written, or cannot hold them.
    """
    check_depth(old)
    page, directory = picture_like(old, mask), directory_of(old)
    if is_signed_16(old):
        return as_signed_16(page, directory), directory
    return (as_white_is_zero(page, directory) if is_white_zero(old) else page), directory


def _palette_indices(old: Image.Image, colours: np.ndarray) -> np.ndarray:
    """(H, W) indices of the colours of a palette mask: as they were, where nothing changed."""
    palette = np.array(old.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
    before = np.array(old)
    changed = (palette[before] != colours).any(axis=2)
    for colour in np.unique(colours[changed], axis=0):
        (places,) = np.nonzero((palette == colour).all(axis=1))
        if not len(places):
            raise LabelError(f"colour {colour.tolist()} is not in the palette of the old mask")
        before[changed & (colours == colour).all(axis=2)] = places[0]
    return before


def _options(old: Image.Image, stored: bytes, mask: np.ndarray) -> dict[str, object]:
    options: dict[str, object] = {}
    if old.format == "PNG" and old.mode == "P":
        needed = int(mask.max(initial=0)).bit_length()
        depth = next(bits for bits in (1, 2, 4, 8) if bits >= needed)
        options["bits"] = max(stored[_PNG_DEPTH_AT], depth)
    if old.format == "TIFF" and "compression" in old.info:
        options["compression"] = old.info["compression"]
    if "dpi" in old.info and old.format == "BMP":
        options["dpi"] = old.info["dpi"]
    return options
