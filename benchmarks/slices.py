"""Decoding of one long video: in one piece, and in slices by one and by two processes.

python -m benchmarks.slices [--repeats 5] [--frames 3000] [--quick]
"""

import hashlib
import multiprocessing
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import Figure, Report, parser, ratios
from benchmarks.sets import write_video
from ray_audit.config import DatasetConfig, InputConfig
from ray_audit.cuts.slices import slice_videos
from ray_audit.cuts.unit import cut_unit
from ray_audit.samples import Batch, WorkUnit
from ray_audit.sources import group_units, list_dataset

SIZE = (720, 1280)
INPUT = InputConfig(size=(112, 112))
NUM_SLICES = 4
MAX_BATCH = 4
_INDEX_DIR = Path("index")


def dataset_of(folder: Path, num_frames: int) -> DatasetConfig:
    """One video with a label a frame."""
    path = folder / "video.mp4"
    write_video(path, SIZE, num_frames)
    rows = [f"video,{frame},{'ab'[frame // 100 % 2]}" for frame in range(num_frames)]
    (folder / "frames.csv").write_text("\n".join(["video,frame,label", *rows]) + "\n")
    values = {
        "kind": "video",
        "uri": str(path),
        "labels": {"frames": str(folder / "frames.csv")},
        "classes": ["a", "b"],
        "clip": {"frames": 32, "stride": 16, "slice_frames": num_frames // NUM_SLICES - 64},
    }
    return DatasetConfig.model_validate(values)


def decode(config: DatasetConfig, index_uri: str, texts: Sequence[str]) -> list[str]:
    """Decode units; a digest of each batch's inputs."""
    digests = []
    for text in texts:
        for item in cut_unit(WorkUnit.from_json(text), config, INPUT, index_uri, MAX_BATCH):
            if isinstance(item, Batch):
                digests.append(hashlib.sha256(item.arrays["inputs"]).hexdigest())
    return digests


def in_processes(
    config: DatasetConfig, index_uri: str, texts: Sequence[str], num: int
) -> tuple[list[str], float]:
    """Decode units in `num` processes that are up already; digests and seconds."""
    with multiprocessing.get_context("spawn").Pool(num) as pool:
        pool.starmap(decode, [(config, index_uri, [])] * num, chunksize=1)
        started = time.perf_counter()
        done = pool.starmap(decode, [(config, index_uri, [text]) for text in texts], chunksize=1)
        return [digest for digests in done for digest in digests], time.perf_counter() - started


def main() -> None:
    """Run and publish."""
    options = parser(__doc__)
    options.add_argument("--frames", type=int, default=3000)
    arguments = options.parse_args()
    num_frames = 700 if arguments.quick else arguments.frames
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = dataset_of(folder, num_frames)
        index_dir = folder / _INDEX_DIR
        shards = list_dataset(config, index_dir).shards
        started = time.perf_counter()
        cut = slice_videos(shards, config, INPUT, MAX_BATCH, str(index_dir))
        index_s = time.perf_counter() - started
        whole = [unit.to_json() for unit in group_units(shards, "salt")]
        units = group_units(shards, "salt", cut.parts)
        slices = [unit.to_json() for unit in units]
        seconds: dict[tuple[int, int], list[float]] = {}
        expected = decode(config, str(index_dir), whole)
        for _ in range(arguments.repeats):
            for texts, num in ((whole, 1), (slices, 1), (slices, 2)):
                digests, taken_s = in_processes(config, str(index_dir), texts, num)
                if digests != expected:
                    raise SystemExit("slices give other batches than the video in one piece")
                seconds.setdefault((len(texts), num), []).append(taken_s)
    one, serial, parallel = (tuple(values) for values in seconds.values())
    num_lead_in = sum(unit.part.num_lead_in for unit in units if unit.part)
    Report(
        "slices",
        [
            Figure("one piece", "s", one),
            Figure(f"{len(slices)} slices, one process", "s", serial),
            Figure(f"{len(slices)} slices, two processes", "s", parallel),
            Figure("one piece / slices in two processes", "times", ratios(one, parallel)),
        ],
        [
            f"{num_frames} frames of {SIZE[1]}x{SIZE[0]} px, batches compared first",
            f"{num_lead_in} frames decoded once more ({num_lead_in / num_frames:.1%})",
            f"packet index, comparison with the decoder and plan: {index_s:.2f} s",
        ],
    ).publish(is_kept=not arguments.quick)


if __name__ == "__main__":
    main()
