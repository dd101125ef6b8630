"""Writes the report of a run: one file, or a folder where that would grow too large."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from ray_audit import storage
from ray_audit.engine.mapper import Mapper
from ray_audit.errors import RayAuditError
from ray_audit.report.bundles import Bundle, make_bundles, orders
from ray_audit.report.document import Shown, make_document
from ray_audit.report.render import as_script_data, render_page
from ray_audit.report.samples import timelines
from ray_audit.samples import Shard
from ray_audit.sources import list_dataset
from ray_audit.tables.run import RunTables

NUM_FINDINGS = 5000
NUM_BUNDLES = 150


@dataclass(frozen=True)
class Written:
    """A written report.

    Attributes:
        uri: of its page.
        num_findings: shown, of all of the run.
        num_bundles: images and videos with pictures.
        notes: what a reader should know.
    """

    uri: str
    num_findings: int
    num_bundles: int
    notes: tuple[str, ...]


def write_report(
    tables: RunTables,
    mapper: Mapper,
    to: str | None = None,
    *,
    folder: bool = False,
    num_findings: int = NUM_FINDINGS,
    num_bundles: int = NUM_BUNDLES,
) -> Written:
    """Write the report of a run.

    Args:
        tables: of the run.
        mapper: makes pictures, where the data is at hand.
        to: file (or folder) to write, local or any URI; the run's own folder by default.
        folder: pictures in files of their own, for runs with many findings.
        num_findings: the first findings that are listed.
        num_bundles: images and videos of the first findings that get pictures.

    Raises:
        StorageError: the tables cannot be read, or the report cannot be written.
    """
    shown = Shown.of(tables, num_findings)
    document = make_document(tables, shown, "folder" if folder else "file")
    wanted = dict(islice(shown.by_bundle().items(), num_bundles))
    notes: list[str] = []
    bundles = bundles_of(tables, shown, mapper, wanted, notes)
    if folder:
        base = to or storage.join(tables.run_uri, "report")
        num = len([_write_bundle(base, name, bundle) for name, bundle in bundles])
        uri = storage.join(base, "index.html")
    else:
        document["bundles"] = dict(bundles)
        num, uri = len(document["bundles"]), to or storage.join(tables.run_uri, "report.html")
    document["run"]["notes"] += notes  # found while the pictures were made
    storage.write_bytes(uri, render_page(document).encode())
    return Written(uri, shown.rows.num_rows, num, tuple(notes))


def _write_bundle(base: str, name: str, bundle: Bundle) -> str:
    text = f"bundleArrived({as_script_data(name)}, {as_script_data(bundle)});"
    uri = storage.join(base, "bundles", f"{name}.js")
    storage.write_bytes(uri, text.encode())
    return uri


def bundles_of(
    tables: RunTables,
    shown: Shown,
    mapper: Mapper,
    wanted: dict[str, list[dict[str, Any]]],
    notes: list[str],
) -> Iterator[tuple[str, Bundle]]:
    """Make bundles, with the timelines of videos in them."""
    if tables.form == "dense" and tables.num_folds:
        notes.append(
            "There are no pictures: each fold has a model of its own. The folds' own runs show them"
        )
        return
    first = [row for findings in wanted.values() for row in findings]
    drawn = {}
    if tables.form == "frames" and first:
        drawn = timelines(tables, pa.Table.from_pylist(first, shown.rows.schema))
    with tempfile.TemporaryDirectory(prefix="ray-audit-") as index_dir:
        shards, index_uri = current_shards(tables, Path(index_dir), notes)
        last = last_checkpoint(tables)
        work = orders(tables.config, index_uri, last, shards, wanted)
        for made in mapper.map(make_bundles, work):
            for name, bundle in made.items():
                shard = wanted[name][0]["shard"]
                yield name, bundle | ({"video": drawn[shard]} if shard in drawn else {})


def current_shards(
    tables: RunTables, index_dir: Path, notes: list[str]
) -> tuple[dict[str, Shard], str]:
    """Shards of the dataset as it is now, by key, and the label index of the run."""
    digest = tables.manifest.labels_digest or "none"
    index_uri = storage.join(tables.config.output, "labels", digest)
    try:
        listing = list_dataset(tables.config.dataset, index_dir)
    except RayAuditError as error:
        notes.append(f"There are no pictures, since the dataset cannot be listed: {error}")
        return {}, index_uri
    return {shard.key: shard for shard in listing.shards}, index_uri


def last_checkpoint(tables: RunTables) -> str:
    """Where the last checkpoint of the run lies."""
    return tables.manifest.checkpoints[-1]["uri"]
