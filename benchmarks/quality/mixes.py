"""Which fixed combination of ranks is the best default ranking: candidates over all tables.

A candidate is judged by its mean AUPRC over the recipes of a kind of labels, and by how far it
falls below the best single column of each: what the best column is, nobody knows beforehand.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score

from benchmarks.quality.recipes import CLASSES, DENSE, RECIPES, SEQUENCES
from benchmarks.quality.rivals import PREFIX
from ray_audit.scores.ranking import combine_ranks

SIGNS = {
    DENSE: {
        "csl": 1,
        "late_loss": 1,
        "final_loss": 1,
        "softmin": -1,
        "softmin_interior": -1,
        "clc": -1,
        "cil": -1,
        "iou": -1,
        "el2n": 1,
    },
    CLASSES: {
        "csl": 1,
        "early_loss": 1,
        "late_loss": 1,
        "final_loss": 1,
        "prob_margin": -1,
        "confidence": -1,
        "aum": -1,
        "el2n": 1,
    },
    SEQUENCES: {
        "csl_segment": 1,
        "order_nll": 1,
        "csl": 1,
        "late_loss": 1,
        "final_loss": 1,
        "aum": -1,
    },
}
"""Columns that candidates are made of, with +1 where high is suspicious."""

SHIPPED = {
    DENSE: ("softmin_interior",) * 2 + ("late_loss",),
    CLASSES: ("early_loss", "prob_margin"),
    SEQUENCES: ("csl_segment", *("order_nll",) * 6),
}
"""What `suspicion` combines (of a strict order), a column as often as it weighs; held to the engine
by a test."""

_LARGEST = 3
_NOT_COLUMNS = ("suspicion",)
FILE = "quality_mixes.json"


@dataclass(frozen=True)
class Mix:
    """A candidate over the recipes of one kind.

    Attributes:
        columns: whose ranks are combined.
        mean_auprc: over the recipes.
        shortfall: largest distance below a recipe's best single column.
        worst: the recipe where that is.
        by_recipe: AUPRC of each recipe, mean over its seeds.
    """

    columns: tuple[str, ...]
    mean_auprc: float
    shortfall: float
    worst: str
    by_recipe: dict[str, float]


@dataclass(frozen=True)
class Study:
    """All candidates of one kind, best mean first.

    Attributes:
        kind: of labels.
        best_column: the best single column held fixed, of all that the tables have.
        best_by_recipe: the best single column of each recipe with its AUPRC.
        mixes: the candidates.
    """

    kind: str
    best_column: tuple[str, float]
    best_by_recipe: dict[str, tuple[str, float]]
    mixes: list[Mix]


def study(kind: str, tables: Mapping[str, list[pd.DataFrame]]) -> Study:
    """Try all combinations of up to three ranks.

    Args:
        kind: of labels, a key of `SIGNS`.
        tables: recipe -> one sample table a seed, as `measure` gives them: each oriented column
            as higher = suspicious (see `oriented`).
    """
    shared = set.intersection(*(set(t.columns) for group in tables.values() for t in group))
    columns = sorted(shared - {"sample_id", "is_error", "kind", *_NOT_COLUMNS})
    single = {name: _auprc(tables, (name,)) for name in columns if not name.startswith(PREFIX)}
    best_fixed = max(single, key=lambda name: _mean(single[name]))
    best = {}
    for recipe in tables:
        name = max(single, key=lambda name: single[name][recipe])
        best[recipe] = (name, single[name][recipe])
    known = [name for name in SIGNS[kind] if name in shared]
    candidates = [c for size in range(1, _LARGEST + 1) for c in combinations(known, size)]
    if SHIPPED[kind] not in candidates and set(SHIPPED[kind]) <= shared:
        candidates.append(SHIPPED[kind])
    mixes = []
    for chosen in candidates:
        found = _auprc(tables, chosen)
        below = {recipe: best[recipe][1] - found[recipe] for recipe in tables}
        worst = max(below, key=lambda recipe: below[recipe])
        mixes.append(Mix(chosen, _mean(found), below[worst], worst, found))
    mixes.sort(key=lambda mix: -mix.mean_auprc)
    return Study(kind, (best_fixed, _mean(single[best_fixed])), best, mixes)


def _mean(by_recipe: Mapping[str, float]) -> float:
    return float(np.mean(list(by_recipe.values())))


def _auprc(tables: Mapping[str, list[pd.DataFrame]], columns: Iterable[str]) -> dict[str, float]:
    """AUPRC of combined ranks in each recipe, mean over its seeds."""
    names = list(columns)
    found = {}
    for recipe, seeds in tables.items():
        values = [
            average_precision_score(
                table["is_error"], combine_ranks(np.stack([table[n] for n in names]))
            )
            for table in seeds
        ]
        found[recipe] = float(np.mean(values))
    return found


def oriented(samples: pd.DataFrame, directions: Mapping[str, str]) -> pd.DataFrame:
    """The table with each score as a rank, 0 to 1, higher = suspicious; null counts as middle."""
    ranked = samples[["sample_id", "is_error", "kind"]].copy()
    for name, direction in directions.items():
        values = samples[name].to_numpy(np.float64) * (1 if direction == "higher" else -1)
        if name == "softmin_interior":
            # As in `suspicion`: a mask of thin regions only has no interior.
            values = np.where(np.isnan(values), -samples["softmin"], values)
        known = ~np.isnan(values)
        ranks = np.full(len(values), 0.5)
        ranks[known] = (rankdata(values[known]) - 0.5) / max(1, known.sum())
        ranked[name] = ranks
    return ranked


def read_tables(work: Path, kind: str) -> dict[str, list[pd.DataFrame]]:
    """Kept sample tables of all recipes of a kind, oriented."""
    tables: dict[str, list[pd.DataFrame]] = {}
    for name, recipe in RECIPES.items():
        for path in sorted((work / name).glob("seed*/samples.parquet")):
            if recipe.kind == kind:
                samples = pd.read_parquet(path)
                directions = json.loads(path.with_name("directions.json").read_text())
                tables.setdefault(name, []).append(oriented(samples, directions))
    return tables


def write_studies(work: Path, results: Path) -> dict[str, Any]:
    """Study every kind that has kept tables; without any, give what is kept.

    Returns:
        Kind of labels -> `Study` as plain values.
    """
    path = results / FILE
    studies = {}
    for kind in SIGNS:
        tables = read_tables(work, kind)
        if tables:
            studies[kind] = asdict(study(kind, tables))
    if studies:
        path.write_text(json.dumps(studies) + "\n", encoding="utf-8")
    elif path.exists():
        studies = json.loads(path.read_text(encoding="utf-8"))
    return studies
