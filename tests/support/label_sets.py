"""A small local dataset for each form of labels, and all of its labels as the sources read them."""

import io
import json
import tarfile
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from ray_audit.config import DatasetConfig
from ray_audit.formats.labels.given import GivenLabels
from ray_audit.sources import list_dataset
from tests.support.small_sets import picture, video

CLASSES = ["a", "b", "c"]
NAMES = ["v 0%20.mp4", "v#1.mp4", "vé2.mp4", "sub/v3.mp4"]
NUM_FRAMES = 12


def dataset(kind, uri, labels, **more):
    return DatasetConfig.model_validate(
        {"kind": kind, "uri": str(uri), "labels": labels, "classes": CLASSES, **more}
    )


def _videos(folder, real=False):
    for name in NAMES:
        path = folder / "videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if real:
            video(path, NUM_FRAMES)
        else:
            path.write_bytes(b"")  # listing does not open it
    return folder / "videos/**/*.mp4"


def _frame_rows():
    rows = []
    for name in NAMES:
        for t in range(NUM_FRAMES):
            label = ["a", "1", "c", "gap"][t * 4 // NUM_FRAMES]
            rows.append({"note": '=1+1, "x"', "video": name, "frame": t, "label": label, "n": 1.50})
    return rows


def write_rows(path, rows):
    if path.suffix == ".json":
        path.write_text(json.dumps(rows, indent=1))
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    elif path.suffix == ".parquet":
        table = pa.Table.from_pylist(rows).replace_schema_metadata({"by": "hand"})
        pq.write_table(table, path, row_group_size=7, compression="zstd")
    else:
        lines = [list(rows[0]), *([*row.values()] for row in rows)]
        path.write_text(
            "".join(",".join(map(_quoted, line)) + "\r\n" for line in lines), "utf-8", newline=""
        )
    return str(path)


def _quoted(value):
    text = str(value)
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"') else text


def frame_table(folder, suffix):
    uri = _videos(folder)
    labels = {"frames": write_rows(folder / f"frames{suffix}", _frame_rows())}
    return dataset("video", uri, labels, void=["gap"])


def frame_files(folder):
    uri = _videos(folder)
    for name in NAMES:
        path = folder / "labels" / Path(name).with_suffix(".csv")
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [
            {"frame": r["frame"], "label": r["label"]} for r in _frame_rows() if r["video"] == name
        ]
        write_rows(path, rows)
    return dataset("video", uri, {"frames": str(folder / "labels/{path}.csv")}, void=["gap"])


def segment_table(folder, suffix=".csv", in_seconds=False):
    uri = _videos(folder, real=in_seconds)
    unit, scale = ("s", 0.04) if in_seconds else ("frame", 1)
    rows = []
    for name in NAMES:
        for i, label in enumerate(["a", "1", "c", "a"]):
            edges = {f"start_{unit}": 3 * i * scale, f"end_{unit}": 3 * (i + 1) * scale}
            rows.append({"id": f"=s{i}", "video": name, **edges, "label": label})
    labels = {"segments": write_rows(folder / f"segments{suffix}", rows)}
    return dataset("video", uri, labels)


def duration_table(folder, in_seconds=False):
    uri = _videos(folder, real=in_seconds)
    unit, scale = ("s", 0.04) if in_seconds else ("frames", 1)
    start = "start_s" if in_seconds else "start_frame"
    rows = [
        {"video": name, start: 3 * i * scale, f"duration_{unit}": 3 * scale, "label": label}
        for name in NAMES
        for i, label in enumerate(["a", "1", "c", "a"])
    ]
    return dataset("video", uri, {"segments": write_rows(folder / "durations.csv", rows)})


def video_table(folder):
    uri = _videos(folder)
    rows = [{"video": n, "label": CLASSES[i % 3]} for i, n in enumerate(NAMES)]
    return dataset("video", uri, {"videos": write_rows(folder / "videos.csv", rows)})


def masks(folder, suffix="png", num=8):
    for index in range(num):
        picture(folder / f"images/i{index}.png", index, size=(40, 48))
        path = folder / f"masks/i{index}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.zeros((40, 48), np.uint8)
        pixels[8:20, 8 + index : 24] = 1
        pixels[24:36, 10:40] = 2
        pixels[:2] = 255
        stored = Image.fromarray(pixels)
        if index % 2 and suffix == "png":
            stored.putpalette([v for i in range(256) for v in (i, 255 - i, 7)])
        stored.save(path)
    labels = {"masks": str(folder / f"masks/{{stem}}.{suffix}")}
    return dataset("images", folder / "images/*.png", labels, void=[255])


def image_table(folder):
    for index in range(8):
        picture(folder / f"images/i{index}.png", index)
    rows = [{"image": f"i{i}", "label": CLASSES[i % 3]} for i in range(8)]
    labels = {"images": write_rows(folder / "labels.csv", rows)}
    return dataset("images", folder / "images/*.png", labels)


def class_folders(folder):
    for i in range(9):
        picture(folder / f"images/{CLASSES[i % 3]}/{i // 3}.png", i)
    return dataset("images", folder / "images/*/*.png", {"folder": True})


def _png(index):
    sink = io.BytesIO()
    pixels = np.random.default_rng(index).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).save(sink, "PNG")
    return sink.getvalue()


