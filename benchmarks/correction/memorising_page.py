"""The part of docs/correction-quality.md on what a network memorises."""

import json
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.correction.memorising import RESULT, RUNS

_NAMES = {
    "given": "given labels",
    "adele": "ADELE",
    "adele_labels": "ADELE without its loss (`consistency: 0`)",
    "given_12": "given labels, 12 annealed epochs",
    "adele_12": "ADELE, 12 annealed epochs",
    "refurbish": "refurbish by loss, `flagged_fraction: auto`",
}
_ERRORS = {
    ("signed", 1.0): "every mask too small or too large",
    ("under", 0.3): "30% of the masks too small",
    ("under", 0.0): "no errors",
    ("under", 0.1): "10% of the masks too small",
    ("under", 0.5): "50% of the masks too small",
    ("under", 0.8): "80% of the masks too small",
    ("over", 0.3): "30% of the masks too large",
    ("other", 0.3): "two structures exchanged in 30% of the masks",
}
_PROSE = Path(__file__).with_name("memorising.md")


def memorising_part() -> str:
    """The section, or nothing where it was not measured."""
    if not RESULT.exists():
        return ""
    content: dict[str, Any] = json.loads(RESULT.read_text(encoding="utf-8"))
    runs: dict[str, dict[str, float]] = content["runs"]
    rows = []
    for kind, share, name in RUNS:
        found = _seeds(runs, kind, share, name)
        if not found:
            continue
        columns = ("end", "best", "labels_before", "labels_after", "fitted")
        cells = [_cell([item[column] for item in found]) for column in columns]
        flagged = (
            "-"
            if name != "refurbish"
            else ", ".join(f"{item['num_flagged']:.0f}" for item in found)
        )
        rows.append(
            " | ".join(["", _ERRORS[kind, share], _NAMES[name], *cells, flagged, ""]).strip()
        )
    given, adele = _seeds(runs, "signed", 1.0, "given"), _seeds(runs, "signed", 1.0, "adele")
    gains = [after["end"] - before["end"] for before, after in zip(given, adele, strict=True)]
    over = [after["end"] - before["best"] for before, after in zip(given, adele, strict=True)]
    return (
        _PROSE.read_text(encoding="utf-8")
        .strip()
        .format(
            date=content["date"],
            rows="\n".join(rows),
            short=_gain_over(runs, "adele_12", "given_12"),
            adele=mean(gains),
            least=min(gains),
            over_best=mean(over),
            labels=_gain(runs, "signed", 1.0, "adele_labels"),
            refurbish=_gain(runs, "under", 0.3, "refurbish"),
        )
    )


def _seeds(runs: dict[str, dict[str, float]], kind: str, share: float, name: str) -> list[Any]:
    prefix = f"{kind}/{share:g}/{name}/"
    return [runs[key] for key in sorted(runs) if key.startswith(prefix)]


def _gain(runs: dict[str, dict[str, float]], kind: str, share: float, name: str) -> float:
    given, other = _seeds(runs, kind, share, "given"), _seeds(runs, kind, share, name)
    return mean(run["end"] for run in other) - mean(run["end"] for run in given)


def _gain_over(runs: dict[str, dict[str, float]], name: str, other: str) -> float:
    """Mean difference of the ends of two methods where every mask is wrong."""
    ends = [[run["end"] for run in _seeds(runs, "signed", 1.0, each)] for each in (name, other)]
    return mean(ends[0]) - mean(ends[1])


def _cell(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    return f"{mean(known):.3f} ({', '.join(f'{value:.3f}' for value in known)})"
