"""docs/correction-quality.md, written from the result file."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.correction.expected import expected_part
from benchmarks.correction.memorising_page import memorising_part
from benchmarks.correction.methods import METHODS, ON_REQUEST
from benchmarks.correction.problems import CONDITIONS, MAKERS, is_by_folds

LEARNT = Path(__file__).with_name("learnt.md")
_CLEAN = "clean"
_NAMES = {
    "clean": "right labels",
    "noisy": "given labels",
    "default": "`correct`",
    "findings": "`correct --rule findings`",
    "flagged": "`correct --rule flagged`",
    "adele_after": "`correct --rule adele`",
    "last_epoch": "last epoch",
    "adele": "ADELE",
    "adele_labels": "ADELE without its loss",
    "multi_scale": "ADELE's loss alone",
    "refurbish_by_loss": "refurbish, loss",
    "refurbish_by_vog": "refurbish, VoG",
}
_UNITS = {"camvid": "pixels", "golf_poses": "frames", "cifar10n": "labels", "slices": "pixels"}
_UNITS |= {"cifar10n_by_folds": "labels"}
_SCORES = {
    "camvid": ("miou", "dice"),
    "golf_poses": ("accuracy",),
    "cifar10n": ("accuracy",),
    "slices": ("miou", "dice"),
}
_SCORE_NAMES = {"miou": "mIoU", "dice": "Dice", "accuracy": "accuracy"}

Row = tuple[str, int]
"""Kind and percent."""


def page(content: dict[str, Any]) -> str:
    """The whole page.

    Args:
        content: of the result file: see `__main__.Results`.
    """
    results = content["conditions"]
    opening = _OPENING.format(**{k: content.get(k, "nothing yet") for k in ("date", "machine")})
    parts = [opening, expected_part(results), memorising_part()]
    for name, maker in MAKERS.items():
        rows = list(dict.fromkeys((c.kind, c.percent) for c in CONDITIONS if c.set == name))
        rows = [row for row in sorted(rows) if _seeds(results, name, row)]
        if rows:
            about = " ".join((maker.__doc__ or "").split())
            parts.append(_set(results, name, rows, about))
    parts += [_harm(results), LEARNT.read_text(encoding="utf-8").strip(), _not_run(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


_OPENING = """# Correction: what it gains

Measured with the engine itself by `make correction`, {date}, on

    {machine}

and written from `benchmarks/results/correction.json`. Errors are planted (CIFAR-10N: made by
people) and known. A small model is trained on the given labels and audited; labels are corrected
and held against the right ones; a model is trained anew on them, with the same seed and settings,
and judged by its last checkpoint on held-out data with right labels. Sets, models and trainings
are small: two models of one condition can differ by .05 for no reason.

| | labels change | gate |
|---|---|---|
| `correct` | after training: as the next, unless checkpoints are worse than labels | the same |
| `correct --rule findings` | after training: findings, by later checkpoints | 0.8, segments 0.6 |
| `correct --rule flagged` | after training: the most suspicious samples, as many as wrong | 0.8 |
| `correct --rule adele` | after training: all masks, by each class's onset | 0.7 |
| last epoch | after training: everything of which the last checkpoint is sure | 0.8 |
| ADELE | while training: class by class from its onset on; its loss over scales | 0.7 |
| refurbish, loss or VoG | while training: the most suspicious samples, as many as wrong | 0.8 |

