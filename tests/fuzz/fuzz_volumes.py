"""Mutated volumes and mask stacks: whatever the bytes are, an error of a known kind or values.

In one process, without atheris: `python -m tests.fuzz.fuzz_volumes [CASES] [SEED] [NAME ...]`
changes bytes of small good files of each container (or of those that are named), opens them, reads
the values, and holds the memory and the time of each case to a bound.
"""

import resource
import struct
import sys
import time
import warnings
import zipfile
import zlib

import av
import numpy as np
from PIL import Image
from pydicom.uid import generate_uid

from ray_audit.config import DatasetConfig
from ray_audit.errors import RayAuditError
from ray_audit.formats.accounting import UnitAccounting
from ray_audit.formats.stacks.video_masks import VideoMasks
from ray_audit.formats.stacks.volume_masks import VolumeMasks
from ray_audit.formats.volumes.volume_files import open_dicom_labels, open_volume
from tests.fuzz.harness import scratch
from tests.support.volumes import save_volume
from tests.unit.formats.test_dicom import write_slice
from tests.unit.formats.test_dicom_segmentation import frame, write_seg

EXPECTED = (RayAuditError, ValueError, OSError, EOFError, zlib.error, struct.error, KeyError)
EXPECTED += (zipfile.BadZipFile, NotImplementedError, av.FFmpegError, OverflowError, MemoryError)
SLOW_S = 5.0
GROWTH_KIB = 600 * 1024
MASKS = np.random.default_rng(0).integers(0, 3, (3, 6, 5)).astype(np.uint8)
NAMES = ("v.nii", "v.nii.gz", "v.mha", "packed.mha", "v.npy", "v.npz", "v.dcm", "v.mkv")
NAMES += ("v.nrrd", "packed.nrrd", "v.tif", "packed.tif", "v.gif", "seg.dcm")


def good_files(folder):
    """A small good file of each container, by its name."""
    for name in (item for item in NAMES if not item.endswith((".dcm", ".mkv", ".gif"))):
        save_volume(folder / name, MASKS)
    pages = [Image.fromarray(page) for page in MASKS]
    pages[0].save(folder / "v.gif", save_all=True, append_images=pages[1:])
    (folder / "scan").mkdir()
    uids = [generate_uid() for _ in MASKS]
    for k, uid in enumerate(uids):
        write_slice(folder / f"scan/{k}.dcm", np.zeros((6, 5), int), 2.0 * k, SOPInstanceUID=uid)
    frames = [frame(k, 1, uid) for k, uid in enumerate(uids)]
    write_seg(folder / "seg.dcm", frames, [page == 1 for page in MASKS])
    write_slice(folder / "v.dcm", MASKS.astype(np.int64), 0, NumberOfFrames=3)
    with av.open(str(folder / "v.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = 24, 32, "gray"
        for value in range(3):
            pixels = np.full((24, 32), value, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="gray")))
        container.mux(stream.encode())
    return {name: (folder / name).read_bytes() for name in NAMES}


def mutated(content, rng):
    """A few bytes changed, a part repeated, or the end cut off."""
    changed = bytearray(content)
    # Headers are what decides: half of the changes lie in the first bytes.
    for _ in range(int(rng.integers(1, 6))):
        end = len(changed) if rng.random() < 0.5 else min(len(changed), 400)
        changed[int(rng.integers(0, end))] = int(rng.choice([0, 255, 127, 128, rng.integers(256)]))
    if rng.random() < 0.15:
        del changed[int(rng.integers(1, len(changed))) :]
    if rng.random() < 0.1:
        at = int(rng.integers(0, len(changed)))
        changed[at:at] = changed[at : at + 64]
    return bytes(changed)


def read_all(path):
    """Open a file as labels and read every mask of it."""
    if path.suffix == ".mkv":
        labels = {"masks": f"{path.parent}/{{stem}}.mkv"}
        config = DatasetConfig(kind="video", uri="v.mp4", labels=labels, classes=["a"], max_px=1e6)
        with VideoMasks(str(path), config, UnitAccounting("fuzz")) as masks:
            for frame in masks.frames.tolist()[:20]:
                masks.mask(frame)
        return
    tally = UnitAccounting("fuzz")
    if path.name.endswith("seg.dcm"):
        volume = open_dicom_labels(str(path), open_volume(f"{path.parent}/scan/*", 0, tally), tally)
    else:
        volume = open_volume(str(path), None, tally)
    with VolumeMasks(volume) as masks:
        for frame in masks.frames.tolist()[:20]:
            masks.mask(frame)


def main(num_cases, seed, *names):
    rng, folder = np.random.default_rng(seed), scratch()
    good = good_files(folder)
    for path in (folder / name for name in NAMES):
        read_all(path)
    names = names or NAMES
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes = {}
    for case in range(num_cases):
        name = names[case % len(names)]
        path = folder / f"x{name}"
        path.write_bytes(mutated(good[name], rng))
        begin = time.perf_counter()
        try:
            read_all(path)
            outcome = "read"
        except EXPECTED as error:
            outcome = type(error).__name__
        except BaseException:
            print(f"case {case} of seed {seed}, {name}: {path.read_bytes()!r}")
            raise
        took = time.perf_counter() - begin
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert took < SLOW_S, (case, seed, name, took)
        assert grown < GROWTH_KIB, (case, seed, name, grown)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    of = f" of {', '.join(names)}" if names is not NAMES else ""
    print(f"{num_cases} cases{of}, seed {seed}: {dict(sorted(outcomes.items()))}")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    numbers = [int(text) for text in sys.argv[1:3]]
    main(*(numbers + [20_000, 0][len(numbers) :]), *sys.argv[3:])
