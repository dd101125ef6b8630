"""Image files: one sample each, with a label by name, by folder, or in a mask file."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import islice

import numpy as np

from ray_audit import storage
from ray_audit.formats.accounting import of_labels
from ray_audit.formats.base import Format, Item, Stored
from ray_audit.formats.drawn_masks import StoredMasks
from ray_audit.formats.job import UnitContext
from ray_audit.samples import IGNORE, Shard

EXTENSIONS = ("png", "jpg", "jpeg", "tif", "tiff", "bmp", "webp", "pgm", "ppm", "gif")

_WHOLE_BYTES = 16 * 2**20
_NUM_AHEAD = 8


class ImageFiles(Format):
    """An image a file; changed masks and class folders are written by the files beside this."""

    name = "image files"
    kind = "images"
    extensions = EXTENSIONS
    forms = frozenset({"folder"})
    is_small = True

    def read(self, shards: tuple[Shard, ...], job: UnitContext) -> Iterator[Item]:
        """Images in order; remote ones are fetched a few ahead."""
        masks = StoredMasks(job.dataset, job.index_uri, shards)
        if not any("://" in shard.uri for shard in shards):
            # A thread that hands over one local file after another costs more than the file does.
            for shard in shards:
                with job.tally.timed():
                    item = _read_file(shard, masks)
                yield _counted(item, shard, job)
            return
        with ThreadPoolExecutor(max_workers=_NUM_AHEAD) as pool:
            upcoming = iter(shards)
            waiting: deque[tuple[Shard, Future[Item]]] = deque()
            while True:
                for shard in islice(upcoming, _NUM_AHEAD - len(waiting)):
                    waiting.append((shard, pool.submit(_read_file, shard, masks)))
                if not waiting:
                    return
                shard, future = waiting.popleft()
                with job.tally.timed():
                    item = future.result()
                yield _counted(item, shard, job)


def _counted(item: Item, shard: Shard, job: UnitContext) -> Item:
    job.tally.bytes_read += _num_bytes(item.image, shard) + _num_bytes(item.mask, shard)
    return item


def _read_file(shard: Shard, masks: StoredMasks) -> Item:
    item = Item(shard.key, shard.key, class_index=shard.class_index, mask_uri=shard.label_uri)
    try:
        with of_labels():
            mask = masks.stored(shard)
        if item.class_index in (None, IGNORE) and mask is None:
            return item  # it will be filtered: there is no need to read it
        if shard.size_bytes <= _WHOLE_BYTES:
            return replace(item, image=storage.read_bytes(shard.uri), mask=mask)
        # A large image is decoded from the stream, so that it is not in memory twice.
        return replace(item, image=storage.open_read(shard.uri, shard.size_bytes), mask=mask)
    except Exception as error:
        return replace(item, error=error)


def _num_bytes(stored: Stored | None, shard: Shard) -> int:
    if stored is None or isinstance(stored, np.ndarray):
        return 0
    return len(stored) if isinstance(stored, bytes) else shard.size_bytes
