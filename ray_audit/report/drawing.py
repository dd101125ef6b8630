"""Figures from plain arrays, with matplotlib, which is imported when one is drawn.

No figure is shown or registered anywhere: it is returned, to be displayed by a notebook or saved
with `savefig`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ray_audit.errors import SpecificationError
from ray_audit.report.palette import OKABE_ITO, class_colour, class_rgb

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _QUIET, _MARK = "#1f2328", "#6b7280", "#d55e00"
_WIDTH_INCHES = 9.0
_BAND_SHARE = 0.8
_MAX_LABELS = 20
_OVERLAY = 0.55
_DASHES = ("-", "--", "-.", ":")


@dataclass(frozen=True)
class DrawnSpan:
    """A finding on a timeline.

    Attributes:
        start: its first frame.
        end: the frame after its last.
        text: what stands beside it.
    """

    start: int
    end: int
    text: str = ""


@dataclass(frozen=True)
class DrawnRegion:
    """A region of a mask.

    Attributes:
        mask: (H, W) bool.
        text: what stands beside it.
    """

    mask: npt.NDArray[np.bool_]
    text: str = ""


def new_figure(height_inches: float) -> Figure:
    """An empty figure.

    Raises:
        SpecificationError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise SpecificationError(
            "figures need matplotlib: pip install 'ray-audit[plots]'"
        ) from error
    return Figure(figsize=(_WIDTH_INCHES, height_inches), layout="constrained")


def plain(text: str) -> str:
    r"""A name as matplotlib shows it as it is: `$` begins no formula, `_` hides no legend entry.

    >>> print(plain("a$b"), plain("_x"))
    a\$b  _x
    """
    shown = "".join(character if character.isprintable() else "?" for character in text).replace(
        "$", r"\$"
    )
    return f" {shown}" if shown.startswith("_") else shown


def draw_timeline(
    frames: npt.NDArray[np.integer],
    bands: Mapping[str, npt.NDArray[np.integer]],
    lines: Mapping[str, npt.NDArray[np.floating]],
    classes: Sequence[str],
    findings: Sequence[DrawnSpan] = (),
    title: str = "",
) -> Figure:
    """A video on one line: bands of classes above, findings, lines of scores below.

    Args:
        frames: (T,) frame indices, increasing; a gap is left white.
        bands: name -> (T,) class indices; nothing is drawn for -1.
        lines: axis label with its unit -> (T,) values, NaN where there is none.
        classes: names in index order.
        findings: marked in a row of their own, and over the lines.
        title: of the figure.
    """
    figure = new_figure(1.2 + 0.35 * (len(bands) + 1) + 1.1 * len(lines))
    heights = [0.35 * (len(bands) + 1), *[1.1] * len(lines)]
    axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)
    top, *below = axes[:, 0]
    step = int(np.diff(frames).min()) if len(frames) > 1 else 1
    for level, labels in enumerate(bands.values()):
        place = (level - _BAND_SHARE / 2, _BAND_SHARE)
        for start, end, index in _runs(frames, labels, step):
            if index >= 0:
                top.broken_barh([(start, end - start)], place, facecolors=class_colour(index))
    _mark_findings(top, findings, len(bands))
    top.set_yticks(range(len(bands) + 1), [*map(plain, bands), "findings"])
    top.set_ylim(len(bands) + 0.5, -0.5)
    top.set_title(plain(title))
    for axis, (name, values), colour in zip(below, lines.items(), OKABE_ITO, strict=False):
        _draw_line(axis, frames, np.asarray(values, float), step, colour)
        axis.set_ylabel(plain(name))
        for finding in findings:
            axis.axvspan(finding.start, finding.end, color=_MARK, alpha=0.12, linewidth=0)
    axes[-1, 0].set_xlabel("frame (in decoding order)")
    axes[-1, 0].set_xlim(frames[0], frames[-1] + step)
    _quiet(axes[:, 0])
    shown = {int(index) for labels in bands.values() for index in np.unique(labels)}
    _class_legend(figure, shown - {-1}, classes)
    return figure