def parquet_column(folder, label_type=None, key=None):
    for part in range(2):
        labels = [None if i == 5 else i % 3 for i in range(10)]
        if label_type is None:
            labels = [None if label is None else CLASSES[label] for label in labels]
        columns = {
            "id": pa.array([f"k{part}{i}" for i in range(10)]),
            "label": pa.array(labels, label_type),
            "image": pa.array([_png(i) for i in range(10)]),
            "extra": pa.array([[i] for i in range(10)]),
        }
        table = pa.table(columns).replace_schema_metadata({"made": "by hand"})
        pq.write_table(table, folder / f"p{part}.parquet", row_group_size=4, compression="gzip")
    labels = {"column": "label", **({"key_column": key} if key else {})}
    return dataset("images", folder / "*.parquet", labels)


def tar_column(folder, suffix="tar"):
    with tarfile.open(folder / f"t.{suffix}", "w:gz" if suffix != "tar" else "w") as file:
        for i in range(8):
            for extension, content in (
                ("png", _png(i)),
                ("cls", f"{i % 3}\n".encode()),
                ("txt", b"=1"),
            ):
                info = tarfile.TarInfo(f"d/é{i}.{extension}")
                info.size = len(content)
                file.addfile(info, io.BytesIO(content))
    return dataset("images", folder / f"*.{suffix}", {"column": "cls"})


def label_arrays(folder, names=False):
    arrays = {}
    for i in range(5):
        length = 10 + i
        arrays[f"s{i}"] = np.random.default_rng(i).normal(size=(length, 4)).astype(np.float32)
        labels = np.arange(length) * 3 // length
        arrays[f"s{i}_label"] = np.array(CLASSES)[labels] if names else labels.astype(np.int8)
        arrays[f"s{i}_frame"] = np.arange(length) * 2 + 5
    np.savez_compressed(folder / "s.npz", **arrays)
    labels = {"arrays": "{key}_label", "frame_arrays": "{key}_frame"}
    return dataset("sequences", folder / "*.npz", labels)


def _matlab(file, name, values, kind):
    """As MATLAB 7.3 stores it: axes turned, and the class in an attribute."""
    stored = file.create_dataset(name, data=np.atleast_2d(values).T)
    stored.attrs["MATLAB_class"] = np.bytes_(kind)


def hdf5_arrays(folder, names=False, matlab=False):
    path = folder / ("s.mat" if matlab else "s.h5")
    with h5py.File(path, "w", userblock_size=512 if matlab else 0) as file:
        for i in range(5):
            length = 10 + i
            features = np.random.default_rng(i).normal(size=(length, 4)).astype(np.float32)
            labels = np.arange(length) * 3 // length
            if matlab:
                _matlab(file, f"v{i}/features", features, "single")
                _matlab(file, f"v{i}/labels", labels[:, None].astype(np.uint8), "uint8")
                continue
            file[f"v{i}/features"] = features
            if names:
                enum = h5py.enum_dtype({"c": 0, "b": 1, "a": 2}, np.uint8)
                file.create_dataset(f"v{i}/labels", data=2 - labels, dtype=enum)
            elif i % 2:
                file[f"v{i}/labels"] = [CLASSES[k] for k in labels]
            else:
                file.create_dataset(f"v{i}/labels", data=labels, dtype="i1", compression="gzip")
            file[f"v{i}"].attrs["by"] = "hand"
    return dataset("sequences", path, {"arrays": "{folder}/labels"})


