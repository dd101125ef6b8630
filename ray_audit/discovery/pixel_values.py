"""What a few masks hold, and the keys of a specification that say so."""

import io
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from PIL import Image

from ray_audit import storage
from ray_audit.discovery.array_files_found import arrays_in, is_array_file
from ray_audit.discovery.class_names import NamesFound
from ray_audit.discovery.tree import Tree, extension
from ray_audit.discovery.words import MASK_ARRAY
from ray_audit.errors import RayAuditError
from ray_audit.formats.accounting import UnitAccounting
from ray_audit.formats.labels.values import VOID
from ray_audit.formats.pixels.pictures import read_mask
from ray_audit.formats.volumes.page_stack import ENDINGS as PAGED
from ray_audit.formats.volumes.volume_files import ENDINGS, open_volume

_MAX_BYTES = 64 * 2**20
_MAX_PX = 1e8
_LOSSY = (".jpg", ".jpeg", ".webp")
_SPARSE = 3  # values that lie so many times farther apart than there are of them have gaps
_GREY = 0x010101  # times a value: the grey colour of three such channels
_NAMED_COLOURS = {0x000000: "background"}


@dataclass(frozen=True)
class Pixels:
    """A picture as a mask is read.

    Attributes:
        shape: (H, W), or of a volume.
        is_colour: whether channels differ: then values are red * 65536 + green * 256 + blue.
        values: those that occur, sorted; indices where there is a palette.
        palette: colours of the indices, if it has one.
        colours: those that occur, as `values` of colours, where there is a palette.
        is_stack: whether it is a stack of pages.
        variable: the array of its file that it is, where that is one of several.
    """

    shape: tuple[int, ...]
    is_colour: bool
    values: np.ndarray
    palette: bytes = b""
    colours: np.ndarray | None = None
    is_stack: bool = False
    variable: str = ""


def read_pixels(tree: Tree, path: str) -> Pixels | None:
    """A picture's values; None where it is large or cannot be read."""
    if tree.sizes.get(path, 0) > _MAX_BYTES:
        return None
    if is_array_file(path):
        return _of_arrays(arrays_in(tree, path))
    with suppress(RayAuditError, OSError, ValueError, SyntaxError, EOFError):
        is_volume = path.lower().endswith(ENDINGS)
        is_stack = path.lower().endswith(PAGED) and _has_pages(tree, path)
        if is_volume or is_stack:
            with open_volume(tree.at(path), None, UnitAccounting("init")) as volume:
                values = volume.stored()
        else:
            content = storage.read_bytes(tree.at(path))
            values = read_mask(content, _MAX_PX, colours=True)
            palette = _palette(content)
            if palette:
                indices = read_mask(content, _MAX_PX)
                colours = _packed(values) if values.ndim == 3 else None
                return Pixels(indices.shape, False, np.unique(indices), palette, colours)
        if values.ndim == 3 and values.shape[2] == 3 and not (is_volume or is_stack):
            if (values == values[..., :1]).all():
                return Pixels(values.shape[:2], False, np.unique(values[..., 0]))
            return Pixels(values.shape[:2], True, _packed(values))
        return Pixels(values.shape, False, np.unique(values), is_stack=is_stack)
    return None


def _of_arrays(arrays: dict[str, np.ndarray]) -> Pixels | None:
    """The only array that may be a mask; of several, the only one that is called as one."""
    masks = {name: values for name, values in arrays.items() if _is_mask(values)}
    called = [name for name in masks if MASK_ARRAY.search(name)]
    chosen = list(masks) if len(masks) == 1 else called
    if len(chosen) != 1:
        return None
    (name,) = chosen
    values = masks[name]
    return Pixels(values.shape, False, np.unique(values), variable=name if len(arrays) > 1 else "")


def _is_mask(values: np.ndarray) -> bool:
    if values.ndim != 2 or min(values.shape) < 2 or values.dtype.kind not in "iubf":
        return False
    return values.dtype.kind != "f" or bool((values == np.rint(values)).all())


def _has_pages(tree: Tree, path: str) -> bool:
    with Image.open(io.BytesIO(storage.read_bytes(tree.at(path)))) as image:
        return getattr(image, "n_frames", 1) > 1


