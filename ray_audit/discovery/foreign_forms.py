"""Forms of labels and containers that are not read: what they are called, and what helps."""

import re
from contextlib import suppress

from ray_audit import storage
from ray_audit.discovery.array_files_found import arrays_in, is_array_file
from ray_audit.discovery.class_names import names_file
from ray_audit.discovery.kinds_of_files import is_table, kind_of, not_for_training
from ray_audit.discovery.paired_files import table_of_pairs
from ray_audit.discovery.table_heads import is_number, read_heads
from ray_audit.discovery.tree import Tree, extension, folder_of
from ray_audit.discovery.words import LABEL_FILE, MASK
from ray_audit.errors import RayAuditError
from ray_audit.formats.registry import format_of
from ray_audit.formats.stacks.open_stack import ONE_VOLUME

_PICKLED = re.compile(r"\.(pkl|pickle)$|(^|/)(data_batch_\d|test_batch)$|-python/(train|test)$")
_HEAD_BYTES = 4_096
_NUM_LOOKED_AT = 40
_BOX_LINE = re.compile(r"\d+( +[01]?\.\d+| +[01]){4}\s*$")
_OUTLINE_LINE = re.compile(r"\d+( +[01]?\.\d+ +[01]?\.\d+| +[01] +[01]?\.?\d*){3,}\s*$")
_BOX_ROW = re.compile(r"(?:[,;\t]\s*[01]\.\d+){4}(?:[,;\t]|$)")
_BOXES = (
    "boxes make no mask; audit one label an image with labels.images, or masks that are drawn of "
    "outlines"
)
_PROSE = re.compile(r"readme|licen[sc]e|requirements|(^|/)\.", re.IGNORECASE)
_NUM_CHARS = 60
_PICTURES = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"BM", b"II*\0", b"MM\0*")
_BRUSHED = re.compile(r"(^|/)task-\d+-annotation-\d+-by-[^/]*-tag-")
_OUTLINES = "outlines are read from a COCO document: export one, or masks"
_CONTAINERS = {
    **dict.fromkeys(
        (".xlsx", ".xls", ".ods"), "a workbook, which is not read: save the sheet as CSV in UTF-8"
    ),
    ".eaf": "an annotation of ELAN, which is not read: export it as text, with the begin and the "
    "end of each row in seconds",
    **dict.fromkeys(
        (".srt", ".vtt"),
        "a file of subtitles, which is not read: write a table of segments "
        "(video, start_s, end_s, label)",
    ),
    ".textgrid": "an annotation of Praat, which is not read: write a table of segments in seconds",
    ".tfrecord": "a TFRecord file, which is not read: write images and a table, tar or Parquet",
    ".rec": "a RecordIO file of MXNet, which is not read: unpack it with im2rec",
    ".mdb": "an LMDB database, which is not read: write images and a table, tar or Parquet",
    ".lmdb": "an LMDB database, which is not read: write images and a table, tar or Parquet",
}
_LABEL_STUDIO = (
    "an export of Label Studio, whose names of files have its own prefix: write a table with the "
    "name of each file and its label, or export masks and outlines as COCO"
)
_MARKS = (  # ending, what its beginning holds, and what it is
    (".xml", "<annotation>", f"an annotation of PASCAL VOC: {_BOXES}"),
    (".xml", "<tag label", "tags of CVAT: export them as ImageNet (a folder for each class)"),
    (".xml", "<annotations>", "an annotation of CVAT: export masks, or a COCO document"),
    (".json", '"shape_attributes"', f"outlines of the VGG annotator (VIA): {_OUTLINES}"),
    (".json", '"lead_time"', _LABEL_STUDIO),
    (".json", '"completed_by"', _LABEL_STUDIO),
    (".csv", "EncodedPixels", "run lengths of masks in a table: draw them as PNG masks"),
    (".csv", "region_shape_attributes", f"outlines of the VGG annotator (VIA): {_OUTLINES}"),
    (".json", '"shapes"', "outlines of LabelMe: write masks of them, or a COCO document"),
    (".json", '"classTitle"', "objects of Supervisely: export masks, or a COCO document"),
)


def foreign_form(tree: Tree) -> str | None:
    """A sentence on the first file of a form that is known and not read; None without one."""
    of_names = _by_names(tree)
    if of_names is not None:
        return of_names
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


def _by_names(tree: Tree) -> str | None:
    """What names alone tell: pictures without an ending, DICOM with labels, brushed masks."""
    bare = [path for path in tree.few if not extension(path)]
    picture = next((path for path in bare[:_NUM_LOOKED_AT] if _is_bare_picture(tree, path)), None)
    if picture is not None:
        return (
            f"{picture} is a picture whose name has no ending, by which files are told apart: "
            "rename such files (x to x.jpg); a table of labels may leave the ending out"
        )
    brushed = next((path for path in tree.few if _BRUSHED.search(path)), None)
    if brushed is not None:
        return (
            f"{brushed} is a mask of Label Studio, which is named after its task and not after "
            "its image: export a COCO document, or rename the masks as their images are"
        )
    pairs = table_of_pairs(tree)
    if pairs is not None:
        return pairs
    structures = _structures(tree)
    if structures is not None:
        return structures
    if any(extension(path) == ".dcm" for path in tree.few) and any(map(is_table, tree.few)):
        return (
            "DICOM files are read as volumes with label volumes, or as images where a table has a "
            "label for each file, by its name or path (labels.images)"
        )
    return None


