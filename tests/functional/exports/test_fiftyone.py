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
    held, truth = masks()
    (sample,) = json.loads(fiftyone_documents(held)["samples.json"])["samples"]
    assert sample["filepath"] == "s3://bucket/../i 0.png"
    for one in sample["findings"]["detections"]:
        stored = zlib.decompress(base64.b64decode(one["mask"]))
        inside = np.load(io.BytesIO(stored), allow_pickle=False)
        x, y, width, height = np.array(one["bounding_box"]) * [SIZE[1], SIZE[0], SIZE[1], SIZE[0]]
        whole = np.zeros(SIZE, bool)
        rows = slice(round(y), round(y + height))
        whole[rows, round(x) : round(x + width)] = inside
        np.testing.assert_array_equal(whole, truth[one["finding_id"]])


def test_fiftyone_supports_count_from_one():
    (sample,) = json.loads(fiftyone_documents(segments())["samples.json"])["samples"]
    assert [one["support"] for one in sample["findings"]["detections"]] == [[5, 9], [13, 20]]


@pytest.mark.parametrize("subject", ["images", "videos"])
def test_fiftyone_has_one_class_a_finding_elsewhere(subject):
    held = content(subject, [row()])
    (sample,) = json.loads(fiftyone_documents(held)["samples.json"])["samples"]
    (one,) = sample["findings"]["classifications"]
    assert (one["label"], one["given"], one["confidence"]) == (HOSTILE, "a", 0.8)
    assert set(EVIDENCE) < set(one)
