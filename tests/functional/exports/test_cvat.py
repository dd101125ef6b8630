"""Findings as documents of CVAT."""

import json
from xml.etree import ElementTree

import numpy as np

from ray_audit.exports.cvat import cvat_documents
from tests.support.export_contents import CLASSES, HOSTILE, SIZE, content, masks, segments

SHOWN = HOSTILE.replace("\x00", "\ufffd").replace("\x1b", "\ufffd")
"""The hostile name where XML cannot hold all of it."""


def evidence_of(element):
    return {child.get("name"): child.text or "" for child in element.findall("attribute")}


def test_cvat_masks_are_exact():
    contents, truth = masks()
    root = ElementTree.fromstring(cvat_documents(contents)["annotations.xml"])
    (image,) = root.findall("image")
    assert image.get("name") == "../i 0.png"
    for child in image.findall("mask"):
        place = {k: int(child.get(k)) for k in ("left", "top", "width", "height")}
        counts = list(map(int, child.get("rle").split(",")))
        flat = np.repeat(np.arange(len(counts)) % 2, counts)
        whole = np.zeros(SIZE, bool)
        rows = slice(place["top"], place["top"] + place["height"])
        columns = slice(place["left"], place["left"] + place["width"])
        whole[rows, columns] = flat.reshape(place["height"], place["width"])
        np.testing.assert_array_equal(whole, truth[evidence_of(child)["finding_id"]])
        assert child.get("label") == SHOWN


def test_cvat_labels_know_every_attribute_that_findings_carry():
    contents, _ = masks()
    documents = cvat_documents(contents)
    labels = json.loads(documents["labels.json"])
    assert [label["name"] for label in labels] == CLASSES
    (element, _) = ElementTree.fromstring(documents["annotations.xml"]).iter("mask")
    for label in labels:
        assert {a["name"] for a in label["attributes"]} == set(evidence_of(element))


def test_cvat_tracks_end_behind_their_segment_but_not_behind_the_video():
    documents = cvat_documents(segments())
    (placed,) = json.loads(documents["media.json"])
    assert (placed["name"], placed["media"]) == ("v.mp4", "s3://bucket/v.mp4")
    first, second = ElementTree.fromstring(documents[placed["document"]]).findall("track")
    seen = [(box.get("frame"), box.get("outside")) for box in first]
    assert seen == [("4", "0"), ("9", "1")]
    assert [(box.get("frame"), box.get("outside")) for box in second] == [("12", "0")]
    assert {(box.get("xbr"), box.get("ybr")) for box in (*first, *second)} == {("64.00", "32.00")}


def test_cvat_documents_of_videos_stay_in_their_folder():
    contents = segments()
    for row in contents.rows:
        row["shard"] = "../../etc/passwd"
    moved = content("segments", contents.rows, **{"../../etc/passwd": contents.videos["v.mp4"]})
    assert not any("/" in name for name in cvat_documents(moved))