def array_images(folder, suffix="npz"):
    images = np.random.default_rng(0).integers(0, 256, (70, 6, 5, 3), np.uint8)
    arrays = {"train_images": images, "train_labels": np.arange(70)[:, None] % 3, "extra": [1]}
    if suffix == "npz":
        np.savez_compressed(folder / "m.npz", **arrays)
    else:
        with h5py.File(folder / "m.h5", "w") as file:
            for name, values in arrays.items():
                file[name] = values
    labels = {"image_column": "train_images", "column": "train_labels"}
    return dataset("images", folder / f"m.{suffix}", labels)


def arrow_column(folder, as_file=False):
    """As `datasets.save_to_disk` writes it: a stream, with the features in the metadata."""
    rows = {"image": [{"bytes": _png(i), "path": None} for i in range(10)]}
    rows["label"] = [None if i == 5 else i % 3 for i in range(10)]
    features = {"label": {"names": CLASSES, "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    table = pa.table(rows).replace_schema_metadata(metadata)
    make = pa.ipc.new_file if as_file else pa.ipc.new_stream
    with make(str(folder / "data-00000-of-00001.arrow"), table.schema) as writer:
        writer.write_table(table, max_chunksize=4)
    return dataset("images", folder / "*.arrow", {"column": "label"})


def tar_json(folder):
    with tarfile.open(folder / "t.tar", "w") as file:
        for i in range(8):
            document = json.dumps({"id": i, "objects": [{"name": CLASSES[i % 3]}]}, indent=2)
            for extension, content in (("jpg", _png(i)), ("json", document.encode())):
                info = tarfile.TarInfo(f"{i:03d}.{extension}")
                info.size = len(content)
                file.addfile(info, io.BytesIO(content))
    return dataset("images", folder / "t.tar", {"column": "json.objects.0.name"})


FORMS = {
    **{
        f"frames{s}": lambda f, s=s: frame_table(f, s)
        for s in (".csv", ".json", ".jsonl", ".parquet")
    },
    "frame files": frame_files,
    **{f"segments{s}": lambda f, s=s: segment_table(f, s) for s in (".csv", ".json", ".parquet")},
    "segments in seconds": lambda f: segment_table(f, in_seconds=True),
    "segments with durations": duration_table,
    "segments with durations in seconds": lambda f: duration_table(f, in_seconds=True),
    "videos": video_table,
    "masks png": masks,
    "masks tiff": lambda f: masks(f, "tiff"),
    "images": image_table,
    "folders": class_folders,
    "parquet names": parquet_column,
    "parquet indices": lambda f: parquet_column(f, pa.int16(), "id"),
    "tar": tar_column,
    "Arrow stream": arrow_column,
    "Arrow file": lambda f: arrow_column(f, as_file=True),
    "tar JSON": tar_json,
    "tar.gz": lambda f: tar_column(f, "tar.gz"),
    "npz": label_arrays,
    "npz names": lambda f: label_arrays(f, names=True),
    "npz images": array_images,
    "HDF5 images": lambda f: array_images(f, "h5"),
    "HDF5": hdf5_arrays,
    "HDF5 enumeration": lambda f: hdf5_arrays(f, names=True),
    "MATLAB 7.3": lambda f: hdf5_arrays(f, matlab=True),
}


def listed(config, limit=None):
    folder = tempfile.mkdtemp()
    listing = list_dataset(config, Path(folder), limit)
    return listing, GivenLabels(config, listing.shards, folder)


def all_labels(config):
    """Sample id -> class index or mask: what the sources read."""
    given = listed(config)[1]
    if config.task.is_sequence:
        found = {}
        for owner in given.sequence_owners():
            frames, labels = given.sequence(owner)
            prefix = owner.key
            found |= {f"{prefix}#{t}": k for t, k in zip(frames, labels.tolist(), strict=True)}
        return found
    if config.task.is_dense:
        return {owner.shard_key: given.mask(owner) for owner in given.mask_owners()}
    return {owner.key: label for owner, label in given.class_labels()}


def files_of(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }
