"""Slices of volumes with their masks to cuts: images by themselves, or clips along the axis."""

from collections.abc import Iterator

import numpy as np

from ray_audit.cuts.batching import Cut
from ray_audit.cuts.masked_cuts import masked_cuts
from ray_audit.cuts.tiles import network_input
from ray_audit.formats.base import Frame
from ray_audit.formats.job import UnitContext
from ray_audit.formats.volumes.volume_slices import Slices, num_lost
from ray_audit.sample_ids import Owner
from ray_audit.samples import Shard


def cut_volume(shard: Shard, job: UnitContext) -> Iterator[Cut]:
    """Cuts of one volume; one that cannot be read is a failure of all its slices."""
    sizes: list[int] = []  # numbers of slices, by the headers that were read
    try:
        with job.tally.timed():
            slices = Slices(shard, job, sizes)
    except Exception as error:  # a damaged file raises whatever its library does
        job.tally.fail(shard.key, error, stage="read", num_samples=num_lost(shard, job, sizes))
        return
    with slices:
        yield from masked_cuts(shard.key, _SliceReader(shard, slices, job), slices.masks, job)


class _SliceReader:
    """Gives slices as a video gives frames."""

    def __init__(self, shard: Shard, slices: Slices, job: UnitContext) -> None:
        self._shard, self._slices, self._job = shard, slices, job
        # In clips, a slice is resized before many are held; alone, it is cut as other images are.
        self._size = None if job.dataset.is_by_frame else job.size

    def frames(self) -> Iterator[Frame]:
        """Slices that are samples, with label 0."""
        every = self._job.dataset.clip.every
        for index in range(self._slices.num_slices):
            reason = "unlabelled" if self._slices.masks is None else ""
            reason = "not_sampled" if index % every else reason
            if reason:
                name = Owner(self._shard.key).frame(index)
                self._job.tally.filter(name, self._shard.key, index, reason)
                continue
            with self._job.tally.timed():
                pixels: np.ndarray = self._slices.pixels(index)[:, :, None]
                values = network_input(pixels, self._size)
            self._job.tally.num_decoded += 1
            yield Frame(index, None, 0, values)

    def report_lost(self) -> None:
        """Nothing: a volume is read whole, or not at all."""

    @property
    def frame_size(self) -> tuple[int, ...]:
        """Height and width of a slice."""
        return self._slices.size
