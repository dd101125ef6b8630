"""Forms of labels and containers that are not read: what they are called, and what helps."""

import re
from contextlib import suppress

from ray_audit import storage
from ray_audit.discovery.array_files_found import arrays_in, is_array_file
from ray_audit.discovery.kinds_of_files import is_table, not_for_training
from ray_audit.discovery.table_heads import is_number, read_heads
from ray_audit.discovery.tree import Tree, extension
from ray_audit.errors import RayAuditError

_PICKLED = re.compile(r"\.(pkl|pickle)$|(^|/)(data_batch_\d|test_batch)$|-python/(train|test)$")
_HEAD_BYTES = 4_096
_NUM_LOOKED_AT = 40
_BOX_LINE = re.compile(r"\d+( +[01]?\.\d+| +[01]){4}\s*$")
_BOX_ROW = re.compile(r"(?:[,;\t]\s*[01]\.\d+){4}(?:[,;\t]|$)")
_BOXES = (
    "boxes make no mask; audit one label an image with labels.images, or masks that are drawn of "
    "outlines"
)
_WORDS = re.compile(r"label|annot|truth|(^|[^a-z])gt([^a-z]|$)|class|segm|action", re.IGNORECASE)
_PROSE = re.compile(r"readme|licen[sc]e|requirements|(^|/)\.", re.IGNORECASE)
_NUM_CHARS = 60
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
    ends = {ending for ending, _, _ in _MARKS} | {".txt", ".csv"}
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
    if (
        extension(path) in (".txt", ".csv")
        and lines
        and all(map(_BOX_ROW.search, lines[1:] or lines))
    ):
        return f"boxes (four fractions a row): {_BOXES}"
    return None


def unread_labels(tree: Tree) -> str | None:
    """A sentence on the file that most likely holds labels, of which none could be read."""
    files = [p for p in tree.few if (is_table(p) or is_array_file(p)) and not _PROSE.search(p)]
    files.sort(key=lambda path: (not _WORDS.search(path), not_for_training(path), len(path), path))
    for path in files[:_NUM_LOOKED_AT]:
        said = _of_arrays(tree, path) if is_array_file(path) else _of_table(tree, path)
        if said is not None:
            return f"Labels may be in {path}, {said}"
    return None


def _of_arrays(tree: Tree, path: str) -> str:
    arrays = arrays_in(tree, path)
    if not arrays:
        return (
            "whose arrays are none of numbers or text: what lies in cells, such as the outlines of "
            "several annotators, is not read. Save one mask an image, or one list of labels"
        )
    few = ", ".join(f"{name or 'its array'} {values.shape}" for name, values in arrays.items())
    return (
        f"which holds {few[:_NUM_CHARS]}: masks are as large as their images, and a list of labels "
        "is as long as there are files. labels.variable names one of several arrays"
    )


def _stem(path: str) -> str:
    return path.rsplit("/", 1)[-1].rsplit(".", 1)[0]


def _of_table(tree: Tree, path: str) -> str | None:
    with suppress(RayAuditError, UnicodeDecodeError):
        head = storage.read_range(tree.at(path), 0, min(_HEAD_BYTES, tree.sizes[path]))
        line = next((line for line in head.decode("utf-8-sig").splitlines() if line.strip()), "")
        heads = read_heads(tree, path)
        words = [value for value in heads[0].rows[0] if not is_number(value)] if heads else []
        if len(words) == 1 and words[0] in {_stem(other) for other in tree.few}:
            return (
                f"which begins with {line[:_NUM_CHARS]!r} and has no column of labels: if each "
                "such file is of one class, write one table of all, with a column of the class"
            )
        if line:
            return f"which begins with {line[:_NUM_CHARS]!r}"
    return None
