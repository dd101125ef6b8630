"""Areas and findings of masks held to what others propose, on the same predictions.

    python -m benchmarks.quality.regions [--only camvid,...] [--seeds 10,11] [--render]

What each run gives is kept in the work folder. The score of areas was chosen on the seeds
`CHOOSING` of `region_sets.py`; what is written and shown are the seeds `REPORTING`.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from benchmarks.harness import RESULTS, machine
from benchmarks.quality.case import Case, Part
from benchmarks.quality.command import parsed
from benchmarks.quality.measure import audited_run, model_at, train
from benchmarks.quality.region_rivals import SeenMasks, proposals
from benchmarks.quality.region_sets import CHOOSING, PROTOCOLS, REPORTING, SETS, RegionSet, recipe
from ray_audit.evaluation.detection import ALL_KINDS
from ray_audit.evaluation.region_detection import (
    PlantedRegion,
    RegionDetection,
    evaluate_regions,
    planted_of,
    proposals_of,
)
from ray_audit.training.noise import REGION_SCHEMA, region_rows

RESULT = RESULTS / "quality-regions.json"
OURS = ("areas", "findings")
_ROOT = Path(__file__).parents[2]
_COLUMNS = ["sample_id", "suspicion", "mask_rle", "mask_size_px"]
_BATCH = 32


def keep(region_set: RegionSet, protocol: str, seed: int, data: Path, work: Path) -> None:
    """Measure one run, unless it is kept."""
    made = recipe(region_set, protocol)
    folder = (work / made.name / f"seed{seed}").resolve()
    if (folder / "regions.json").exists() or (region_set.needs_data and not data.is_dir()):
        return
    started = time.monotonic()
    case = made.make(data, folder, seed)
    (part,) = case.parts
    checkpoints = train(case, part, made.training, folder / part.name, seed)
    checkpoints = checkpoints[::-1][:: made.every][::-1]
    outcome = audited_run(made, case, part, checkpoints)
    proposed = {
        name: proposals_of(outcome.manifest.table(outcome.run_uri, name, _COLUMNS)) for name in OURS
    }
    proposed |= proposals(_seen(case, part, checkpoints[-1]))
    planted = _planted(case, part)
    rows = {name: evaluate_regions(found, planted) for name, found in proposed.items()}
    content = {name: [_plain(row) for row in found] for name, found in rows.items()}
    (folder / "regions.json").write_text(json.dumps(content), encoding="utf-8")
    print(f"{made.name} seed {seed}: {time.monotonic() - started:.0f} s", flush=True)


@torch.inference_mode()
def _seen(case: Case, part: Part, checkpoint: Path) -> SeenMasks:
    model, positions = model_at(case, checkpoint), part.audited.tolist()
    inputs = torch.stack([case.inputs[i] for i in positions])
    p = torch.cat([model(few).softmax(dim=1) for few in inputs.split(_BATCH)])
    given = torch.stack([case.targets[i] for i in positions])
    return SeenMasks([case.keys[i] for i in positions], p.numpy(), given.numpy())


def _planted(case: Case, part: Part) -> list[PlantedRegion]:
    """Components of the pixels that differ from the right masks."""
    assert case.true_masks is not None
    kinds = {row["sample_id"]: row["kind"] for row in case.truth.to_pylist()}
    rows = [
        row
        for i in part.audited.tolist()
        if kinds[case.keys[i]]
        for row in region_rows(
            case.keys[i], kinds[case.keys[i]], case.targets[i].numpy() != case.true_masks[i]
        )
    ]
    return planted_of(pa.Table.from_pylist(rows, schema=REGION_SCHEMA))


def _plain(row: RegionDetection) -> dict[str, Any]:
    values = asdict(row)
    return {
        name: round(value, 4) if isinstance(value, float) else value
        for name, value in values.items()
    }


def cells(work: Path, seeds: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    """What is kept of each set and protocol, mean over its seeds."""
    for region_set in SETS.values():
        for protocol in PROTOCOLS:
            made = recipe(region_set, protocol)
            files = [work / made.name / f"seed{seed}" / "regions.json" for seed in seeds]
            found = [json.loads(file.read_text("utf-8")) for file in files if file.exists()]
            if found:
                facts = {"set": region_set.name, "about": region_set.about, "protocol": protocol}
                yield facts | {"num_seeds": len(found), "rows": _means(found)}


def _means(found: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Name -> kind or size -> metric; a kind that a seed lacks is the mean over the others."""
    values: dict[str, dict[str, dict[str, list[float]]]] = {}
    for seed in found:
        for name, rows in seed.items():
            for row in rows:
                group = row["kind"] if row["size"] == ALL_KINDS else row["size"]
                metrics = values.setdefault(name, {}).setdefault(group, {})
                for metric in ("average_precision", "precision", "recall", "f1", "num_errors"):
                    metrics.setdefault(metric, []).append(row[metric])
    return {
        name: {
            group: {metric: round(float(np.mean(each)), 4) for metric, each in metrics.items()}
            for group, metrics in groups.items()
        }
        for name, groups in values.items()
    }


def main() -> None:
    """Measure what is not kept, and write the result."""
    options = parsed("benchmarks.quality.regions", __doc__, SETS, REPORTING)
    seeds = options.seeds
    for seed in [] if options.render else seeds:
        for name in options.only:
            for protocol in PROTOCOLS:
                keep(SETS[name], protocol, seed, options.data, options.work)
    shown = tuple(seed for seed in seeds if seed not in CHOOSING)
    content = {"machine": machine(), "chosen_on": CHOOSING, "seeds": shown}
    content["cells"] = list(cells(options.work, shown))
    RESULT.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
