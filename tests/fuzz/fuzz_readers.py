"""Changed bytes of good files as archives, arrays and documents: rows, or errors of ours.

Needs nothing but what the tests need. Each slice of cases runs in a child of its own, so that a
crash is found out and named; what goes wrong is kept in a folder.

python -m tests.fuzz.fuzz_readers --reader hdf5 --cases 200000
"""

import argparse
import contextlib
import copy
import gzip
import io
import json
import math
import mmap
import os
import random
import resource
import shutil
import signal
import struct
import sys
import time
import traceback
import warnings
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
from PIL import Image
from scipy.io import savemat

from ray_audit.config import DatasetConfig, InputConfig
from ray_audit.cuts.batching import AUTO_BATCH
from ray_audit.cuts.unit import cut_unit
from ray_audit.errors import RayAuditError
from ray_audit.formats.registry import known_format
from ray_audit.samples import Shard, Tail, WorkUnit
from ray_audit.sources import list_dataset
from tests.fuzz.dicom_seeds import colour_images, grey_images
from tests.fuzz.harness import scratch

SLICE = 2000
LIMIT_S = 20
WALL_S = 120
"""One case of a child: what hangs in C takes no signal, and is ended from outside."""
MEMORY = 2 * 2**30
"""Bytes beyond what a child has at its start: nothing that is read may take as much."""

CLASSES = ["a", "b", "c"]
FOLDER = scratch()


def png():
    sink = io.BytesIO()
    Image.new("RGB", (4, 4)).save(sink, "PNG")
    return sink.getvalue()


def zip_file(compression):
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", compression) as file:
        for name in ("x/a/0.png", "x/b/1.png"):
            file.writestr(name, png())
    return sink.getvalue()


def hdf5_file(matlab=False, **options):
    sink = io.BytesIO()
    with h5py.File(sink, "w", userblock_size=512 if matlab else 0, **options) as file:
        features, labels = np.zeros((6, 4), np.float32), np.arange(6) % 3
        file.create_dataset("v/features", data=features, chunks=(3, 4), compression="gzip")
        file["v/labels"] = [CLASSES[k] for k in labels] if options else labels
        file["w/features"], file["w/labels"] = features, labels.astype(np.uint8)
        if matlab:
            for name in ("v/features", "w/features", "w/labels"):
                file[name].attrs["MATLAB_class"] = np.bytes_("double")
    return sink.getvalue()


def mat_file(compressed):
    sink = io.BytesIO()
    arrays = {"v": np.zeros((6, 4)), "v_label": np.arange(6) % 3, "truths": np.eye(2) > 0}
    savemat(sink, arrays | {"s": {"a": [1, 2], "t": "text"}}, do_compression=compressed)
    return sink.getvalue()


def npz_file():
    sink = io.BytesIO()
    np.savez_compressed(sink, image=np.zeros((3, 4, 4, 3), np.uint8), label=np.arange(3)[:, None])
    return sink.getvalue()


def idx_file(*lengths, packed=False):
    content = struct.pack(f">4B{len(lengths)}I", 0, 0, 8, len(lengths), *lengths)
    content += bytes(at % 3 for at in range(math.prod(lengths)))
    return gzip.compress(content) if packed else content


def array_file(ending, kind="uint8"):
    """Three labels alone."""
    sink, values = io.BytesIO(), np.array([0, 1, 2]).astype(kind)
    if ending == ".npy":
        np.save(sink, values)
    elif ending == ".npz":
        np.savez_compressed(sink, gt=values)
    elif ending == ".mat":
        savemat(sink, {"gt": values})
    else:
        with h5py.File(sink, "w") as file:
            file["gt"] = values
    return sink.getvalue()


def arrow_file(as_file):
    sink = io.BytesIO()
    rows = pa.table({"image": [png()] * 3, "label": [0, 1, 2], "text": ["a", None, "c"]})
    with (pa.ipc.new_file if as_file else pa.ipc.new_stream)(sink, rows.schema) as writer:
        writer.write_table(rows)
    return sink.getvalue()


