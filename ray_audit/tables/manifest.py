"""The manifest of a run: written last; a run without one does not exist for readers."""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

import pyarrow as pa

from ray_audit import storage
from ray_audit.errors import AlreadyThereError, StorageError
from ray_audit.tables.store import TableFile, read_table

_TRUSTED = {"early": "early losses or the mean", "mean": "the mean", "final": "late losses"}
MANIFEST = "manifest.json"
FAILURE = "failure.json"
METRICS = "metrics.prom"
RUNNING = "running.json"
_CLOCK_SKEW_S = 3600.0
_RUN_ID = re.compile(r"\d{4}-\d\d-\d\d-[0-9a-f]{8}")


@dataclass(frozen=True)
class Manifest:
    """What a complete run was and made.

    Attributes:
        run_id: `<logical date>-<digest of the inputs>`.
        state: `complete`; a failed run has no manifest but a `failure.json`.
        specification: as resolved, without secrets.
        protocol: whether the checkpoints were trained on the audited labels.
        counts: entered, scored, filtered, failed; filtered by reason.
        checkpoints: name, uri and digest of each, in order.
        labels_digest: of all labels; names the label index where they are tables.
        numeric: the settings that change numbers.
        plan: pools and resources that were used.
        tables: files of each table.
        timing: seconds and rates; no part of the tables.
        versions: of Python and the libraries.
        findings: how many there are, by kind, and how many samples lie in one.
        estimate: how many labels are wrong, and how that was counted; empty where unknown.
        memorisation: how far suspicious labels were fitted, and which loss to trust.
        order: what the order of segments gains over chance, and whether it was used.
        top: the most suspicious samples, for the last screen.
        top_findings: the first rows of the findings, for the last screen.
        notes: what a reader should know.
        breached_gates: gates of the specification that the outcome breaks, a sentence each.
        measures: identity of the declared measures: `records`, `scores`, and the `ranking`, by
            which rule samples are ranked; empty in manifests of older versions.
        ranking: how much each score weighs in the default ranking of this run, and what that was
            chosen by; empty in manifests of earlier versions.
        published_s: Unix time when the run became visible; None in manifests of earlier versions.
    """

    run_id: str
    state: str
    specification: dict[str, Any]
    protocol: str
    counts: dict[str, Any]
    checkpoints: list[dict[str, str]]
    labels_digest: str
    numeric: dict[str, Any]
    plan: dict[str, Any]
    tables: dict[str, list[TableFile]]
    timing: dict[str, Any]
    versions: dict[str, str]
    findings: dict[str, Any]
    estimate: dict[str, Any]
    memorisation: dict[str, Any]
    order: dict[str, Any]
    top: list[dict[str, Any]]
    top_findings: list[dict[str, Any]]
    notes: list[str]
    breached_gates: list[str]
    measures: dict[str, Any] = field(default_factory=dict)
    ranking: dict[str, Any] = field(default_factory=dict)
    published_s: float | None = None

    @property
    def is_trial(self) -> bool:
        """Whether a limit left shards out, so that it says nothing of the whole dataset."""
        return bool(self.plan.get("num_left_out"))

    def publish(self, run_uri: str) -> "Manifest":
        """Make the run visible, unless another did so meanwhile; return the manifest that is there.

        Raises:
            StorageError: what is there is of another run, or no manifest.
        """
        content = json.dumps(asdict(self), indent=2, sort_keys=True, default=str).encode()
        uri = storage.join(run_uri, MANIFEST)
        try:
            storage.create_bytes(uri, content)
        except AlreadyThereError:
            if storage.read_bytes(uri) != content:  # else it was this one, whose answer got lost
                return self._of_same_run(Manifest.read(run_uri), uri)
        return self

    def _of_same_run(self, other: "Manifest", uri: str) -> "Manifest":
        for name in ("run_id", "checkpoints", "numeric"):
            if _plain(getattr(self, name)) != _plain(getattr(other, name)):
                raise StorageError(
                    f"{uri} is there already, and of another run: its {name} differs. Give this "
                    "audit another `output`, or remove that run's folder"
                )
        return other

    @classmethod
    def read(cls, run_uri: str) -> Self:
        """Read the manifest of a run.

        Raises:
            StorageError: there is none, or it is no manifest.
        """
        uri = storage.join(run_uri, MANIFEST)
        try:
            values = json.loads(storage.read_bytes(uri))
            files = values.pop("tables")
            tables = {name: [TableFile(**file) for file in files[name]] for name in files}
            _check_inside(file for listed in tables.values() for file in listed)
            known = {field.name for field in fields(cls)}
            return cls(**{k: v for k, v in values.items() if k in known}, tables=tables)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise StorageError(f"{uri} is no manifest of this version: {error}") from error

    def judgements(self) -> Iterator[str]:
        """What the run as a whole says of how far to trust which score, a sentence each."""
        if self.memorisation:
            trust = _TRUSTED[self.memorisation["verdict"]]
            yield f"Memorisation: {self.memorisation['reason']}; trust {trust}."
        if self.ranking:
            yield f"Ranking: {weights_in_words(self.ranking['weights'])}; {_why(self.ranking)}."
        if self.order:
            use = f"used {self.order['weight']:.1f} times" if self.order["used"] else "not used"
            # Runs of earlier versions tell no reason.
            why = f": {self.order['reason']}" if "reason" in self.order else ""
            yield f"Order of segments: {use} in the ranking{why}."

    def table(self, run_uri: str, name: str, columns: list[str] | None = None) -> pa.Table:
        """Read one table of the run.

        Raises:
            StorageError: the run has no such table.
        """
        if not self.tables.get(name):
            raise StorageError(f"run {self.run_id} has no {name} table")
        return read_table(run_uri, self.tables[name], columns)


