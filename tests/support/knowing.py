"""Small sets whose colours are their true classes, some wrong labels, and models that see colours.

Class k is channel k: red, green, blue are a, b, c.
"""

import csv
import io
import json
import tarfile

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.support.small_sets import CLASSES, SmallSet, table

SIDE = 24
SURE, UNSURE = 6.0, 1.0


def coloured(classes, side=SIDE):
    """(side, side, 3) uint8 of one class, or of an (H, W) map of classes."""
    classes = np.broadcast_to(classes, (side, side)) if np.ndim(classes) == 0 else classes
    return (255 * np.eye(3, dtype=np.uint8))[classes]


def save(pixels, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def knows(small, *sureness):
    """A checkpoint for each sureness: logits are that times the channels (or a 3 x 3 matrix)."""
    for path in small.folder.glob("checkpoints/*"):
        path.unlink()
    for epoch, sure in enumerate(sureness):
        weight = torch.as_tensor(sure if np.ndim(sure) else sure * np.eye(3), dtype=torch.float32)
        if small.values["model"]["factory"].endswith("PixelModel"):
            weight = weight[:, :, None, None].contiguous()
        state = {"head.weight": weight, "head.bias": torch.zeros(3)}
        if small.values["model"]["factory"].endswith("ImageModel"):
            state["trap"] = torch.zeros(())
        save_file(state, small.folder / f"checkpoints/epoch_{epoch}.safetensors")
    return small


def images(folder, form="images", wrong=(3, 8), num=12, sureness=(SURE,) * 3):
    """Images of one colour, image i of class i % 3; those named by `wrong` have the next class."""
    true = [index % 3 for index in range(num)]
    given = [(k + (index in wrong)) % 3 for index, k in enumerate(true)]
    data = folder / "data"
    data.mkdir(parents=True)
    labels = {}
    if form == "folder":
        for index, k in enumerate(true):
            save(coloured(k), data / CLASSES[given[index]] / f"i{index}.png")
        uri, labels = data / "*/*.png", {"folder": True}
    elif form == "images":
        for index, k in enumerate(true):
            save(coloured(k), data / f"=i {index}%20é.png")
        rows = [
            {"note": '=1,"x"', "image": f"=i {index}%20é.png", "label": CLASSES[k]}
            for index, k in enumerate(given)
        ]
        uri, labels = data / "*.png", {"images": str(table(folder / "labels.csv", rows))}
    elif form == "parquet":
        stored = [_png(coloured(k)) for k in true]
        pq.write_table(pa.table({"image": stored, "label": given}), data / "p.parquet")
        uri, labels = data / "*.parquet", {"column": "label"}
    else:
        with tarfile.open(data / "t.tar", "w") as file:
            for index, k in enumerate(true):
                _add(file, f"é{index:02}.png", _png(coloured(k)))
                _add(file, f"é{index:02}.cls", f"{given[index]}\n".encode())
        uri, labels = data / "*.tar", {"column": "cls"}
    dataset = {"kind": "images", "uri": str(uri), "labels": labels}
    return knows(SmallSet(folder, dataset, "ImageModel"), *sureness), true, given


def _png(pixels):
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    return sink.getvalue()


def _add(file, name, content):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    file.addfile(info, io.BytesIO(content))


def true_mask(index):
    """Red, with a green block and a blue one that move with the index."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[2:12, 2 + index % 3 : 12] = 1
    mask[14:22, 8 : 20 - index % 2] = 2
    return mask


def given_mask(index, wrong):
    """The green block is not there in wrong masks, and void on a strip of all."""
    mask = true_mask(index)
    if index in wrong:
        mask[mask == 1] = 0
    mask[-1] = 255
    return mask


def masks(folder, form="files", wrong=(1, 4), num=6, sureness=(SURE,) * 3, tile=None):
    """Images with index masks; `form` is files, parquet or tar."""
    data = folder / "data"
    data.mkdir(parents=True)
    pairs = [(coloured(true_mask(i)), given_mask(i, wrong)) for i in range(num)]
    if form == "files":
        for index, (pixels, mask) in enumerate(pairs):
            save(pixels, data / f"images/i{index}.png")
            palette = Image.fromarray(mask)
            palette.putpalette([v for i in range(256) for v in (i, 255 - i, 7)])
            (data / "masks").mkdir(exist_ok=True)
            palette.save(data / f"masks/i{index}.png")
        uri, labels = data / "images/*.png", {"masks": str(data / "masks/{stem}.png")}
    elif form == "parquet":
        columns = {"image": [_png(p) for p, _ in pairs], "mask": [_png(m) for _, m in pairs]}
        pq.write_table(pa.table(columns), data / "p.parquet", row_group_size=2)
        uri, labels = data / "*.parquet", {"masks": "mask"}
    else:
        with tarfile.open(data / "t.tar", "w") as file:
            for index, (pixels, mask) in enumerate(pairs):
                _add(file, f"k{index}.mask.png", _png(mask))
                _add(file, f"k{index}.png", _png(pixels))
        uri, labels = data / "*.tar", {"masks": "{key}.mask.png"}
    dataset = {"kind": "images", "uri": str(uri), "labels": labels, "void": [255]}
    if tile:
        dataset["tile"] = {"size": tile, "overlap": 2}
    return knows(SmallSet(folder, dataset, "PixelModel"), *sureness)


TRUE_FRAMES = np.repeat([0, 1, 2], 8)


def given_frames(index, wrong, segment=0):
    """Of wrong videos the first segment has the last class, or the last one the first."""
    labels = TRUE_FRAMES.copy()
    if index in wrong:
        labels[8 * segment : 8 * segment + 8] = 2 - segment
    return labels


def videos(folder, form="frames.csv", wrong=(1,), num=4, sureness=(SURE,) * 3, segment=0, **more):
    """Videos of three segments, a colour each; with a table of frames or segments, or npz."""
    given = [given_frames(index, wrong, segment) for index in range(num)]
    data = folder / "data"
    data.mkdir(parents=True)
    factory, kwargs = "FrameModel", None
    if form == "npz":
        arrays = {}
        for index, labels in enumerate(given):
            arrays[f"s{index}"] = np.eye(3, dtype=np.float32)[TRUE_FRAMES]
            arrays[f"s{index}_label"] = labels.astype(np.int8)
        np.savez(data / "s.npz", **arrays)
        dataset = {
            "kind": "sequences",
            "uri": str(data / "*.npz"),
            "labels": {"arrays": "{key}_label"},
        }
        kwargs = {"in_features": 3}
    else:
        for index in range(num):
            _video(data / f"v {index}%20é.mp4")
        what, suffix = form.split(".")
        rows = _frame_rows(given) if what == "frames" else _segment_rows(given)
        path = folder / f"{what}.{suffix}"
        if suffix == "csv":
            table(path, rows)
        elif suffix == "json":
            path.write_text(json.dumps(rows))
        else:
            pq.write_table(pa.Table.from_pylist(rows), path)
        dataset = {"kind": "video", "uri": str(data / "*.mp4"), "labels": {what: str(path)}}
    dataset["clip"] = {"frames": None} | more
    return knows(SmallSet(folder, dataset, factory, kwargs), *sureness)


def _frame_rows(given):
    return [
        {"video": f"v {index}%20é.mp4", "frame": t, "label": CLASSES[k]}
        for index, labels in enumerate(given)
        for t, k in enumerate(labels.tolist())
    ]


def _segment_rows(given):
    rows = []
    for index, labels in enumerate(given):
        starts = [0, *(np.flatnonzero(np.diff(labels)) + 1).tolist()]
        for start, end in zip(starts, [*starts[1:], len(labels)], strict=True):
            edges = {"start_frame": start, "end_frame": end}
            rows.append({"video": f"v {index}%20é.mp4", **edges, "label": CLASSES[labels[start]]})
    return rows


def _video(path):
    film(path, TRUE_FRAMES)


def film(path, classes):
    """A video of one frame for each class, in its colour."""
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for k in np.asarray(classes).tolist():
            frame = av.VideoFrame.from_ndarray(coloured(k, 32), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))
