"""Writes the report of a run: one file, or a folder where that would grow too large."""

from dataclasses import dataclass
from itertools import islice

from ray_audit import storage
from ray_audit.engine.backends.base import Mapper
from ray_audit.report.document import ShownFindings, make_document
from ray_audit.report.finding_pictures import Pictures
from ray_audit.report.html_page import as_script_data, render_page
from ray_audit.report.layers import Bundle
from ray_audit.sources.destinations import check_files
from ray_audit.tables.run_tables import RunTables

NUM_FINDINGS = 5000
NUM_BUNDLES = 150


@dataclass(frozen=True)
class WrittenReport:
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
    against: str | None = None,
) -> WrittenReport:
    """Write the report of a run.

    Args:
        tables: of the run.
        mapper: makes pictures, where the data is at hand.
        to: file (or folder) to write, local or any URI; the run's own folder by default.
        folder: pictures in files of their own, for runs with many findings.
        num_findings: the first findings that are listed.
        num_bundles: images and videos of the first findings that get pictures.
        against: run with which the findings are compared; the last one of an earlier date by
            default.

    Raises:
        SpecificationError: it would be a file of the run's own data, labels or checkpoints.
        StorageError: the tables cannot be read, or the report cannot be written.
    """
    if to is not None:
        page = [storage.join(to, "index.html"), storage.join(to, "bundles", "0.js")]
        check_files(tables.config, page if folder else [to], "--to")
    shown = ShownFindings.of(tables, num_findings)
    document = make_document(tables, shown, "folder" if folder else "file", against)
    by_bundle = dict(islice(shown.by_bundle().items(), num_bundles))
    pictures = Pictures(tables, shown, mapper)
    bundles = pictures.bundles(by_bundle)
    if folder:
        base = to or storage.join(tables.run_uri, "report")
        num = len([_write_bundle(base, name, bundle) for name, bundle in bundles])
        uri = storage.join(base, "index.html")
    else:
        document["bundles"] = dict(bundles)
        num, uri = len(document["bundles"]), to or storage.join(tables.run_uri, "report.html")
    document["run"]["notes"] += pictures.notes
    storage.write_bytes(uri, render_page(document).encode())
    return WrittenReport(uri, shown.rows.num_rows, num, tuple(pictures.notes))


def _write_bundle(base: str, name: str, bundle: Bundle) -> str:
    text = f"bundleArrived({as_script_data(name)}, {as_script_data(bundle)});"
    uri = storage.join(base, "bundles", f"{name}.js")
    storage.write_bytes(uri, text.encode())
    return uri
