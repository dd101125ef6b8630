"""Findings as COCO: read back by pycocotools."""

import json

import numpy as np
from pycocotools import mask as coco_mask

from ray_audit.exports.coco import coco_documents
from ray_audit.exports.content import EVIDENCE
from tests.support.export_contents import CLASSES, HOSTILE, SIZE, masks


def test_coco_masks_are_exact_and_of_the_suggested_class():
    held, truth = masks()
    document = json.loads(coco_documents(held)["findings.json"])
    names = {one["id"]: one["name"] for one in document["categories"]}
    assert list(names.values()) == CLASSES
    (image,) = document["images"]
    assert (image["file_name"], image["height"], image["width"]) == ("../i 0.png", *SIZE)
    for one in document["annotations"]:
        true = truth[one["attributes"]["finding_id"]]
        np.testing.assert_array_equal(coco_mask.decode(one["segmentation"]), true)
        assert one["bbox"] == coco_mask.toBbox(one["segmentation"]).tolist()
        assert one["area"] == true.sum()
        assert names[one["category_id"]] == HOSTILE
        assert set(one["attributes"]) == set(EVIDENCE)