def _structures(tree: Tree) -> str | None:
    """A sentence where folders hold a label volume for each structure, as TotalSegmentator's do."""
    folders: dict[str, list[str]] = {}
    for path in tree.files:
        form = format_of(path)
        if form is not None and form.is_volume and MASK.search(folder_of(path)):
            folders.setdefault(folder_of(path), []).append(path)
    several = {folder: paths for folder, paths in folders.items() if len(paths) > 1}
    if not several or len(several) < len(folders) / 2:
        return None
    folder, paths = next(iter(several.items()))
    few = ", ".join(path.rsplit("/", 1)[-1] for path in paths[:3])
    return (
        f"{folder}/ holds {len(paths)} label volumes of one image ({few}), a structure each, which "
        f"are not put together: {ONE_VOLUME}"
    )


def _is_bare_picture(tree: Tree, path: str) -> bool:
    with suppress(RayAuditError):
        head = storage.read_range(tree.at(path), 0, min(16, tree.sizes[path]))
        return head.startswith(_PICTURES)
    return False


def _form_of(path: str, head: str) -> str | None:
    for ending, mark, kind in _MARKS:
        if extension(path) == ending and mark in head:
            return kind
    lines = [line for line in head.splitlines() if line.strip()][:3]
    if extension(path) == ".txt" and lines and all(_BOX_LINE.match(line) for line in lines):
        return f"boxes of YOLO (class and four fractions a line): {_BOXES}"
    if extension(path) == ".txt" and lines and all(map(_OUTLINE_LINE.match, lines)):
        return f"outlines of YOLO (class and points, a line each): {_OUTLINES}"
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
    files.sort(key=_likely_labels)
    named = names_file(tree)
    files = [path for path in files if named is None or path != named.where]
    for path in files[:_NUM_LOOKED_AT]:
        said = _of_arrays(tree, path) if is_array_file(path) else _of_table(tree, path)
        if said is not None:
            return f"Labels may be in {path}, {said}"
    return None


def _likely_labels(path: str) -> tuple[bool, bool, int, str]:
    return not LABEL_FILE.search(path), not_for_training(path), len(path), path


def _of_arrays(tree: Tree, path: str) -> str:
    arrays = arrays_in(tree, path)
    if not arrays:
        return (
            "whose arrays are none of numbers or text: what lies in cells, such as the outlines of "
            "several annotators, is not read. Save one mask an image, or one list of labels"
        )
    stack = next((v for v in arrays.values() if path.endswith(".npy") and v.ndim == 4), None)
    if stack is not None:
        return (
            f"a stack of shape {stack.shape}, and stacks are read from one npz of images (N, H, W, "
            "3) uint8 and masks (N, H, W), or labels (N,): numpy.savez('set.npz', "
            "images=images.astype('uint8'), masks=masks); masks.argmax(-1) are masks where each "
            "class has a channel"
        )
    if any(path.endswith(".npy") and values.ndim == 3 for values in arrays.values()):
        return (
            "an array of three axes: a mask has two, (H, W); where each class has a channel, save "
            "mask.argmax(-1) in its place"
        )
    few = ", ".join(f"{name or 'its array'} {values.shape}" for name, values in arrays.items())
    return (
        f"which holds {few[:_NUM_CHARS]}: masks are as large as their images, and a list of labels "
        "is as long as there are files. labels.variable names one of several arrays"
    )


def _stem(path: str) -> str:
    return path.rsplit("/", 1)[-1].rsplit(".", 1)[0]


def _is_utf8(head: bytes) -> bool:
    """Whether the beginning of a file is UTF-8; a letter at its end may be cut off."""
    try:
        head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return error.start > len(head) - 4 and len(head) == _HEAD_BYTES
    return b"\0" not in head


def _is_of_one_picture(tree: Tree, path: str) -> bool:
    stem = path.rsplit(".", 1)[0]
    others = (other for other in tree.few if other != path and other.rsplit(".", 1)[0] == stem)
    return any(kind_of(other) == "image files" for other in others)


def _of_table(tree: Tree, path: str) -> str | None:
    with suppress(RayAuditError):
        head = storage.read_range(tree.at(path), 0, min(_HEAD_BYTES, tree.sizes[path]))
        if not _is_utf8(head):
            return "which is text, but not in UTF-8 (Excel saves other encodings): save it in UTF-8"
        lines = [line for line in head.decode("utf-8-sig", "ignore").splitlines() if line.strip()]
        line = lines[0] if lines else ""
        if _is_of_one_picture(tree, path) and (len(lines) == 1 or path.endswith(".json")):
            return (
                f"which begins with {line[:_NUM_CHARS]!r}: a file of labels for each image is not "
                "read; write one table of all (image, label)"
            )
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
