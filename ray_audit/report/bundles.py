"""Bundles: the pictures and timelines of one image or video, made by the engine's workers."""

import base64
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ray_audit.config import AuditConfig
from ray_audit.cuts.job import Job
from ray_audit.cuts.show import reduced, show_frames, show_images
from ray_audit.cuts.tally import Tally
from ray_audit.engine.predict import Predicted, Predictor
from ray_audit.errors import RayAuditError
from ray_audit.samples import IGNORE, Shard, WorkUnit

IMAGE_PX = 512
FRAME_PX = 240
_VOID = 255
_FRAMES_AROUND = 2
_FRAMES_INSIDE = 4
_STRIPS = 12

Bundle = dict[str, Any]
Findings = list[dict[str, Any]]


@dataclass(frozen=True)
class Order:
    """What one task makes.

    Attributes:
        config: the specification of the run.
        index_uri: label index of the run, where labels are tables.
        last_checkpoint: whose predictions are shown.
        shard: where the data lies; None where it has gone.
        wanted: bundle name -> findings of one image or video in the shard.
    """

    config: AuditConfig
    index_uri: str
    last_checkpoint: str
    shard: Shard | None
    wanted: dict[str, Findings]


def make_bundles(order: Order) -> dict[str, Bundle]:
    """The bundles of one shard; a failure becomes the reason that the page shows."""
    if order.shard is None:
        gone = "This shard is not in the dataset any more: it has gone since the run."
        return {name: {"pictures": {}, "reason": gone} for name in order.wanted}
    try:
        kind = order.config.dataset.kind
        if kind == "video":
            return _of_video(order.shard, order.wanted)
        if kind == "sequences":
            return {name: {"pictures": {}} for name in order.wanted}
        return _of_images(order, order.shard)
    except (RayAuditError, OSError, ValueError) as error:
        reason = f"The pictures could not be made: {error}"
        return {name: {"pictures": {}, "reason": reason} for name in order.wanted}


def _of_video(shard: Shard, wanted: dict[str, Findings]) -> dict[str, Bundle]:
    bundles: dict[str, Bundle] = {}
    for name, findings in wanted.items():
        strips = {one["finding_id"]: strip_frames(one) for one in findings[:_STRIPS]}
        needed = {frame for frames in strips.values() for frame, _ in frames}
        pictures = {i: as_uri(image) for i, image in show_frames(shard, needed, FRAME_PX)}
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
    ids = {findings[0]["sample_id"]: name for name, findings in order.wanted.items()}
    if dataset.labels.masks is not None:
        predictor = Predictor(order.config, (order.last_checkpoint,), order.index_uri)
        return _of_masks(predictor.predict(unit, set(ids)), order.wanted, ids)
    job = Job(dataset, None, order.index_uri, Tally("report"))
    shown = show_images(unit, job, set(ids), IMAGE_PX)
    return {ids[sample_id]: {"pictures": {"image": as_uri(image)}} for sample_id, image in shown}


def _of_masks(
    predicted: Iterable[Predicted], wanted: dict[str, Findings], ids: dict[str, str]
) -> dict[str, Bundle]:
    bundles: dict[str, Bundle] = {}
    for one in predicted:
        name = ids[one.sample_id]
        # Of a tiled image the tile that holds the middle of its first finding is shown.
        if one.placement is None or _owns_middle(one, wanted[name][0]["box"]):
            regions = {f["finding_id"]: _region(f) for f in wanted[name] if f["mask_rle"]}
            bundles[name] = mask_bundle(one) | {"regions": regions}
    return bundles


def _region(finding: dict[str, Any]) -> dict[str, Any]:
    return {"counts": finding["mask_rle"], "height": finding["mask_size_px"][0]}


def _owns_middle(one: Predicted, box: list[int] | None) -> bool:
    assert one.placement is not None
    assert one.owned is not None
    if box is None:
        return True
    y = (box[1] + box[3]) // 2 - one.placement[0]
    x = (box[0] + box[2]) // 2 - one.placement[1]
    y0, x0, y1, x1 = one.owned
    return y0 <= y < y1 and x0 <= x < x1


def mask_bundle(one: Predicted) -> Bundle:
    """Layers of one image or tile, each at most `IMAGE_PX` a side."""
    height, width = one.targets.shape
    scale = min(1.0, IMAGE_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    labelled = one.targets != IGNORE
    given = np.where(labelled, one.targets, 0).astype(np.int64)
    p_given = np.take_along_axis(one.p, given[None], axis=0)[0]
    doubt = np.where(labelled, 255 * (1 - p_given), 0).round().astype(np.uint8)
    return {
        "pictures": {
            "image": as_uri(picture(one.pixels).resize(size, Image.Resampling.BILINEAR)),
            "given": _index_uri(np.where(labelled, given, _VOID), size),
            "predicted": _index_uri(one.p.argmax(axis=0), size),
            "doubt": as_uri(Image.fromarray(doubt).resize(size, Image.Resampling.BOX), "PNG"),
        },
        "scale": scale,
        "origin": [0, 0] if one.placement is None else [one.placement[1], one.placement[0]],
    }


def picture(pixels: np.ndarray) -> Image.Image:
    """(C, H, W) as decoded, or float32 in [0, 1], as a picture; the first one or three channels."""
    kept = pixels[:3] if len(pixels) >= 3 else pixels[:1]
    if kept.dtype == np.float32:
        kept = (255 * np.clip(kept, 0, 1)).round().astype(np.uint8)
    return reduced(np.ascontiguousarray(kept.transpose(1, 2, 0)), max(kept.shape))


def _index_uri(classes: np.ndarray, size: tuple[int, int]) -> str:
    # One byte a pixel: of more than 255 classes the last ones look alike.
    image = Image.fromarray(
        np.where(classes == _VOID, _VOID, np.minimum(classes, 254)).astype("u1")
    )
    return as_uri(image.resize(size, Image.Resampling.NEAREST), "PNG")


def as_uri(image: Image.Image, form: str = "JPEG") -> str:
    """A picture as a data URI."""
    sink = io.BytesIO()
    image.save(sink, form, **({"quality": 80} if form == "JPEG" else {"optimize": True}))
    encoded = base64.b64encode(sink.getvalue()).decode("ascii")
    return f"data:image/{form.lower()};base64,{encoded}"


def orders(
    config: AuditConfig,
    index_uri: str,
    last_checkpoint: str,
    shards: dict[str, Shard],
    by_bundle: dict[str, Findings],
) -> Iterator[Order]:
    """Put bundles of one shard into one order, so that it is read once."""
    grouped: dict[str, dict[str, Findings]] = {}
    for name, findings in by_bundle.items():
        grouped.setdefault(findings[0]["shard"], {})[name] = findings
    for key, wanted in grouped.items():
        yield Order(config, index_uri, last_checkpoint, shards.get(key), wanted)