def _mark_findings(axis: Axes, findings: Sequence[DrawnSpan], level: int) -> None:
    for finding in findings:
        place = (level - _BAND_SHARE / 2, _BAND_SHARE)
        axis.broken_barh(
            [(finding.start, finding.end - finding.start)],
            place,
            facecolors=_MARK,
            alpha=0.35,
            edgecolor=_MARK,
        )
        if len(findings) <= _MAX_LABELS:
            middle = (finding.start + finding.end) / 2
            axis.text(
                middle,
                level,
                plain(finding.text),
                ha="center",
                va="center",
                fontsize=8,
                clip_on=True,
            )


def _draw_line(
    axis: Axes, frames: npt.NDArray[Any], values: npt.NDArray[Any], step: int, colour: str
) -> None:
    """A line over the middles of the frames, broken where frames are missing."""
    gaps = np.flatnonzero(np.diff(frames) > step) + 1
    x = np.insert((frames + step / 2).astype(float), gaps, np.nan)
    axis.plot(x, np.insert(values, gaps, np.nan), color=colour, linewidth=1.2)


def _runs(
    frames: npt.NDArray[np.integer], values: npt.NDArray[np.integer], step: int
) -> Iterable[tuple[int, int, int]]:
    """Start, end (exclusive) and class of each run of equal classes without a gap."""
    changes = (np.diff(values) != 0) | (np.diff(frames) > step)
    first = np.concatenate([[0], np.flatnonzero(changes) + 1])
    last = np.append(first[1:], len(frames)) - 1
    for start, end in zip(first.tolist(), last.tolist(), strict=True):
        yield int(frames[start]), int(frames[end]) + step, int(values[start])


def draw_trajectory(
    loss: npt.NDArray[np.floating],
    band: npt.NDArray[np.floating] | None = None,
    label: str = "",
    checkpoints: Sequence[str] | None = None,
    title: str = "",
) -> Figure:
    """A sample's loss at each checkpoint, among its class's.

    Args:
        loss: (E,) nat.
        band: (3, E) 10%, 50% and 90% quantile of the class's losses; None where unknown.
        label: the class.
        checkpoints: their names, in order.
        title: of the figure.
    """
    figure = new_figure(3.6)
    axis = figure.subplots()
    x = np.arange(1, len(loss) + 1)
    if band is not None:
        low, middle, high = band
        text = plain(f"given {label}: middle 80%")
        axis.fill_between(x, low, high, color=OKABE_ITO[0], alpha=0.2, linewidth=0, label=text)
        axis.plot(x, middle, color=OKABE_ITO[0], linestyle="--", label="median")
    axis.plot(x, loss, color=_MARK, marker="o", markersize=4, label="this sample")
    axis.set_ylim(bottom=0)
    axis.set_ylabel("loss of the given label (nat)")
    axis.set_xlabel("checkpoint (in order)")
    if checkpoints is not None and len(checkpoints) <= _MAX_LABELS:
        axis.set_xticks(x, [*map(plain, checkpoints)], rotation=30, ha="right")
    axis.set_title(plain(title))
    axis.legend(frameon=False)
    _quiet([axis])
    return figure


def draw_mask(
    image: npt.NDArray[np.uint8],
    given: npt.NDArray[np.integer],
    predicted: npt.NDArray[np.integer],
    classes: Sequence[str],
    regions: Sequence[DrawnRegion] = (),
    title: str = "",
) -> Figure:
    """An image beside its given and its predicted mask, regions outlined in all three.

    Args:
        image: (H, W) or (H, W, 3).
        given: (H, W) class indices, -1 where unlabelled.
        predicted: (H, W) class indices.
        classes: names in index order.
        regions: to outline.
        title: of the figure.
    """
    height, width = given.shape
    figure = new_figure(1.2 + _WIDTH_INCHES / 3 * min(2.0, height / width))
    axes = figure.subplots(1, 3, sharex=True, sharey=True)
    colour = np.stack([image] * 3, axis=-1) if image.ndim == 2 else image
    layers = {"image": None, "given": given, "predicted": predicted}
    for axis, (name, values) in zip(axes, layers.items(), strict=True):
        axis.imshow(colour if values is None else _overlaid(colour, values))
        for region in regions:
            _outline(axis, region.mask)
        axis.set_title(name)
        axis.set_xlabel("x (px)")
    _name_regions(axes[0], regions)
    axes[0].set_ylabel("y (px)")
    figure.suptitle(plain(title))
    _class_legend(figure, {int(i) for i in np.union1d(given, predicted)}, classes)
    return figure