`flagged` and refurbishing are told the true share of wrong samples, which nobody knows.
Refurbishing begins after epoch 5. Where labels change while training, that model itself is judged:
nothing is trained anew. `found`: AUROC / AUPRC of the audit's `suspicion`, for images, frames or
labels. In the tables of labels a cell is the share that is wrong afterwards, in brackets the share
of right labels that were damaged, both in percent; means over the seeds. `correct` (and `found`
and the given labels) was measured on more seeds than the other methods, and so shows the share
before, too, and in square brackets the share afterwards for each seed."""


def _seeds(results: dict[str, Any], name: str, row: Row) -> list[str]:
    kind, percent = row
    seeds = [str(c.seed) for c in CONDITIONS if (c.set, c.kind, c.percent) == (name, *row)]
    return [seed for seed in seeds if results.get(f"{name}/{kind}/{percent}/{seed}")]


def _found(results: dict[str, Any], name: str, row: Row, method: str) -> list[dict[str, Any]]:
    """Results of a method, a seed each."""
    kind, percent = ("none", 0) if method == _CLEAN else row
    cells = (
        results.get(f"{name}/{kind}/{percent}/{seed}", {}).get(method)
        for seed in _seeds(results, name, row)
    )
    return [cell for cell in cells if cell is not None]


def _set(results: dict[str, Any], name: str, rows: Sequence[Row], about: str) -> str:
    lines = [f"## {name}", "", about, "", f"**Labels**, {_UNITS[name]} in percent:", ""]
    changing = [m for m in METHODS if m != _CLEAN and _any(results, name, rows, m, "labels")]
    lines += _table(["errors", "found", *(_title(m) for m in changing)])
    for row in rows:
        cells = [
            _labels_cell(_found(results, name, row, method), method == "default")
            for method in changing
        ]
        lines.append(_line([_row_name(row), _detection(results, name, row), *cells]))
    lines += _estimates(results, name, rows)
    trained = [m for m in METHODS if _any(results, name, rows, m, "held_out")]
    if not trained:
        return "\n".join(lines)
    scores = " / ".join(_SCORE_NAMES[score] for score in _SCORES[name])
    lines += ["", f"**Models**, {scores} on held-out data (number of seeds):", ""]
    trained.sort(key=lambda method: method != _CLEAN)
    lines += _table(["errors", *(_title(m) for m in trained)])
    for row in rows:
        cells = [_model_cell(_found(results, name, row, m), _SCORES[name]) for m in trained]
        lines.append(_line([_row_name(row), *cells]))
    return "\n".join(lines)


def _estimates(results: dict[str, Any], name: str, rows: Sequence[Row]) -> list[str]:
    """What the dry run says is wrong beside what is, where checkpoints never saw the labels."""
    lines = []
    for row in rows:
        for cell in _found(results, name, row, "default"):
            if not is_by_folds(name):
                continue
            said = [100 * cell["facts"][f"estimated_{when}"] for when in ("before", "after")]
            true = [100 * cell["labels"][f"wrong_{when}"] for when in ("before", "after")]
            pairs = zip(said, true, strict=True)
            shown = [f"{a:.2f} of {b:.2f} ({100 * (a / b - 1):+.0f}%)" for a, b in pairs]
            lines.append(_line([_row_name(row), *shown]))
    if not lines:
        return []
    titles = ["errors", "said to be wrong before, of what is", "afterwards, of what is"]
    head = "**The estimate** of the dry run, labels in percent, a row each seed:"
    return ["", head, "", *_table(titles), *lines]


def _any(results: dict[str, Any], name: str, rows: Sequence[Row], method: str, key: str) -> bool:
    return any(cell[key] for row in rows for cell in _found(results, name, row, method))


def _title(method: str) -> str:
    return _NAMES[method]


def _row_name(row: Row) -> str:
    return f"{row[0]}, {row[1]}%"


def _table(titles: Sequence[str]) -> list[str]:
    return [_line(titles), "|---" * len(titles) + "|"]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _labels_cell(cells: Sequence[dict[str, Any]], with_before: bool) -> str:
    changes = [cell["labels"] for cell in cells if cell["labels"]]
    if not changes:
        return "refused" if any(cell["refused"] for cell in cells) else "-"
    after = 100 * _mean([change["wrong_after"] for change in changes])
    damaged = 100 * _mean([change["damaged"] for change in changes])
    if with_before:
        before = 100 * _mean([change["wrong_before"] for change in changes])
        each = ", ".join(f"{100 * change['wrong_after']:.2f}" for change in changes)
        seeds = f" [{each}]" if len(changes) > 1 else ""
        return f"{before:.2f} -> {after:.2f} ({damaged:.2f}){seeds}"
    return f"{after:.2f} ({damaged:.2f})"


def _detection(results: dict[str, Any], name: str, row: Row) -> str:
    facts = [cell["facts"] for cell in _found(results, name, row, "noisy")]
    if not facts:
        return "-"
    return " / ".join(f"{_mean([fact[m] for fact in facts]):.2f}" for m in ("auroc", "auprc"))


def _model_cell(cells: Sequence[dict[str, Any]], scores: Sequence[str]) -> str:
    found = [cell["held_out"] for cell in cells if cell["held_out"]]
    if not found:
        return "-"
    means = " / ".join(f"{_mean([item[score] for item in found]):.3f}" for score in scores)
    return f"{means} ({len(found)})"


def _harm(results: dict[str, Any]) -> str:
    """The estimate of labels harmed against those that were, all conditions together."""
    lines = [
        "## The estimate of labels harmed",
        "",
        "Share of all labels, mean over what was measured: the estimate that every correction",
        "prints, and what was harmed. While training a label can change more than once, and the",
        "estimate counts each time.",
        "",
        *_table(["set", "method", "estimated, %", "harmed, %"]),
    ]
    first = len(lines)
    for name in MAKERS:
        for method in METHODS:
            cells = [
                methods[method]
                for condition, methods in results.items()
                if condition.startswith(f"{name}/") and method in methods
            ]
            known = [c for c in cells if "estimated_damaged" in c["facts"] and c["labels"]]
            if known:
                said = 100 * _mean([cell["facts"]["estimated_damaged"] for cell in known])
                real = 100 * _mean(
                    [c["labels"]["damaged"] * (1 - c["labels"]["wrong_before"]) for c in known]
                )
                lines.append(_line([name, _title(method), f"{said:.2f}", f"{real:.2f}"]))
    return "\n".join(lines) if len(lines) > first else ""


def _not_run(results: dict[str, Any]) -> str:
    missing = []
    for condition in CONDITIONS:
        done = results.get(condition.name, {})
        if not done:
            missing.append(f"`{condition.name}`")
        elif "adele" not in done and condition.set == "camvid":
            missing.append(f"`{condition.name}` (in part)")
    if not missing:
        return ""
    on_request = ", ".join(f"`{method}`" for method in ON_REQUEST)
    return (
        "## Not yet run\n\n`make correction` goes on where it was stopped "
        f"({on_request}: with `--methods`). Set, kind, percent and seed: {', '.join(missing)}."
    )
