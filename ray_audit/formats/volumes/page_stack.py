"""TIFF files of several pages, and GIF files of several frames, as volumes: a page a slice."""

import io
import re
from collections.abc import Sequence
from contextlib import nullcontext
from typing import IO, Any

import numpy as np
from PIL import ImageFile

from ray_audit import storage
from ray_audit.errors import LabelError, RayAuditError, SampleError
from ray_audit.formats.damage import is_damage
from ray_audit.formats.mask_files import TIFF_ENDINGS, tiff_page_like
from ray_audit.formats.pixels.deep import is_deep_colour
from ray_audit.formats.pixels.opened import open_unlimited, tiff_tag, unlimited
from ray_audit.formats.pixels.stored_masks import ONE_CHANNEL, as_stored
from ray_audit.formats.pixels.tiff_tags import (
    as_unsigned,
    is_unsigned,
    kept_tags,
    lost_tags,
)
from ray_audit.formats.volumes.volume import Volume, VolumeHeader, check_inflated

ENDINGS = (*TIFF_ENDINGS, ".gif")
"""Endings of image files that may hold several pages."""

_MAX_PAGES = 2**16
_DESCRIPTION, _SUBFILE, _ORIENTATION = 270, 254, 274
_AXES = re.compile(r"(?m)^(images|channels|slices|frames)=(\d+)")
_FORMATS = ("TIFF", "GIF")


class PageStack(Volume):
    """Pages in their order; its array is (page, row, column).

    Values are as they are stored: palette indices, and grey of any depth, also where 0 is white.
    Pages of GIF files are made grey.

    Args:
        stream: of the file, seekable.
        uri: of the file.
        size_bytes: of the file.

    Raises:
        SampleError: it is none, its pages are no grey pictures of one size, or it is too large.
    """

    name = "pages"

    def __init__(self, stream: IO[bytes], uri: str, size_bytes: int) -> None:
        self.uri, self._stream = uri, stream
        self._image = image = open_unlimited(stream)
        num = int(getattr(image, "n_frames", 1))
        if image.format not in _FORMATS or not 1 <= num <= _MAX_PAGES:
            raise SampleError("decode", f"{image.format} of {num} page(s) is no stack of pages")
        _check_is_stack(image, num)
        shape = (num, image.height, image.width)
        # Of 4 bytes at most: the type is known once the first page is decoded.
        check_inflated(4 * num * image.height * image.width, size_bytes, shape)
        self.is_palette = image.format == "TIFF" and image.mode == "P"
        self.header = VolumeHeader(shape, 1, self._page(0).dtype, 0)
        self._values: np.ndarray | None = None

    def stored(self, channel: int = 0) -> np.ndarray:
        """See `Volume.stored`."""
        if self._values is None:
            values = np.empty(self.header.shape, self.header.dtype)
            for index in range(len(values)):
                values[index] = self._page(index)
            self._values = values
        return self._values

    def _page(self, index: int) -> np.ndarray:
        # A frame of a GIF may claim a canvas that is made as it is sought: Pillow's limit stays.
        limit = unlimited() if self._image.format == "TIFF" else nullcontext()
        try:
            with limit:
                return self._decoded(index)
        except (RayAuditError, MemoryError):
            raise
        except Exception as error:  # Pillow raises many kinds
            if isinstance(error, OSError) and not is_damage(error):
                raise
            raise SampleError("decode", f"page {index} cannot be read: {error}") from error

    def _decoded(self, index: int) -> np.ndarray:
        image = self._image
        image.seek(index)
        size = (image.height, image.width)
        if index and size != self.header.shape[1:]:
            raise SampleError(
                "image_format",
                f"page {index} has {size} pixels, page 0 {self.header.shape[1:]}: pages of one "
                "volume have one size (a smaller copy among them?)",
            )
        if image.format == "GIF":
            return np.asarray(image.convert("L"))
        if tiff_tag(image, _SUBFILE, 0) & 1 or tiff_tag(image, _ORIENTATION, 1) != 1:
            raise SampleError(
                "image_format",
                f"page {index} is a smaller copy of another, or turned by its Orientation tag; "
                "save the pages as they should be read",
            )
        values = np.asarray(image) if image.mode == "F" else _grey(image, index)
        if index and values.dtype != self.header.dtype:
            raise SampleError(
                "image_format",
                f"page {index} holds {values.dtype}, page 0 {self.header.dtype}; expected one type",
            )
        return values

    def write(self, stored: np.ndarray, to_uri: str) -> None:
        """See `Volume.write`: mode, palette, compression and tags of each page are kept."""
        if self._image.format != "TIFF":
            raise LabelError(f"{self.uri}: labels in GIF files are not written back; use TIFF")
        pages, tags = [], []
        for index, values in enumerate(stored):
            self._image.seek(index)
            page, directory = tiff_page_like(self._image, values)
            page.encoderinfo = {"tiffinfo": directory} | _compression(self._image)
            pages.append(page)
            tags.append(kept_tags(self._image))
        sink = io.BytesIO()
        options = pages[0].encoderinfo
        pages[0].save(sink, format="TIFF", save_all=True, append_images=pages[1:], **options)
        content = as_unsigned(sink.getvalue()) if is_unsigned(self._image) else sink.getvalue()
        written = PageStack(io.BytesIO(content), to_uri, len(content))
        self._check_tags(written, tags)
        if not np.array_equal(written.stored(), stored):
            raise LabelError(
                f"{self.uri}: new masks do not come back as they were from pages of mode "
                f"{self._image.mode}; save the masks as 8- or 16-bit grey pages"
            )
        storage.write_bytes(to_uri, content)

    def _check_tags(self, written: "PageStack", tags: Sequence[dict[int, object]]) -> None:
        for index, of_page in enumerate(tags):
            written._image.seek(index)
            lost = lost_tags(of_page, written._image)
            if lost:
                raise LabelError(
                    f"{self.uri}: tags {', '.join(map(str, lost))} of page {index} do not come "
                    "back as they were; save the pages without them"
                )

    def close(self) -> None:
        """See `Volume.close`."""
        self._stream.close()


def _grey(image: ImageFile.ImageFile, index: int) -> np.ndarray:
    if image.mode not in ONE_CHANNEL or is_deep_colour(image):
        raise SampleError(
            "image_format",
            f"page {index} has mode {image.mode}; expected grey pages, or palette indices",
        )
    return as_stored(image)


def _check_is_stack(image: ImageFile.ImageFile, num: int) -> None:
    """Refuse what ImageJ says is more, or other, than pages one behind another.

    ImageJ writes stacks above 4 GiB as one page with all values behind it, and channels and times
    as further pages.
    """
    text = str(tiff_tag(image, _DESCRIPTION, ""))
    if not text.startswith("ImageJ="):
        return
    axes = {name: int(count) for name, count in _AXES.findall(text)}
    several = [name for name in ("channels", "slices", "frames") if axes.get(name, 1) > 1]
    if axes.get("images", num) != num or len(several) > 1 or axes.get("channels", 1) > 1:
        raise SampleError(
            "image_format",
            f"the file has {num} page(s), and ImageJ says "
            f"{', '.join(f'{name} {count}' for name, count in axes.items())}; expected a page a "
            "slice: save each channel and each time as a file of its own",
        )


def _compression(image: ImageFile.ImageFile) -> dict[str, Any]:
    """Of a page, as an argument of Pillow."""
    compression = image.info.get("compression")
    return {"compression": compression} if compression else {}
