"""What a run was made of, read again before its labels are corrected."""

from dataclasses import replace
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
    """The whole dataset as it is listed now, if the labels that the run audited are as they were.

    Of a run with a limit, or before files came, these are the labels of its first files.

    Raises:
        SpecificationError: they have changed.
    """
    manifest, dataset = tables.manifest, tables.config.dataset
    try:
        whole = audited = list_dataset(dataset, folder)
        num_audited = manifest.plan.get("num_shards", len(whole.shards))
        if num_audited < len(whole.shards):
            (folder / "audited").mkdir()
            audited = list_dataset(dataset, folder / "audited", num_audited)
    except StorageError as error:
        raise error.named("dataset") from error
    if audited.labels_digest != manifest.labels_digest:
        raise SpecificationError(
            f"the labels have changed since run {manifest.run_id}: what it found may not be there "
            "any more. Audit them again, and correct by that run"
        )
    if audited is whole:
        return whole
    note = (
        f"Run {manifest.run_id} audited the first {num_audited} of {len(whole.shards)} files: the "
        "labels of the others stay as they are"
    )
    return replace(whole, notes=(*whole.notes, note))


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
