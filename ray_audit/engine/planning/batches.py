"""How large automatic batches are: 2 MiB of network input, and more where there are GPUs.

A batch decides the last bits of numbers, and names what is committed. So what the first run to an
output has chosen is stored there, and stays whatever the later ones run on.
"""

import contextlib
import json
from collections.abc import Iterator

from ray_audit import storage
from ray_audit.config import AuditConfig
from ray_audit.cuts.batching import AUTO_BATCH_BYTES, batch_size_of
from ray_audit.engine.planning.layout import ASSUMED_GPU_BYTES, ClusterResources, gpus_each
from ray_audit.errors import AlreadyThereError, StorageError

_LEAST_GPU_BYTES, _MOST_BYTES = 4 * 2**20, 64 * 2**20
_GPU_SHARE = 400
"""Weights may fill half of a GPU; the widest maps of a model, and what a gradient keeps of them for
its way back, take some hundred times the memory of the input."""
_STORE_SHARE = 64  # of the object store: so many batches have room in it, as float32


def with_kept_batches(config: AuditConfig) -> AuditConfig:
    """The specification with the size that a run to its output has chosen on GPUs, if any.

    Raises:
        StorageError: the choice cannot be read.
    """
    uri = _uri(config)
    if not is_open(config) or not storage.exists(uri):
        return config
    try:
        return with_batches(config, int(json.loads(storage.read_bytes(uri))["batch_bytes"]))
    except (ValueError, TypeError, KeyError) as error:
        raise StorageError(
            f"{uri} is damaged ({error}): it says how large the batches of this output are. Give "
            "engine.batch_bytes as in the manifest of an earlier run, or another output"
        ) from error


def with_gpu_batches(config: AuditConfig, cluster: ClusterResources) -> AuditConfig:
    """The specification with a size that follows the GPUs; the same where there are none."""
    fitting = fitting_bytes(config, cluster)
    return config if fitting == AUTO_BATCH_BYTES else with_batches(config, fitting)


def keep_batches(config: AuditConfig) -> None:
    """Store what was chosen for later runs; of two at once the first decides.

    Raises:
        StorageError: it cannot be stored.
    """
    content = json.dumps({"batch_bytes": config.engine.batch_bytes}).encode()
    with contextlib.suppress(AlreadyThereError):
        storage.create_bytes(_uri(config), content)


def with_batches(config: AuditConfig, batch_bytes: int) -> AuditConfig:
    """The specification with a size, where it leaves that open."""
    if not is_open(config):
        return config
    engine = config.engine.model_copy(update={"batch_bytes": batch_bytes})
    return config.model_copy(update={"engine": engine})


def fitting_bytes(config: AuditConfig, cluster: ClusterResources) -> int:
    """Network input of a batch, by the smallest GPU that a model is run on.

    In steps of a factor of two, between which no GPU on the market lies: what a driver takes of its
    memory changes nothing.
    """
    gpus = gpus_each(cluster, config.engine)
    if not gpus:
        return AUTO_BATCH_BYTES
    room_bytes = int((cluster.total_gpu_bytes or ASSUMED_GPU_BYTES) * min(gpus, 1.0)) // _GPU_SHARE
    room_bytes = min(room_bytes, cluster.object_store_bytes // _STORE_SHARE)
    fitting = _LEAST_GPU_BYTES
    while 2 * fitting <= min(room_bytes, _MOST_BYTES):
        fitting *= 2
    return fitting


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


def is_open(config: AuditConfig) -> bool:
    """Whether neither the specification nor an earlier run says how large batches are."""
    return config.engine.batch_size == "auto" and config.engine.batch_bytes == "auto"


def _uri(config: AuditConfig) -> str:
    return storage.join(config.output, "batches.json")