PAIRS = b"image,mask\ni/0.png,m/0.png\n1.png,m/1.png\n"
DOCUMENT = {"database": {"x": {"annotations": [{"segment": [0, 1.5], "label": "a"}]}}}
COCO = {
    "images": [{"id": 0, "file_name": "0.png"}],
    "annotations": [{"image_id": 0, "category_id": 1}],
    "categories": [{"id": 1, "name": "a"}],
}
OUTLINES = {
    "images": [{"id": 0, "file_name": "0.png", "height": 4, "width": 4}],
    "annotations": [
        {"image_id": 0, "category_id": 1, "segmentation": shape, "iscrowd": crowd}
        for shape, crowd in (
            ([[0, 0, 3.5, 0, 2, 3], [1, 1, 2, 1, 2, 2, 1, 2]], 0),
            ({"size": [4, 4], "counts": [2, 3, 11]}, 1),
            ({"size": [4, 4], "counts": "52203"}, 0),
        )
    ],
    "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
}
ODD = (None, True, -1, 0, 1, 2, 3, 4, 5, 1.5, -1e9, 2**31, 2**63, 1e308, float("nan"))
ODD += ("", "a", "b", "0.png", "1", "5220", [], {}, [[]], [0], [1, 2, 3, 4, 5, 6], {"a": 1})
SEQUENCES = ("sequences", {"arrays": "{folder}/labels"})
BESIDE = ("sequences", {"arrays": "{key}_label"})
READERS = {
    "zip": (".zip", [zip_file(0), zip_file(zipfile.ZIP_DEFLATED)], ("images", {"folder": True})),
    "hdf5": (".h5", [hdf5_file(), hdf5_file(libver="latest")], SEQUENCES),
    "matlab73": (".mat", [hdf5_file(matlab=True)], SEQUENCES),
    "matlab5": (
        ".mat",
        [mat_file(False), mat_file(True)],
        ("sequences", {"arrays": "{key}_label"}),
    ),
    "arrow": (".arrow", [arrow_file(False), arrow_file(True)], ("images", {"column": "label"})),
    "idx": (
        "-images-idx3-ubyte",
        [idx_file(3, 4, 4), idx_file(3, 4, 4, 3), idx_file(3, 4, 4, packed=True)],
        None,
    ),
    "idx_labels": ("-labels-idx1-ubyte", [idx_file(3)], None),
    "packed_idx_labels": ("-labels-idx1-ubyte.gz", [idx_file(3, packed=True)], None),
    "npz": (".npz", [npz_file()], ("images", {"column": "label"})),
    "npy_labels": (".npy", [array_file(".npy"), array_file(".npy", "U2")], None),
    "npz_labels": (".npz", [array_file(".npz", kind) for kind in ("uint8", "bool")], None),
    "hdf5_labels": (".h5", [array_file(".h5", kind) for kind in ("uint8", "bool")], None),
    "mat_labels": (".mat", [array_file(".mat", kind) for kind in ("uint8", "U2", "bool")], None),
    "masks": (".json", [json.dumps(OUTLINES).encode()], None),
    "mask_tables": (
        ".csv",
        [PAIRS, b"site;mask;image\na;m/0.png;0\nb;;1\n", b"\xef\xbb\xbf" + PAIRS],
        None,
    ),
    "packed_mask_tables": (".csv.gz", [gzip.compress(PAIRS)], None),
    "dicom_images": (".dcm", grey_images(FOLDER), ("images", {"folder": True})),
    "dicom_colours": (".dcm", colour_images(FOLDER), ("images", {"folder": True})),
    "document": (".json", [json.dumps(DOCUMENT).encode()], None),
    "coco": (".json", [json.dumps(COCO).encode()], None),
}