def _packed(colours: np.ndarray) -> np.ndarray:
    wide = colours.astype(np.int64)
    return np.unique(wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2])


def _palette(content: bytes) -> bytes:
    with Image.open(io.BytesIO(content)) as image:
        return bytes(image.getpalette("RGB") or []) if image.mode == "P" else b""


@dataclass(frozen=True)
class ValueGuess:
    """Keys that say what the values of masks mean.

    Attributes:
        labels: for `dataset.labels`.
        dataset: for `dataset`, `classes` among them.
        assumed: what was assumed.
        questions: what could not be known.
    """

    labels: dict[str, Any]
    dataset: dict[str, Any]
    assumed: tuple[str, ...]
    questions: tuple[str, ...] = ()


def guessed(
    masks: Sequence[Pixels],
    paths: Sequence[str],
    names: NamesFound | None,
    colours: tuple[str, dict[int, str]] | None = None,
) -> ValueGuess:
    """What the values of some masks most likely mean.

    Args:
        masks: that were looked at.
        paths: of them.
        names: where class names were found, and they.
        colours: where names of colours were found, and they.
    """
    if len({mask.palette for mask in masks if mask.palette}) > 1:
        # Each file has a palette of its own: its colours are what they share.
        masks = [
            replace(m, is_colour=True, values=m.values if m.colours is None else m.colours)
            for m in masks
        ]
    if any(mask.is_colour for mask in masks):  # a grey one among them has three equal channels
        masks = [m if m.is_colour else _as_colours(m) for m in masks]
    found = sorted({int(v) for mask in masks for v in mask.values})
    seen = f"values {_few(found)} in {len(masks)} masks"
    if any(mask.is_colour for mask in masks):
        return _of_colours(found, len(masks), colours)
    binary = _of_two(found, extension(paths[0]) in _LOSSY, names, seen)
    if binary is not None:
        return binary
    is_void = found[-1] == 255 and (len(found) < 2 or found[-2] < 254)
    void = [255] if is_void and not _are_steps(found) else []
    inner = [v for v in found if v not in void and v >= 0]
    negative = [v for v in found if v < 0]
    void += negative
    top = inner[-1] if inner else 0
    named = None if names is None else _of_names(names, inner, void, seen)
    if named is not None:
        return named
    if inner == list(range(1, top + 1)) and top > 1:
        assumed = (f"values count from 1: the first class is stored as 1 ({seen})",)
        classes = [f"class_{v}" for v in inner]
        questions = ("names of the classes; masks that were not looked at may hold others",)
        more = _with_void({"classes": classes}, void)
        return ValueGuess({"first_value": 1}, more, assumed, questions)
    if top > _SPARSE * len(inner) and len(inner) > 1:
        classes = [f"class_{v}" for v in inner]
        values = dict(zip(inner, classes, strict=True)) | dict.fromkeys(void, "void")
        questions = ("names of the values, and values that other masks may hold",)
        assumed = (f"the values lie apart, so each is listed ({seen})",)
        return ValueGuess({"values": values}, {"classes": classes}, assumed, questions)
    classes = [f"class_{v}" for v in range(top + 1)]
    assumed = (f"values are indices of classes, from 0 ({seen})",)
    asked = [f"names of the classes; masks that were not looked at may hold more than {top}"]
    if _may_be_objects(masks):
        asked.append(
            "whether values number objects, as each mask counts on its own: then give "
            "labels.values, such as {0: background, 1..65535: object}"
        )
    return ValueGuess({}, _with_void({"classes": classes}, void), assumed, tuple(asked))


