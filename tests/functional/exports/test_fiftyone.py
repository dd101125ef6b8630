"""Findings as a dataset of FiftyOne."""

import base64
import io
import json
import zlib

import numpy as np
import pytest

from ray_audit.exports.content import EVIDENCE
from ray_audit.exports.fiftyone import fiftyone_documents
from tests.support.export_contents import HOSTILE, SIZE, content, masks, row, segments


def test_fiftyone_masks_lie_in_their_relative_boxes():
    contents, truth = masks()
    (sample,) = json.loads(fiftyone_documents(contents)["samples.json"])["samples"]
    assert sample["filepath"] == "s3://bucket/../i 0.png"
    for detection in sample["findings"]["detections"]:
        stored = zlib.decompress(base64.b64decode(detection["mask"]))
        inside = np.load(io.BytesIO(stored), allow_pickle=False)
        x, y, width, height = np.array(detection["bounding_box"]) * [
            SIZE[1],
            SIZE[0],
            SIZE[1],
            SIZE[0],
        ]
        whole = np.zeros(SIZE, bool)
        rows = slice(round(y), round(y + height))
        whole[rows, round(x) : round(x + width)] = inside
        np.testing.assert_array_equal(whole, truth[detection["finding_id"]])


def test_fiftyone_supports_count_from_one():
    (sample,) = json.loads(fiftyone_documents(segments())["samples.json"])["samples"]
    assert [detection["support"] for detection in sample["findings"]["detections"]] == [
        [5, 9],
        [13, 20],
    ]


@pytest.mark.parametrize("subject", ["images", "videos"])
def test_fiftyone_has_one_class_a_finding_elsewhere(subject):
    contents = content(subject, [row()])
    (sample,) = json.loads(fiftyone_documents(contents)["samples.json"])["samples"]
    (result,) = sample["findings"]["classifications"]
    assert (result["label"], result["given"], result["confidence"]) == (HOSTILE, "a", 0.8)
    assert set(EVIDENCE) < set(result)