def mutated(seed, rng):
    """A few changes of bytes, numbers, lengths and order."""
    data = bytearray(seed)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = rng.randrange(max(1, len(data)))
        kind = rng.randrange(6)
        if kind == 0:
            data[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            data[at : at + 1] = bytes(
                [(data[at] if at < len(data) else 0) ^ (1 << rng.randrange(8))]
            )
        elif kind == 2:
            number = rng.choice((0, 1, 255, 2**16, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1))
            packed = struct.pack(rng.choice("<>") + "Q", number)[: rng.choice((2, 4, 8))]
            data[at : at + len(packed)] = packed
        elif kind == 3:
            del data[at : at + rng.randrange(1, 64)]
        elif kind == 4:
            piece = data[at : at + rng.randrange(1, 64)]
            data[at:at] = piece
        else:
            del data[at:]
    return bytes(data)


def changed(seed, rng):
    """A changed file; of a document often one whose values are changed, and that still is JSON."""
    if not seed.startswith(b"{") or rng.random() < 0.3:
        return mutated(seed, rng)
    document = json.loads(seed)
    for _ in range(rng.choice((1, 1, 2, 5))):
        holder, key = document, rng.choice(list(document))
        while isinstance(holder[key], dict | list) and holder[key] and rng.random() < 0.85:
            holder = holder[key]
            key = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        if rng.random() < 0.1:
            del holder[key]
            if not document:
                break
        else:
            holder[key] = copy.deepcopy(rng.choice(ODD))
    return json.dumps(document).encode()


def one_case(name, content):
    """Read one file as an audit would."""
    suffix, _, read_as = READERS[name]
    path = FOLDER / f"x{suffix}"
    path.write_bytes(content)
    index = FOLDER / "index"
    if "idx" in name:
        images, labels = FOLDER / "good-images-idx3-ubyte", FOLDER / "good-labels-idx1-ubyte"
        images.write_bytes(idx_file(3, 4, 4))
        labels.write_bytes(idx_file(3))
        pair = (path, labels) if name == "idx" else (images, path)
        config = dataset("images", pair[0], {"images": str(pair[1])})
        read_all(list_dataset(config, index).shards, config, str(index))
        return
    if name.endswith("_labels"):
        (FOLDER / "o").mkdir(exist_ok=True)
        for at in range(3):
            (FOLDER / f"o/{at}.png").write_bytes(b"")
        list_dataset(dataset("images", FOLDER / "o/*.png", {"images": str(path)}), index)
        return
    if name.endswith("mask_tables"):
        for place in ("i", "m"):
            (FOLDER / place).mkdir(exist_ok=True)
            for at in range(2):
                (FOLDER / f"{place}/{at}.png").write_bytes(png())
        config = dataset("images", FOLDER / "i/*.png", {"masks": str(path)})
        read_all(list_dataset(config, index).shards, config, str(index))
        return
    if name in ("dicom_images", "dicom_colours"):
        shard = Shard(path.name, str(path), len(content), "etag", class_index=0)
        for window in (None, {"window": [0, 4095]}):
            read_all((shard,), dataset("images", path, read_as[1], volume=window), None)
        return
    if read_as is None and name != "masks":
        (FOLDER / "v").mkdir(exist_ok=True)
        (FOLDER / "v/x.mp4").write_bytes(b"")
        (FOLDER / "v/0.png").write_bytes(b"")
        if name == "coco":
            config = dataset("images", FOLDER / "v/*.png", {"images": str(path)})
        else:
            columns = {"start_s": "segment.0", "end_s": "segment.1"}
            rows = {"rows": "database.{video}.annotations.*", "columns": columns}
            config = dataset("video", FOLDER / "v/*.mp4", {"segments": str(path)} | rows)
        list_dataset(config, index)
        return
    if name == "masks":
        (FOLDER / "i").mkdir(exist_ok=True)
        (FOLDER / "i/0.png").write_bytes(png())
        config = dataset("images", FOLDER / "i/*.png", {"masks": str(path)})
        read_all(list_dataset(config, index).shards, config, str(index))
        return
    config = dataset(read_as[0], path, read_as[1])
    if name == "zip":
        shards = list_dataset(config, index).shards
    else:
        key = path.name
        shards = (Shard(key, str(path), len(content), "etag", label_digest="inside"),)
        with contextlib.suppress(Exception):  # whoever lists names takes any error for damage
            list(known_format(key).names(shards[0], config.labels))
    read_all(shards, config, None)


def read_all(shards, config, index):
    """Cut each shard, and hold what comes to its own counts."""
    for shard in shards:
        *batches, tail = cut_unit(
            WorkUnit("0" * 32, (shard,)), config, InputConfig(), index, AUTO_BATCH
        )
        assert isinstance(tail, Tail)
        assert tail.num_batches == len(batches)
        memory = [failure.message for failure in tail.failures if failure.error_class == "memory"]
        assert not memory, f"above the memory's bound: {memory}"


def dataset(kind, uri, labels, **more):
    values = {"kind": kind, "uri": str(uri), "labels": labels, "classes": CLASSES, "max_px": 1e6}
    return DatasetConfig(**values, **more)


def too_long(*_):
    raise TimeoutError(f"more than {LIMIT_S} s")


def child(name, seed, first, stop, place, keep):
    """Cases from `first` up to `stop`; 1 where one raised what is none of our errors."""
    warnings.simplefilter("ignore")
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    signal.signal(signal.SIGPROF, too_long)  # of processor time: the machine may be busy
    seeds, code = READERS[name][1], 0
    for number in range(first, stop):
        rng = random.Random(f"{seed}-{number}")
        content = changed(rng.choice(seeds), rng)
        place[:8] = struct.pack("<Q", number)
        signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
        try:
            one_case(name, content)
        except RayAuditError:
            pass
        except BaseException:
            code = 1
            (keep / f"{name}-{seed}-{number}").write_bytes(content)
            print(f"{name} case {seed}-{number}:", file=sys.stderr)
            traceback.print_exc()
        signal.setitimer(signal.ITIMER_PROF, 0)
    return code


def ended(pid, place):
    """Exit status of a child, which is ended where one case takes too long."""
    case, since_s = bytes(place[:8]), time.monotonic()
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if bytes(place[:8]) != case:
            case, since_s = bytes(place[:8]), time.monotonic()
        elif time.monotonic() - since_s > WALL_S:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return -signal.SIGKILL
        time.sleep(0.02)


def main():
    """Run the cases of one reader, or of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reader", choices=READERS)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"))
    options = parser.parse_args()
    options.keep.mkdir(parents=True, exist_ok=True)
    place, is_bad = mmap.mmap(-1, 8), False
    for name in [options.reader] if options.reader else READERS:
        begin_s = time.monotonic()
        first, last = options.first, options.first + options.cases
        while first < last:
            stop = min(first + SLICE, last)
            pid = os.fork()
            if not pid:
                os._exit(child(name, options.seed, first, stop, place, options.keep))
            status = ended(pid, place)
            is_bad |= status != 0
            if status < 0:
                (number,) = struct.unpack("<Q", place[:8])
                print(f"{name} case {options.seed}-{number}: ended by signal {-status}", flush=True)
                rng = random.Random(f"{options.seed}-{number}")
                content = changed(rng.choice(READERS[name][1]), rng)
                (options.keep / f"{name}-{options.seed}-{number}").write_bytes(content)
                stop = number + 1
            first = stop
        print(f"{name}: {options.cases} cases in {time.monotonic() - begin_s:.0f} s", flush=True)
    shutil.rmtree(FOLDER, ignore_errors=True)
    return int(is_bad)


if __name__ == "__main__":
    sys.exit(main())
