"""Tables that say which mask file is that of which image."""

from collections.abc import Iterator
from typing import NamedTuple

from ray_audit import storage
from ray_audit.config import LabelsConfig
from ray_audit.formats.labels.cells import text_of
from ray_audit.formats.labels.copied_columns import Cells
from ray_audit.formats.labels.copying import copy_table
from ray_audit.formats.labels.tables import read_table
from ray_audit.formats.labels.text_tables import TextForm
from ray_audit.formats.places import below, file_below

_NUM_TRIED = 4


class MaskRow(NamedTuple):
    """A row of such a table.

    Attributes:
        row: its number, from 1.
        image: what it calls the image.
        mask: URI of the mask; empty where the cell is.
    """

    row: int
    image: str
    mask: str


def mask_rows(labels: LabelsConfig) -> Iterator[MaskRow]:
    """The rows of `labels.masks`.

    Paths of masks are below the table's folder, or below the first folder above it in which the
    masks of the first rows are; a URI is one.

    Raises:
        LabelError: the table cannot be read, or lacks a column.
    """
    uri, columns = str(labels.masks), labels.columns
    requested = {"image": columns.image, "mask": columns.mask}
    folder: str | None = None
    for chunk in read_table(uri, requested, TextForm.of(labels)):
        images, masks = (chunk.columns[name].to_pylist() for name in ("image", "mask"))
        if folder is None:
            folder = _folder_of(uri, [mask for mask in masks if mask][:_NUM_TRIED])
        for at, (image, mask) in enumerate(zip(images, masks, strict=True)):
            yield MaskRow(chunk.first_row + at, image, _placed(folder, mask) if mask else "")


def copy_mask_table(labels: LabelsConfig, to_uri: str) -> str:
    """A copy of the table below `to_uri`, with the places of masks that were written there.

    Returns:
        Its URI.
    """
    uri, columns = str(labels.masks), labels.columns
    target = below(to_uri, uri.rsplit("/", 1)[-1])
    masks = (row.mask for row in mask_rows(labels))

    def edit(cells: Cells) -> list[Cells] | None:
        mask = next(masks)
        return [{"mask": file_below(uri, mask)}] if text_of(cells["mask"]) and mask else None

    copy_table(uri, target, {"mask": columns.mask}, edit, TextForm.of(labels))
    return target


def _folder_of(uri: str, masks: list[str]) -> str:
    """The folder that paths of masks are below: the table's, or the nearest above with some."""
    folder = own = uri.rpartition("/")[0] or "."
    while masks:
        if any(storage.exists(_placed(folder, mask)) for mask in masks):
            return folder
        above = folder.rpartition("/")[0]
        if not above or above.endswith(":/") or above == folder:
            break
        folder = above
    return own


def _placed(folder: str, mask: str) -> str:
    plain = mask.replace("\\", "/").removeprefix("./")
    return plain if "://" in plain or plain.startswith("/") else storage.join(folder, plain)
