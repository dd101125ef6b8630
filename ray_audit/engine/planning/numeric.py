"""Settings that change numbers: what records and runs are named by."""

from typing import Any

from pydantic import BaseModel

from ray_audit.config import AuditConfig
from ray_audit.cuts.batching import AutoBatch, batch_size_of
from ray_audit.measures import measures
from ray_audit.measures.versions import RECORD_VERSION

VIDEO_VERSION = 3
"""Raised whenever a video has other frames, or these another time: records of images stay."""
_UNNAMED_BATCH_BYTES = 4 * 2**20
"""Of the automatic batches of records whose name says nothing of them."""
_LATER_KEYS = {
    *("orientation", "volume", "fps", "first_frame", "ends", "overlap", "start_ms", "end_ms"),
    *("values", "first_value", "channel", "rows", "variable"),
    *("channels", "scale", "layout", "pathways", "answers", "weights"),
}
"""Of data, labels, model and input: left out of what names records where they are not given."""


def numeric_settings(config: AuditConfig) -> dict[str, Any]:
    """The part of the configuration that changes numbers; stored in the manifest."""
    # Into which parts a long video is cut changes no number.
    dataset = config.dataset.model_dump(
        mode="json", exclude={"uri": True, "clip": {"slice_frames"}}
    )
    for form in ("frames", "segments", "videos", "images"):
        # A table may move: its rows are digested, shard by shard. A template says what is read.
        uri = dataset["labels"][form]
        if uri is not None and "{" not in uri:
            dataset["labels"][form] = "a table"
    model = config.model.model_dump(mode="json")
    for section, values in (
        (config.dataset, dataset),
        (config.dataset.labels, dataset["labels"]),
        (config.dataset.labels.columns, dataset["labels"]["columns"]),
        (config.model, model),
        (config.model.input, model["input"]),
    ):
        _leave_out_later(section, values)
    settings = {
        "record_version": RECORD_VERSION,
        "quantities": measures().record_identity(config.dataset.task),
        "dataset": dataset,
        "model": model,
        "temperature": config.softmin.temperature,
        "batch_size": config.engine.batch_size,
        "threads_per_actor": config.engine.threads_per_actor,
        "precision": precision(config),
    }
    batch = batch_size_of(config.engine)
    if isinstance(batch, AutoBatch) and batch.input_bytes != _UNNAMED_BATCH_BYTES:
        settings["batch_bytes"] = batch.input_bytes
    if config.dataset.kind == "video":
        settings["video_version"] = VIDEO_VERSION
    if config.engine.compile:
        settings["compile"] = True
    if config.adaptive is not None:
        settings["adaptive"] = config.adaptive.model_dump(mode="json")
    return settings


def _leave_out_later(section: BaseModel, values: dict[str, Any]) -> None:
    """Drop the keys that came later and are at their default: records made before keep names."""
    for name, field in type(section).model_fields.items():
        if name in _LATER_KEYS and getattr(section, name) == field.default:
            values.pop(name, None)  # what is never dumped has no part in it


def precision(config: AuditConfig) -> str:
    """Resolved precision: float32 unless another is asked for."""
    chosen = config.engine.precision
    return "float32" if chosen == "auto" else chosen
