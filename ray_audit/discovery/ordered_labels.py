"""Labels without names, as many as there are files: they go by the order of the names."""

import re
from collections.abc import Iterator, Sequence

import numpy as np

from ray_audit.discovery.array_files_found import arrays_in, is_array_file
from ray_audit.discovery.class_names import names_file
from ray_audit.discovery.fitting import regex
from ray_audit.discovery.guess import Guess
from ray_audit.discovery.kinds_of_files import is_table, not_for_training
from ray_audit.discovery.label_classes import classes_of
from ray_audit.discovery.media_groups import MediaGroup, media_groups
from ray_audit.discovery.table_heads import read_heads
from ray_audit.discovery.tree import Tree, folder_of

_NUM_TABLES = 40
_FEWEST = 4
_LEAST_REPEATED = 0.3


def ordered_proposals(tree: Tree) -> Iterator[Guess]:
    """Images in one folder, and a file of as many labels, as Flowers102 has them."""
    tables = [path for path in tree.files if is_table(path) or is_array_file(path)]
    for group in media_groups(tree, "images", lambda path: path not in tables):
        files = _of_patterns(group)
        if len(files) < _FEWEST or len({folder_of(path) for path in files}) > 1:
            continue
        for path in sorted(tables, key=not_for_training)[:_NUM_TABLES]:
            for name, values in _vectors(tree, path, files):
                yield _proposal(tree, group, path, name, values)


def _of_patterns(group: MediaGroup) -> list[str]:
    expressions = [re.compile(regex(pattern)) for pattern in group.patterns]
    return [path for path in group.files if any(e.fullmatch(path) for e in expressions)]


def _vectors(tree: Tree, path: str, files: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Arrays, or the only column, of a file that may be the labels of files."""
    if is_array_file(path):
        arrays = {name: _texts(values) for name, values in arrays_in(tree, path).items()}
        vectors = {name: texts for name, texts in arrays.items() if texts is not None}
    else:
        heads = [head for head in read_heads(tree, path) if head.names is None]
        columns = [head.column(0) for head in heads if len(head.rows[0]) == 1]
        vectors = dict(zip([""], columns, strict=False))
    fitting = [name for name, texts in vectors.items() if _are_labels(tree, texts, files)]
    names = [texts for texts in vectors.values() if _is_name_of_file(texts[0], files)]
    if len(fitting) == 1 and all(_in_order(texts, files) for texts in names):
        yield (fitting[0] if len(vectors) > 1 or "." in fitting[0] else ""), vectors[fitting[0]]


def _texts(values: np.ndarray) -> list[str] | None:
    """Labels as text; None of an array that is no list, or not of whole numbers or text."""
    if not values.size or values.size != max(values.shape, default=0):
        return None
    flat = values.reshape(-1)
    if flat.dtype.kind == "f":
        if not np.isfinite(flat).all() or (flat != np.rint(flat)).any():
            return None
        flat = flat.astype(np.int64)
    return [str(value) for value in flat.tolist()] if flat.dtype.kind in "iubU" else None


def _are_labels(tree: Tree, texts: Sequence[str], files: Sequence[str]) -> bool:
    fits = len(texts) == len(files) or (tree.is_cut and len(texts) > len(files))
    num = len(set(texts))
    return fits and 1 < num <= (1 - _LEAST_REPEATED) * len(texts)


def _is_name_of_file(text: str, files: Sequence[str]) -> bool:
    return any(_stem(text) == _stem(path) for path in files)


def _in_order(texts: Sequence[str], files: Sequence[str]) -> bool:
    """Whether a list names the files in their order, so that labels beside it are theirs."""
    return all(_stem(text) == _stem(path) for text, path in zip(texts, files, strict=False))


def _stem(path: str) -> str:
    return path.rsplit("/", 1)[-1].rsplit(".", 1)[0]


def _proposal(tree: Tree, group: MediaGroup, path: str, name: str, values: Sequence[str]) -> Guess:
    guess = classes_of(tuple(dict.fromkeys(values)), names_file(tree))
    labels = {"images": tree.at(path), **guess.labels}
    labels |= {"variable": name} if name else {}
    labels |= {} if is_array_file(path) else {"header": ["label"]}
    dataset = {"kind": "images", "uri": group.uri(tree), "labels": labels}
    assumed = [f"{path} has {len(values)} labels, one an image, in the order of their names"]
    if group.others:
        assumed.append(f"only the part for training: {', '.join(group.others)} are there too")
    questions = (f"whether the numbers in {path} are classes, and go by names", *guess.questions)
    what = "images, and their labels in order"
    return Guess(what, {**dataset, "classes": guess.classes}, (*assumed, *guess.assumed), questions)
