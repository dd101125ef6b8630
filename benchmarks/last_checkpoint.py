"""What the scores of masks cost beside a forward pass: at each checkpoint, and at the last.

The U-Net of the other benchmarks, one thread, CPU time; the logits are those of a model that errs
in a tenth of the blocks of a mask, which is what regions are found in.

    python -m benchmarks.last_checkpoint [--repeats 5] [--quick]
"""

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from benchmarks.bare import as_input, load_models
from benchmarks.harness import Figure, Report, parser, ratios
from benchmarks.sets import WORKLOADS, make_data
from ray_audit.config import AuditConfig
from ray_audit.probes import areas, dense, dense_final, disagreement, likelihood, regions
from ray_audit.probes.masks import Maps, Masks
from ray_audit.samples import SAMPLE_SCHEMA, Batch
from ray_audit.task import Task

_NUM_MASKS = 2  # as many as the probe takes at once
_BLOCKS = (8, 10)
_WRONG_SHARE = 0.1
_CALLS = 9  # of which the median counts
_DENSE = next(task for task in Task if task.is_dense)
_ASKED = ("soft-min", "confident learning (`cil`)", "boundary maps", "regions")


def labelled(size: tuple[int, int], num_classes: int) -> tuple[Batch, Tensor]:
    """Masks of blocks with noise as images, and logits (N, K, H, W) of a model of those labels."""
    rng = np.random.default_rng(0)
    steps = (size[0] // _BLOCKS[0], size[1] // _BLOCKS[1])

    def blown_up(values: np.ndarray) -> np.ndarray:
        return values.repeat(steps[0], axis=1).repeat(steps[1], axis=2)

    labels = blown_up(rng.integers(0, num_classes, (_NUM_MASKS, *_BLOCKS)))
    errs = blown_up(rng.random((_NUM_MASKS, *_BLOCKS)) < _WRONG_SHARE)
    predicted = torch.from_numpy(np.where(errs, (labels + 1) % num_classes, labels))
    logits = 6.0 * F.one_hot(predicted, num_classes).permute(0, 3, 1, 2).float()
    logits += torch.randn(logits.shape, generator=torch.Generator().manual_seed(0))
    num_px = labels[0].size
    rows = [
        {"sample_id": str(n), "shard": "a", "cut": n, "position": 0}
        | {"num_labelled": num_px, "sample_num_labelled": num_px}
        for n in range(_NUM_MASKS)
    ]
    arrays = {
        "inputs": rng.integers(0, 256, (_NUM_MASKS, 3, *size), np.uint8),
        "targets": labels.astype(np.int16),
    }
    samples = pa.Table.from_pylist(rows, schema=SAMPLE_SCHEMA)
    return Batch("unit", 0, _DENSE, samples, arrays), logits.contiguous()


def parts(batch: Batch, logits: Tensor, config: AuditConfig) -> dict[str, Callable[[], object]]:
    """What the last checkpoint of masks is asked for beyond what each is."""
    masks = Masks.of(batch, logits.device)
    p_NKHW = torch.softmax(logits, dim=1)
    seen = likelihood.likelihood(logits.clone(), masks.labels.clamp_min(0))

    def maps() -> Maps:
        return Maps.of(batch, slice(0, _NUM_MASKS), masks.voids, logits.device)

    known, temperature = maps(), config.softmin.temperature
    wrong = disagreement.disagreeing(seen, masks, known)
    shape = masks.labels.shape
    return {
        "soft-min": lambda: dense_final._softmin_state(seen.p_label, masks.counted, temperature),
        "confident learning (`cil`)": lambda: dense_final._confident_state(
            masks, seen, wrong, p_NKHW.shape[1]
        ),
        "boundary maps": maps,
        "regions": lambda: regions.region_states(
            disagreement.disagreeing(seen, masks, known), masks, known
        ),
        "areas": lambda: areas.area_states(wrong, known, shape),
        "thresholds (`tccp`)": lambda: dense_final._threshold_agreement(p_NKHW, masks),
        "components (`cocomp`)": lambda: dense_final._component_sums(seen.p_label, masks, known),
        "IoU of classes": lambda: dense_final._class_counts(seen.predicted, masks, p_NKHW.shape[1]),
    }


def cpu_ms(work: Callable[[], object]) -> float:
    """Milliseconds of CPU for a mask, the median of some calls."""
    took = []
    for _ in range(_CALLS):
        started = time.process_time()
        work()
        took.append(time.process_time() - started)
    return 1e3 * median(took) / _NUM_MASKS


@torch.inference_mode()
def figures(repeats: int) -> list[Figure]:
    """The forward pass, the probes and their parts, in turns."""
    work = WORKLOADS["masks"]
    with tempfile.TemporaryDirectory() as name:
        config = make_data(work, Path(name))
        (model,) = load_models(config, 1)
    batch, logits = labelled(work.size, work.num_classes)
    inputs = as_input(torch.from_numpy(batch.arrays["inputs"]))
    masks, temperature = Masks.of(batch, logits.device), config.softmin.temperature
    of_last = parts(batch, logits, config)
    works: Mapping[str, Callable[[], object]] = {
        "forward pass": lambda: model(inputs),
        "probe of each checkpoint": lambda: dense.observe_pixels(
            logits.clone(), masks, batch, None
        ),
        "probe of the last checkpoint": lambda: dense.observe_pixels(
            logits.clone(), masks, batch, temperature
        ),
        **{f"of the last: {part}": work for part, work in of_last.items()},
    }
    found: dict[str, list[float]] = {what: [] for what in works}
    for _ in range(repeats):
        for what, work_of in works.items():
            found[what].append(cpu_ms(work_of))
    made = [Figure(what, "ms/mask", tuple(values)) for what, values in found.items()]
    asked = np.sum([found[f"of the last: {part}"] for part in _ASKED], axis=0).tolist()
    forward = found["forward pass"]
    made.append(
        Figure(
            "probe of each checkpoint / forward pass",
            "",
            ratios(found["probe of each checkpoint"], forward),
        )
    )
    made.append(Figure(f"{', '.join(_ASKED)} / forward pass", "", ratios(asked, forward)))
    return made


def main() -> None:
    """Run and publish."""
    chosen = parser(__doc__).parse_args()
    torch.set_num_threads(1)
    work = WORKLOADS["masks"]
    notes = [
        f"masks of {work.size[1]}x{work.size[0]} px, {work.num_classes} classes, "
        f"{_WRONG_SHARE:.0%} of their blocks predicted as another class; CPU time of one thread",
    ]
    Report("last_checkpoint", figures(chosen.repeats), notes).publish(is_kept=not chosen.quick)


if __name__ == "__main__":
    main()
