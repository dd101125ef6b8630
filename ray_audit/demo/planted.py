"""Dataset folders of the demo: data, given labels with planted errors, true labels, the truth.

    videos/  clips/v00.mp4 ...    labels.csv  clean_labels.csv  truth.parquet
    masks/   images/p000.png ...  masks/  clean_masks/  truth.parquet

Only `labels.csv` and `masks/` are shown to training and audit.
"""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from ray_audit.demo.phantoms import make_phantoms
from ray_audit.demo.videos import PHASES, make_video, write_video
from ray_audit.training.noise import (
    MaskNoise,
    TruthRow,
    corrupt_frames,
    corrupt_masks,
    truth_table,
)

VIDEO_KINDS = ("mislabel", "adjacent")
MASK_ERROR_KINDS = ("random", "under", "shift")
VIDEO_ERROR_RATE = 0.3
MASK_ERROR_RATE = 0.2

_VIDEO_PX = 96
_SHORTEST_FRAMES, _LONGEST_FRAMES = 75, 105
# Radius and displacement as in a careless tracing, for pictures of 64 px; the ventricle is class 1.
_MASK_NOISE = MaskNoise(systematic_class=1, under_px=3, shift_px=(4, 7))


def write_video_set(root: Path, num_videos: int, seed: int) -> Path:
    """Write videos, frame labels (a random segment wrong, or two exchanged) and the truth.

    Returns:
        The truth file.
    """
    clips = root / "clips"
    clips.mkdir(parents=True, exist_ok=True)
    clean = {}
    for index in range(num_videos):
        rng = np.random.default_rng([seed, index])
        num_frames = int(rng.integers(_SHORTEST_FRAMES, _LONGEST_FRAMES + 1))
        video = make_video(rng, num_frames, _VIDEO_PX)
        name = f"v{index:02d}.mp4"
        write_video(clips / name, video.frames)
        clean[name] = video.labels
    given = corrupt_frames(clean, len(PHASES), VIDEO_ERROR_RATE, VIDEO_KINDS, seed)
    _write_frame_labels(root / "clean_labels.csv", clean)
    _write_frame_labels(root / "labels.csv", given.labels)
    return _write_truth(root, given.truth)


def _write_frame_labels(path: Path, labels: Mapping[str, np.ndarray]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["video", "frame", "label"])
        for video, phases in labels.items():
            writer.writerows([video, i, PHASES[phase]] for i, phase in enumerate(phases.tolist()))


def write_mask_set(
    root: Path,
    num_images: int,
    size_px: int,
    seed: int,
    rate: float = MASK_ERROR_RATE,
    kinds: tuple[str, ...] = MASK_ERROR_KINDS,
) -> Path:
    """Write phantoms, their masks with planted errors, and the truth.

    Args:
        root: folder of the dataset; made where absent.
        num_images: phantoms.
        size_px: height and width of each.
        seed: of pictures and errors.
        rate: fraction of wrong masks.
        kinds: of the errors; `random` is another subject's mask, `under` the ventricle drawn
            3 px too small, `shift` a structure moved by 4 to 7 px.

    Returns:
        The truth file.
    """
    phantoms = make_phantoms(num_images, size_px, seed)
    names = [f"p{index:03d}.png" for index in range(num_images)]
    clean = {name: phantom.mask for name, phantom in zip(names, phantoms, strict=True)}
    given = corrupt_masks(clean, rate, kinds, seed, _MASK_NOISE)
    for folder, pictures in (
        ("images", {n: p.image for n, p in zip(names, phantoms, strict=True)}),
        ("clean_masks", clean),
        ("masks", clean | given.changed),
    ):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for name, picture in pictures.items():
            Image.fromarray(picture).save(root / folder / name)
    return _write_truth(root, given.truth)


def _write_truth(root: Path, rows: list[TruthRow]) -> Path:
    path = root / "truth.parquet"
    pq.write_table(truth_table(rows), path)
    return path
