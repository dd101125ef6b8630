"""Bundles: the pictures and timelines of one image or video, made by the engine's workers."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ray_audit.config import AuditConfig, DatasetConfig
from ray_audit.engine.run.predict import Predictor
from ray_audit.errors import CheckpointError, RayAuditError, StorageError
from ray_audit.formats.accounting import UnitAccounting
from ray_audit.formats.job import UnitContext
from ray_audit.formats.show import show_frames, show_images, show_stills
from ray_audit.formats.video.stills import is_folder
from ray_audit.report.layers import IMAGE_PX, Bundle, Findings, as_uri, mask_bundles
from ray_audit.report.seen_masks import Regions, SeenMask, stored_masks
from ray_audit.samples import Shard, WorkUnit

FRAME_PX = 240
_FRAMES_AROUND = 2
_FRAMES_INSIDE = 4


@dataclass(frozen=True)
class Order:
    """What one task makes.

    Attributes:
        config: the specification of the run.
        index_uri: label index of the run, where labels are tables.
        last_checkpoint: whose predictions are shown; empty where its model is not called, and the
            candidate regions tell what it sees.
        shard: where the data lies; None where it has gone.
        by_bundle: bundle name -> findings of one image or video in the shard.
        regions: of the images, as the run keeps them.
    """

    config: AuditConfig
    index_uri: str
    last_checkpoint: str
    shard: Shard | None
    by_bundle: dict[str, Findings]
    regions: Regions


def make_bundles(order: Order) -> dict[str, Bundle]:
    """The bundles of one shard; a failure becomes the reason that the page shows."""
    if order.shard is None:
        gone = "This shard is not in the dataset any more: it has gone since the run."
        return {name: {"pictures": {}, "reason": gone} for name in order.by_bundle}
    try:
        kind = order.config.dataset.kind
        if order.config.dataset.task.is_dense:
            return _of_images(order, order.shard)
        if kind == "video":
            return _of_video(order.shard, order.by_bundle, order.config.dataset)
        if kind == "sequences":
            return {name: {"pictures": {}} for name in order.by_bundle}
        return _of_images(order, order.shard)
    except (RayAuditError, OSError, ValueError) as error:
        reason = f"The pictures could not be made: {error}"
        return {name: {"pictures": {}, "reason": reason} for name in order.by_bundle}


def _of_video(
    shard: Shard, by_bundle: dict[str, Findings], dataset: DatasetConfig
) -> dict[str, Bundle]:
    bundles: dict[str, Bundle] = {}
    for name, findings in by_bundle.items():
        strips = {finding["finding_id"]: strip_frames(finding) for finding in findings}
        needed = {frame for frames in strips.values() for frame, _ in frames}
        if is_folder(shard.uri):
            shown = show_stills(shard, dataset, needed, FRAME_PX)
        else:
            shown = show_frames(shard, needed, FRAME_PX, dataset.orientation)
        pictures = {i: as_uri(image) for i, image in shown}
        bundles[name] = {
            "pictures": {},
            "strips": {
                finding_id: [
                    {"frame": frame, "inside": inside, "src": pictures[frame]}
                    for frame, inside in frames
                    if frame in pictures
                ]
                for finding_id, frames in strips.items()
            },
        }
    return bundles


def strip_frames(finding: dict[str, Any]) -> list[tuple[int, bool]]:
    """Frames that show a finding: some before, some within, some behind; and which lie within.

    >>> strip_frames({"start_frame": 10, "end_frame": 12})
    [(6, False), (8, False), (10, True), (11, True), (13, False), (15, False)]
    """
    start, end = finding["start_frame"], finding["end_frame"]
    if start is None:
        start, end = 0, 1
    gap = max(2, (end - start) // _FRAMES_INSIDE)
    inside = np.unique(np.linspace(start, end - 1, _FRAMES_INSIDE).round().astype(int)).tolist()
    before = [start - gap * i for i in range(_FRAMES_AROUND, 0, -1)]
    behind = [end - 1 + gap * i for i in range(1, _FRAMES_AROUND + 1)]
    frames = [(f, False) for f in before if f >= 0] + [(f, True) for f in inside]
    return frames + [(f, False) for f in behind]


def _of_images(order: Order, shard: Shard) -> dict[str, Bundle]:
    dataset = order.config.dataset
    unit = WorkUnit("report", (shard,))
    ids = {findings[0]["sample_id"]: name for name, findings in order.by_bundle.items()}
    if dataset.labels.masks is not None:
        return _of_masks(order, unit, ids)
    job = UnitContext(dataset, None, order.index_uri, UnitAccounting("report"))
    shown = show_images(unit, job, set(ids), IMAGE_PX)
    return {ids[sample_id]: {"pictures": {"image": as_uri(image)}} for sample_id, image in shown}


def _of_masks(order: Order, unit: WorkUnit, ids: dict[str, str]) -> dict[str, Bundle]:
    config, reason = order.config, ""
    seen: Iterable[SeenMask] | None = None
    if order.last_checkpoint:
        try:
            predictor = Predictor(config, (order.last_checkpoint,), order.index_uri)
            seen = (SeenMask.of(predicted) for predicted in predictor.predict(unit, set(ids)))
        except (CheckpointError, StorageError) as error:
            reason = f"The prediction is that of the run's regions: {error}"
    seen = seen or stored_masks(config, order.index_uri, unit, set(ids), order.regions)
    bundles = mask_bundles(seen, order.by_bundle, ids)
    return {
        name: bundle | {"reason": reason} if reason else bundle for name, bundle in bundles.items()
    }


def orders(
    config: AuditConfig,
    index_uri: str,
    last_checkpoint: str,
    shards: dict[str, Shard],
    by_bundle: dict[str, Findings],
    regions: Regions,
) -> Iterator[Order]:
    """Put bundles of one shard into one order, so that it is read once."""
    grouped: dict[str, dict[str, Findings]] = {}
    for name, findings in by_bundle.items():
        grouped.setdefault(findings[0]["shard"], {})[name] = findings
    for key, findings_of in grouped.items():
        ids = {finding["sample_id"] for findings in findings_of.values() for finding in findings}
        own = {sample_id: rows for sample_id, rows in regions.items() if sample_id in ids}
        yield Order(config, index_uri, last_checkpoint, shards.get(key), findings_of, own)
