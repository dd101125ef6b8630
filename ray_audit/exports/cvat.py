"""Findings as CVAT annotations: masks and tags of images, tracks of videos."""

import json
from xml.etree.ElementTree import Element, SubElement

from ray_audit import storage
from ray_audit.exports.content import (
    EVIDENCE,
    Content,
    Documents,
    Media,
    Row,
    VideoFacts,
    evidence,
    label_of,
    labels_of,
)
from ray_audit.exports.markup import as_xml
from ray_audit.exports.row_major import cropped, cvat_counts

_VERSION = "1.1"
_MAX_CHARACTERS = 4096  # of an attribute's value, in CVAT's database


def cvat_documents(content: Content) -> Documents:
    """Annotations, `labels.json` for the task that takes them, and `media.json`.

    Images: `annotations.xml` ("CVAT for images 1.1"), a mask a region, a tag a wrong label. Videos:
    one document a video ("CVAT for video 1.1"), since a task holds one; a segment is a track whose
    box is the whole frame. `media.json` says which document belongs to which file.
    """
    labels = labels_of(content)
    documents: Documents = {"labels.json": json.dumps(_label_specification(labels)).encode()}
    placed: list[dict[str, str]] = []
    if content.subject == "segments":
        for media, rows in content.by_media():
            file = f"video-{storage.digest(media.key)[:16]}.xml"
            documents[file] = _video(content, labels, media, rows)
            placed.append({"document": file, "name": media.name, "media": media.address})
    else:
        documents["annotations.xml"] = _images(content, labels)
        placed = [
            {"document": "annotations.xml", "name": media.name, "media": media.address}
            for media, _ in content.by_media()
        ]
    return documents | {"media.json": json.dumps(placed).encode()}


def _label_specification(labels: list[str]) -> list[dict[str, object]]:
    attributes = [
        {"name": name, "mutable": False, "input_type": "text", "values": [""]} for name in EVIDENCE
    ]
    return [{"name": name, "attributes": attributes} for name in labels]


def _root(content: Content, labels: list[str], mode: str) -> tuple[Element, Element]:
    """The document, and its task, with the labels that it uses."""
    root = Element("annotations")
    SubElement(root, "version").text = _VERSION
    task = SubElement(SubElement(root, "meta"), "task")
    SubElement(task, "name").text = f"{content.name} {content.run_id}"
    SubElement(task, "mode").text = mode
    label_list = SubElement(task, "labels")
    for name in labels:
        label = SubElement(label_list, "label")
        SubElement(label, "name").text = name
        attributes = SubElement(label, "attributes")
        for key in EVIDENCE:
            attribute = SubElement(attributes, "attribute")
            for tag, text in (("name", key), ("mutable", "False"), ("input_type", "text")):
                SubElement(attribute, tag).text = text
    return root, task


def _images(content: Content, labels: list[str]) -> bytes:
    root, _ = _root(content, labels, "annotation")
    for index, (media, rows) in enumerate(content.by_media()):
        image = SubElement(root, "image", id=str(index), name=media.name)
        if content.subject == "masks":
            height, width = rows[0]["mask_size_px"]
            image.attrib |= {"width": str(width), "height": str(height)}
        for row in rows:
            common = {"label": label_of(row), "source": "auto"}
            if content.subject == "masks":
                _add_evidence(SubElement(image, "mask", common | _mask(row)), row)
            else:
                _add_evidence(SubElement(image, "tag", common), row)
    return as_xml(root)


def _mask(row: Row) -> dict[str, str]:
    x0, y0, x1, y1 = row["box"]
    return {
        "occluded": "0",
        "rle": cvat_counts(cropped(row)),
        "left": str(x0),
        "top": str(y0),
        "width": str(x1 - x0),
        "height": str(y1 - y0),
        "z_order": "0",
    }


def _video(content: Content, labels: list[str], media: Media, rows: list[Row]) -> bytes:
    facts = content.videos[media.key]
    assert facts.size_px is not None
    root, task = _root(content, labels, "interpolation")
    size = SubElement(task, "original_size")
    SubElement(size, "width").text = str(facts.size_px[1])
    SubElement(size, "height").text = str(facts.size_px[0])
    for index, row in enumerate(rows):
        track = SubElement(root, "track", id=str(index), label=label_of(row), source="auto")
        _add_box(track, row["start_frame"], facts, row, outside=False)
        # The box stays until it is said to be outside; a frame behind the video's end is refused.
        if row["end_frame"] < facts.num_frames:
            _add_box(track, row["end_frame"], facts, row, outside=True)
    return as_xml(root)


def _add_box(track: Element, frame: int, facts: VideoFacts, row: Row, outside: bool) -> None:
    assert facts.size_px is not None
    height, width = facts.size_px
    corners = {"xtl": "0.00", "ytl": "0.00", "xbr": f"{width:.2f}", "ybr": f"{height:.2f}"}
    state = {"frame": str(frame), "keyframe": "1", "outside": str(int(outside)), "occluded": "0"}
    _add_evidence(SubElement(track, "box", state | corners | {"z_order": "0"}), row)


def _add_evidence(element: Element, row: Row) -> None:
    for name, value in evidence(row).items():
        text = "" if value is None else str(value)
        SubElement(element, "attribute", name=name).text = text[:_MAX_CHARACTERS]
