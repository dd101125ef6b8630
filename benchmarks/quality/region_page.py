"""The part of docs/quality.md on areas and findings of masks."""

import json
from collections import defaultdict
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.quality.regions import OURS, RESULT
from ray_audit.evaluation.detection import ALL_KINDS

_RIVALS = ("predicted", "meta", "pixels")

_OPENING = """## Areas and findings of masks

What is proposed as wrong, component by component, against planted structures that were dropped,
flipped, shifted, merged, or drawn too small or too large (a quarter of the masks; an overlap of
at least .25 finds one): average precision, means over the seeds, and in brackets precision at
the number of errors. Rivals on the same predictions of the last checkpoint: `predicted`
components that the mask hardly has, by mean probability (Rottmann and Reese 2022); the same by
a cross-validated `meta`-classifier of components; and connected `pixels` that cleanlab flags.
Each rival stands with the best of its settings, which nobody knows beforehand. The score of
areas was chosen on seed {chosen}."""


def section(result: Path = RESULT) -> str:
    """Empty where nothing was measured."""
    if not result.exists():
        return ""
    content = json.loads(result.read_text(encoding="utf-8"))
    cells = content["cells"]
    lines = [_OPENING.format(chosen=", ".join(map(str, content["chosen_on"]))), ""]
    lines += [f"- `{name}`: {about}" for name, about in _abouts(cells).items()]
    header = ["set", "audited", "seeds", "errors", *OURS, *_RIVALS]
    lines += ["", f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    lines += [_row(cell) for cell in cells]
    lines += ["", _gains(cells)]
    lines += ["", "By kind and size, areas (average precision, training audits):", ""]
    return "\n".join([*lines, *_by_kind([c for c in cells if c["protocol"] == "training"])])


def _abouts(cells: list[dict[str, Any]]) -> dict[str, str]:
    return {cell["set"]: cell["about"] for cell in cells}


def _row(cell: dict[str, Any]) -> str:
    rows = cell["rows"]
    numbers = [*(rows[name][ALL_KINDS] for name in OURS), *_best(cell)]
    shown = [f"{row['average_precision']:.3f} ({row['precision']:.2f})" for row in numbers]
    num_errors = f"{rows[OURS[0]][ALL_KINDS]['num_errors']:.0f}"
    first = [cell["set"], cell["protocol"], str(cell["num_seeds"]), num_errors]
    return f"| {' | '.join([*first, *shown])} |"


def _best(cell: dict[str, Any]) -> list[dict[str, float]]:
    """Each rival in the best of its settings."""
    rows = cell["rows"]
    return [
        max(
            (rows[name][ALL_KINDS] for name in rows if name.partition("-")[0] == rival),
            key=lambda row: row["average_precision"],
        )
        for rival in _RIVALS
    ]


def _gains(cells: list[dict[str, Any]]) -> str:
    """By how much areas lie above the best rival, over all and by set."""
    gains: dict[str, list[float]] = defaultdict(list)
    for cell in cells:
        ours = cell["rows"]["areas"][ALL_KINDS]["average_precision"]
        rival = max(row["average_precision"] for row in _best(cell))
        gains[cell["set"]].append(ours - rival)
    of_sets = {name: mean(of_set) for name, of_set in gains.items()}
    each = ", ".join(f"{name} {gain:+.3f}" for name, gain in of_sets.items())
    least = min(gain for of_set in gains.values() for gain in of_set)
    return (
        f"Areas less the best rival of each row: {mean(of_sets.values()):+.3f} in the mean of the "
        f"sets ({each}; expected: at least +0.100, and no set below), {least:+.3f} in the worst "
        "row."
    )


def _by_kind(cells: list[dict[str, Any]]) -> list[str]:
    groups = list(dict.fromkeys(g for cell in cells for g in cell["rows"]["areas"]))
    lines = [f"| set | {' | '.join(groups)} |", "|---" * (len(groups) + 1) + "|"]
    for cell in cells:
        rows = cell["rows"]["areas"]
        shown = [f"{rows[g]['average_precision']:.2f}" if g in rows else "-" for g in groups]
        lines.append(f"| {cell['set']} | {' | '.join(shown)} |")
    return lines
