"""Findings as tasks of Label Studio, in its own run-length code."""

import json
from xml.etree import ElementTree

import jsonschema
import numpy as np
import pytest

from ray_audit.exports.label_studio import label_studio_documents
from ray_audit.exports.row_major import label_studio_bytes
from tests.support.export_contents import HOSTILE, SIZE, content, masks, row, segments

SHOWN = HOSTILE.replace("\x00", "\ufffd").replace("\x1b", "\ufffd")
"""The hostile name where XML cannot hold all of it."""
TASKS = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["data", "predictions"],
        "properties": {
            "data": {"type": "object", "required": ["media", "why", "findings", "run_id"]},
            "predictions": {
                "type": "array",
                "minItems": 1,
                "maxItems": 1,
                "items": {
                    "required": ["model_version", "score", "result"],
                    "properties": {
                        "score": {"type": "number", "minimum": 0, "maximum": 1},
                        "result": {
                            "type": "array",
                            "items": {
                                "required": ["id", "type", "from_name", "to_name", "value"],
                            },
                        },
                    },
                },
            },
        },
    },
}


def decoded_rle(values):
    """Label Studio's code read bit by bit, as its documentation of the format has it."""
    bits = "".join(f"{value:08b}" for value in values)
    at = 0

    def take(num):
        nonlocal at
        at += num
        return int(bits[at - num : at], 2)

    num, word = take(32), take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    found = []
    while len(found) < num:
        is_run, length = take(1), 0
        length = take(sizes[take(2)]) + 1
        found += [take(word)] * length if is_run else [take(word) for _ in range(length)]
    return np.array(found, np.uint8)


@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((6, 9), (0, 0, 9, 6)),
        ((6, 9), (3, 2, 4, 3)),
        ((6, 9), (8, 5, 9, 6)),
        ((300, 200), (1, 1, 3, 3)),
    ],
)
def test_label_studio_masks_are_exact(size, box):
    x0, y0, x1, y1 = box
    inside = np.random.default_rng(0).random((y1 - y0, x1 - x0)) < 0.6
    inside[0, 0] = inside[-1, -1] = True
    whole = np.zeros(size, bool)
    whole[y0:y1, x0:x1] = inside
    pixels = decoded_rle(label_studio_bytes(inside, list(box), list(size))).reshape(*size, 4)
    np.testing.assert_array_equal(pixels, np.repeat(255 * whole[:, :, None], 4, axis=2))


def test_label_studio_tasks_have_a_region_a_finding():
    contents, truth = masks()
    documents = label_studio_documents(contents)
    tasks = json.loads(documents["tasks.json"])
    jsonschema.validate(tasks, TASKS)
    (task,) = tasks
    assert task["data"]["media"] == "s3://bucket/../i 0.png"
    for region in task["predictions"][0]["result"]:
        pixels = decoded_rle(region["value"]["rle"]).reshape(*SIZE, 4)
        np.testing.assert_array_equal(pixels[:, :, 0] > 0, truth[region["id"]])
        assert region["value"]["brushlabels"] == [HOSTILE]


def test_label_studio_counts_frames_from_one_and_shows_the_given_where_nothing_is_suggested():
    tasks = json.loads(label_studio_documents(segments())["tasks.json"])
    jsonschema.validate(tasks, TASKS)
    first, second = tasks[0]["predictions"][0]["result"]
    assert first["value"] == {"ranges": [{"start": 5, "end": 9}], "timelinelabels": [HOSTILE]}
    assert second["value"] == {"ranges": [{"start": 13, "end": 20}], "timelinelabels": ["a"]}
    assert tasks[0]["data"]["frames_per_s"] == 25.0


@pytest.mark.parametrize(
    "contents", [masks()[0], segments(), content("images", [row()]), content("videos", [row()])]
)
def test_label_studio_interfaces_name_what_the_regions_name(contents):
    documents = label_studio_documents(contents)
    view = ElementTree.fromstring(documents["labels.xml"])
    names = {element.get("name"): element for element in view}
    control = names["label"]
    assert control.get("toName") == "media"
    assert [label.get("value") for label in control] == ["a", SHOWN]
    region = json.loads(documents["tasks.json"])[0]["predictions"][0]["result"][0]
    assert region["type"] == control.tag.lower()
    assert (region["from_name"], region["to_name"]) == ("label", "media")
