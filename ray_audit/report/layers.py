"""Layers of a mask: image, given classes, prediction and doubt, whole or around a finding."""

import base64
import io
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from ray_audit.formats.show import reduced
from ray_audit.report.seen_masks import SeenMask
from ray_audit.samples import IGNORE

IMAGE_PX = 512
CLOSEUP_PX = 384
_LEAST_MARGIN_PX = 24
_VOID = 255

Bundle = dict[str, Any]
Findings = list[dict[str, Any]]


def mask_bundles(
    seen: Iterable[SeenMask], by_bundle: dict[str, Findings], ids: dict[str, str]
) -> dict[str, Bundle]:
    """Bundles of masks by name.

    Args:
        seen: images, or all tiles of them, in any order.
        by_bundle: bundle name -> findings of one image; they get close-ups where the whole
            picture is smaller than the mask.
        ids: sample id -> bundle name.
    """
    bundles: dict[str, Bundle] = {}
    for mask in seen:
        name = ids[mask.sample_id]
        findings = by_bundle[name]
        # Of a tiled image the tile that holds the middle of its first finding is shown as a whole.
        if _owns_middle(mask, findings[0]["box"]):
            regions = {f["finding_id"]: _region(f) for f in findings if f["mask_rle"]}
            bundles.setdefault(name, {}).update(layers(mask) | {"regions": regions})
        closeups = {
            f["finding_id"]: layers(_cropped(mask, f["box"]), CLOSEUP_PX)
            for f in findings
            if f["box"] and _needs_closeup(mask) and _owns_middle(mask, f["box"])
        }
        bundles.setdefault(name, {}).setdefault("closeups", {}).update(closeups)
    return bundles


def _region(finding: dict[str, Any]) -> dict[str, Any]:
    return {"counts": finding["mask_rle"], "height": finding["mask_size_px"][0]}


def _needs_closeup(mask: SeenMask) -> bool:
    return mask.placement is not None or max(mask.targets.shape) > IMAGE_PX


def _origin(mask: SeenMask) -> tuple[int, int]:
    """Y and x of a cut in its image."""
    return (0, 0) if mask.placement is None else (mask.placement[0], mask.placement[1])


def _owns_middle(mask: SeenMask, box: list[int] | None) -> bool:
    if box is None or mask.placement is None or mask.owned is None:
        return True
    top, left = _origin(mask)
    y, x = (box[1] + box[3]) // 2 - top, (box[0] + box[2]) // 2 - left
    y0, x0, y1, x1 = mask.owned
    return y0 <= y < y1 and x0 <= x < x1


def _cropped(mask: SeenMask, box: list[int]) -> SeenMask:
    """What lies around a box, with half its size on each side, in the pixels of the mask."""
    top, left = _origin(mask)
    height, width = mask.targets.shape
    margin = max(_LEAST_MARGIN_PX, (box[2] - box[0]) // 2, (box[3] - box[1]) // 2)
    x0, x1 = (int(np.clip(x - left, 0, width)) for x in (box[0] - margin, box[2] + margin))
    y0, y1 = (int(np.clip(y - top, 0, height)) for y in (box[1] - margin, box[3] + margin))
    # The picture may have another size than its mask, where the model asks for one.
    up, across = mask.pixels.shape[1] / height, mask.pixels.shape[2] / width
    rows = slice(int(y0 * up), max(int(y0 * up) + 1, round(y1 * up)))
    columns = slice(int(x0 * across), max(int(x0 * across) + 1, round(x1 * across)))
    return replace(
        mask,
        pixels=mask.pixels[:, rows, columns],
        targets=mask.targets[y0:y1, x0:x1],
        predicted=mask.predicted[y0:y1, x0:x1],
        doubt=mask.doubt[y0:y1, x0:x1],
        placement=(top + y0, left + x0, height, width),
    )


def layers(mask: SeenMask, max_px: int = IMAGE_PX) -> Bundle:
    """Image, given mask, prediction and doubt of one image, tile or crop.

    Args:
        mask: what the last checkpoint sees there.
        max_px: longest side of each picture.

    Returns:
        `pictures`, `scale` (picture px per mask px) and `origin` (x and y in the image, mask px).
    """
    height, width = mask.targets.shape
    scale = min(1.0, max_px / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    top, left = _origin(mask)
    return {
        "pictures": {
            "image": as_uri(picture(mask.pixels).resize(size, Image.Resampling.BILINEAR)),
            "given": _index_uri(mask.targets, size),
            "predicted": _index_uri(mask.predicted, size),
            "doubt": as_uri(Image.fromarray(mask.doubt).resize(size, Image.Resampling.BOX), "PNG"),
        },
        "scale": scale,
        "origin": [left, top],
    }


def picture(pixels: np.ndarray) -> Image.Image:
    """(C, H, W) as decoded, or float32 in [0, 1], as a picture; the first one or three channels."""
    kept = pixels[:3] if len(pixels) >= 3 else pixels[:1]
    if kept.dtype == np.float32:
        kept = (255 * np.clip(kept, 0, 1)).round().astype(np.uint8)
    return reduced(np.ascontiguousarray(kept.transpose(1, 2, 0)), max(kept.shape))


def _index_uri(classes: np.ndarray, size: tuple[int, int]) -> str:
    # One byte a pixel: of more than 255 classes the last ones look alike.
    shown = np.minimum(classes.astype(np.int64), _VOID - 1)
    image = Image.fromarray(np.where(classes == IGNORE, _VOID, shown).astype("u1"))
    return as_uri(image.resize(size, Image.Resampling.NEAREST), "PNG")


def as_uri(image: Image.Image, form: str = "JPEG") -> str:
    """A picture as a data URI."""
    sink = io.BytesIO()
    image.save(sink, form, **({"quality": 80} if form == "JPEG" else {"optimize": True}))
    encoded = base64.b64encode(sink.getvalue()).decode("ascii")
    return f"data:image/{form.lower()};base64,{encoded}"
