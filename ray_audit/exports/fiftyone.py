"""Findings as a FiftyOne dataset on disk: `metadata.json` and `samples.json`.

FiftyOne's own reader takes this form, samples as plain JSON without the schema of its database,
through `fiftyone.types.FiftyOneDataset`; it tells it from newer ones by the missing version.
"""

import base64
import io
import json
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from ray_audit.exports.content import (
    Content,
    Documents,
    Media,
    Row,
    Subject,
    evidence,
    label_of,
    labels_of,
)
from ray_audit.exports.row_major import cropped

_HOLDERS: dict[Subject, tuple[str, str, str]] = {
    "masks": ("Detections", "detections", "Detection"),
    "images": ("Classifications", "classifications", "Classification"),
    "videos": ("Classifications", "classifications", "Classification"),
    "segments": ("TemporalDetections", "detections", "TemporalDetection"),
}


def fiftyone_documents(content: Content) -> Documents:
    """A sample a picture or video; its findings are labels of the field `findings`."""
    info = {"run_id": content.run_id, "name": content.name}
    metadata = {"info": info, "default_classes": labels_of(content)}
    samples = [_sample(content, media, rows) for media, rows in content.by_media()]
    return {
        "metadata.json": json.dumps(metadata).encode(),
        "samples.json": json.dumps({"samples": samples}).encode(),
    }


def _sample(content: Content, media: Media, rows: list[Row]) -> dict[str, Any]:
    holder, label_type, kind = _HOLDERS[content.subject]
    labels = [
        {"_cls": kind, "label": label_of(row), "confidence": row["p_suggested"], "tags": []}
        | evidence(row)
        | _place(row, content.subject)
        for row in rows
    ]
    return {
        "filepath": media.address,
        "tags": ["ray-audit"],
        "key": media.key,
        "suspicion": max(row["suspicion"] for row in rows),
        "findings": {"_cls": holder, label_type: labels},
    }


def _place(row: Row, subject: Subject) -> dict[str, Any]:
    if subject == "segments":
        # Frames count from 1, and the last one belongs to the segment.
        return {"support": [row["start_frame"] + 1, row["end_frame"]]}
    if subject != "masks":
        return {}
    (height, width), (x0, y0, x1, y1) = row["mask_size_px"], row["box"]
    box = [x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height]
    return {"bounding_box": box, "mask": _packed(cropped(row))}


def _packed(mask: npt.NDArray[np.bool_]) -> str:
    """A mask as FiftyOne writes arrays into JSON: .npy, deflated, in base64."""
    sink = io.BytesIO()
    np.save(sink, mask, allow_pickle=False)
    return base64.b64encode(zlib.compress(sink.getvalue())).decode("ascii")
