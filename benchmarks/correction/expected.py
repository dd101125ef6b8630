"""What correction is held to, and what it does: the first table of docs/correction-quality.md."""

import json
from collections.abc import Sequence
from statistics import mean
from typing import Any

from benchmarks.correction.memorising import RESULT
from benchmarks.correction.problems import CONDITIONS, is_by_folds

_LITTLE = 0.0005
"""Of all labels: less harm than this is none."""

Run = dict[str, Any]


def expected_part(results: dict[str, Any]) -> str:
    """The section.

    Args:
        results: condition -> method -> numbers.
    """
    rows = [*_while_training(), *_afterwards(results)]
    lines = [f"| {what} | {target} | {found} |" for what, target, found in rows]
    return "\n".join(
        [
            "## What is expected, and what is measured",
            "",
            "mIoU on held-out data at the end of the training, in the regime that memorises (next "
            "section), mean (each seed); wrong labels in percent.",
            "",
            "| | expected | measured |",
            "|---|---|---|",
            *lines,
        ]
    )


Row = tuple[str, str, str]


def _while_training() -> list[Row]:
    runs: dict[str, Run] = json.loads(RESULT.read_text(encoding="utf-8"))["runs"]

    def column(name: str, which: str, errors: str = "signed/1") -> list[float]:
        prefix = f"{errors}/{name}/"
        return [runs[key][which] for key in sorted(runs) if key.startswith(prefix)]

    given, under = column("given", "end"), column("given", "end", "under/0.3")
    flagged = column("refurbish", "num_flagged", "under/0.3")
    adele, labels = column("adele", "end"), column("adele_labels", "end")
    rate = ", ".join(f"{num / 80:.3f}" for num in flagged)
    return [
        ("ADELE minus given labels", ">= .12, > .06 in each seed", _less(adele, given)),
        (
            "ADELE minus best epoch of plain training",
            ">= .04",
            _less(adele, column("given", "best")),
        ),
        ("ADELE's labels only minus given labels", ">= .08", _less(labels, given)),
        (
            "refurbish by loss, `auto`, 30% too small, minus given labels; share flagged",
            ">= .12; within .05 of .30",
            f"{_less(column('refurbish', 'end', 'under/0.3'), under)}; {rate}",
        ),
        (
            "ADELE minus given labels, twelve annealed epochs",
            ">= -.01",
            _less(column("adele_12", "end"), column("given_12", "end")),
        ),
    ]


def _less(ends: Sequence[float], others: Sequence[float]) -> str:
    gains = [end - other for end, other in zip(ends, others, strict=True)]
    return f"{mean(gains):+.3f} ({', '.join(f'{gain:+.3f}' for gain in gains)})"


def _afterwards(results: dict[str, Any]) -> list[Row]:
    changes = {
        condition: results[condition]["default"]["labels"]
        for condition in (item.name for item in CONDITIONS)
        if "default" in results.get(condition, {})
    }
    memorised = [change for name, change in changes.items() if name.startswith("slices/under/30/")]
    human = [change for name, change in changes.items() if name.startswith("cifar10n/human/41/")]
    by_folds = {name: change for name, change in changes.items() if is_by_folds(_set(name))}
    rest = {name: change for name, change in changes.items() if name not in by_folds}
    older = {name: change for name, change in rest.items() if not name.startswith("slices/")}
    worse = [
        n for n, change in older.items() if change["wrong_after"] > change["wrong_before"] + _LITTLE
    ]
    kinds = {name.rpartition("/")[0] for name in older}
    return [
        ("`correct` on memorised masks, 30% too small, wrong pixels", "<= 1.8", _after(memorised)),
        (
            "conditions of the other sets in which `correct` makes labels worse by more than .05",
            "0 of 18",
            f"{len({name.rpartition('/')[0] for name in worse})} of {len(kinds)}, "
            f"{len(older)} trainings",
        ),
        (
            "`correct` on CIFAR-10N with 41% wrong, 2,000 pictures, one training",
            "<= 34",
            _after(human),
        ),
        *_held_out(by_folds, results),
    ]


def _set(name: str) -> str:
    return name.partition("/")[0]


def _held_out(changes: dict[str, Run], results: dict[str, Any]) -> list[Row]:
    """What is expected of checkpoints that never saw the labels: 10,000 pictures, three folds."""
    found = []
    for percent, target in ((41, "<= 34"), (17, "<= .05 more"), (9, "<= .05 more")):
        mine = {n: c for n, c in changes.items() if n.split("/")[2] == str(percent)}
        what = f"`correct` on CIFAR-10N with {percent}% wrong, 10,000 pictures, by folds"
        found.append((what, target, _after(list(mine.values()))))
        facts = [results[name]["default"]["facts"] for name in mine]
        off = "; ".join(
            f"{when} {_off([f[f'estimated_{when}'] for f in facts], changes_when)}"
            for when in ("before", "after")
            if (changes_when := [change[f"wrong_{when}"] for change in mine.values()])
        )
        found.append(("its estimate of the labels wrong, off by", "<= 20%", off or "not run"))
    return found


def _off(said: Sequence[float], true: Sequence[float]) -> str:
    return ", ".join(f"{100 * (a / b - 1):+.0f}%" for a, b in zip(said, true, strict=True))


def _after(changes: Sequence[Run]) -> str:
    if not changes:
        return "not run"
    before = mean(change["wrong_before"] for change in changes)
    after = [100 * change["wrong_after"] for change in changes]
    each = ", ".join(f"{change:.2f}" for change in after)
    return f"{100 * before:.2f} -> {mean(after):.2f} ({each})"
