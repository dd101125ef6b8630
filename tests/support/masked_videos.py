"""Videos with masks on some frames, in every form; their colours are their true classes."""

import av
import numpy as np
from PIL import Image

from tests.support.knowing import SIDE, SURE, coloured, given_mask, knows, true_mask
from tests.support.small_sets import SmallSet
from tests.support.volumes import save_volume

NUM_FRAMES = 8


def exact_video(path, frames, pix_fmt="bgr0", codec="ffv1", rate=25):
    """A video without loss: of (H, W, 3) colours, or of (H, W) grey values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pix_fmt
        for pixels in frames:
            source = "rgb24" if pixels.ndim == 3 else "gray" if pixels.itemsize == 1 else "gray16le"
            frame = av.VideoFrame.from_ndarray(pixels, format=source)
            container.mux(stream.encode(frame.reformat(format=pix_fmt)))
        container.mux(stream.encode())
    return path


def masked_videos(
    folder,
    num=2,
    wrong=((1,), ()),
    masked=range(NUM_FRAMES),
    sureness=(SURE,) * 3,
    form="png",
    width=SIDE,
):
    """Videos with a folder of masks each, masks/v0/00003.png, or with one file: masks/v0.npy.

    Args:
        folder: gets `data` and `checkpoints`.
        num: videos.
        wrong: for each video, the frames whose mask is wrong.
        masked: the frames that have a mask.
        sureness: of the checkpoints.
        form: png, ffv1, or the ending of a volume of all masks.
        width: of the frames.
    """
    for video in range(num):
        frames = [coloured(widened(true_mask(video + t), width)) for t in range(NUM_FRAMES)]
        exact_video(folder / f"data/videos/v{video}.mkv", frames)
        if form == "ffv1":
            masks = [mask_of(video, t, wrong, width) for t in range(NUM_FRAMES)]
            exact_video(folder / f"data/masks/v{video}.mkv", masks, "gray")
            continue
        if form != "png":
            masks = np.stack([mask_of(video, t, wrong, width) for t in range(NUM_FRAMES)])
            save_volume(folder / f"data/masks/v{video}.{form}", masks)
            continue
        for t in masked:
            path = folder / f"data/masks/v{video}/{t:05}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            palette = Image.fromarray(mask_of(video, t, wrong, width))
            palette.putpalette([v for i in range(256) for v in (i, 255 - i, 7)])
            palette.save(path)
    template = {"png": "{stem}/*.png", "ffv1": "{stem}.mkv"}.get(form, f"{{stem}}.{form}")
    dataset = {
        "kind": "video",
        "uri": str(folder / "data/videos/*.mkv"),
        "labels": {"masks": str(folder / "data/masks" / template)},
        "void": [255],
    }
    return knows(SmallSet(folder, dataset, "PixelModel"), *sureness)


def widened(mask, width):
    return np.pad(mask, ((0, 0), (0, width - SIDE)), mode="edge")


def mask_of(video, frame, wrong, width=SIDE):
    """The mask that a frame is given."""
    is_wrong = frame in wrong[video]
    return widened(given_mask(video + frame, (video + frame,) if is_wrong else ()), width)
