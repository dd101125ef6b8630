"""What a run was made of, read again before its labels are corrected."""

from functools import partial
from pathlib import Path

import pyarrow as pa

from ray_audit.corrections.flagged import below_one
from ray_audit.engine.backends.base import Mapper
from ray_audit.errors import SpecificationError, StorageError
from ray_audit.scores.ranking import RankHistogram
from ray_audit.sources import Listing, list_dataset
from ray_audit.tables.run_tables import RunTables
from ray_audit.tables.store import TableFile, read_table


def audited_labels(tables: RunTables, folder: Path) -> Listing:
    """The dataset as it is listed now, if its labels are those of the run.

    Raises:
        SpecificationError: they have changed.
    """
    manifest = tables.manifest
    try:
        listing = list_dataset(tables.config.dataset, folder, manifest.plan.get("num_shards"))
    except StorageError as error:
        raise SpecificationError(f"dataset: {error}") from error
    if listing.labels_digest != manifest.labels_digest:
        raise SpecificationError(
            f"the labels have changed since run {manifest.run_id}: what it found may not be there "
            "any more. Audit them again, and correct by that run"
        )
    return listing


def suspicion_histogram(tables: RunTables, mapper: Mapper) -> RankHistogram:
    """Suspicion - 1 of all samples of a run."""
    histogram = RankHistogram.empty()
    files = tables.manifest.tables["scores"]
    for of_file in mapper.map(partial(_observe, tables.run_uri), files):
        histogram = histogram.merge(of_file)
    return histogram


def _observe(run_uri: str, file: TableFile) -> RankHistogram:
    table: pa.Table = read_table(run_uri, [file], ["suspicion"])
    return RankHistogram.empty().observe(below_one(table["suspicion"]))
