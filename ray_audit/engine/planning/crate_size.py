"""How many bytes of batches travel and are committed together: from the plan alone.

A crate ends before the batch with which it would exceed these bytes, after `MAX_BATCHES` batches,
and where its unit ends. That is no setting that changes a number, and the ledger does not depend
on it: crates of any size join.
"""

import math

from ray_audit.config import AuditConfig
from ray_audit.engine.planning.layout import ClusterResources, Layout
from ray_audit.samples import Shard, WorkUnit

FULL_BYTES = 64 * 2**20
MAX_BATCHES = 64
_CRATES_PER_ACTOR = 8  # they end at about the same time
_CHANNELS = 3
_DECODED_PER_STORED = 4  # between PNG and JPEG


def crate_bytes(
    units: list[WorkUnit],
    config: AuditConfig,
    payload_bytes: int,
    layout: Layout,
    cluster: ClusterResources,
) -> tuple[int, str]:
    """Most bytes of a crate of more than one batch, and why.

    Args:
        units: to run.
        config: the specification.
        payload_bytes: expected size of a batch.
        layout: pools that crates pass.
        cluster: what there is.
    """
    fewest = _CRATES_PER_ACTOR * layout.actors_per_pool
    bytes_each, why = FULL_BYTES, "what makes Ray's part of a batch small"
    if len(units) < fewest:
        expected = _expected_bytes(units, config)
        if expected / fewest < bytes_each:
            bytes_each = math.ceil(expected / fewest)
            why = f"{_CRATES_PER_ACTOR} for each of {layout.actors_per_pool} actor(s) of a pool"
    room = int(cluster.object_store_bytes / 2 / layout.in_flight_crates)
    if room < bytes_each:
        bytes_each, why = room, "what half of the object store has room for"
    if bytes_each <= payload_bytes:
        return bytes_each, f"a batch a crate or little more: {why}"
    return bytes_each, f"crates of up to {bytes_each / 2**20:.3g} MiB of batches: {why}"


def _expected_bytes(units: list[WorkUnit], config: AuditConfig) -> int:
    """About what the batches of some units weigh, rather less: 8 bits a value, nothing twice."""
    size = config.model.input.size
    known = [shard.num_labelled for unit in units for shard in unit.shards]
    if size is not None and None not in known and config.dataset.kind != "sequences":
        num = sum(number for number in known if number is not None)
        return num * _CHANNELS * math.prod(size)
    return sum(shard.size_bytes for unit in units for shard in unit.shards)


def decoded_bytes(config: AuditConfig, image: Shard) -> int:
    """About what the image of a file weighs in a crate: by its specification and its own size."""
    size = config.model.input.size
    if size is None or config.dataset.tile is not None:
        return _DECODED_PER_STORED * image.size_bytes
    return _CHANNELS * math.prod(size)
