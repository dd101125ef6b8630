"""The default ranking held to the best single score, in every kind of labels and regime.

    python -m benchmarks.quality.ranking [--only NAME,...] [--seeds 10,11] [--render]

A cell is one set, one way to train and one protocol (`regimes.py`). What each run gives is kept in
the work folder: all scores, and the trajectories, so that another rule can be tried in seconds. The
rule was chosen on the seeds `CHOOSING`; what is written and shown are the seeds `REPORTING`.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.harness import RESULTS
from benchmarks.quality.command import parsed
from benchmarks.quality.measure import measure
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
TOLERANCE = 0.01
"""By which AUPRC may lie below the best single score, which nobody knows beforehand."""
_NEAR = 0.03
_PAGE_71 = "[71](decisions/0071-components-beside-their-class.md)"
_PAGE_89 = "[89](decisions/0089-masks-known-early.md)"

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
                kept = [work / name / f"seed{seed}" for seed in seeds]
                found = [_auprc(folder) for folder in kept if (folder / "samples.parquet").exists()]
                if found:
                    scores = set.intersection(*(set(item) for item in found))
                    yield {
                        "set": subject.name,
                        "kind": subject.kind,
                        "about": subject.about,
                        "regime": regime,
                        "protocol": protocol,
                        "num_seeds": len(found),
                        "auprc": {
                            score: round(float(np.mean([item[score] for item in found])), 4)
                            for score in sorted(scores)
                        },
                    }


def _auprc(folder: Path) -> dict[str, float]:
    samples = pd.read_parquet(folder / "samples.parquet")
    directions = json.loads((folder / "directions.json").read_text(encoding="utf-8"))
    rows = evaluate_scores(
        {name: samples[name].to_numpy(np.float64) for name in directions},
        directions,
        samples["is_error"].to_numpy(),
    )
    return {row.score: row.auprc for row in rows if row.kind == ALL_KINDS}


def section(result: Path = RESULT) -> str:
    """The part of docs/quality.md."""
    if not result.exists():
        return ""
    content = json.loads(result.read_text(encoding="utf-8"))
    lines = [
        "## The default ranking",
        "",
        "`suspicion` combines ranks by weights that follow from what a run shows of its own",
        "training ([scores.md](scores.md#which-one-to-trust)). AUPRC, means over the seeds. The",
        f"weights were chosen on seed {', '.join(map(str, content['chosen_on']))}; that losses are",
        "ranked beside their class was found on seed 1 of `cifar`, `digits` and `actions`.",
        "**Weights of masks were chosen on the seeds shown**; audits of seeds that were not",
        f"looked at are on pages {_PAGE_71} and {_PAGE_89}. Shown",
        f"are seeds {', '.join(map(str, content['seeds']))}: other errors and trainings than seed",
        "0, and other data where there are any. The best single score is named after the fact,",
        "separately in each row; so is the best of cleanlab's, from the last checkpoint. **Bold**:",
        "more than .01 below the best single score, or below cleanlab. `barely` and `fitted` are",
        "trained with one cycle of the rate, `memorised` at a constant one.",
    ]
    lines += [f"- `{subject}`: {about}" for subject, about in _abouts(content["cells"]).items()]
    lines.insert(-len(_abouts(content["cells"])), "")
    header = ["set", "training", "audited", "seeds", "`suspicion`", "best single score", "cleanlab"]
    lines += ["", f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    lines += [_row(cell) for cell in content["cells"]]
    num_passed = sum(_is_passed(cell) for cell in content["cells"])
    short = [_short(cell) for cell in content["cells"]]
    lines += [
        "",
        f"Held in {num_passed} of {len(short)} rows; "
        f"{sum(gap <= TOLERANCE for gap in short)} are at most {TOLERANCE:g} below the better of "
        f"both, {sum(gap <= _NEAR for gap in short)} at most {_NEAR:g}, the median row "
        f"{np.median(short):.3f}.",
    ]
    missing = _missing(content["cells"])
    if missing:
        lines += ["", f"Not measured by this rule: {', '.join(missing)}."]
    return "\n".join(lines)


def _missing(rows: list[dict[str, Any]]) -> list[str]:
    """Rows of the matrix without a result."""
    found = {(row["set"], row["regime"], row["protocol"]) for row in rows}
    return [
        f"`{recipe(subject, regime, protocol).name}`"
        for subject in SUBJECTS.values()
        for regime in REGIMES
        for protocol in PROTOCOLS
        if (subject.name, regime, protocol) not in found
    ]


def _abouts(rows: list[dict[str, Any]]) -> dict[str, str]:
    return {row["set"]: row["about"] for row in rows}


def _best(cell: dict[str, Any], of_rivals: bool) -> tuple[str, float]:
    known = {
        score: value
        for score, value in cell["auprc"].items()
        if score.startswith(PREFIX) == of_rivals and score != "suspicion"
    }
    name = max(known, key=lambda score: known[score])
    return name, known[name]


def _is_passed(cell: dict[str, Any]) -> bool:
    ours = cell["auprc"]["suspicion"]
    return bool(ours >= _best(cell, False)[1] - TOLERANCE and ours >= _best(cell, True)[1])


def _short(cell: dict[str, Any]) -> float:
    """By how much the default lies below the best single score, ours or cleanlab's."""
    best = max(_best(cell, of_rivals)[1] for of_rivals in (False, True))
    return float(best - cell["auprc"]["suspicion"])


def _row(cell: dict[str, Any]) -> str:
    ours = f"{cell['auprc']['suspicion']:.3f}"
    best = "`{}` {:.3f}".format(*_best(cell, False))
    rival = "`{}` {:.3f}".format(*_best(cell, True))
    shown = ours if _is_passed(cell) else f"**{ours}**"
    return (
        f"| {cell['set']} | {cell['regime']} | {cell['protocol']} | {cell['num_seeds']} | {shown} "
        f"| {best} | {rival.replace(PREFIX, '')} |"
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
    rows = list(cells(options.work, shown))
    content = {"chosen_on": CHOOSING, "seeds": shown, "cells": rows}
    RESULT.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
