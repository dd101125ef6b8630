"""What adaptive audits lose: AUROC and AUPRC of `suspicion` against the passes that they make.

Models are trained, and everything is audited by the engine itself: fully, and with each budget.
Sets with known errors, from the quality benchmark, whose trainings are used where they are there.

    python -m benchmarks.adaptive [--quick] [--only NAME,...] [--seeds 0,1]
"""

import argparse
import shutil
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.harness import Figure, Report
from benchmarks.quality.case import Case, Part, Training
from benchmarks.quality.classes import cifar_case
from benchmarks.quality.measure import train
from benchmarks.quality.recipes import RECIPES, Recipe
from ray_audit.config import AuditConfig
from ray_audit.engine.run.audit import run_audit
from ray_audit.evaluation.detection import ALL_KINDS, evaluate_scores

_ROOT = Path(__file__).parents[1]
BUDGETS = (0.25, 0.5, 0.75)
FULL = 1.0
SETS = ("cifar10n-C1", "golf_poses-tcn-training", "camvid-A1", "phantoms-20-training")
_QUICK_CIFAR = replace(
    RECIPES["cifar10n-C2"],
    name="cifar10n-quick",
    make=partial(cifar_case, num_rows=3000),
    training=Training(12, 3e-3, 64, is_flipped=True),
)
QUICK = (_QUICK_CIFAR, RECIPES["golf_poses-tcn-training"], RECIPES["phantoms-20-training"])


@dataclass(frozen=True)
class Point:
    """One audit: what it cost, and how well it found the errors."""

    passes_fraction: float
    auroc: float
    auprc: float


def audited(
    recipe: Recipe, case: Case, part: Part, checkpoints: list[Path], budget: float
) -> pd.DataFrame:
    """Score table of one part."""
    output = checkpoints[0].parents[1] / f"adaptive-{budget}"
    shutil.rmtree(output, ignore_errors=True)
    values: dict[str, Any] = {
        "name": f"adaptive-{recipe.name}",
        "dataset": case.dataset | {"uri": part.uri},
        "model": case.model,
        "checkpoints": [str(path) for path in checkpoints],
        "protocol": recipe.protocol,
        "scores": ["csl", "softmin"],
        "output": str(output),
    }
    if budget < FULL:
        values["adaptive"] = {"budget": budget}
    outcome = run_audit(AuditConfig.parse(values), local=True, logical_date="2000-01-01")
    columns = ["sample_id", "suspicion", "num_checkpoints"]
    table: pd.DataFrame = outcome.manifest.table(outcome.run_uri, "scores", columns).to_pandas()
    shutil.rmtree(output)
    return table


def point(scores: pd.DataFrame, case: Case, num_checkpoints: int) -> Point:
    """Hold suspicion against the truth."""
    joined = scores.merge(case.truth.to_pandas(), on="sample_id", how="left", validate="1:1")
    found = evaluate_scores(
        {"suspicion": joined["suspicion"].to_numpy(np.float64)},
        {"suspicion": "higher"},
        joined["is_error"].to_numpy(bool),
        joined["kind"].fillna("").to_numpy(),
    )
    (row,) = (item for item in found if item.kind == ALL_KINDS)
    passes = float(scores["num_checkpoints"].mean()) / num_checkpoints
    return Point(passes, row.auroc, row.auprc)


def measure(recipe: Recipe, seed: int, data: Path, work: Path) -> dict[float, Point]:
    """The full audit and one with each budget."""
    folder = (work / recipe.name / f"seed{seed}").resolve()
    case = recipe.make(data, folder, seed)
    trained = [
        (part, train(case, part, recipe.training, folder / part.name, seed)) for part in case.parts
    ]
    points = {}
    for budget in (FULL, *BUDGETS):
        tables = [audited(recipe, case, part, paths, budget) for part, paths in trained]
        points[budget] = point(pd.concat(tables, ignore_index=True), case, len(trained[0][1]))
        print(f"{recipe.name} seed {seed}, budget {budget}: {points[budget]}", flush=True)
    return points


def figures(recipe: Recipe, runs: list[dict[float, Point]]) -> list[Figure]:
    """Full AUROC and AUPRC, and with each budget the passes and what is lost; one value a seed."""
    full = [run[FULL] for run in runs]
    found = [
        Figure(f"{recipe.name}, all passes: AUROC", "", tuple(part.auroc for part in full)),
        Figure(f"{recipe.name}, all passes: AUPRC", "", tuple(part.auprc for part in full)),
    ]
    for budget in BUDGETS:
        made = [run[budget] for run in runs]
        what = f"{recipe.name}, budget {budget:g}"
        pairs = list(zip(full, made, strict=True))
        found += [
            Figure(f"{what}: passes", "of all", tuple(part.passes_fraction for part in made)),
            Figure(f"{what}: AUROC lost", "", tuple(a.auroc - b.auroc for a, b in pairs)),
            Figure(f"{what}: AUPRC lost", "", tuple(a.auprc - b.auprc for a, b in pairs)),
        ]
    return found


def main() -> None:
    """Run and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small trainings, one seed")
    parser.add_argument("--only", default="", help="some of the sets")
    parser.add_argument("--seeds", default="")
    parser.add_argument("--data", type=Path, default=_ROOT.parent / "shared" / "data")
    parser.add_argument("--work", type=Path, default=_ROOT / "benchmarks" / ".quality")
    arguments = parser.parse_args()
    recipes = QUICK if arguments.quick else tuple(RECIPES[name] for name in SETS)
    recipes = tuple(r for r in recipes if not arguments.only or r.name in arguments.only.split(","))
    torch.set_num_threads(1)
    rows = []
    for recipe in recipes:
        seeds = [int(seed) for seed in arguments.seeds.split(",") if seed] or (
            [0] if arguments.quick else list(recipe.seeds[:2])
        )
        runs = [measure(recipe, seed, arguments.data, arguments.work) for seed in seeds]
        rows += figures(recipe, runs)
    notes = [
        "audits of the engine, not simulations; `first` is 0.25; negative is better than the full",
        "target: half of the passes for at most 0.005 AUROC",
    ]
    Report("adaptive", rows, notes).publish()


if __name__ == "__main__":
    main()
