"""A copy of a dataset's labels with planted errors, and the truth beside it."""

import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from ray_audit import storage
from ray_audit.claims import Claim
from ray_audit.config import AuditConfig, DatasetConfig
from ray_audit.corrections.write_labels import check_masks, check_writable, write_labels
from ray_audit.corrections.write_specification import write_specification
from ray_audit.errors import SpecificationError, StorageError
from ray_audit.evaluation.region_detection import planted_regions_uri
from ray_audit.formats.label_changes import Progress, WrittenLabels
from ray_audit.formats.labels.given import GivenLabels
from ray_audit.formats.places import absolute
from ray_audit.sources import list_dataset
from ray_audit.sources.destinations import check_destination
from ray_audit.training.noise import TRUTH_SCHEMA, TruthRow, check_kinds, num_wrong, truth_table
from ray_audit.training.planting import DEFAULT_KINDS, KINDS_OF, InjectionOptions, Planted, plant

_TRUTH_ROWS = 50_000


@dataclass(frozen=True)
class Injection:
    """What was planted, or would be.

    Attributes:
        to_uri: the folder that was filled.
        labels: what the labels belong to: frames, masks or classes.
        kinds: kind -> sequences, masks or samples with such an error.
        num_items: sequences, masks or samples in all.
        num_samples: rows of the truth; None in a dry run.
        num_errors: wrong samples among them; None in a dry run.
        spec: the specification that reads the copy; None in a dry run.
        truth: the truth file; None in a dry run.
        output: where that specification writes its audits.
        notes: what the user should know.
    """

    to_uri: str
    labels: str
    kinds: dict[str, int]
    num_items: int
    num_samples: int | None
    num_errors: int | None
    spec: str | None
    truth: str | None
    output: str
    notes: tuple[str, ...]


def _check_expressible(dataset: DatasetConfig) -> None:
    if dataset.labels.frames is not None and dataset.labels.fps is not None:
        raise SpecificationError(
            "inject: a row of labels.frames with labels.fps stands for several frames, and cannot "
            "hold an error in one of them; give the labels as segments"
        )


def inject(
    config: AuditConfig,
    to_uri: str,
    rate: float,
    kinds: list[str] | None = None,
    seed: int = 0,
    *,
    systematic_class: str | None = None,
    limit: int | None = None,
    dry_run: bool = False,
    progress: Progress = lambda what, done, total: None,
) -> Injection:
    """Plant errors in a dataset's labels and write the copy, the truth and a specification.

    Args:
        config: whose dataset.
        to_uri: an empty folder: gets the labels (or the data, where the labels lie in them),
            `truth.parquet`, of masks `truth_regions.parquet`, and, last, `spec.yaml`.
        rate: fraction of videos, masks or images with an error.
        kinds: see `KINDS_OF`; the defaults of the label form where absent.
        seed: of the errors.
        systematic_class: name of the class that `under` and `over` change in every mask.
        limit: only the first shards by key.
        dry_run: choose the errors, write nothing.
        progress: told how far the work is.

    Raises:
        SpecificationError: an unknown kind, too few samples, a form that cannot be written back,
            a target with files in it.
        StorageError: something cannot be read or written.
    """
    dataset = config.dataset
    kind_names = list(kinds or DEFAULT_KINDS[dataset.task])
    check_kinds(kind_names, KINDS_OF[dataset.task])
    num_wrong(0, rate)
    options = InjectionOptions(rate, kind_names, seed, _class_index(config, systematic_class))
    to_uri = absolute(to_uri)
    check_destination(config, to_uri, "--to")
    with tempfile.TemporaryDirectory(prefix="ray-audit-") as folder:
        progress("listing", 0, 1)
        try:
            listing = list_dataset(dataset, Path(folder), limit)
        except StorageError as error:
            raise error.named("dataset") from error
        _check_expressible(dataset)
        check_writable(dataset, listing, to_uri)
        check_masks(dataset, listing.shards)
        given = GivenLabels(dataset, listing.shards, folder)
        planted = plant(dataset, given, options, progress)
        num_samples = num_errors = None
        notes = list(listing.notes)
        if not dry_run:
            purpose = {name: str(value) for name, value in vars(options).items()}
            purpose |= {"limit": str(limit), "inject": str(dataset.uri)}
            with Claim(to_uri, purpose).held() as claim:
                written = write_labels(dataset, listing, planted.changes, to_uri, progress)
                truth_uri = storage.join(to_uri, "truth.parquet")
                num_samples, num_errors = _write_truth(truth_uri, planted, written)
                regions = planted.regions()
                if regions is not None:
                    with storage.open_write(planted_regions_uri(truth_uri)) as sink:
                        pq.write_table(regions, sink)
                write_specification(config, written, to_uri, claim)
            notes += written.notes
    return Injection(
        to_uri=to_uri,
        labels=dataset.task.value,
        kinds={kind: Counter(planted.kinds)[kind] for kind in kind_names},
        num_items=planted.num_items,
        num_samples=num_samples,
        num_errors=num_errors,
        spec=storage.join(to_uri, "spec.yaml") if not dry_run else None,
        truth=storage.join(to_uri, "truth.parquet") if not dry_run else None,
        output=storage.join(to_uri, "audit"),
        notes=tuple(notes),
    )


def _class_index(config: AuditConfig, name: str | None) -> int | None:
    if name is None:
        return None
    if name not in config.dataset.classes:
        raise SpecificationError(
            f"class {name!r} is none of {', '.join(config.dataset.classes)} (dataset.classes)"
        )
    return config.dataset.classes.index(name)


def _write_truth(uri: str, planted: Planted, written: WrittenLabels) -> tuple[int, int]:
    num_samples = num_errors = 0
    with storage.open_write(uri) as sink, pq.ParquetWriter(sink, TRUTH_SCHEMA) as writer:
        for rows in _in_chunks(planted.truth(written)):
            writer.write_table(truth_table(rows))
            num_samples += len(rows)
            num_errors += sum(row.is_error for row in rows)
    return num_samples, num_errors


def _in_chunks(parts: Iterator[list[TruthRow]]) -> Iterator[list[TruthRow]]:
    chunk: list[TruthRow] = []
    for rows in parts:
        chunk += rows
        if len(chunk) >= _TRUTH_ROWS:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
