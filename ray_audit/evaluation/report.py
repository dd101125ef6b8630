"""How well the scores of a run find errors that are known."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ray_audit import parquet_io, rle, storage
from ray_audit.errors import LabelError, SpecificationError, StorageError
from ray_audit.evaluation.detection import ALL_KINDS, Detection, evaluate_scores
from ray_audit.evaluation.region_detection import (
    PlantedRegion,
    RegionDetection,
    evaluate_regions,
    planted_of,
    planted_regions_uri,
    proposals_of,
)
from ray_audit.evaluation.segment_accuracy import SegmentAccuracy, eda, segments_of
from ray_audit.evaluation.truth import JoinedScores, directed_columns, join_truth, read_truth
from ray_audit.tables.manifest import Manifest, latest_complete

_SEGMENT_SCORES = ("csl", "csl_segment", "suspicion")


@dataclass(frozen=True)
class Evaluation:
    """What a truth says of a run.

    Attributes:
        run_id: the run.
        protocol: whether its checkpoints were trained on the audited labels.
        num_samples: scored samples whose truth is known.
        num_errors: wrong ones among them.
        num_without_truth: scored samples that the truth does not name.
        num_without_score: samples of the truth that were not scored.
        detections: for each score a row over all errors, then one a kind.
        segments: score -> EDA, for frame labels.
        left_out: score -> why it was not measured.
        regions: how well the findings in masks meet the planted regions, over all, by kind and
            by size; empty where no planted regions lie beside the truth.
        areas: the same of the areas that seem wrong, whatever the classes in them.
        num_regions_without_score: planted regions of images that were not scored.
    """

    run_id: str
    protocol: str
    num_samples: int
    num_errors: int
    num_without_truth: int
    num_without_score: int
    detections: list[Detection]
    segments: dict[str, SegmentAccuracy]
    left_out: dict[str, str]
    regions: list[RegionDetection] = field(default_factory=list)
    areas: list[RegionDetection] = field(default_factory=list)
    num_regions_without_score: int = 0

    def summary(self) -> dict[str, Any]:
        """For programs; numbers that are none are null."""
        values = asdict(self)
        values["segments"] = {
            name: {key: value for key, value in asdict(accuracy).items() if key != "by_gamma"}
            for name, accuracy in self.segments.items()
        }
        cleaned: dict[str, Any] = _without_nan(values)
        return cleaned


def evaluate_run(
    output: str, truth_uri: str, run_id: str | None = None, scores: Sequence[str] | None = None
) -> Evaluation:
    """Evaluate the scores of a run.

    Args:
        output: the `output` of a specification.
        truth_uri: a truth file.
        run_id: the latest complete run where absent.
        scores: names of score columns; all that have a direction where absent.

    Raises:
        StorageError: there is no such run, or the truth cannot be read.
        SpecificationError: an unknown score, or no errors to find.
        LabelError: the truth is malformed, or of another dataset.
    """
    truth = read_truth(truth_uri)
    run_id = run_id or latest_complete(output)
    run_uri = storage.join(output, "runs", run_id)
    manifest = Manifest.read(run_uri)
    schema = _scores_schema(manifest, run_uri)
    directions, left_out = _chosen_scores(schema, scores)
    identity = [c for c in ("sample_id", "shard", "frame_index", "label") if c in schema.names]
    table = manifest.table(run_uri, "scores", [*identity, *directions])
    joined = join_truth(table, truth)
    planted, num_unscored = _planted(manifest, run_uri, truth_uri)
    if not planted:  # where every mask is wrong, what is wrong in them can still be found
        _check_both_sides(joined, truth_uri)
    columns: dict[str, np.ndarray] = {}
    for name in directions:
        values = joined.table[name]
        if values.null_count == len(values):
            left_out[name] = "null for every sample"
        else:
            columns[name] = values.cast(pa.float64()).to_numpy()
    return Evaluation(
        run_id=run_id,
        protocol=manifest.protocol,
        num_samples=joined.table.num_rows,
        num_errors=int(joined.is_error.sum()),
        num_without_truth=joined.num_without_truth,
        num_without_score=joined.num_without_score,
        detections=evaluate_scores(columns, directions, joined.is_error, joined.kinds),
        segments=_segment_accuracy(table, joined, columns),
        left_out=left_out,
        regions=_regions(manifest, run_uri, "findings", planted),
        areas=_regions(manifest, run_uri, "areas", planted),
        num_regions_without_score=num_unscored,
    )


def _regions(
    manifest: Manifest, run_uri: str, name: str, planted: list[PlantedRegion] | None
) -> list[RegionDetection]:
    """Rows of a table that have a mask, held to the planted regions."""
    if planted is None or name not in manifest.tables:
        return []
    columns = ["sample_id", "suspicion", "mask_rle", "mask_size_px"]
    if name == "areas":
        return evaluate_regions(proposals_of(manifest.table(run_uri, name, columns)), planted)
    findings = manifest.table(run_uri, name, [*columns, "kind"])
    # A whole mask that is suspected says nothing of where in it the error lies.
    findings = findings.filter(pc.not_equal(findings["kind"], "wrong_mask"))
    return evaluate_regions(proposals_of(findings), planted)


def _planted(
    manifest: Manifest, run_uri: str, truth_uri: str
) -> tuple[list[PlantedRegion] | None, int]:
    """The planted regions of the images that were scored, and how many there are of others.

    None where no planted regions lie beside the truth, or the run is none of masks.
    """
    uri = planted_regions_uri(truth_uri)
    if "regions" not in manifest.tables or not storage.exists(uri):
        return None, 0
    try:
        planted = planted_of(parquet_io.parse(storage.read_bytes(uri)))
    except (pa.ArrowInvalid, ValueError) as error:
        raise LabelError(
            f"planted regions {uri}: not as `ray-audit inject` writes them ({error})"
        ) from error
    sizes = _mask_sizes(manifest, run_uri)
    of_scored = [region for region in planted if region.sample_id in sizes]
    for region in of_scored:
        if region.size != sizes[region.sample_id]:
            raise LabelError(
                f"planted regions {uri}: {region.sample_id} is {_in_words(region.size)} there, "
                f"and {_in_words(sizes[region.sample_id])} in the run. Check that both are of one "
                "dataset"
            )
    return of_scored, len(planted) - len(of_scored)


def _mask_sizes(manifest: Manifest, run_uri: str) -> dict[str, rle.Size]:
    """Height and width of each scored mask."""
    columns = ["sample_id", "mask_height_px", "mask_width_px"]
    names, *sizes = (
        column.to_pylist() for column in manifest.table(run_uri, "scores", columns).columns
    )
    return dict(zip(names, zip(*sizes, strict=True), strict=True))


def _in_words(size: rle.Size) -> str:
    return f"{size[1]}x{size[0]} px"


def _scores_schema(manifest: Manifest, run_uri: str) -> pa.Schema:
    files = manifest.tables.get("scores") or []
    if sum(file.num_rows for file in files) == 0:
        raise StorageError(
            f"run {manifest.run_id} has scored no sample: there is nothing to measure"
        )
    with storage.open_read(storage.join(run_uri, files[0].path), files[0].size_bytes) as stream:
        return pq.read_schema(stream)


def _chosen_scores(
    schema: pa.Schema, scores: Sequence[str] | None
) -> tuple[dict[str, str], dict[str, str]]:
    """Scores to measure with their directions, and why the others are not."""
    directed = directed_columns(schema)
    undirected = [f.name for f in schema if (f.metadata or {}).get(b"direction") == b"none"]
    unknown = [name for name in scores or () if name not in directed and name not in undirected]
    if unknown:
        raise SpecificationError(
            f"no score {', '.join(unknown)} in the run; it has {', '.join(directed)}"
        )
    left_out = {
        name: "neither high nor low values mean wrong"
        for name in undirected
        if scores is None or name in scores
    }
    chosen = {n: d for n, d in directed.items() if scores is None or n in scores}
    return chosen, left_out


def _check_both_sides(joined: JoinedScores, truth_uri: str) -> None:
    num_errors, num_samples = int(joined.is_error.sum()), len(joined.is_error)
    if num_errors in (0, num_samples):
        which = "wrong" if num_errors else "right"
        raise SpecificationError(
            f"truth {truth_uri}: all {num_samples} scored samples are {which}; measuring needs "
            "both right and wrong ones"
        )


def _segment_accuracy(
    table: pa.Table, joined: JoinedScores, columns: dict[str, np.ndarray]
) -> dict[str, SegmentAccuracy]:
    """EDA of the segments of the given labels; empty where samples are no frames.

    Args:
        table: all samples that were scored.
        joined: those whose truth is known.
        columns: their scores.
    """
    if "frame_index" not in table.column_names or table["frame_index"].null_count:
        return {}
    shards = table["shard"].combine_chunks().dictionary_encode().indices.to_numpy()
    of_all = np.lexsort((table["frame_index"].to_numpy(), shards))
    # Of all frames: two segments whose frames in between were not judged are two.
    segments = np.empty(len(of_all), np.int64)
    segments[of_all] = segments_of(shards[of_all], table["label"].to_numpy()[of_all])
    order = of_all[joined.is_known[of_all]]
    place = np.cumsum(joined.is_known) - 1  # of a row among those that are known
    segments, order = segments[order], place[order]
    return {
        name: eda(columns[name][order], joined.is_error[order], segments)
        for name in _SEGMENT_SCORES
        if name in columns and np.isfinite(columns[name]).any()
    }


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def overall(found: Evaluation) -> list[Detection]:
    """The rows over all errors, best AUROC first."""
    rows = [row for row in found.detections if row.kind == ALL_KINDS]
    return sorted(rows, key=lambda row: math.inf if math.isnan(row.auroc) else -row.auroc)
