"""Findings as Label Studio tasks: one task per picture or video, its findings as predictions."""

import json
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

from ray_audit.exports.content import (
    Content,
    Documents,
    Media,
    Row,
    Subject,
    VideoFacts,
    evidence,
    label_of,
    labels_of,
)
from ray_audit.exports.markup import as_xml
from ray_audit.exports.row_major import cropped, label_studio_bytes

LABEL, MEDIA = "label", "media"
_CONTROLS: dict[Subject, tuple[str, str, str]] = {
    "masks": ("Image", "BrushLabels", "Label"),
    "images": ("Image", "Choices", "Choice"),
    "videos": ("Video", "Choices", "Choice"),
    "segments": ("Video", "TimelineLabels", "Label"),
}


def label_studio_documents(content: Content) -> Documents:
    """`tasks.json` to import, and `labels.xml`: the labelling interface that it needs."""
    tasks = [_task(content, media, rows) for media, rows in content.by_media()]
    return {"tasks.json": json.dumps(tasks).encode(), "labels.xml": label_config(content)}


def label_config(content: Content) -> bytes:
    """The labelling interface: the reasons, the picture or video, and one label per class."""
    shows, control, label = _CONTROLS[content.subject]
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Text", name="why", value="$why")
    shown = ElementTree.SubElement(view, shows, name=MEDIA, value=f"${MEDIA}")
    if content.subject == "segments":
        shown.set("frameRate", "$frames_per_s")
    labels = ElementTree.SubElement(view, control, name=LABEL, toName=MEDIA)
    for name in labels_of(content):
        ElementTree.SubElement(labels, label, value=name)
    return as_xml(view, declaration=False)  # its own parser refuses a text with one


def _task(content: Content, media: Media, rows: list[Row]) -> dict[str, Any]:
    data: dict[str, Any] = {
        MEDIA: media.address,
        "why": "\n".join(_why(row) for row in rows),
        "run_id": content.run_id,
        "key": media.key,
        "findings": [evidence(row) for row in rows],
    }
    if content.subject == "segments":
        # Label Studio counts frames by the clock: without one it takes 24 a second.
        data["frames_per_s"] = content.videos[media.key].frames_per_s or 24
    facts = content.videos.get(media.key)
    value_of = _VALUES[content.subject]
    return {
        "data": data,
        "predictions": [
            {
                "model_version": f"ray-audit {content.run_id}",
                "score": max(row["suspicion"] for row in rows),
                "result": [_region(row, value_of(row, facts), content.subject) for row in rows],
            }
        ],
    }


def _why(row: Row) -> str:
    change = f"{row['given']} -> {row['suggested'] or '?'}"
    return f"#{row['rank']} {row['kind']}: {change}: {row['reason']}"


def _region(row: Row, value: dict[str, Any], subject: Subject) -> dict[str, Any]:
    kind = _CONTROLS[subject][1].lower()
    value_key = "choices" if kind == "choices" else kind
    region = {
        "id": row["finding_id"],
        "type": kind,
        "from_name": LABEL,
        "to_name": MEDIA,
        "score": row["suspicion"],
        "meta": {"text": [_why(row)]},
        "value": value | {value_key: [label_of(row)]},
    }
    if subject == "masks":
        height, width = row["mask_size_px"]
        region |= {"original_height": height, "original_width": width, "image_rotation": 0}
    return region


def _brush(row: Row, facts: VideoFacts | None) -> dict[str, Any]:
    rle = label_studio_bytes(cropped(row), row["box"], row["mask_size_px"])
    return {"format": "rle", "rle": rle}


def _range(row: Row, facts: VideoFacts | None) -> dict[str, Any]:
    # Frames count from 1, and the last one belongs to the range. They are frames of the clock: at
    # a variable rate not those that are decoded.
    start, end = row["start_frame"], row["end_frame"]
    if facts is not None and facts.frames_per_s and facts.times:
        start, end = (round(facts.time_s(edge) * facts.frames_per_s) for edge in (start, end))
    return {"ranges": [{"start": start + 1, "end": max(start + 1, end)}]}


_VALUES: dict[Subject, Callable[[Row, VideoFacts | None], dict[str, Any]]] = {
    "masks": _brush,
    "images": lambda row, facts: {},
    "videos": lambda row, facts: {},
    "segments": _range,
}