def _check_inside(files: Iterable[TableFile]) -> None:
    """Whoever wrote a manifest chose these paths: none may name a file outside of its run."""
    for file in files:
        if any(part in ("", ".", "..") for part in file.path.split("/")):
            raise ValueError(f"{file.path!r} is no file below the run")


def _plain(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def run_ids(output: str) -> list[str]:
    """Runs below an output that have a manifest, a failure or a sign of life, oldest first."""
    return sorted({run_id for run_id, _ in _run_files(output, MANIFEST, FAILURE, RUNNING)})


def complete_runs(output: str) -> dict[str, float | None]:
    """Complete runs, the one stored last first: when the store says it was, in Unix time."""
    stored = {run_id: item.modified_s for run_id, item in _run_files(output, MANIFEST)}
    return dict(sorted(stored.items(), key=_stored_last, reverse=True))


def latest_complete(output: str) -> str:
    """The complete run that was published last.

    Of a manifest that does not say when, the store's own time of the object counts.

    Raises:
        StorageError: there is none.
    """
    stored = complete_runs(output)
    if not stored:
        raise StorageError(
            f"{output} has no complete run: start one with `ray-audit run`, or see "
            "`ray-audit status`"
        )
    latest_s, latest = -math.inf, ""
    # A manifest is stored when it is published, or later, as a copy: few have to be read.
    for run_id, stored_s in stored.items():
        if stored_s is not None and stored_s + _CLOCK_SKEW_S < latest_s:
            break
        published_s = Manifest.read(storage.join(output, "runs", run_id)).published_s
        latest_s, latest = max((latest_s, latest), (published_s or stored_s or 0.0, run_id))
    return latest


def _run_files(output: str, *names: str) -> Iterator[tuple[str, storage.StoredObject]]:
    """Files of these names, with their run; what else somebody keeps beside the runs is none."""
    folder = storage.join(output, "runs")
    above = storage.path_of(folder) + "/"
    for item in storage.list_prefix(folder):
        run_id, _, name = storage.path_of(item.uri).removeprefix(above).partition("/")
        if name in names and _RUN_ID.fullmatch(run_id):
            yield run_id, item


def _stored_last(stored: tuple[str, float | None]) -> tuple[float, str]:
    run_id, stored_s = stored
    return (math.inf if stored_s is None else stored_s, run_id)


def weights_in_words(weights: Mapping[str, float]) -> str:
    """Scores of the default ranking, the heaviest first.

    >>> weights_in_words({"csl": 0.25, "iou": 0.75})
    '0.75 iou, 0.25 csl'
    """
    ordered = sorted(weights.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{weight:.2f} {name}" for name, weight in ordered)


def _why(ranking: Mapping[str, Any]) -> str:
    """What the weights were chosen by, in words."""
    if ranking["agreement"] is None:
        return "how well the checkpoints know the labels is not known"
    said = f"agreement with the given labels {ranking['agreement']:.2f} (0 is chance)"
    if ranking["fitted"] is None:
        return f"IoU with the given masks {ranking['agreement']:.2f}"
    return f"{said}, {ranking['fitted']:.0%} of the most suspicious are fitted in the end"
