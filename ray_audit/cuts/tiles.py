"""Images with a mask: whole, or cut into tiles."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ray_audit.config import TileConfig
from ray_audit.cuts.batching import Cut, SampleRow
from ray_audit.cuts.geometry import tiles
from ray_audit.formats.pixels.resize import pays_off, resize
from ray_audit.samples import IGNORE
from ray_audit.scores.components import connected_components
from ray_audit.scores.segmentation import interior_mask
from ray_audit.scores.void import void_components


@dataclass(frozen=True)
class LabelledImage:
    """A decoded image with its targets.

    Attributes:
        sample_id: the image.
        shard: value of the shard column.
        pixels: (H, W, C) uint8 or uint16.
        mask: (H, W) values as stored.
        targets: (H, W) class indices with `IGNORE`.
        frame_index: of a video's frame, or of a volume's slice.
        pts_s: when the frame is shown.
    """

    sample_id: str
    shard: str
    pixels: np.ndarray
    mask: np.ndarray
    targets: np.ndarray
    frame_index: int | None = None
    pts_s: float | None = None

    def row(self, num_labelled: int, sample_num_labelled: int) -> SampleRow:
        """Its row of a batch: of all of it, or of a tile."""
        return SampleRow(
            self.sample_id,
            self.shard,
            self.frame_index,
            self.pts_s,
            num_labelled=num_labelled,
            sample_num_labelled=sample_num_labelled,
        )


def whole_cut(image: LabelledImage, size: tuple[int, int] | None) -> Cut:
    """The image as one cut."""
    num_labelled = int((image.targets != IGNORE).sum())
    row = image.row(num_labelled, num_labelled)
    return Cut(network_input(image.pixels, size), image.targets, (row,))


def tile_cuts(
    image: LabelledImage, tile: TileConfig, size: tuple[int, int] | None
) -> Iterator[Cut]:
    """The tiles of an image, one at a time; a tile that owns no labelled pixel is left out.

    What depends on the whole mask (label boundaries, connected components) is found on the
    whole mask, so that a component that crosses tiles keeps one number.
    """
    labelled = image.targets != IGNORE
    sample_num_labelled = int(labelled.sum())
    interior = interior_mask(image.targets).astype(np.uint8)
    components = connected_components(image.targets)
    void = void_components(image.targets)
    for vertical, horizontal in tiles(image.mask.shape, tile.size, tile.overlap):
        owned = np.s_[
            vertical.owned_start : vertical.owned_stop,
            horizontal.owned_start : horizontal.owned_stop,
        ]
        num_labelled = int(labelled[owned].sum())
        if num_labelled == 0:
            continue
        window = np.s_[vertical.start : vertical.stop, horizontal.start : horizontal.stop]
        rect = np.array(
            [
                vertical.owned_start - vertical.start,
                horizontal.owned_start - horizontal.start,
                vertical.owned_stop - vertical.start,
                horizontal.owned_stop - horizontal.start,
            ],
            np.int32,
        )
        row = image.row(num_labelled, sample_num_labelled)
        # Copies: a view would keep the whole image alive while the tile waits for its batch.
        extras: dict[str, np.ndarray] = {
            "owned_rect": rect,
            "interior": interior[window].copy(),
            "components": components[window].copy(),
            "void_components": void[window].copy(),
            "placement": np.array([vertical.start, horizontal.start, *labelled.shape], np.int64),
        }
        inputs = network_input(image.pixels[window], size)
        yield Cut(inputs, image.targets[window].copy(), (row,), extras)


def network_input(pixels: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """(H, W, C) as decoded to (C, H, W): resized float32 where that is smaller, else as it is.

    A copy, whose channels stay side by side in memory, as decoders give them and models like them:
    to part them would cost as much as to read them.
    """
    if size is not None and pays_off(pixels.shape, pixels.itemsize, size):
        pixels = resize(pixels, size)
    return np.array(pixels, order="C").transpose(2, 0, 1)
