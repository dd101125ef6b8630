"""Datasets of noise with checkpoints, for timing: what is in the pixels costs the same."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image

from benchmarks.plain_training import save_epoch
from ray_audit.checkpoints.factory import build_model
from ray_audit.config import AuditConfig

_MODELS = "ray_audit.training.models"
_BLOCK_PX = 20


@dataclass(frozen=True)
class Workload:
    """A dataset and a model.

    Attributes:
        name: of the workload.
        kind: `images` (a class each), `masks` (a class a pixel) or `frames` (a class a frame).
        num_samples: images, or frames.
        size: height and width as stored, in pixels.
        num_classes: K.
        model: factory and kwargs.
        num_checkpoints: E.
        input_size: height and width of the network input, where it is another.
        video_frames: frames of one video, and of one clip.
    """

    name: str
    kind: str
    num_samples: int
    size: tuple[int, int]
    num_classes: int
    model: dict[str, Any]
    num_checkpoints: int = 8
    input_size: tuple[int, int] | None = None
    video_frames: tuple[int, int] = (96, 16)
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def described(self) -> str:
        """A line for a report."""
        height, width = self.size
        resized = ""
        if self.input_size is not None:
            resized = f", resized to {self.input_size[1]}x{self.input_size[0]}"
        model = self.model["factory"].partition(":")[2]
        return (
            f"{self.num_samples} {self.kind.replace('masks', 'images with masks')} of "
            f"{width}x{height} px{resized}, {self.num_classes} classes, "
            f"{self.num_checkpoints} checkpoints of `{model}` {self.model['kwargs']}"
        )


def model(factory: str, num_classes: int, **kwargs: Any) -> dict[str, Any]:
    """The model of a specification."""
    return {"factory": f"{_MODELS}:{factory}", "kwargs": {"num_classes": num_classes, **kwargs}}


WORKLOADS = {
    "images": Workload("images", "images", 3840, (64, 64), 10, model("small_cnn", 10)),
    "masks": Workload("masks", "masks", 320, (120, 160), 12, model("unet", 12, width=16)),
}


def make_data(work: Workload, folder: Path) -> AuditConfig:
    """Write samples, labels and checkpoints; return the specification."""
    dataset = _make_videos(work, folder) if work.kind == "frames" else _make_images(work, folder)
    classes = [f"c{i}" for i in range(work.num_classes)]
    spec = {
        "name": work.name,
        "dataset": dataset | {"classes": classes},
        "model": work.model | ({"input": {"size": work.input_size}} if work.input_size else {}),
        "checkpoints": f"{folder}/checkpoints/*.safetensors",
        "scores": ["csl", "softmin"],
        "output": f"{folder}/out",
    }
    config = AuditConfig.parse(spec | work.extra)
    for epoch in range(work.num_checkpoints):
        torch.manual_seed(epoch)
        save_epoch(build_model(config.model), folder / "checkpoints", epoch + 1)
    return config


def _make_images(work: Workload, folder: Path) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    is_dense = work.kind == "masks"
    for index in range(work.num_samples):
        pixels = rng.integers(0, 256, (*work.size, 3), np.uint8)
        parent = folder / "data" / ("all" if is_dense else f"c{index % work.num_classes}")
        parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(parent / f"{index:05d}.png", compress_level=1)
        if is_dense:
            (folder / "masks").mkdir(exist_ok=True)
            Image.fromarray(_blocks(work, rng)).save(folder / "masks" / f"{index:05d}.png")
    labels = {"masks": f"{folder}/masks/{{stem}}.png"} if is_dense else {"folder": True}
    return {"kind": "images", "uri": f"{folder}/data/*/*.png", "labels": labels}


def _blocks(work: Workload, rng: np.random.Generator) -> np.ndarray:
    """A mask of square blocks."""
    height, width = (side // _BLOCK_PX for side in work.size)
    coarse = rng.integers(0, work.num_classes, (height, width), np.uint8)
    return np.kron(coarse, np.ones((_BLOCK_PX, _BLOCK_PX), np.uint8))


def _make_videos(work: Workload, folder: Path) -> dict[str, Any]:
    per_video, per_clip = work.video_frames
    rows = ["video,frame,label"]
    for number in range(work.num_samples // per_video):
        write_video(folder / "data" / f"{number:03d}.mp4", work.size, per_video, seed=number)
        for frame in range(per_video):
            rows.append(f"{number:03d},{frame},c{(frame // 8 + number) % work.num_classes}")
    (folder / "frames.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return {
        "kind": "video",
        "uri": f"{folder}/data/*.mp4",
        "labels": {"frames": f"{folder}/frames.csv"},
        "clip": {"frames": per_clip, "stride": per_clip},
    }


def write_video(path: Path, size: tuple[int, int], num_frames: int, seed: int = 0) -> None:
    """H.264: a moving pattern with some noise; a key frame every 250 frames, B-frames between."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    height, width = size
    blocks = rng.integers(0, 120, (-(-height // 16), -(-width // 16), 3), np.uint8)
    picture = blocks.repeat(16, 0).repeat(16, 1)[:height, :width]
    noise = [rng.integers(0, 12, (*size, 3), np.uint8) for _ in range(8)]
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(num_frames):
            pixels = np.roll(picture, 2 * number, 1) + noise[number % 8]
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(stream.encode())


def decoded_parts(work: Workload, folder: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Samples one after another as anybody would read them, with their labels, in key order.

    Yields:
        An image (C, H, W) uint8 and its class or mask; or a clip (T, C, H, W) float32 in [0, 1],
        resized, and its frames' classes.
    """
    if work.kind == "frames":
        yield from _decoded_clips(work, folder)
        return
    for file in sorted((folder / "data").rglob("*.png")):
        pixels = np.asarray(Image.open(file)).transpose(2, 0, 1)
        if work.kind == "masks":
            yield pixels, np.asarray(Image.open(folder / "masks" / file.name))
        else:
            yield pixels, np.array(int(file.parent.name[1:]))


def _decoded_clips(work: Workload, folder: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    per_clip = work.video_frames[1]
    for number, file in enumerate(sorted((folder / "data").glob("*.mp4"))):
        clip: list[torch.Tensor] = []
        with av.open(str(file)) as container:
            for index, frame in enumerate(container.decode(video=0)):
                pixels = torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1)
                clip.append(_resized(pixels[None].float() / 255, work.input_size)[0])
                if len(clip) == per_clip:
                    frames = np.arange(index + 1 - per_clip, index + 1)
                    labels = (frames // 8 + number) % work.num_classes
                    yield torch.stack(clip).numpy(), labels
                    clip = []


def _resized(pixels: torch.Tensor, size: tuple[int, int] | None) -> torch.Tensor:
    if size is None:
        return pixels
    return F.interpolate(pixels, size=size, mode="bilinear", align_corners=False)


def decoded(work: Workload, folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """All samples and targets in memory, in key order."""
    inputs, targets = zip(*decoded_parts(work, folder), strict=True)
    return torch.from_numpy(np.stack(inputs)), torch.from_numpy(np.stack(targets)).long()
