"""Result files: one JSON a set, each recipe and seed replaced as it is measured anew."""

import json
import math
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.harness import machine
from benchmarks.quality.measure import Found
from benchmarks.quality.recipes import Recipe
from ray_audit.measures.fit import RULE

METRICS = ("auroc", "auprc")


def result_path(results: Path, set_name: str) -> Path:
    """File of a set."""
    return results / f"quality-{set_name}.json"


def record(results: Path, recipe: Recipe, seed: int, found: Found) -> Path:
    """Put one recipe and seed into the file of its set.

    Returns:
        The file.
    """
    path = result_path(results, recipe.set)
    content: dict[str, Any] = {"set": recipe.set, "recipes": {}}
    if path.exists():
        content = json.loads(path.read_text(encoding="utf-8"))
    content |= {"machine": machine(), "date": datetime.now(UTC).strftime("%Y-%m-%d")}
    entry = content["recipes"].setdefault(recipe.name, {"seeds": {}})
    entry |= {"kind": recipe.kind, "protocol": recipe.protocol, "about": recipe.about}
    entry["seeds"][str(seed)] = _one_seed(found)
    entry["summary"] = _summary(entry["seeds"].values())
    results.mkdir(parents=True, exist_ok=True)
    path.write_text(_dumped(content), encoding="utf-8")
    return path


def read(results: Path) -> dict[str, dict[str, Any]]:
    """Entries of all recipes that were ever measured, by name, each with its `set` and `date`."""
    found = {}
    for path in sorted(results.glob("quality-*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        if "recipes" not in content:  # the matrix of the default ranking has cells
            continue
        facts = {name: content[name] for name in ("set", "date", "machine")}
        for name, entry in content["recipes"].items():
            found[name] = entry | facts
    return found


def _dumped(content: dict[str, Any]) -> str:
    """JSON with a line a recipe: thousands of numbers, but a diff can be read."""
    facts = [f"{json.dumps(key)}: {json.dumps(content[key])}" for key in ("set", "date", "machine")]
    recipes = [
        f"{json.dumps(name)}: {json.dumps(entry, sort_keys=True)}"
        for name, entry in sorted(content["recipes"].items())
    ]
    return "\n".join(["{", ",\n".join(facts) + ",", '"recipes": {', ",\n".join(recipes), "}}", ""])


def _one_seed(found: Found) -> dict[str, Any]:
    scores: dict[str, Any] = {}
    for row in found.detections:
        values = {name: _rounded(getattr(row, name)) for name in METRICS}
        by_kind = scores.setdefault(row.score, {"direction": row.direction, "kinds": {}})
        by_kind["kinds"][row.kind] = values | {"num_errors": row.num_errors}
    first = found.detections[0]
    return {
        "num_samples": first.num_samples,
        "num_errors": first.num_errors,
        "rule": RULE,
        "scores": scores,
        "extras": {name: _rounded(value) for name, value in found.extras.items()},
    }


def _summary(seeds: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Mean, smallest and largest over the seeds: score -> kind -> metric."""
    values: dict[str, dict[str, dict[str, list[float]]]] = {}
    for seed in seeds:
        for score, entry in seed["scores"].items():
            for kind, numbers in entry["kinds"].items():
                for metric in METRICS:
                    if numbers[metric] is not None:
                        of_kind = values.setdefault(score, {}).setdefault(kind, {})
                        of_kind.setdefault(metric, []).append(numbers[metric])
    return {
        score: {
            kind: {metric: _spread(numbers) for metric, numbers in metrics.items()}
            for kind, metrics in kinds.items()
        }
        for score, kinds in values.items()
    }


def _spread(values: list[float]) -> dict[str, float]:
    mean = round(math.fsum(values) / len(values), 4)
    return {"mean": mean, "min": min(values), "max": max(values), "num_seeds": len(values)}


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)
