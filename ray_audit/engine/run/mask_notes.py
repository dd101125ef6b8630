"""What files of images and masks say of themselves before they are read as labels."""

import io
from collections.abc import Iterator, Sequence
from contextlib import suppress

import numpy as np
from PIL import Image

from ray_audit import storage
from ray_audit.engine.planning.plan import Inputs
from ray_audit.errors import RayAuditError
from ray_audit.formats.volumes.page_stack import ENDINGS as PAGED
from ray_audit.samples import Shard

_MAX_PAGED_BYTES = 64 * 2**20
_MAX_LATER_BYTES = 8 * 2**20  # of files besides the first: a look must stay cheap
_MAX_MASK_BYTES = 4 * 2**20
_MAX_PX = 2**24
_NUM_MASKS = 8
_PAGES = (".tif", ".tiff", ".gif", ".png", ".webp")
_LOSSY = (".jpg", ".jpeg")
_PALETTED = (".png", ".gif", ".bmp", ".tif", ".tiff")

Colour = tuple[int, ...]


def mask_notes(inputs: Inputs) -> list[str]:
    """Pages that are not read, masks in a lossy format, and masks each with its own palette."""
    dataset = inputs.config.dataset
    if dataset.kind != "images" or dataset.volume is not None:
        return []
    shards = inputs.listing.shards
    notes = list(_page_notes(shards))
    if not dataset.task.is_dense or dataset.has_drawn_masks:
        return notes
    uris = [shard.label_uri for shard in shards if shard.label_uri and "*" not in shard.label_uri]
    values = dataset.labels.values
    if values is None and any(uri.lower().endswith(_LOSSY) for uri in uris):
        notes.append(
            "masks are JPEG files, whose pixels are near what was saved: a class may come out as "
            "the next one. Save them as PNG, or give labels.values with ranges, such as "
            "{0..127: background, 128..255: lesion}"
        )
    if values is None:
        notes += _palette_notes(uris)
    return notes


def _page_notes(shards: Sequence[Shard]) -> Iterator[str]:
    """Images of several pages, of which the first is read."""
    places = dict.fromkeys(np.linspace(0, len(shards) - 1, _NUM_MASKS).astype(int).tolist())
    for place in places if shards else ():
        shard, most = shards[place], _MAX_LATER_BYTES if place else _MAX_PAGED_BYTES
        for uri in filter(None, (shard.uri, shard.label_uri)):
            if not uri.lower().endswith(_PAGES) or shard.size_bytes > most:
                continue
            with suppress(OSError, ValueError, SyntaxError, RayAuditError):
                image = Image.open(io.BytesIO(storage.read_bytes(uri)))
                num = getattr(image, "n_frames", 1)
                if num > 1:
                    remedy = (
                        "; give dataset.volume: {} to read each page as a slice"
                        if uri.lower().endswith(PAGED)
                        else ""
                    )
                    yield f"{uri} has {num} pages: the first of each file is read{remedy}"
                    return


def _palette_notes(uris: Sequence[str]) -> Iterator[str]:
    """Palettes in which one colour has another index in each file: colours are the classes."""
    places = dict.fromkeys(np.linspace(0, len(uris) - 1, _NUM_MASKS).astype(int).tolist())
    seen: dict[Colour, tuple[int, str]] = {}
    for uri in [uris[place] for place in places] if uris else ():
        for index, colour in _used_colours(uri).items():
            before, where = seen.setdefault(colour, (index, uri))
            if before != index:
                shown = "#" + "".join(f"{channel:02x}" for channel in colour)
                yield (
                    f"masks have palettes of their own: {shown} is index {before} in {where} and "
                    f"{index} in {uri}. Indices are read; where colours are the classes, list them "
                    f'in labels.values, such as {{"{shown}": {"road"}}}'
                )
                return


def _used_colours(uri: str) -> dict[int, Colour]:
    """Colours of the indices that a mask uses; empty where it has no palette, or one in grey."""
    if not uri.lower().endswith(_PALETTED):
        return {}
    with suppress(OSError, ValueError, SyntaxError, RayAuditError):
        content = storage.read_bytes(uri)
        image = Image.open(io.BytesIO(content))
        is_small = len(content) < _MAX_MASK_BYTES and image.width * image.height < _MAX_PX
        if image.mode != "P" or not is_small:
            return {}
        palette = np.asarray(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
        used = [index for index in np.unique(np.asarray(image)).tolist() if index < len(palette)]
        colours = {index: tuple(palette[index].tolist()) for index in used}
        return colours if len(set(colours.values())) == len(colours) else {}
    return {}
