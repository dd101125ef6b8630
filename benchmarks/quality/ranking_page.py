"""The section on the default ranking in docs/quality.md, from its result file."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality.intervals import LEVEL
from benchmarks.quality.matrix import (
    DEFAULT,
    TOLERANCE,
    Row,
    best,
    is_held,
    is_held_at,
    shortfall,
)
from benchmarks.quality.ranking import RESULT
from benchmarks.quality.recipes import CLASSES, DENSE, SEQUENCES
from benchmarks.quality.regimes import (
    LABELS,
    MASKS,
    PROTOCOLS,
    REGIMES,
    SUBJECTS,
    UNSEEN_BY_WEAK,
    recipe,
)
from benchmarks.quality.rivals import PREFIX

_KINDS = {CLASSES: "classes", DENSE: "masks", SEQUENCES: "sequences"}
_NEAR = 0.03
_SCORES = ("`suspicion`", "best single score", "less it", "cleanlab", "less it")
_OF_CELLS = ("labels", "training", "audited", "sets (seeds)", *_SCORES)
_OF_ROWS = ("set", "training", "audited", "seeds", *_SCORES)
_OPENING = """## The default ranking

`suspicion` combines ranks by weights that follow from what a run shows of its own
training ([scores.md](scores.md#which-one-to-trust)). AUPRC, means over the seeds. **Seeds that a
rule was chosen on are not shown**: {labels} of classes and sequences, {masks} of masks, {weak}
of masks that weak models never saw (pages [71](decisions/0071-components-beside-their-class.md),
[77](decisions/0077-losses-beside-their-class.md), [89](decisions/0089-masks-known-early.md) and
[106](decisions/0106-components-in-spreads-of-their-class.md)). One change is later: the last loss
of settled trainings (page [99](decisions/0099-last-loss-of-settled-trainings.md), which has seeds
apart) was chosen on seeds 1 and 2 of barely and well fitted classes, trained on, and seeds 3, 4, 24
and 25 were looked at meanwhile. Rows of masks were measured before components of fewer than 4 px of
one class were taken together. Each seed has errors and trainings
of its own, and data of its own where there are any; of CIFAR-10N, whose errors are people's, other
rows for each of six seeds. The best single score is named after the fact; so is the best of
cleanlab's, from the last checkpoint. **Bold**: more than {tolerance:g} below the best single score,
or below cleanlab. `barely` and `fitted` are trained with one cycle of the rate, `memorised` at a
constant one.

*Less it*: by how much the default is above (+) or below (-) that score, and in brackets the
{level:.0%} interval of a bootstrap over the seeds, and in each over its samples (of sequences over
whole ones); with one seed it knows of that seed alone. Being named
after the fact makes the best of some twenty scores look better than it is, the more so the fewer
errors there are: this is in the difference, and not in the interval.{earlier}"""
_EARLIER = (
    " *Earlier*: measured by the rule of then, on seeds of then, and no samples were kept; a cell"
    " with such a row has no interval."
)
_CELLS = """### The matrix

Each cell is the mean over the sets of its kind. It is held to the one score that is best in that
mean, of those that all of its sets have."""
_ROWS = """### Each set

Each row is held to the score that is best for this set, training and audit: another one in nearly
each row, and nobody knows beforehand which."""


def section(result: Path = RESULT) -> str:
    """Markdown; empty where nothing was measured."""
    if not result.exists():
        return ""
    content = json.loads(result.read_text(encoding="utf-8"))
    rows, cells = content["rows"], content["cells"]
    opening = _OPENING.format(
        labels=_spelled(LABELS),
        masks=_spelled(MASKS),
        weak=_spelled(UNSEEN_BY_WEAK),
        tolerance=TOLERANCE,
        level=LEVEL,
        earlier="" if all("seeds" in row for row in rows) else _EARLIER,
    )
    lines = [opening, "", *_abouts(rows), "", _CELLS, ""]
    lines += _table(_OF_CELLS, [[*_names_of_cell(cell), *_scores(cell)] for cell in cells])
    lines += ["", _summary(cells, "cells"), "", _ROWS, ""]
    lines += _table(_OF_ROWS, [[*_names_of_row(row), *_scores(row)] for row in rows])
    lines += ["", _summary(rows, "rows")]
    missing = _missing(rows)
    if missing:
        lines += ["", f"Not measured by this rule: {', '.join(missing)}."]
    return "\n".join(lines)


def _spelled(seeds: Iterable[int]) -> str:
    """Seeds with their runs as `0 to 2`."""
    runs: list[list[int]] = []
    for seed in sorted(seeds):
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    texts = [f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
    return " and ".join(texts)


def _table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    ruled = "|---" * len(header) + "|"
    return [f"| {' | '.join(header)} |", ruled, *(f"| {' | '.join(line)} |" for line in lines)]


def _abouts(rows: Sequence[Row]) -> list[str]:
    return [f"- `{name}`: {about}" for name, about in {r["set"]: r["about"] for r in rows}.items()]


def _names_of_cell(cell: Row) -> list[str]:
    sets = ", ".join(f"{name} ({num})" for name, num in cell["num_seeds"].items())
    return [_KINDS[cell["kind"]], cell["regime"], cell["protocol"], sets]


def _names_of_row(row: Row) -> list[str]:
    seeds = ", ".join(map(str, row["seeds"])) if "seeds" in row else f"{row['num_seeds']} earlier"
    return [row["set"], row["regime"], row["protocol"], seeds]


def _scores(found: Row) -> list[str]:
    """Columns of the default, the best single score and the best of cleanlab's."""
    ours = f"{found['auprc'][DEFAULT]:.3f}"
    parts = [ours if is_held(found) else f"**{ours}**"]
    for of_rivals, key in ((False, "single"), (True, "rival")):
        name, value = best(found["auprc"], of_rivals)
        parts += [f"`{name.removeprefix(PREFIX)}` {value:.3f}", _distance(found, key)]
    return parts


def _distance(found: Row, key: str) -> str:
    if "against" not in found:
        _, value = best(found["auprc"], key == "rival")
        return f"{found['auprc'][DEFAULT] - value:+.3f}"
    against: dict[str, Any] = found["against"][key]
    return f"{against['difference']:+.3f} ({against['low']:+.3f} to {against['high']:+.3f})"


def _summary(found: Sequence[Row], what: str) -> str:
    short = [shortfall(item) for item in found]
    text = (
        f"**Held in {sum(map(is_held, found))} of {len(short)} {what}**; "
        f"{sum(gap <= TOLERANCE for gap in short)} are at most {TOLERANCE:g} below the better of "
        f"both, {sum(gap <= _NEAR for gap in short)} at most {_NEAR:g}; in the median "
        f"{'cell' if what == 'cells' else 'row'} the default is {-np.median(short):+.3f} from it."
    )
    sure = [item for item in found if "against" in item]
    if sure:
        surely = sum(is_held_at(item, "low") for item in sure)
        never = sum(not is_held_at(item, "high") for item in sure)
        text += (
            f" Of the {len(sure)} {what} with intervals {surely} hold at their lower ends too, "
            f"{never} do not even at their upper ends, and of the other "
            f"{len(sure) - surely - never} the seeds and errors are too few to say."
        )
    return text


def _missing(rows: Sequence[Row]) -> list[str]:
    """Rows of the matrix without a result."""
    found = {(row["set"], row["regime"], row["protocol"]) for row in rows}
    return [
        f"`{recipe(subject, regime, protocol).name}`"
        for subject in SUBJECTS.values()
        for regime in REGIMES
        for protocol in PROTOCOLS
        if (subject.name, regime, protocol) not in found
    ]
