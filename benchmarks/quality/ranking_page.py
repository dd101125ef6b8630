"""The part of docs/quality.md on the default ranking, from what `ranking.py` wrote."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality.intervals import LEVEL
from benchmarks.quality.ranking import RESULT, best
from benchmarks.quality.regimes import PROTOCOLS, REGIMES, SUBJECTS, recipe
from benchmarks.quality.rivals import PREFIX

TOLERANCE = 0.01
"""By which AUPRC may lie below the best single score, which nobody knows beforehand."""
_NEAR = 0.03
_HEADER = ("set", "training", "audited", "seeds", "`suspicion`", "best single score", "less it")
_OPENING = """## The default ranking

`suspicion` combines ranks by weights that follow from what a run shows of its own
training ([scores.md](scores.md#which-one-to-trust)). AUPRC, means over the seeds. The
weights were chosen on seed {chosen_on}; that losses are
ranked beside their class was found on seed 1 of `cifar`, `digits` and `actions`.
**Weights of masks were chosen on seeds 0, 1, 2 and 10 to 12** (pages
[71](decisions/0071-components-beside-their-class.md) and
[89](decisions/0089-masks-known-early.md)), those of masks that weak models never saw on 1 to 10
(page [106](decisions/0106-components-in-spreads-of-their-class.md), which has them by when each
seed was looked at). Each seed has errors and trainings of its own, and data of its own where there
are any. *Earlier*: measured by the rule of then, and no samples were kept. The best single score
is named after the fact, separately in each row; so is the best of cleanlab's, from the last
checkpoint. **Bold**: more than {tolerance:g} below the best single score, or below cleanlab.
`barely` and `fitted` are trained with one cycle of the rate, `memorised` at a constant one.

*Less it*: by how much the default is above (+) or below (-) that score, and in brackets the
{level:.0%} interval of a bootstrap over the seeds, and in each over its samples (of sequences over
whole ones); with one seed it knows of that seed alone. Being named
after the fact makes the best of some twenty scores look better than it is, the more so the fewer
errors there are: this is in the difference, and not in the interval."""


def section(result: Path = RESULT) -> str:
    """Markdown; empty where nothing was measured."""
    if not result.exists():
        return ""
    content = json.loads(result.read_text(encoding="utf-8"))
    cells = content["cells"]
    opening = _OPENING.format(
        chosen_on=", ".join(map(str, content["chosen_on"])), tolerance=TOLERANCE, level=LEVEL
    )
    header = [*_HEADER, "cleanlab", "less it"]
    lines = [opening, "", *_abouts(cells), ""]
    lines += [f"| {' | '.join(header)} |", "|---" * len(header) + "|", *map(_row, cells)]
    lines += ["", _summary(cells)]
    missing = _missing(cells)
    if missing:
        lines += ["", f"Not measured by this rule: {', '.join(missing)}."]
    return "\n".join(lines)


def _abouts(cells: Sequence[dict[str, Any]]) -> list[str]:
    return [f"- `{name}`: {about}" for name, about in {c["set"]: c["about"] for c in cells}.items()]


def _row(cell: dict[str, Any]) -> str:
    ours = f"{cell['auprc']['suspicion']:.3f}"
    seeds = (
        ", ".join(map(str, cell["seeds"])) if "seeds" in cell else f"{cell['num_seeds']} earlier"
    )
    parts = [cell["set"], cell["regime"], cell["protocol"], seeds]
    parts.append(ours if _is_passed(cell) else f"**{ours}**")
    for of_rivals, key in ((False, "single"), (True, "rival")):
        name, value = best(cell["auprc"], of_rivals)
        parts += [f"`{name.removeprefix(PREFIX)}` {value:.3f}", _distance(cell, key)]
    return f"| {' | '.join(parts)} |"


def _distance(cell: dict[str, Any], key: str) -> str:
    if "against" not in cell:
        return "-"
    found = cell["against"][key]
    return f"{found['difference']:+.3f} ({found['low']:+.3f} to {found['high']:+.3f})"


def _summary(cells: Sequence[dict[str, Any]]) -> str:
    short = [_short(cell) for cell in cells]
    text = (
        f"Held in {sum(map(_is_passed, cells))} of {len(short)} rows; "
        f"{sum(gap <= TOLERANCE for gap in short)} are at most {TOLERANCE:g} below the better of "
        f"both, {sum(gap <= _NEAR for gap in short)} at most {_NEAR:g}, the median row "
        f"{np.median(short):.3f}."
    )
    sure = [cell for cell in cells if "against" in cell]
    if sure:
        surely = sum(_ends(cell, "low") for cell in sure)
        never = sum(not _ends(cell, "high") for cell in sure)
        text += (
            f" Of the {len(sure)} rows with intervals {surely} hold at their lower ends too, "
            f"{never} do not even at their upper ends, and of the other "
            f"{len(sure) - surely - never} the seeds and errors are too few to say."
        )
    return text


def _is_passed(cell: dict[str, Any]) -> bool:
    ours = cell["auprc"]["suspicion"]
    single, rival = (best(cell["auprc"], of_rivals)[1] for of_rivals in (False, True))
    return bool(ours >= single - TOLERANCE and ours >= rival)


def _ends(cell: dict[str, Any], end: str) -> bool:
    """Whether the row would hold if both distances were at this end of their intervals."""
    against = cell["against"]
    return bool(against["single"][end] >= -TOLERANCE and against["rival"][end] >= 0)


def _short(cell: dict[str, Any]) -> float:
    """By how much the default lies below the best single score, ours or cleanlab's."""
    both = [best(cell["auprc"], of_rivals)[1] for of_rivals in (False, True)]
    return float(max(both) - cell["auprc"]["suspicion"])


def _missing(cells: Sequence[dict[str, Any]]) -> list[str]:
    """Rows of the matrix without a result."""
    found = {(cell["set"], cell["regime"], cell["protocol"]) for cell in cells}
    return [
        f"`{recipe(subject, regime, protocol).name}`"
        for subject in SUBJECTS.values()
        for regime in REGIMES
        for protocol in PROTOCOLS
        if (subject.name, regime, protocol) not in found
    ]