def _of_names(
    names: NamesFound, inner: Sequence[int], void: Sequence[int], seen: str
) -> ValueGuess | None:
    """What values mean by a file of class names, which may number them; None where it does not."""
    top, num = (inner[-1] if inner else 0), len(names.names)
    if names.values is not None and set(inner) <= set(names.values):
        values = names.values | dict.fromkeys(void, VOID)
        assumed = (f"values are the numbers that {names.where} names ({seen})",)
        return ValueGuess({"values": values}, {"classes": names.names}, assumed)
    is_numbered = names.first == 1 and 0 < top <= num
    if is_numbered or (names.first is None and num == top and inner[0] in (0, 1)):
        why = f"counts from 1 in {num} names" if is_numbered else f"has {top} names"
        assumed = (
            f"{names.where} {why}, and the masks count to {top}: the first class is stored as 1, "
            f"and 0 means not labelled ({seen})",
        )
        return ValueGuess({"first_value": 1}, {"classes": names.names, "void": [0, *void]}, assumed)
    if num > top and not names.first:
        assumed = (f"classes are those of {names.where}, in index order ({seen})",)
        asked = "whether values count from 0 or from 1: no 0 was seen, and names have no numbers"
        is_open = names.first is None and bool(inner) and inner[0] > 0
        classes = _with_void({"classes": names.names}, list(void))
        return ValueGuess({}, classes, assumed, (asked,) if is_open else ())
    return None


def _are_steps(values: Sequence[int]) -> bool:
    """Whether values part the range from 0 to 255 evenly, as three or more classes in grey do.

    >>> _are_steps([0, 128, 255]), _are_steps([0, 7, 11, 255]), _are_steps([0, 255])
    (True, False, False)
    """
    gaps = [after - before for before, after in pairwise(values)]
    return len(gaps) > 1 and values[0] == 0 and max(gaps) - min(gaps) <= 2 and min(gaps) > 15


def _may_be_objects(masks: Sequence[Pixels]) -> bool:
    """Whether each mask counts from 0 without gaps, and to another number than others."""
    tops = set()
    for mask in masks:
        if mask.values.tolist() != list(range(len(mask.values))):
            return False
        tops.add(len(mask.values))
    return len(tops) > 1 and max(tops) > 3


def _of_two(
    found: list[int], is_lossy: bool, names: NamesFound | None, seen: str
) -> ValueGuess | None:
    """Masks of nothing and everything: 0 and 255, or what a lossy format makes of them."""
    classes = (
        names.names if names is not None and len(names.names) == 2 else ["background", "foreground"]
    )
    questions = () if names is not None and len(names.names) == 2 else ("what the foreground is",)
    assumed = (f"masks of two classes ({seen})",)
    if found in ([0, 255], [255]):
        values: dict[int | str, str] = {0: classes[0], 255: classes[1]}
        return ValueGuess({"values": values}, {"classes": classes}, assumed, questions)
    high = [v for v in found if v > 223]
    is_near = len(found) > 2 and bool(high) and all(v < 32 or v > 223 for v in found)
    # One high value above a few low ones is void above classes, unless the format loses values.
    if is_near and (is_lossy or len(high) > 1):
        values = {"0..127": classes[0], "128..255": classes[1]}
        return ValueGuess({"values": values}, {"classes": classes}, assumed, questions)
    return None


def _as_colours(mask: Pixels) -> Pixels:
    grey = mask.values.astype(np.int64) * _GREY
    return replace(mask, is_colour=True, values=grey if mask.colours is None else mask.colours)


def _of_colours(
    found: list[int], num: int, colours: tuple[str, dict[int, str]] | None
) -> ValueGuess:
    if colours is not None:
        named = {
            packed >> 16 & 0xFF0000 | packed >> 8 & 0xFF00 | packed & 0xFF: name
            for packed, name in colours[1].items()
        }
        if set(found) <= set(named):
            values = {f"#{v:06x}": VOID if n.lower() == VOID else n for v, n in named.items()}
            classes = [name for name in dict.fromkeys(values.values()) if name != VOID]
            assumed = (f"colours are those of {colours[0]}, and classes are in its order",)
            return ValueGuess({"values": values}, {"classes": classes}, assumed)
    names = {f"#{v:06x}": _NAMED_COLOURS.get(v, f"colour_{v:06x}") for v in found}
    assumed = (f"each colour is a class ({len(found)} colours in {num} masks)",)
    questions = ("names of the colours, and colours that other masks may hold",)
    return ValueGuess({"values": names}, {"classes": list(names.values())}, assumed, questions)


def _with_void(values: dict[str, Any], void: list[int]) -> dict[str, Any]:
    return {**values, "void": void} if void else values


def _few(values: Sequence[int]) -> str:
    if len(values) <= 8:
        return ", ".join(map(str, values))
    return f"{', '.join(map(str, values[:5]))} ... {values[-1]}"
