"""Regions of masks as COCO annotations, with their exact masks as compressed run lengths."""

import json
from typing import Any

from ray_audit.exports.content import Content, Documents, Row, evidence, label_of, labels_of


def coco_documents(content: Content) -> Documents:
    """`findings.json`: an annotation a finding, of the suggested class, `score` = suspicion.

    `file_name` is the shard key, `coco_url` where the image lies. Evidence stands under
    `attributes`, where CVAT and Datumaro look for it.
    """
    category_ids = {name: index for index, name in enumerate(labels_of(content), start=1)}
    images: list[Row] = []
    annotations: list[Row] = []
    for image_id, (media, rows) in enumerate(content.by_media(), start=1):
        height, width = rows[0]["mask_size_px"]
        images.append(
            {
                "id": image_id,
                "file_name": media.name,
                "coco_url": media.address,
                "height": height,
                "width": width,
            }
        )
        for row in rows:
            annotation = _annotation(row, category_ids[label_of(row)])
            annotations.append(annotation | {"id": len(annotations) + 1, "image_id": image_id})
    document = {
        "info": {"description": content.name, "version": content.run_id},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": [
            {"id": index, "name": name, "supercategory": ""} for name, index in category_ids.items()
        ],
    }
    return {"findings.json": json.dumps(document).encode()}


def _annotation(row: Row, category_id: int) -> dict[str, Any]:
    x0, y0, x1, y1 = row["box"]
    return {
        "category_id": category_id,
        "segmentation": {"size": row["mask_size_px"], "counts": row["mask_rle"]},
        "area": row["num_px"],
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "iscrowd": 0,
        "score": row["suspicion"],
        "attributes": evidence(row),
    }
