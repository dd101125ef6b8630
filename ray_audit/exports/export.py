"""Writes the findings of a run as documents for another tool."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ray_audit import archives, storage
from ray_audit.claims import Claim
from ray_audit.errors import LabelError, SpecificationError, StorageError
from ray_audit.exports.coco import coco_documents
from ray_audit.exports.content import Content, ExportFormat, Media, Row, Subject
from ray_audit.exports.cvat import cvat_documents
from ray_audit.exports.fiftyone import fiftyone_documents
from ray_audit.exports.label_studio import label_studio_documents
from ray_audit.exports.media import listed, media_at, media_below, video_facts, with_sizes
from ray_audit.exports.selection import Selection
from ray_audit.exports.tabular import csv_documents, parquet_documents
from ray_audit.formats.registry import format_in
from ray_audit.formats.video.stills import is_folder
from ray_audit.samples import Shard
from ray_audit.sources.destinations import check_destination
from ray_audit.tables.run_tables import RunTables

_EVERYTHING: frozenset[Subject] = frozenset(
    ("masks", "images", "videos", "segments", "sequences", "members", "folders", "episodes")
)
_FILES: frozenset[Subject] = frozenset(("masks", "images", "videos", "segments"))
FORMATS = {
    "fiftyone": ExportFormat(fiftyone_documents, _FILES),
    "labelstudio": ExportFormat(label_studio_documents, _FILES, needs_times=True),
    "cvat": ExportFormat(cvat_documents, _FILES - {"videos"}, needs_sizes=True),
    "coco": ExportFormat(coco_documents, frozenset({"masks"})),
    "csv": ExportFormat(csv_documents, _EVERYTHING, needs_media=False),
    "parquet": ExportFormat(parquet_documents, _EVERYTHING, needs_media=False),
}
_SUBJECTS: dict[Subject, str] = {
    "masks": "masks of images",
    "images": "images with one label each",
    "videos": "videos with one label each",
    "segments": "segments of videos",
    "sequences": "feature sequences",
    "members": "images within tar, Parquet or array files, slices of volumes or frames of videos",
    "folders": "folders of frames that are videos",
    "episodes": "episodes, of which a video file holds several",
}
_REMEDIES: dict[Subject, str] = {
    "members": "unpack the images, with masks beside them, and audit those",
    "folders": "make a video of the frames of each folder, and audit those",
    "episodes": "cut each episode into a video file of its own, and audit those",
}
_FEW = 3


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        run_id: whose findings.
        format: of the documents.
        to: the folder that holds them.
        files: their names.
        num_findings: in them.
        num_left_out: chosen findings that the format could not hold.
        notes: which, and why.
    """

    run_id: str
    format: str
    to: str
    files: list[str]
    num_findings: int
    num_left_out: int
    notes: list[str]


def export(
    tables: RunTables,
    format_name: str,
    to: str | None = None,
    selection: Selection | None = None,
    media_prefix: str | None = None,
) -> Exported:
    """Write the findings of a run; images and videos are pointed at, never copied.

    Args:
        tables: of the run.
        format_name: one of `FORMATS`.
        to: folder, local or of any store; by default `exports/<format>` in the run's folder.
        selection: which findings; all by default.
        media_prefix: where the tool finds the dataset's files, in place of where they lie.

    Raises:
        SpecificationError: an unknown format, one that does not fit the dataset, or a filter that
            names what is not there.
        StorageError: something cannot be read or written, or a document is there already.
    """
    if format_name not in FORMATS:
        raise SpecificationError(
            f"--format: {format_name!r} is unknown; there are {', '.join(FORMATS)}"
        )
    if to is not None:
        check_destination(tables.config, to, "--to")
    chosen = selection or Selection()
    rows = chosen.of(tables.findings(), tables.config.dataset.classes).to_pylist()
    subject = subject_of(tables, rows)
    form = FORMATS[format_name]
    _check_fit(format_name, form, subject)
    notes: list[str] = []
    content = _located(tables, form, subject, rows, media_prefix, notes)
    target = to or storage.join(tables.run_uri, "exports", format_name)
    documents = form.make(content)
    # Of two at once with other findings, one would leave half of its documents beside the other's.
    purpose = {"export": format_name, "documents": _digest(documents)}
    with Claim(target, purpose, may_be_filled=True).held():
        _write(target, documents)
    return Exported(
        run_id=content.run_id,
        format=format_name,
        to=target,
        files=list(documents),
        num_findings=len(content.rows),
        num_left_out=len(rows) - len(content.rows),
        notes=notes,
    )


