"""Run recipes, keep their results, and write the page from them.

python -m benchmarks.quality [--only NAME,...] [--seeds 0,1] [--ray] [--render]
"""

import argparse
import json
import time
from pathlib import Path

from benchmarks.harness import RESULTS
from benchmarks.quality import missing, region_page
from benchmarks.quality.measure import measure
from benchmarks.quality.page import LEARNT, page
from benchmarks.quality.ranking import RESULT
from benchmarks.quality.ranking_page import section
from benchmarks.quality.recipes import RECIPES, Recipe
from benchmarks.quality.regions import RESULT as REGIONS_RESULT
from benchmarks.quality.results import read, record
from ray_audit.evaluation.detection import ALL_KINDS

_ROOT = Path(__file__).parents[2]


def main() -> None:
    arguments = _arguments()
    chosen = _chosen(arguments.only)
    if not arguments.render:
        for recipe in chosen:
            seeds = arguments.seeds or recipe.seeds
            for seed in [seed for seed in recipe.seeds if seed in seeds]:
                run(recipe, seed, arguments)
    ranking = section(arguments.results / RESULT.name)
    ranking += "\n\n" + region_page.section(arguments.results / REGIONS_RESULT.name)
    ranking += "\n\n" + missing.section(arguments.results / missing.RESULT.name)
    text = page(read(arguments.results), ranking, LEARNT.read_text(encoding="utf-8"))
    arguments.page.write_text(text, encoding="utf-8")
    print(f"page: {arguments.page}")


def run(recipe: Recipe, seed: int, arguments: argparse.Namespace) -> None:
    """Measure one recipe with one seed, and keep the result and the score table."""
    if recipe.needs_data and not (arguments.data / recipe.set).is_dir():
        print(f"{recipe.name}: skipped, {arguments.data / recipe.set} is not there", flush=True)
        return
    started = time.monotonic()
    found = measure(recipe, seed, arguments.data, arguments.work, local=not arguments.ray)
    found.extras["total_s"] = time.monotonic() - started
    folder = arguments.work / recipe.name / f"seed{seed}"
    found.samples.to_parquet(folder / "samples.parquet")
    (folder / "directions.json").write_text(json.dumps(found.directions), encoding="utf-8")
    record(arguments.results, recipe, seed, found)
    best = max((row for row in found.detections if row.kind == ALL_KINDS), key=lambda r: r.auprc)
    print(
        f"{recipe.name} seed {seed}: {best.num_errors} of {best.num_samples} wrong, best score "
        f"{best.score} {best.auroc:.3f}/{best.auprc:.3f}, {found.extras['total_s']:.0f} s",
        flush=True,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.quality", description=__doc__)
    parser.add_argument("--only", default="", help="recipes, or beginnings of their names")
    parser.add_argument("--seeds", type=_integers, default=(), help="some of a recipe's seeds")
    parser.add_argument("--data", type=Path, default=_ROOT.parent / "shared" / "data")
    parser.add_argument("--work", type=Path, default=_ROOT / "benchmarks" / ".quality")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=_ROOT / "docs" / "quality.md")
    parser.add_argument("--ray", action="store_true", help="audit on Ray, not in this process")
    parser.add_argument("--render", action="store_true", help="only write the page")
    return parser.parse_args()


def _integers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


def _chosen(only: str) -> list[Recipe]:
    requested = [name for name in only.split(",") if name] or [""]
    # A whole name means that recipe alone, though others begin with it.
    chosen = [
        recipe
        for name, recipe in RECIPES.items()
        if any(
            name == prefix or (prefix not in RECIPES and name.startswith(prefix))
            for prefix in requested
        )
    ]
    if not chosen:
        raise SystemExit(f"--only {only}: no such recipe; there are {', '.join(RECIPES)}")
    return chosen


if __name__ == "__main__":
    main()
