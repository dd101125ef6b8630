"""Reads what `written` wrote with the tools' own packages; needs nothing of ray_audit.

python tests/readers/read.py FOLDER
"""

import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from importlib import metadata
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

PACKAGES = ("fiftyone", "label-studio-sdk", "datumaro", "cvat-sdk", "pycocotools")
SUBJECTS = ("masks", "images", "videos")
EVIDENCE = ("rank", "kind", "suspicion", "given", "suggested", "reason")


def findings_of(folder):
    return {row["finding_id"]: row for row in json.loads((folder / "findings.json").read_text())}


def mask_of(row):
    return coco_mask.decode({"size": row["mask_size_px"], "counts": row["mask_rle"]}).astype(bool)


def same_evidence(contents, row, text=False):
    for name in EVIDENCE:
        expected = "" if row[name] is None and text else row[name]
        assert contents[name] == (str(expected) if text else expected), (
            name,
            contents[name],
            row[name],
        )


def read_fiftyone(folder, subject):
    import fiftyone

    findings = findings_of(folder)
    dataset = fiftyone.Dataset.from_dir(
        dataset_dir=str(folder / "exported/fiftyone"), dataset_type=fiftyone.types.FiftyOneDataset
    )
    found = set()
    for sample in dataset:
        assert Path(sample.filepath).is_file(), sample.filepath
        contents = sample.findings
        for label in contents.classifications if subject == "images" else contents.detections:
            row = findings[label.finding_id]
            same_evidence(label, row)
            assert label.label == (row["suggested"] or row["given"])
            if subject == "masks":
                height, width = row["mask_size_px"]
                whole = label.to_segmentation(frame_size=(width, height), target=1).mask > 0
                np.testing.assert_array_equal(whole, mask_of(row))
            if subject == "videos":
                assert label.support == [row["start_frame"] + 1, row["end_frame"]]
            found.add(label.finding_id)
    assert found == set(findings)
    assert dataset.match_tags("ray-audit").count() == len(dataset)


def read_label_studio(folder, subject):
    from label_studio_sdk.converter.brush import decode_rle
    from label_studio_sdk.label_interface import LabelInterface

    findings = findings_of(folder)
    exported = folder / "exported/labelstudio"
    interface = LabelInterface((exported / "labels.xml").read_text())
    interface.validate()
    found = set()
    for task in json.loads((exported / "tasks.json").read_text()):
        assert Path(task["data"]["media"]).is_file()
        assert interface.validate_task({"data": task["data"]})
        (prediction,) = task["predictions"]
        assert interface.validate_prediction(prediction, return_errors=True) == []
        for contents in task["data"]["findings"]:
            same_evidence(contents, findings[contents["finding_id"]])
        for region in prediction["result"]:
            row = findings[region["id"]]
            if subject == "masks":
                pixels = decode_rle(region["value"]["rle"]).reshape(*row["mask_size_px"], 4)
                np.testing.assert_array_equal(pixels[:, :, 3] > 0, mask_of(row))
            if subject == "videos":
                (frames,) = region["value"]["ranges"]
                assert frames == {"start": row["start_frame"] + 1, "end": row["end_frame"]}
                assert task["data"]["frames_per_s"] == 25
            found.add(region["id"])
    assert found == set(findings)


def read_cvat(folder, subject):
    from cvat_sdk.models import PatchedLabelRequest
    from datumaro.components.dataset import Dataset

    findings = findings_of(folder)
    exported = folder / "exported/cvat"
    for label in json.loads((exported / "labels.json").read_text()):
        PatchedLabelRequest._from_openapi_data(**label)
    names = {}
    for entry in json.loads((exported / "media.json").read_text()):
        assert Path(entry["media"]).is_file()
        names.setdefault(entry["document"], []).append(entry)
    found = Counter()
    for document, media in names.items():
        with tempfile.TemporaryDirectory() as place:
            (Path(place) / "images").mkdir()
            shutil.copy(exported / document, place)
            for entry in media if subject != "videos" else []:
                shutil.copy(entry["media"], Path(place) / "images" / entry["name"])
            dataset = Dataset.import_from(str(Path(place) / document), "cvat")
            for item in dataset:
                for annotation in item.annotations:
                    contents = annotation.attributes
                    row = findings[contents["finding_id"]]
                    same_evidence(contents, row, text=True)
                    if subject == "masks":
                        np.testing.assert_array_equal(annotation.image.astype(bool), mask_of(row))
                    if subject == "videos":
                        expected = row["end_frame"] if contents["outside"] else row["start_frame"]
                        assert item.attributes["frame"] == expected
                        assert annotation.get_bbox() == [0, 0, 32, 32]
                    found[contents["finding_id"]] += 1
    assert found == Counter(dict.fromkeys(findings, 2 if subject == "videos" else 1))


def read_coco(folder, subject):
    from datumaro.components.dataset import Dataset

    findings = findings_of(folder)
    path = folder / "exported/coco/findings.json"
    coco = COCO(str(path))
    assert {ann["attributes"]["finding_id"] for ann in coco.anns.values()} == set(findings)
    for entry in coco.anns.values():
        row = findings[entry["attributes"]["finding_id"]]
        same_evidence(entry["attributes"], row)
        assert coco.loadCats(entry["category_id"])[0]["name"] == row["suggested"]
        np.testing.assert_array_equal(coco.annToMask(entry).astype(bool), mask_of(row))
        assert entry["bbox"] == coco_mask.toBbox(entry["segmentation"]).tolist()
        assert entry["area"] == int(mask_of(row).sum())
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "annotations").mkdir()
        shutil.copytree(folder / "data/images", Path(place) / "images/findings")
        shutil.copy(path, Path(place) / "annotations/instances_findings.json")
        dataset = Dataset.import_from(place, "coco_instances")
        # Datumaro reads a box beside each mask.
        read = [annotation for item in dataset for annotation in item.annotations]
        regions = [entry for entry in read if entry.type.name == "mask"]
        for entry in regions:
            row = findings[entry.attributes["finding_id"]]
            np.testing.assert_array_equal(entry.image.astype(bool), mask_of(row))
        assert len(regions) == len(findings)


def main(folder):
    for package in PACKAGES:
        print(f"{package} {metadata.version(package)}")
    everything = [(read, item) for read in (read_label_studio, read_cvat) for item in SUBJECTS]
    for read, subject in [(read_coco, "masks"), *everything]:
        read(folder / subject, subject)
        print(f"{read.__name__} {subject}: as written", flush=True)
    # FiftyOne starts a database of its own, which ends with this process.
    os.environ |= {
        "FIFTYONE_DATABASE_DIR": str(folder / "database"),
        "FIFTYONE_DO_NOT_TRACK": "1",
    }
    for subject in SUBJECTS:
        read_fiftyone(folder / subject, subject)
        print(f"read_fiftyone {subject}: as written", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
