import base64
import csv
import io
import json
import zlib
from xml.etree import ElementTree

import jsonschema
import numpy as np
import pyarrow.parquet as pq
import pytest
from pycocotools import mask as coco_mask

from ray_audit.exports.coco import coco_documents
from ray_audit.exports.content import EVIDENCE
from ray_audit.exports.cvat import cvat_documents
from ray_audit.exports.fiftyone import fiftyone_documents
from ray_audit.exports.label_studio import label_studio_documents
from ray_audit.exports.row_major import label_studio_bytes
from ray_audit.exports.tabular import csv_documents, parquet_documents
from ray_audit.schemas import FINDINGS
from tests.support.export_contents import CLASSES, HOSTILE, SIZE, content, masks, row, segments

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


def read_csv(documents):
    text = documents["findings.csv"].decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r", "\uff1d", " =", "'"])
def test_no_cell_of_a_csv_is_a_formula_and_each_comes_back(start):
    name = f'{start}HYPERLINK("http://x")'
    rows = [row(given=name, shard=name, reason=name)]
    (read,) = read_csv(csv_documents(content("images", rows)))
    for column in ("given", "shard", "reason"):
        assert read[column] == f"'{name}"
        assert read[column].removeprefix("'") == name


def test_a_csv_holds_every_column_and_the_place_of_the_media():
    held, _ = masks()
    first, _ = read_csv(csv_documents(held))
    names = {column.name for column in FINDINGS} - {"box", "mask_size_px"}
    assert names < set(first)
    assert first["media"] == "s3://bucket/../i 0.png"
    assert [int(first[f"box_{side}"]) for side in ("x0", "y0", "x1", "y1")] == held.rows[0]["box"]
    assert (first["mask_height_px"], first["mask_width_px"]) == ("40", "50")
    assert json.loads(first["evidence"]) == ["../i 0.png"]


@pytest.mark.parametrize("make", [csv_documents, parquet_documents])
def test_tables_without_findings_keep_their_columns(make):
    (document,) = make(content("images", [])).values()
    if make is csv_documents:
        assert document.startswith(b"run_id,finding_id,rank,kind,")
    else:
        assert pq.read_schema(io.BytesIO(document)).names == [*(c.name for c in FINDINGS), "media"]


def test_parquet_keeps_types_and_says_of_which_run():
    held, _ = masks()
    table = pq.read_table(io.BytesIO(parquet_documents(held)["findings.parquet"]))
    expected = [one | {"media": "s3://bucket/../i 0.png"} for one in held.rows]
    assert table.to_pylist() == expected
    assert table.schema.metadata[b"run_id"] == held.run_id.encode()
    assert table.schema.field("suspicion").metadata[b"direction"] == b"higher"


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
    held, truth = masks()
    documents = label_studio_documents(held)
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
    "held", [masks()[0], segments(), content("images", [row()]), content("videos", [row()])]
)
def test_label_studio_interfaces_name_what_the_regions_name(held):
    documents = label_studio_documents(held)
    view = ElementTree.fromstring(documents["labels.xml"])
    names = {element.get("name"): element for element in view}
    control = names["label"]
    assert control.get("toName") == "media"
    assert [label.get("value") for label in control] == ["a", SHOWN]
    region = json.loads(documents["tasks.json"])[0]["predictions"][0]["result"][0]
    assert region["type"] == control.tag.lower()
    assert (region["from_name"], region["to_name"]) == ("label", "media")


def evidence_of(element):
    return {one.get("name"): one.text or "" for one in element.findall("attribute")}


def test_cvat_masks_are_exact():
    held, truth = masks()
    root = ElementTree.fromstring(cvat_documents(held)["annotations.xml"])
    (image,) = root.findall("image")
    assert image.get("name") == "../i 0.png"
    for one in image.findall("mask"):
        place = {k: int(one.get(k)) for k in ("left", "top", "width", "height")}
        counts = list(map(int, one.get("rle").split(",")))
        flat = np.repeat(np.arange(len(counts)) % 2, counts)
        whole = np.zeros(SIZE, bool)
        rows = slice(place["top"], place["top"] + place["height"])
        columns = slice(place["left"], place["left"] + place["width"])
        whole[rows, columns] = flat.reshape(place["height"], place["width"])
        np.testing.assert_array_equal(whole, truth[evidence_of(one)["finding_id"]])
        assert one.get("label") == SHOWN


def test_cvat_labels_know_every_attribute_that_findings_carry():
    held, _ = masks()
    documents = cvat_documents(held)
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
    held = segments()
    for one in held.rows:
        one["shard"] = "../../etc/passwd"
    moved = content("segments", held.rows, **{"../../etc/passwd": held.videos["v.mp4"]})
    assert not any("/" in name for name in cvat_documents(moved))


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
