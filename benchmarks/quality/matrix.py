"""The matrix {classes, masks, sequences} x {barely, fitted, memorised} x {training, held_out}.

A cell is the mean over the sets of its kind, each of which is the mean over its seeds. It is held
against the one score that is best in that mean; a row, one set of a cell, against that of the row.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.quality.intervals import Floats, ScoredRun, differences, interval
from benchmarks.quality.rivals import PREFIX

DEFAULT = "suspicion"
TOLERANCE = 0.01
"""By which AUPRC may lie below the best single score, which nobody knows beforehand."""

Row = dict[str, Any]
Runs = Mapping[tuple[str, str, str], Sequence[ScoredRun]]
"""Kept samples of each row, a run a seed, by `place`."""


def place(row: Row) -> tuple[str, str, str]:
    """Set, regime and protocol."""
    return row["set"], row["regime"], row["protocol"]


def best(auprc: Mapping[str, float], of_rivals: bool) -> tuple[str, float]:
    """The best single score by name and AUPRC: of cleanlab's, or of ours but the default."""
    known = {
        score: value
        for score, value in auprc.items()
        if score.startswith(PREFIX) == of_rivals and score != DEFAULT
    }
    name = max(known, key=lambda score: known[score])
    return name, known[name]


def compared(auprc: Mapping[str, float], replicates: Callable[[str], Floats]) -> dict[str, Any]:
    """The default held against the best `single` score and the best `rival`.

    Args:
        auprc: of each score.
        replicates: score -> (R,) by how much the default is above it.
    """
    against = {}
    for key, of_rivals in (("single", False), ("rival", True)):
        name, value = best(auprc, of_rivals)
        low, high = interval(replicates(name))
        against[key] = {
            "score": name,
            "difference": round(auprc[DEFAULT] - value, 4),
            "low": round(low, 4),
            "high": round(high, 4),
        }
    return against


def cells(rows: Sequence[Row], runs: Runs) -> Iterator[Row]:
    """Each cell of which rows were measured, in their order.

    Args:
        rows: see `ranking.rows`.
        runs: without those of a row there is no interval for its cell.
    """
    of_cell: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        of_cell.setdefault((row["kind"], row["regime"], row["protocol"]), []).append(row)
    for (kind, regime, protocol), its_rows in of_cell.items():
        scores = sorted(set.intersection(*(set(row["auprc"]) for row in its_rows)))
        auprc = {
            score: round(float(np.mean([row["auprc"][score] for row in its_rows])), 4)
            for score in scores
        }
        cell = {
            "kind": kind,
            "regime": regime,
            "protocol": protocol,
            "num_seeds": {row["set"]: row["num_seeds"] for row in its_rows},
            "auprc": auprc,
        }
        kept = [runs[place(row)] for row in its_rows if place(row) in runs]
        if len(kept) == len(its_rows):
            cell["against"] = compared(auprc, lambda name, kept=kept: _mean(kept, name))
        yield cell


def _mean(kept: Sequence[Sequence[ScoredRun]], score: str) -> Floats:
    """(R,) mean over sets, which are drawn independently."""
    each = [differences(runs, DEFAULT, score, stream) for stream, runs in enumerate(kept)]
    mean: Floats = np.mean(each, axis=0)
    return mean


def is_held(found: Row) -> bool:
    """Whether a row or cell is as good as the best single score, and not below the best rival."""
    single, rival = (best(found["auprc"], of_rivals)[1] for of_rivals in (False, True))
    ours = found["auprc"][DEFAULT]
    return bool(ours >= single - TOLERANCE and ours >= rival)


def is_held_at(found: Row, end: str) -> bool:
    """Whether it would hold if both distances were at this end of their intervals."""
    against = found["against"]
    return bool(against["single"][end] >= -TOLERANCE and against["rival"][end] >= 0)


def shortfall(found: Row) -> float:
    """By how much the default lies below the best single score, ours or cleanlab's."""
    both = [best(found["auprc"], of_rivals)[1] for of_rivals in (False, True)]
    return float(max(both) - found["auprc"][DEFAULT])
