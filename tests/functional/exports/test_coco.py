"""Findings as COCO: read back by pycocotools."""

import json

import numpy as np
from pycocotools import mask as coco_mask

from ray_audit.exports.coco import coco_documents
from ray_audit.exports.content import EVIDENCE
from tests.support.export_contents import CLASSES, HOSTILE, SIZE, masks


def test_coco_masks_are_exact_and_of_the_suggested_class():
    contents, truth = masks()
    document = json.loads(coco_documents(contents)["findings.json"])
    names = {item["id"]: item["name"] for item in document["categories"]}
    assert list(names.values()) == CLASSES
    (image,) = document["images"]
    assert (image["file_name"], image["height"], image["width"]) == ("../i 0.png", *SIZE)
    for item in document["annotations"]:
        true = truth[item["attributes"]["finding_id"]]
        np.testing.assert_array_equal(coco_mask.decode(item["segmentation"]), true)
        assert item["bbox"] == coco_mask.toBbox(item["segmentation"]).tolist()
        assert item["area"] == true.sum()
        assert names[item["category_id"]] == HOSTILE
        assert set(item["attributes"]) == set(EVIDENCE)
