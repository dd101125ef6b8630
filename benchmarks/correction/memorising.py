"""What correction gains where a network memorises: small slices, forty epochs, three seeds.

    python -m benchmarks.correction.memorising [--seeds 0,1,2]

Plain training learns the outlines within ten epochs and then fits the errors of the masks. Held
out are 60 slices with right masks. `end` is the mean of the last three epochs that are evaluated,
every other one; `best` the best epoch that these held-out masks themselves could have picked.
Writes `results/memorising.json` and its part of docs/correction-quality.md.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import mean

import numpy as np
import torch
from torch.nn import functional

from benchmarks.correction.slices import NUM_CLASSES, Kind, corrupt_slices, make_slices
from benchmarks.harness import RESULTS, machine
from ray_audit.config.training import TrainingConfig
from ray_audit.training.consistency import MultiScale, logits_at_scales, multi_scale_loss
from ray_audit.training.corrected import EarlyLearningCorrection, RefurbishFlagged
from ray_audit.training.loop import learning_rate
from ray_audit.training.models import unet

NUM_SLICES, NUM_HELD_OUT, BATCH = 80, 60, 4
_EVERY, _NUM_LAST = 2, 3
_HELD_OUT_SEED = 999
_FIRST_LOSS = 4  # as `ray-audit train` has it: four tenths of a quarter of the epochs
RESULT = RESULTS / "memorising.json"

Corrector = EarlyLearningCorrection | RefurbishFlagged


@dataclass(frozen=True)
class Method:
    """A way to train.

    Attributes:
        make: the corrector, or None for the labels as they stand.
        consistency: weight of ADELE's loss over scales; 0 is plain cross-entropy.
        num_epochs: how long.
        one_cycle_rate: the largest rate of one cycle of it; None for a constant 2e-3.
    """

    make: Callable[[], Corrector] | None = None
    consistency: float = 0.0
    num_epochs: int = 40
    one_cycle_rate: float | None = None


METHODS = {
    "given": Method(),
    "adele": Method(lambda: EarlyLearningCorrection(NUM_CLASSES), 1.0),
    "adele_labels": Method(lambda: EarlyLearningCorrection(NUM_CLASSES)),
    "given_12": Method(num_epochs=12, one_cycle_rate=5e-3),
    "adele_12": Method(lambda: EarlyLearningCorrection(NUM_CLASSES), 1.0, 12, 5e-3),
    "refurbish": Method(lambda: RefurbishFlagged(NUM_CLASSES, confidence=0.6, background=0)),
}
RUNS: tuple[tuple[Kind, float, str], ...] = (
    ("signed", 1.0, "given"),
    ("signed", 1.0, "adele"),
    ("signed", 1.0, "adele_labels"),
    ("signed", 1.0, "given_12"),
    ("signed", 1.0, "adele_12"),
    ("under", 0.3, "given"),
    ("under", 0.3, "refurbish"),
    ("under", 0.0, "refurbish"),
    *(
        (kind, share, name)
        for kind, share in (
            ("under", 0.1),
            ("under", 0.5),
            ("under", 0.8),
            ("over", 0.3),
            ("other", 0.3),
        )
        for name in ("given", "refurbish")
    ),
)


def measure(kind: Kind, share: float, name: str, seed: int) -> dict[str, float]:
    """Train once; held-out mIoU and what became of the labels."""
    method, slices = METHODS[name], make_slices(NUM_SLICES, seed)
    given = corrupt_slices(slices.masks, kind, share, seed)
    held_out = make_slices(NUM_HELD_OUT, _HELD_OUT_SEED)
    torch.manual_seed(seed)
    model = unet(NUM_CLASSES, in_channels=1, width=8, depth=2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    images, labels = torch.from_numpy(slices.images)[:, None], torch.from_numpy(given).long()
    corrector = method.make() if method.make else None
    rng, losses, scores = np.random.default_rng(seed), {}, {}
    for epoch in range(1, method.num_epochs + 1):
        model.train()
        for group in optimizer.param_groups:
            group["lr"] = _rate(method, epoch)
        order = rng.permutation(NUM_SLICES)
        for start in range(0, NUM_SLICES, BATCH):
            rows = order[start : start + BATCH]
            each = step(model, optimizer, images[rows], labels[rows], rows, method, corrector)
            for row, loss in zip(rows, each if epoch >= _FIRST_LOSS else [], strict=False):
                losses.setdefault(str(row), []).append(loss)
        if isinstance(corrector, RefurbishFlagged):
            corrector.end_epoch({key: mean(values) for key, values in losses.items()})
        elif corrector is not None:
            corrector.end_epoch()
        if epoch % _EVERY == 0:
            scores[epoch] = miou(held_out.masks, seen(model, held_out.images))
    wrong = given != slices.masks
    names = [str(row) for row in range(NUM_SLICES)]
    after = given if corrector is None else corrector.labels(names, labels).numpy()
    fitted = seen(model, slices.images) == given
    return {
        "end": mean(list(scores.values())[-_NUM_LAST:]),
        "best": max(scores.values()),
        "best_epoch": max(scores, key=scores.__getitem__),
        "labels_before": miou(slices.masks, given),
        "labels_after": miou(slices.masks, after),
        "fitted": float(fitted[wrong].mean()) if wrong.any() else float("nan"),
        "num_flagged": float(len(corrector._due)) if name == "refurbish" else 0.0,
    }


def _rate(method: Method, epoch: int) -> float:
    """Learning rate of an epoch, as `ray-audit train` has it."""
    if method.one_cycle_rate is None:
        return 2e-3
    return learning_rate(
        TrainingConfig(epochs=method.num_epochs, learning_rate=method.one_cycle_rate), epoch
    )


def step(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    images: torch.Tensor,
    given: torch.Tensor,
    rows: np.ndarray,
    method: Method,
    corrector: Corrector | None,
) -> list[float]:
    """One step, and what the corrector is told of it; each slice's loss on its given mask."""
    names = [str(row) for row in rows]
    labels = given if corrector is None else corrector.labels(names, given)
    if method.consistency:
        scales = MultiScale(weight=method.consistency)
        answers = logits_at_scales(model, images, scales.scales)
        loss, logits = multi_scale_loss(answers, labels, scales), scales.fitted(answers)
    else:
        logits = model(images)
        loss = functional.cross_entropy(logits, labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if corrector is not None:
        corrector.observe(names, labels, logits.detach())
    each = functional.cross_entropy(logits.detach(), given, reduction="none").mean((1, 2))
    return [float(value) for value in each]


def seen(model: torch.nn.Module, images: np.ndarray) -> np.ndarray:
    """(N, H, W) predicted classes."""
    model.eval()
    with torch.inference_mode():
        answers = model(torch.from_numpy(images)[:, None])
    return answers.argmax(dim=1).numpy()


def miou(true: np.ndarray, other: np.ndarray) -> float:
    """Mean IoU over the classes."""
    pairs = true.astype(np.int64) * NUM_CLASSES + other
    counts = np.bincount(pairs.ravel(), minlength=NUM_CLASSES**2).reshape(NUM_CLASSES, -1)
    both = np.diag(counts)
    return float(np.mean(both / (counts.sum(axis=0) + counts.sum(axis=1) - both)))


def main() -> None:
    """Measure what is missing, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0,1,2")
    torch.set_num_threads(1)
    content = json.loads(RESULT.read_text()) if RESULT.exists() else {"runs": {}}
    for seed in map(int, parser.parse_args().seeds.split(",")):
        for kind, share, name in RUNS:
            key = f"{kind}/{share:g}/{name}/{seed}"
            if key in content["runs"]:
                continue
            started = time.process_time()
            found = measure(kind, share, name, seed) | {"cpu_s": time.process_time() - started}
            content["runs"][key] = {k: round(v, 4) if v == v else None for k, v in found.items()}
            content |= {"date": datetime.now(UTC).strftime("%Y-%m-%d"), "machine": machine()}
            RESULT.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            print(key, content["runs"][key], flush=True)


if __name__ == "__main__":
    main()
