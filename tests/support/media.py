"""Small files of every format, and a short way through listing and cutting."""

import io
import tarfile
from fractions import Fraction

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from ray_audit.config import DatasetConfig, InputConfig
from ray_audit.cuts.batching import AUTO_BATCH
from ray_audit.cuts.unit import cut_unit
from ray_audit.samples import Tail
from ray_audit.sources import group_units, list_dataset

CLASSES = ["a", "b", "c"]


def write_video(path, num_frames, size=(48, 64), seed=0, codec="mpeg4"):
    """A video whose frames differ; mpeg4 in mp4, or mpeg1video in mpg."""
    pixels = np.random.default_rng(seed).integers(0, 255, (num_frames, *size, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = size[1], size[0], "yuv420p"
        stream.codec_context.gop_size = 5
        for frame in pixels:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def decoded_video(path):
    """All frames, (T, C, H, W): the plain way."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return np.stack(frames).transpose(0, 3, 1, 2)


def png(pixels, mode=None, palette=False):
    image = Image.fromarray(pixels, mode) if mode else Image.fromarray(pixels)
    if palette:
        image.putpalette(list(range(256)) * 3)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def deep_image(pixels, codec, pix_fmt):
    """16-bit colour, encoded by FFmpeg."""
    context = av.CodecContext.create(codec, "w")
    context.height, context.width = pixels.shape[:2]
    context.pix_fmt, context.time_base = pix_fmt, Fraction(1, 1)
    source = "rgb48le" if pixels.shape[-1] == 3 else "rgba64le"
    frame = av.VideoFrame.from_ndarray(pixels, format=source).reformat(format=pix_fmt)
    return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def write_tar(path, members):
    """Members are (name, bytes) or ready `TarInfo`s."""
    with tarfile.open(path, "w") as file:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                file.addfile(member)
                continue
            name, content = member
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def write_parquet(path, **columns):
    pq.write_table(pa.table(columns), path, row_group_size=4)
    return path


def dataset(kind, uri, labels, **settings):
    values = {"kind": kind, "uri": str(uri), "labels": labels, "classes": CLASSES, **settings}
    return DatasetConfig.model_validate(values)


def listed(config, folder):
    return list_dataset(config, folder / "index")


def cut(config, folder, size=None, max_batch=AUTO_BATCH):
    """All batches, filtered rows and failures of a dataset, and the tails."""
    return cut_listed(listed(config, folder).shards, config, folder, size, max_batch)


def cut_listed(shards, config, folder, size=None, max_batch=AUTO_BATCH):
    """The same of shards that were listed before."""
    units = group_units(shards, "salt")
    model_input = InputConfig(size=size)
    index_uri = str(folder / "index")
    items = [i for u in units for i in cut_unit(u, config, model_input, index_uri, max_batch)]
    return Outcome(items)


class Outcome:
    def __init__(self, items):
        self.batches = [item for item in items if not isinstance(item, Tail)]
        self.tails = [item for item in items if isinstance(item, Tail)]

    @property
    def rows(self):
        return [row for batch in self.batches for row in batch.samples.to_pylist()]

    @property
    def ids(self):
        return [row["sample_id"] for row in self.rows]

    @property
    def labels(self):
        return {row["sample_id"]: row["label"] for row in self.rows}

    @property
    def filtered(self):
        rows = [row for tail in self.tails for row in tail.filtered.to_pylist()]
        return {row["sample_id"]: row["reason"] for row in rows}

    @property
    def failures(self):
        return [failure for tail in self.tails for failure in tail.failures]

    @property
    def failed(self):
        return [(f.sample_id or f.shard, f.error_class, f.num_samples) for f in self.failures]


def write_groups(path, codec, options, num_frames=60, size=(48, 64), container=None):
    """A moving picture in groups of 12 frames, with B-frames."""
    blocks = np.random.default_rng(0).integers(0, 255, (size[0] // 8, size[1] // 8, 3), np.uint8)
    picture = blocks.repeat(8, 0).repeat(8, 1)
    with av.open(str(path), "w", options=container or {}) as file:
        stream = file.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = size[1], size[0], "yuv420p"
        stream.codec_context.gop_size = 12
        if codec != "mjpeg":
            stream.codec_context.max_b_frames = 2
        for number in range(num_frames):
            frame = av.VideoFrame.from_ndarray(np.roll(picture, 3 * number, 1), format="rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path
