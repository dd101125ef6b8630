"""Forms of labels and containers that are not read: what they are called, and what helps."""

import re
from contextlib import suppress

from ray_audit import storage
from ray_audit.discovery.tree import Tree, extension
from ray_audit.errors import RayAuditError

_PICKLED = re.compile(r"\.(pkl|pickle)$|(^|/)(data_batch_\d|test_batch)$|-python/(train|test)$")
_HEAD_BYTES = 4_096
_NUM_LOOKED_AT = 40
_BOX_LINE = re.compile(r"\d+( +[01]?\.\d+| +[01]){4}\s*$")
_BOXES = (
    "boxes make no mask; audit one label an image with labels.images, or masks that are drawn of "
    "outlines"
)
_CONTAINERS = {
    ".tfrecord": "a TFRecord file, which is not read: write images and a table, tar or Parquet",
    ".rec": "a RecordIO file of MXNet, which is not read: unpack it with im2rec",
    ".mdb": "an LMDB database, which is not read: write images and a table, tar or Parquet",
    ".lmdb": "an LMDB database, which is not read: write images and a table, tar or Parquet",
}
_MARKS = (  # ending, what its beginning holds, and what it is
    (".xml", "<annotation>", f"an annotation of PASCAL VOC: {_BOXES}"),
    (".xml", "<annotations>", "an annotation of CVAT: export masks, or a COCO document"),
    (".json", '"shapes"', "outlines of LabelMe: write masks of them, or a COCO document"),
    (".json", '"classTitle"', "objects of Supervisely: export masks, or a COCO document"),
)


def foreign_form(tree: Tree) -> str | None:
    """A sentence on the first file of a form that is known and not read; None without one."""
    for path in tree.few:
        if _PICKLED.search(path.lower()):
            return (
                f"{path} looks like a Python pickle, which is not opened, since it may run code: "
                "write its arrays with numpy.savez"
            )
        kind = _CONTAINERS.get(extension(path))
        if kind is not None:
            return f"{path} is {kind}"
    ends = {ending for ending, _, _ in _MARKS} | {".txt"}
    for path in [path for path in tree.few if extension(path) in ends][:_NUM_LOOKED_AT]:
        with suppress(RayAuditError, UnicodeDecodeError):
            head = storage.read_range(tree.at(path), 0, min(_HEAD_BYTES, tree.sizes[path]))
            found = _form_of(path, head.decode("utf-8-sig", "ignore"))
            if found is not None:
                return f"{path} holds {found}"
    return None


def _form_of(path: str, head: str) -> str | None:
    for ending, mark, kind in _MARKS:
        if extension(path) == ending and mark in head:
            return kind
    lines = [line for line in head.splitlines() if line.strip()][:3]
    if extension(path) == ".txt" and lines and all(_BOX_LINE.match(line) for line in lines):
        return f"boxes of YOLO (class and four fractions a line): {_BOXES}"
    return None
