"""The default ranking held to the best single score, in every kind of labels and regime.

    python -m benchmarks.quality.ranking [--only NAME,...] [--seeds 10,11] [--render]

A cell is one set, one way to train and one protocol (`regimes.py`). What each run gives is kept in
the work folder: all scores, and the trajectories, so that another rule can be tried in seconds. The
rule was chosen on the seeds `CHOOSING`; what is written and shown are the other seeds told. A cell
of which the work folder keeps fewer seeds than the result file has stays as it was.
"""

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.harness import RESULTS
from benchmarks.quality.command import parsed
from benchmarks.quality.intervals import ScoredRun, interval
from benchmarks.quality.measure import measure
from benchmarks.quality.recipes import SEQUENCES
from benchmarks.quality.regimes import (
    CHOOSING,
    PROTOCOLS,
    REGIMES,
    REPORTING,
    SUBJECTS,
    Subject,
    recipe,
)
from benchmarks.quality.rivals import PREFIX
from ray_audit.evaluation.detection import ALL_KINDS, evaluate_scores

RESULT = RESULTS / "quality-regimes.json"

_ROOT = Path(__file__).parents[2]


def keep(subject: Subject, regime: str, protocol: str, seed: int, data: Path, work: Path) -> None:
    """Measure one run, unless it is kept."""
    case = recipe(subject, regime, protocol)
    folder = work / case.name / f"seed{seed}"
    if (folder / "samples.parquet").exists() or (case.needs_data and not data.is_dir()):
        return
    started = time.monotonic()
    found = measure(case, seed, data, work)
    (folder / "directions.json").write_text(json.dumps(found.directions), encoding="utf-8")
    found.samples.to_parquet(folder / "samples.parquet")
    print(f"{case.name} seed {seed}: {time.monotonic() - started:.0f} s", flush=True)


def cells(work: Path, seeds: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    """AUPRC of every score in each cell that is kept, mean over its seeds."""
    for subject in SUBJECTS.values():
        for regime in REGIMES:
            for protocol in PROTOCOLS:
                name = recipe(subject, regime, protocol).name
                kept = {seed: work / name / f"seed{seed}" for seed in seeds}
                found = {
                    seed: folder
                    for seed, folder in kept.items()
                    if (folder / "samples.parquet").exists()
                }
                if found:
                    yield {
                        "set": subject.name,
                        "kind": subject.kind,
                        "about": subject.about,
                        "regime": regime,
                        "protocol": protocol,
                        "seeds": sorted(found),
                    } | _measured([*found.values()], subject.kind == SEQUENCES)


def _measured(folders: Sequence[Path], are_frames: bool) -> dict[str, Any]:
    """AUPRC of each score, mean over runs, and how sure the distances of the default are."""
    each = [_auprc(folder) for folder in folders]
    scores = sorted(set.intersection(*(set(item) for item in each)))
    auprc = {score: round(float(np.mean([item[score] for item in each])), 4) for score in scores}
    runs = [_run(folder, are_frames) for folder in folders]
    against = {}
    for of_rivals in (False, True):
        name, value = best(auprc, of_rivals)
        low, high = interval(runs, "suspicion", name)
        against["rival" if of_rivals else "single"] = {
            "score": name,
            "difference": round(auprc["suspicion"] - value, 4),
            "low": round(low, 4),
            "high": round(high, 4),
        }
    return {"num_seeds": len(folders), "auprc": auprc, "against": against}


def _read(folder: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    samples = pd.read_parquet(folder / "samples.parquet")
    return samples, json.loads((folder / "directions.json").read_text(encoding="utf-8"))


def _auprc(folder: Path) -> dict[str, float]:
    samples, directions = _read(folder)
    rows = evaluate_scores(
        {name: samples[name].to_numpy(np.float64) for name in directions},
        directions,
        samples["is_error"].to_numpy(),
    )
    return {row.score: row.auprc for row in rows if row.kind == ALL_KINDS}


def _run(folder: Path, are_frames: bool) -> ScoredRun:
    samples, directions = _read(folder)
    drawn = samples["sample_id"]
    if are_frames:
        drawn = drawn.str.rpartition("#")[0]
    signs = {"higher": 1.0, "lower": -1.0}
    return ScoredRun(
        samples["is_error"].to_numpy(),
        drawn.factorize()[0],
        {name: signs[which] * samples[name].to_numpy() for name, which in directions.items()},
    )


def best(auprc: dict[str, float], of_rivals: bool) -> tuple[str, float]:
    """The best single score by name and AUPRC: of cleanlab's, or of ours but the default."""
    known = {
        score: value
        for score, value in auprc.items()
        if score.startswith(PREFIX) == of_rivals and score != "suspicion"
    }
    name = max(known, key=lambda score: known[score])
    return name, known[name]


def merged(earlier: list[dict[str, Any]], now: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Cells as measured now, and of the earlier ones those that have more seeds than now."""
    by_place = {_place(cell): cell for cell in earlier}
    for cell in now:
        known = by_place.get(_place(cell))
        if known is None or cell["num_seeds"] >= known["num_seeds"]:
            by_place[_place(cell)] = cell
    return [by_place[place] for place in sorted(by_place)]


def _place(cell: dict[str, Any]) -> tuple[int, int, int]:
    return (
        list(SUBJECTS).index(cell["set"]),
        REGIMES.index(cell["regime"]),
        PROTOCOLS.index(cell["protocol"]),
    )


def main() -> None:
    """Measure what is not kept, and write the result."""
    options = parsed("benchmarks.quality.ranking", __doc__, SUBJECTS, REPORTING)
    seeds = options.seeds
    for name in [] if options.render else options.only:
        for seed in seeds:
            for regime in REGIMES:
                for protocol in PROTOCOLS:
                    keep(SUBJECTS[name], regime, protocol, seed, options.data, options.work)
    shown = tuple(seed for seed in seeds if seed not in CHOOSING)
    earlier = json.loads(RESULT.read_text("utf-8"))["cells"] if RESULT.exists() else []
    content = {"chosen_on": CHOOSING, "cells": merged(earlier, list(cells(options.work, shown)))}
    RESULT.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