def _overlaid(colour: npt.NDArray[np.uint8], values: npt.NDArray[np.integer]) -> Any:
    """(H, W, 3) uint8: the picture in grey under the colours of the classes."""
    known, index = np.unique(values, return_inverse=True)
    table = np.array([class_rgb(int(class_index)) for class_index in known], float)
    grey = colour.mean(axis=2, keepdims=True)
    mixed = (1 - _OVERLAY) * grey + _OVERLAY * table[index.reshape(values.shape)]
    return mixed.round().astype(np.uint8)


def _outline(axis: Axes, mask: npt.NDArray[np.bool_]) -> None:
    # With a rim around it, a region at the picture's edge is closed there.
    padded = np.pad(mask, 1).astype(float)
    y, x = (np.arange(size) - 1 for size in padded.shape)
    # Light under dark, so that it is seen on any picture.
    for colour, width in (("white", 2.2), (_INK, 0.9)):
        axis.contour(x, y, padded, levels=[0.5], colors=colour, linewidths=width)


def _name_regions(axis: Axes, regions: Sequence[DrawnRegion]) -> None:
    """Texts at the top, right, bottom and left of regions by turns: neighbours seldom collide."""
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.8}
    for place, region in enumerate(regions[:_MAX_LABELS]):
        rows, columns = np.nonzero(region.mask)
        if len(rows):
            at = (rows.argmin(), columns.argmax(), rows.argmax(), columns.argmin())[place % 4]
            where = (float(columns[at]), float(rows[at]))
            axis.text(*where, plain(region.text), fontsize=7, ha="center", va="center", bbox=box)


def draw_precision_recall(
    curves: Mapping[str, tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]],
    error_fraction: float,
    title: str = "",
) -> Figure:
    """Precision over recall, one line per score; what chance would give as a dotted line.

    Args:
        curves: name -> precision and recall, each (n,), 0-1.
        error_fraction: share of wrong labels, 0-1.
        title: of the figure.
    """
    figure = new_figure(4.5)
    axis = figure.subplots()
    for place, (name, (precision, recall)) in enumerate(curves.items()):
        dash = _DASHES[place // len(OKABE_ITO) % len(_DASHES)]
        colour = OKABE_ITO[place % len(OKABE_ITO)]
        axis.step(recall, precision, where="post", color=colour, linestyle=dash, label=plain(name))
    axis.axhline(error_fraction, color=_QUIET, linestyle=":", label="at random")
    axis.set_xlabel("recall (fraction of the wrong labels found)")
    axis.set_ylabel("precision (fraction of those looked at)")
    axis.set_xlim(0, 1.01)
    axis.set_ylim(0, 1.02)
    axis.set_title(plain(title))
    axis.legend(frameon=False, loc="best")
    _quiet([axis])
    return figure


def _quiet(axes: Iterable[Axes]) -> None:
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(colors=_INK)


def _class_legend(figure: Figure, shown: Iterable[int], classes: Sequence[str]) -> None:
    from matplotlib.patches import Patch

    names = {index: "no label" if index < 0 else classes[index] for index in sorted(shown)}
    listed = list(names.items())[:_MAX_LABELS]
    patches = [Patch(facecolor=class_colour(index), label=plain(name)) for index, name in listed]
    figure.legend(handles=patches, loc="outside lower center", ncols=6, frameon=False, fontsize=8)