def subject_of(tables: RunTables, rows: list[Row]) -> Subject:
    """What the findings of a run lie in."""
    dataset = tables.config.dataset
    if dataset.kind == "sequences":
        return "sequences"
    if dataset.kind == "video" and tables.task.is_dense:
        return "members"
    if dataset.kind == "video" and dataset.episodes is not None:
        return "episodes"
    uris = [dataset.uri] if isinstance(dataset.uri, str) else dataset.uri
    if dataset.kind == "video" and any(is_folder(uri) for uri in uris):
        return "folders"
    if dataset.kind == "video":
        return "videos" if dataset.labels.videos else "segments"
    stored = format_in(dataset, rows[0]["shard"] if rows else uris[0])
    if stored.holds_several or stored.is_volume:
        return "members"
    return "masks" if tables.task.is_dense else "images"


def _check_fit(name: str, form: ExportFormat, subject: Subject) -> None:
    if subject not in form.fits:
        fitting = ", ".join(
            other for other, export_format in FORMATS.items() if subject in export_format.fits
        )
        raise SpecificationError(
            f"--format: {name} does not hold {_SUBJECTS[subject]}, which this run's findings are "
            f"of; these formats do: {fitting}"
            + (f". For a labelling tool, {_REMEDIES[subject]}" if subject in _REMEDIES else "")
        )


def _located(
    tables: RunTables,
    form: ExportFormat,
    subject: Subject,
    rows: list[Row],
    prefix: str | None,
    notes: list[str],
) -> Content:
    shards = list(dict.fromkeys(row["shard"] for row in rows))
    needs_sizes = form.needs_sizes and subject == "segments"
    files: dict[str, Shard] = {}
    if prefix is None or needs_sizes:
        files = _files(tables, is_needed=form.needs_media, notes=notes)
    media = media_at(shards, files) if prefix is None else media_below(shards, prefix)
    if form.needs_media:
        _check_opened(media.values())
    content = Content(
        run_id=tables.manifest.run_id,
        name=tables.config.name,
        subject=subject,
        classes=list(tables.config.dataset.classes),
        rows=rows,
        media=media,
    )
    if not form.needs_media:
        return content
    content = _kept(content, media, "are not in the dataset any more", notes)
    if subject == "segments" and (form.needs_times or form.needs_sizes):
        videos = video_facts(tables, media, rows)
        if needs_sizes:
            videos = with_sizes(videos, files, tables.config.dataset.orientation)
            content = _kept(content, videos, "cannot be read", notes)
        content = replace(content, videos=videos)
    return content


def _check_opened(media: Iterable[Media]) -> None:
    """Refuse addresses of files that lie in an archive: no tool opens one."""
    packed = next((item.address for item in media if archives.is_member(item.address)), None)
    if packed is not None:
        archive, _ = archives.parted(packed)
        raise SpecificationError(
            f"--format: its documents point at files, and those of this run lie in {archive}, "
            "which labelling tools do not open: unpack it, and say where with --media-prefix; or "
            "take csv or parquet"
        )


def _files(tables: RunTables, is_needed: bool, notes: list[str]) -> dict[str, Shard]:
    try:
        return listed(tables.config.dataset)
    except (StorageError, SpecificationError, LabelError) as error:
        if is_needed:
            raise StorageError(
                f"{error}. Documents point at the dataset's files: say where the tool finds them "
                "with --media-prefix"
            ) from error
        notes.append(f"`media` is empty, since the dataset cannot be listed: {error}")
        return {}


def _kept(content: Content, there: Iterable[str], why: str, notes: list[str]) -> Content:
    """The findings whose file is there; a note on the rest."""
    known = set(there)
    gone = list(dict.fromkeys(r["shard"] for r in content.rows if r["shard"] not in known))
    if not gone:
        return content
    rows = [row for row in content.rows if row["shard"] in known]
    few = ", ".join(gone[:_FEW]) + (", ..." if len(gone) > _FEW else "")
    notes.append(
        f"{len(content.rows) - len(rows)} findings are left out: {len(gone)} files {why}: {few}"
    )
    return replace(content, rows=rows)


def _digest(documents: dict[str, bytes]) -> str:
    return storage.digest(*(part for item in documents.items() for part in item))[:8]


def _write(folder: str, documents: dict[str, bytes]) -> None:
    """Create the documents; those that are there as they should be came of an earlier call."""
    for name, content in documents.items():
        uri = storage.join(folder, name)
        if storage.exists(uri) and storage.read_bytes(uri) != content:
            raise StorageError(
                f"{uri} is there already, and nothing is replaced: remove it, or give --to "
                "another folder"
            )
    for name, content in documents.items():
        storage.create_bytes(storage.join(folder, name), content)
