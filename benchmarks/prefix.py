"""What it saves to run a frozen backbone once for all checkpoints of an actor.

Six checkpoints of one convolutional model whose first layers, with nine tenths of the operations,
are the same: probed together, and each by itself. CPU time, because the machine may be shared.

    python -m benchmarks.prefix [--repeats 5] [--quick]
"""

import copy
import time

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from benchmarks.harness import Figure, Report, parser, ratios
from ray_audit.config import InputConfig
from ray_audit.probes.prober import Prober, ProbeSettings, ProbeTurn
from ray_audit.samples import SAMPLE_SCHEMA, Batch
from ray_audit.task import Task

NUM_CHECKPOINTS = 6
NUM_CLASSES = 10
NUM_IMAGES, SIDE_PX, WIDTH = 16, 48, 32
NUM_BACKBONE, NUM_HEAD = 9, 1  # convolutions of equal cost


def checkpoints() -> list[nn.Sequential]:
    """Models that differ in what follows the backbone."""
    torch.manual_seed(0)
    first = nn.Conv2d(3, WIDTH, 1)
    blocks = [
        layer
        for _ in range(NUM_BACKBONE + NUM_HEAD)
        for layer in (nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False), nn.ReLU())
    ]
    end = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTH, NUM_CLASSES))
    model = nn.Sequential(first, *blocks, *end).eval().requires_grad_(False)
    models = [copy.deepcopy(model) for _ in range(NUM_CHECKPOINTS)]
    for copied in models:
        for layer in list(copied)[1 + 2 * NUM_BACKBONE :]:
            for parameter in layer.parameters():
                nn.init.normal_(parameter, std=0.1)
    return models


def make_batch() -> Batch:
    """Images of noise with labels."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, NUM_CLASSES, NUM_IMAGES)
    columns = {
        "sample_id": [f"s{i}" for i in range(NUM_IMAGES)],
        "shard": ["noise"] * NUM_IMAGES,
        "frame_index": [None] * NUM_IMAGES,
        "pts_s": [None] * NUM_IMAGES,
        "label": labels.tolist(),
        "cut": list(range(NUM_IMAGES)),
        "position": [0] * NUM_IMAGES,
        "num_labelled": [1] * NUM_IMAGES,
        "sample_num_labelled": [1] * NUM_IMAGES,
    }
    inputs = rng.integers(0, 256, (NUM_IMAGES, 3, SIDE_PX, SIDE_PX), np.uint8)
    arrays = {"inputs": inputs, "targets": labels.astype(np.int8)}
    return Batch("unit", 0, Task.CLASS, pa.table(columns, schema=SAMPLE_SCHEMA), arrays)


def probed(probers: list[Prober], batch: Batch, with_vog: bool) -> tuple[dict, float]:
    """What the batch carries in the end, and the CPU seconds that it took."""
    started = time.process_time()
    per_prober = NUM_CHECKPOINTS // len(probers)
    for prober in probers:
        turns = {i: ProbeTurn(is_final=False, in_window=with_vog) for i in range(per_prober)}
        batch = batch.with_arrays(prober.observe(batch, turns))
    return batch.arrays, time.process_time() - started


def measure(with_vog: bool, repeats: int) -> list[Figure]:
    """Both ways in turn, answers compared first."""
    models, batch = checkpoints(), make_batch()
    settings = ProbeSettings(NUM_CLASSES, InputConfig(), None, "loss", 0.1, "float32")
    device = torch.device("cpu")
    together = [Prober(models, settings, device)]
    alone = [Prober([model], settings, device) for model in models]
    shared, expected = (probed(probers, batch, with_vog)[0] for probers in (together, alone))
    for name in expected.keys() - {"trajectory/probe_s"}:
        if not np.array_equal(shared[name], expected[name]):
            raise SystemExit(f"{name} differs")
    seconds: dict[str, list[float]] = {"alone": [], "together": []}
    for _ in range(repeats):
        seconds["alone"].append(probed(alone, batch, with_vog)[1])
        seconds["together"].append(probed(together, batch, with_vog)[1])
    what = "with VoG" if with_vog else "losses only"
    gain = ratios(seconds["alone"], seconds["together"])
    return [
        Figure(f"{what}: each checkpoint alone", "s", tuple(seconds["alone"])),
        Figure(f"{what}: shared layers once", "s", tuple(seconds["together"])),
        Figure(f"{what}: alone / shared", "times", gain),
    ]


def main() -> None:
    """Run and publish."""
    chosen = parser(__doc__).parse_args()
    repeats = chosen.repeats
    torch.set_num_threads(1)
    figures = [figure for with_vog in (False, True) for figure in measure(with_vog, repeats)]
    share = NUM_BACKBONE / (NUM_BACKBONE + NUM_HEAD)
    notes = [
        f"{NUM_CHECKPOINTS} checkpoints, {NUM_IMAGES} images of {SIDE_PX} px, {share:.0%} of the "
        "convolutions shared",
        "answers checked: every array equal to the last bit",
        f"the most to be had: {1 / (share / NUM_CHECKPOINTS + 1 - share):.1f} times; with VoG the "
        "way back is each checkpoint's own",
    ]
    Report("prefix", figures, notes).publish(is_kept=not chosen.quick)


if __name__ == "__main__":
    main()
