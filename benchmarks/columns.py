"""Score columns against the libraries that people compute them with today.

CSL and AUM from logits, against the accumulator of the `aum` package (Pleiss et al. 2020); soft-min
from probabilities, against cleanlab's. One thread, CPU time, the forms in turn.

    python -m benchmarks.columns [--repeats 5] [--quick]
"""

import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from aum import AUMCalculator
from cleanlab.segmentation.rank import get_label_quality_scores

from benchmarks.harness import Figure, Report, parser, ratios
from ray_audit.probes.likelihood import likelihood
from ray_audit.scores import segmentation
from ray_audit.scores.csl import csl
from ray_audit.scores.dynamics import aum

NUM_SAMPLES, NUM_CLASSES, NUM_CHECKPOINTS, BATCH = 8192, 10, 8, 64
NUM_MASKS, MASK_CLASSES, MASK_SIZE = 24, 12, (240, 320)


def cpu_of(function: Callable[[], Any]) -> tuple[Any, float]:
    """What it gives, and its CPU seconds."""
    started = time.process_time()
    answer = function()
    return answer, time.process_time() - started


def accumulated(logits: torch.Tensor, targets: torch.Tensor) -> np.ndarray:
    """AUM (N,) by the package: logits (E, N, K) batch by batch, as training would give them."""
    names = [f"sample-{i}" for i in range(len(targets))]
    with tempfile.TemporaryDirectory() as folder:
        calculator = AUMCalculator(folder, compressed=True)
        for of_checkpoint in logits:
            for start in range(0, len(targets), BATCH):
                part = slice(start, start + BATCH)
                calculator.update(of_checkpoint[part], targets[part], names[part])
        return np.array([calculator.sums[n] / calculator.counts[n] for n in names])


def ours(logits: torch.Tensor, targets: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """AUM and CSL (N,), with the same batches: the trajectories, then their means."""
    margins, losses = [], []
    for of_checkpoint in logits:
        seen = [
            # The probe may use what it is given as scratch space.
            likelihood(few.clone(), given)
            for few, given in zip(of_checkpoint.split(BATCH), targets.split(BATCH), strict=True)
        ]
        margins.append(torch.cat([columns.observed["margin"] for columns in seen]).numpy())
        losses.append(torch.cat([columns.loss for columns in seen]).numpy())
    return aum(np.stack(margins, axis=1)), csl(np.stack(losses, axis=1))


def trajectory_figures(num_samples: int, repeats: int) -> list[Figure]:
    """CSL and AUM against the package's AUM alone."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(NUM_CHECKPOINTS, num_samples, NUM_CLASSES, generator=generator)
    targets = torch.randint(NUM_CLASSES, (num_samples,), generator=generator)
    theirs, mine = [], []
    for _ in range(repeats):
        expected, seconds = cpu_of(lambda: accumulated(logits, targets))
        theirs.append(1e6 * seconds / num_samples / NUM_CHECKPOINTS)
        (actual, _), seconds = cpu_of(lambda: ours(logits, targets))
        mine.append(1e6 * seconds / num_samples / NUM_CHECKPOINTS)
        if not np.allclose(actual, expected, atol=1e-5):
            raise SystemExit(f"AUM differs from the package's by {np.abs(actual - expected).max()}")
    unit = "us/sample/checkpoint"
    return [
        Figure("AUM by the `aum` package", unit, tuple(theirs)),
        Figure("AUM, CSL and all other columns of a trajectory, ours", unit, tuple(mine)),
        Figure("`aum` / ours", "", ratios(theirs, mine)),
    ]


def softmin_figures(num_masks: int, repeats: int) -> list[Figure]:
    """Soft-min of whole masks from probabilities."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, MASK_CLASSES, (num_masks, *MASK_SIZE))
    logits = rng.normal(size=(num_masks, MASK_CLASSES, *MASK_SIZE)).astype(np.float32)
    p = np.exp(logits)
    p /= p.sum(axis=1, keepdims=True)
    theirs, mine = [], []

    def scored() -> np.ndarray:
        pairs = zip(p, labels, strict=True)
        return np.array(
            [segmentation.softmin(segmentation.label_probability(*pair)) for pair in pairs]
        )

    for _ in range(repeats):
        (expected, _), seconds = cpu_of(lambda: get_label_quality_scores(labels, p, verbose=False))
        theirs.append(1e9 * seconds / labels.size)
        actual, seconds = cpu_of(scored)
        mine.append(1e9 * seconds / labels.size)
        if not np.allclose(actual, expected, atol=1e-4):
            raise SystemExit(f"soft-min differs by {np.abs(actual - expected).max()}")
    return [
        Figure("soft-min by cleanlab", "ns/px", tuple(theirs)),
        Figure("soft-min, ours", "ns/px", tuple(mine)),
        Figure("cleanlab / ours", "", ratios(theirs, mine)),
    ]


def main() -> None:
    """Run and publish."""
    chosen = parser(__doc__).parse_args()
    torch.set_num_threads(1)
    num_samples, num_masks = (512, 2) if chosen.quick else (NUM_SAMPLES, NUM_MASKS)
    figures = trajectory_figures(num_samples, chosen.repeats)
    figures += softmin_figures(num_masks, chosen.repeats)
    notes = [
        f"trajectories: {num_samples} samples, {NUM_CLASSES} classes, {NUM_CHECKPOINTS} "
        f"checkpoints, batches of {BATCH}",
        f"soft-min: {num_masks} masks of {MASK_SIZE[1]}x{MASK_SIZE[0]} px, {MASK_CLASSES} classes",
        "answers compared",
    ]
    Report("columns", figures, notes).publish(is_kept=not chosen.quick)


if __name__ == "__main__":
    main()
