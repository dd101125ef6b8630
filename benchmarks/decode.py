"""Decoding against the loops that one would write: PyAV's over frames, Pillow's over tiles.

CPU time of one process, the forms in turn; pixels compared first. Ours gives whole batches: with
labels, sample names, and for tiles what depends on the whole mask (boundaries, components).

    python -m benchmarks.decode [--repeats 5] [--quick]
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image

from benchmarks.harness import Figure, Report, parser, ratios
from benchmarks.sets import Workload, make_data, model
from ray_audit.config import AuditConfig
from ray_audit.cuts.geometry import tiles
from ray_audit.cuts.unit import cut_unit
from ray_audit.samples import Batch
from ray_audit.sources import group_units, list_dataset

SIZE, NETWORK, NUM_FRAMES, CLIP = (360, 640), (112, 112), 480, 16
IMAGE, NUM_IMAGES, TILE, OVERLAP = (2000, 3000), 4, 512, 32
_MAX_BATCH = 4


def ours(config: AuditConfig, index_dir: Path) -> Callable[[], list[np.ndarray]]:
    """Decode a whole dataset; the inputs of its batches."""
    units = group_units(list_dataset(config.dataset, index_dir).shards, "salt")

    def run() -> list[np.ndarray]:
        found = []
        for unit in units:
            cut = cut_unit(unit, config.dataset, config.model.input, str(index_dir), _MAX_BATCH)
            found += [item.arrays["inputs"] for item in cut if isinstance(item, Batch)]
        return found

    return run


def pyav_loop(file: Path, size: tuple[int, int] | None) -> list[np.ndarray]:
    """Frames as clips, resized by torch where asked for."""
    clips, clip = [], []
    with av.open(str(file)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for frame in container.decode(video=0):
            pixels = np.ascontiguousarray(frame.to_ndarray(format="rgb24").transpose(2, 0, 1))
            if size is not None:
                scaled = torch.from_numpy(pixels)[None].float() / 255
                pixels = F.interpolate(scaled, size=size, mode="bilinear")[0].numpy()
            clip.append(pixels)
            if len(clip) == CLIP:
                clips.append(np.stack(clip))
                clip = []
    return clips


def pillow_loop(folder: Path) -> list[np.ndarray]:
    """Tiles of images, each with the same window of its mask."""
    found = []
    for file in sorted((folder / "data").rglob("*.png")):
        pixels = np.asarray(Image.open(file))
        mask = np.asarray(Image.open(folder / "masks" / file.name))
        for down, across in tiles(mask.shape, TILE, OVERLAP):
            window = np.s_[down.start : down.stop, across.start : across.stop]
            found.append(np.ascontiguousarray(pixels[window].transpose(2, 0, 1)))
            mask[window].copy()
    return found


def _same(actual: list[np.ndarray], expected: list[np.ndarray]) -> None:
    """The same inputs, however they are batched."""
    flat, right = np.concatenate(actual), np.stack(expected)
    if flat.shape != right.shape or not np.allclose(flat, right, atol=1e-6):
        raise SystemExit(f"other pixels: {flat.shape}, expected {right.shape}")


def in_turn(
    forms: dict[str, Callable[[], Any]], amount: float, repeats: int
) -> dict[str, tuple[float, ...]]:
    """Amount per CPU second of each form."""
    rates: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(repeats):
        for name, run in forms.items():
            started = time.process_time()
            run()
            rates[name].append(amount / (time.process_time() - started))
    return {name: tuple(values) for name, values in rates.items()}


def video_figures(num_frames: int, repeats: int) -> list[Figure]:
    """At its own size, and resized at decode."""
    figures = []
    for size, named in ((None, "at its own size"), (NETWORK, "resized")):
        net = model("frame_transformer", 10)
        frames = (num_frames, CLIP)
        work = Workload("decode", "frames", num_frames, SIZE, 10, net, 1, size, frames)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            run = ours(make_data(work, folder), folder / "index")
            file = folder / "data" / "000.mp4"
            _same(run(), pyav_loop(file, size))
            forms = {"PyAV's loop": lambda f=file, s=size: pyav_loop(f, s), "ours": run}
            rates = in_turn(forms, num_frames, repeats)
        figures += [Figure(f"{k}, {named}", "frames/CPU s", v) for k, v in rates.items()]
        quotient = ratios(rates["ours"], rates["PyAV's loop"])
        figures.append(Figure(f"ours / PyAV's loop, {named}", "", quotient))
    return figures


def tile_figures(num_images: int, repeats: int) -> list[Figure]:
    """Tiles of large images with masks."""
    dataset = {"tile": {"size": TILE, "overlap": OVERLAP}}
    work = Workload("decode", "masks", num_images, IMAGE, 12, model("unet", 12), 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        values = make_data(work, folder).model_dump()
        values["dataset"] |= dataset
        run = ours(AuditConfig.parse(values), folder / "index")
        _same(run(), pillow_loop(folder))
        forms = {"Pillow's loop": lambda: pillow_loop(folder), "ours": run}
        rates = in_turn(forms, num_images * IMAGE[0] * IMAGE[1] / 1e6, repeats)
    figures = [Figure(f"{k}, tiles", "Mpixel/CPU s", v) for k, v in rates.items()]
    quotient = ratios(rates["ours"], rates["Pillow's loop"])
    return [*figures, Figure("ours / Pillow's loop, tiles", "", quotient)]


def main() -> None:
    """Run and publish."""
    chosen = parser(__doc__).parse_args()
    torch.set_num_threads(1)
    num_frames, num_images = (64, 1) if chosen.quick else (NUM_FRAMES, NUM_IMAGES)
    figures = video_figures(num_frames, chosen.repeats) + tile_figures(num_images, chosen.repeats)
    notes = [
        f"{num_frames} frames of {SIZE[1]}x{SIZE[0]} px (H.264, B-frames), resized to "
        f"{NETWORK[1]}x{NETWORK[0]}",
        f"{num_images} PNG images of {IMAGE[1]}x{IMAGE[0]} px with masks, tiles of {TILE} px that "
        f"overlap by {OVERLAP}",
        "pixels compared first",
    ]
    Report("decode", figures, notes).publish(is_kept=not chosen.quick)


if __name__ == "__main__":
    main()
