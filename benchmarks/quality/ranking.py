"""The default ranking held to the best single score, in every kind of labels and regime.

    python -m benchmarks.quality.ranking [--only NAME,...] [--seeds 24,25] [--render]

A row is one set, one way to train and one protocol (`regimes.py`), a cell all sets of a kind
(`matrix.py`). What each run gives is kept in the work folder: all scores, and the trajectories, so
that another rule can be tried in seconds. Shown are all kept seeds but those that the rule was
chosen on. A row of which the work folder keeps fewer seeds than the result file stays as it was.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.harness import RESULTS
from benchmarks.quality.command import parsed
from benchmarks.quality.intervals import ScoredRun, differences
from benchmarks.quality.matrix import DEFAULT, Row, cells, compared, place
from benchmarks.quality.measure import measure
from benchmarks.quality.recipes import SEQUENCES
from benchmarks.quality.regimes import (
    PROTOCOLS,
    REGIMES,
    REPORTING,
    SUBJECTS,
    Subject,
    looked_at,
    recipe,
)
from ray_audit.evaluation.detection import ALL_KINDS, evaluate_scores

RESULT = RESULTS / "quality-regimes.json"

_SAMPLES, _DIRECTIONS = "samples.parquet", "directions.json"


@dataclass(frozen=True)
class KeptRow:
    """What a row shows, and the samples that it was made from."""

    row: Row
    runs: list[ScoredRun]


def keep(subject: Subject, regime: str, protocol: str, seed: int, data: Path, work: Path) -> None:
    """Measure one run, unless it is kept."""
    case = recipe(subject, regime, protocol)
    folder = work / case.name / f"seed{seed}"
    if (folder / _SAMPLES).exists() or (case.needs_data and not data.is_dir()):
        return
    started = time.monotonic()
    found = measure(case, seed, data, work)
    (folder / _DIRECTIONS).write_text(json.dumps(found.directions), encoding="utf-8")
    found.samples.to_parquet(folder / _SAMPLES)
    print(f"{case.name} seed {seed}: {time.monotonic() - started:.0f} s", flush=True)


def kept_rows(work: Path) -> Iterator[KeptRow]:
    """AUPRC of every score in each row that is kept, mean over the seeds that are shown."""
    for subject in SUBJECTS.values():
        for regime in REGIMES:
            for protocol in PROTOCOLS:
                folders = _shown(work, subject, regime, protocol)
                if folders:
                    facts = {
                        "set": subject.name,
                        "kind": subject.kind,
                        "about": subject.about,
                        "regime": regime,
                        "protocol": protocol,
                        "seeds": list(folders),
                    }
                    yield _kept_row(facts, [*folders.values()], subject.kind == SEQUENCES)


def _shown(work: Path, subject: Subject, regime: str, protocol: str) -> dict[int, Path]:
    """Folders of the seeds that are kept and were not looked at, ascending."""
    chosen_on = looked_at(subject.kind, regime, protocol)
    found = {
        int(path.parent.name.removeprefix("seed")): path.parent
        for path in (work / recipe(subject, regime, protocol).name).glob(f"seed*/{_SAMPLES}")
    }
    return {seed: found[seed] for seed in sorted(set(found) - chosen_on)}


def _kept_row(facts: Row, folders: list[Path], are_frames: bool) -> KeptRow:
    each = [_auprc(folder) for folder in folders]
    scores = sorted(set.intersection(*(set(item) for item in each)))
    auprc = {score: round(float(np.mean([item[score] for item in each])), 4) for score in scores}
    runs = [_run(folder, are_frames) for folder in folders]
    against = compared(auprc, lambda name: differences(runs, DEFAULT, name))
    row = facts | {"num_seeds": len(folders), "auprc": auprc, "against": against}
    return KeptRow(row, runs)


def _read(folder: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    samples = pd.read_parquet(folder / _SAMPLES)
    return samples, json.loads((folder / _DIRECTIONS).read_text(encoding="utf-8"))


def _auprc(folder: Path) -> dict[str, float]:
    samples, directions = _read(folder)
    found = evaluate_scores(
        {name: samples[name].to_numpy(np.float64) for name in directions},
        directions,
        samples["is_error"].to_numpy(),
    )
    return {item.score: item.auprc for item in found if item.kind == ALL_KINDS}


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


def merged(earlier: list[Row], now: list[Row]) -> list[Row]:
    """Rows as measured now, and of the earlier ones those that have more seeds than now."""
    by_place = {place(row): row for row in earlier}
    for row in now:
        known = by_place.get(place(row))
        if known is None or row["num_seeds"] >= known["num_seeds"]:
            by_place[place(row)] = row
    return sorted(by_place.values(), key=_order)


def _order(row: Row) -> tuple[int, int, int]:
    name, regime, protocol = place(row)
    return list(SUBJECTS).index(name), REGIMES.index(regime), PROTOCOLS.index(protocol)


def result(work: Path, earlier: list[Row]) -> dict[str, Any]:
    """Rows and cells; intervals of a cell are those of samples that are kept of all of its rows."""
    kept = list(kept_rows(work))
    rows = merged(earlier, [item.row for item in kept])
    runs = {place(item.row): item.runs for item in kept if item.row in rows}
    return {"rows": rows, "cells": list(cells(rows, runs))}


def main() -> None:
    """Measure what is not kept, and write the result."""
    options = parsed("benchmarks.quality.ranking", __doc__, SUBJECTS, REPORTING)
    for name in [] if options.render else options.only:
        for seed in options.seeds:
            for regime in REGIMES:
                for protocol in PROTOCOLS:
                    keep(SUBJECTS[name], regime, protocol, seed, options.data, options.work)
    earlier = json.loads(RESULT.read_text("utf-8"))["rows"] if RESULT.exists() else []
    content = result(options.work, earlier)
    RESULT.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
