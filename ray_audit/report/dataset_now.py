"""The dataset of a run, as it is now."""

import tempfile
from pathlib import Path

from ray_audit import storage
from ray_audit.samples import Shard
from ray_audit.sources import list_dataset
from ray_audit.tables.run_tables import RunTables


def shards_now(tables: RunTables) -> dict[str, Shard]:
    """Shard key -> shard.

    Raises:
        RayAuditError: the dataset cannot be listed any more.
    """
    with tempfile.TemporaryDirectory(prefix="ray-audit-") as index_dir:
        listing = list_dataset(tables.config.dataset, Path(index_dir))
    return {shard.key: shard for shard in listing.shards}


def index_uri(tables: RunTables) -> str:
    """Where the run keeps its labels by shard."""
    digest = tables.manifest.labels_digest or "none"
    return storage.join(tables.config.output, "labels", digest)


def last_checkpoint(tables: RunTables) -> str:
    """Address of the checkpoint whose predictions are shown."""
    uri: str = tables.manifest.checkpoints[-1]["uri"]
    return uri
