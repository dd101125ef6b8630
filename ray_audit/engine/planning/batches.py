"""How large automatic batches are: 4 MiB of network input, and more where GPUs have the memory.

A batch decides the last bits of numbers, and names what is committed. So what the first run to an
output has chosen stays, whatever the later ones run on.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from ray_audit import storage
from ray_audit.config import AuditConfig
from ray_audit.cuts.batching import AUTO_BATCH_BYTES, batch_size_of
from ray_audit.engine.planning.layout import ASSUMED_GPU_BYTES, ClusterResources, gpus_each
from ray_audit.errors import StorageError
from ray_audit.tables.manifest import MANIFEST, Manifest, run_ids

_MOST_BYTES = 16 * AUTO_BATCH_BYTES
_GPU_SHARE = 512
"""Weights may fill half of a GPU; the widest maps of a model, and what a gradient keeps of them for
its way back, take some hundred times the memory of the input."""


def with_kept_batches(config: AuditConfig) -> AuditConfig:
    """The specification with the size that an earlier run to its output has chosen, if any."""
    if not is_open(config):
        return config
    for run_id in reversed(run_ids(config.output)):
        run_uri = storage.join(config.output, "runs", run_id)
        if not storage.exists(storage.join(run_uri, MANIFEST)):
            continue
        # One of another version tells nothing, and its records are of no use.
        with contextlib.suppress(StorageError):
            return _with(config, _bytes_of(Manifest.read(run_uri).numeric))
    return config


def with_gpu_batches(config: AuditConfig, cluster: ClusterResources) -> AuditConfig:
    """The specification with a size that follows the GPUs; the same where it leaves none open."""
    if not is_open(config):
        return config
    return _with(config, fitting_bytes(config, cluster))


def fitting_bytes(config: AuditConfig, cluster: ClusterResources) -> int:
    """Network input of a batch, by the memory of the smallest GPU that a model is run on."""
    gpus = gpus_each(cluster, config.engine)
    if not gpus:
        return AUTO_BATCH_BYTES
    share_bytes = (cluster.gpu_bytes or ASSUMED_GPU_BYTES) * min(gpus, 1.0)
    return max(AUTO_BATCH_BYTES, min(int(share_bytes) // _GPU_SHARE, _MOST_BYTES))


def why_batches(config: AuditConfig, cluster: ClusterResources) -> Iterator[str]:
    """A sentence where automatic batches are not what they are on any CPU."""
    chosen = batch_size_of(config.engine)
    if isinstance(chosen, int):
        return
    fitting = fitting_bytes(config, cluster)
    if chosen.input_bytes == fitting == AUTO_BATCH_BYTES:
        return
    why = "by the memory of the smallest GPU, and kept by later runs to this output"
    if chosen.input_bytes != fitting:
        why = (
            "by the specification or an earlier run to this output; to this cluster "
            f"engine.batch_bytes: {fitting} fits, with which all is computed anew"
        )
    yield f"batches of {chosen.input_bytes / 2**20:.3g} MiB of network input: {why}"


def names_other_batches(config: AuditConfig, than: AuditConfig) -> bool:
    """Whether units of the one have other batches than those of the other."""
    return batch_size_of(config.engine) != batch_size_of(than.engine)


def is_open(config: AuditConfig) -> bool:
    """Whether neither the specification nor an earlier run says how large batches are."""
    return config.engine.batch_size == "auto" and config.engine.batch_bytes == "auto"


def _bytes_of(numeric: dict[str, Any]) -> int | None:
    """What a run has chosen; None where its specification had fixed a number of samples."""
    return numeric.get("batch_bytes", AUTO_BATCH_BYTES) if numeric["batch_size"] == "auto" else None


def _with(config: AuditConfig, batch_bytes: int | None) -> AuditConfig:
    if batch_bytes is None:
        return config
    engine = config.engine.model_copy(update={"batch_bytes": batch_bytes})
    return config.model_copy(update={"engine": engine})
