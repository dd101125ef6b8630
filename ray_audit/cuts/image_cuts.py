"""Images with a class or a mask, one by one, to cuts."""

import contextlib
from collections.abc import Iterator

import numpy as np

from ray_audit.cuts.batching import Cut, SampleRow
from ray_audit.cuts.tiles import LabelledImage, network_input, tile_cuts, whole_cut
from ray_audit.errors import SampleError
from ray_audit.formats.accounting import of_labels
from ray_audit.formats.base import Item
from ray_audit.formats.job import UnitContext
from ray_audit.formats.pixels.encoding import read_labels, targets_of
from ray_audit.formats.pixels.pictures import read_image
from ray_audit.formats.reading import unit_items
from ray_audit.samples import IGNORE, WorkUnit


def cut_images(unit: WorkUnit, job: UnitContext) -> Iterator[Cut]:
    """Cuts of every image of a unit; a bad image is recorded, and the next one read."""
    for item in unit_items(unit, job):
        yield from _cut_item(item, job)


def _cut_item(item: Item, job: UnitContext) -> Iterator[Cut]:
    dense = job.dataset.labels.masks is not None
    try:
        if item.error is not None:
            raise item.error
        with job.tally.timed():
            cuts = _dense_cuts(item, job) if dense else _class_cut(item, job)
        # Tiles are cut here, one by one, so that they are never all in memory.
        yield from cuts
    except Exception as error:
        labels = isinstance(error, SampleError) and error.error_class in _LABEL_ERRORS
        stage = "labels" if labels else "decode"
        job.tally.fail(item.shard, error, sample_id=item.sample_id, stage=stage)
    finally:
        for stored in (item.image, item.mask):
            if stored is not None and not isinstance(stored, bytes | np.ndarray):
                with contextlib.suppress(OSError):
                    stored.close()


_LABEL_ERRORS = ("label_outside", "class_names", "mask_format", "mask_size", "duplicate_key")


def _class_cut(item: Item, job: UnitContext) -> Iterator[Cut]:
    label = item.class_index
    if label is None and item.label is not None:
        try:
            label = job.classes.parse(item.label)
        except ValueError as error:
            raise SampleError("label_outside", str(error)) from None
    if label is None or label == IGNORE:
        reason = "unlabelled" if label is None else "void"
        job.tally.filter(item.sample_id, item.shard, None, reason)
        return iter(())
    pixels = read_image(item.image, job.dataset.max_px)
    job.tally.num_decoded += 1
    row = SampleRow(item.sample_id, item.shard, label=label)
    targets = np.array(label, job.classes.target_dtype)
    return iter((Cut(network_input(pixels, job.size), targets, (row,)),))


def _dense_cuts(item: Item, job: UnitContext) -> Iterator[Cut]:
    if item.mask is None:
        job.tally.filter(item.sample_id, item.shard, None, "unlabelled")
        return iter(())
    with of_labels(f" (mask {item.mask_uri})" if item.mask_uri else " (the mask)"):
        mask = read_labels(item.mask, job.dataset, job.classes)
        targets = targets_of(mask, job.classes)
    if (targets == IGNORE).all():
        job.tally.filter(item.sample_id, item.shard, None, "void")
        return iter(())
    pixels = read_image(item.image, job.dataset.max_px)
    job.tally.num_decoded += 1
    if pixels.shape[:2] != mask.shape[:2]:
        raise SampleError(
            "mask_size",
            f"the mask is {mask.shape[0]} x {mask.shape[1]} px, its image {pixels.shape[0]} x "
            f"{pixels.shape[1]} px (height x width, after EXIF orientation); expected the same",
        )
    image = LabelledImage(item.sample_id, item.shard, pixels, mask, targets)
    tile = job.dataset.tile
    return iter((whole_cut(image, job.size),)) if tile is None else tile_cuts(image, tile, job.size)
