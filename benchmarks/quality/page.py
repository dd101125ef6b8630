"""docs/quality.md, written from the result files by one function."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.quality.recipes import CLASSES, DENSE, RECIPES, SEQUENCES, Recipe
from benchmarks.quality.rivals import PREFIX
from benchmarks.quality.targets import TARGETS
from ray_audit.evaluation.detection import ALL_KINDS

LEARNT = Path(__file__).with_name("learnt.md")
_TITLES = {DENSE: "Masks", SEQUENCES: "Phases of frames", CLASSES: "One label an image"}
_BY_KIND = (
    *("phantoms-20-training", "phantoms-50-training", "camvid-A1", "camvid-A2"),
    *("golf_poses-tcn-training", "golf_poses-tcn-held_out", "golf_swing"),
)

Entries = dict[str, dict[str, Any]]


def page(entries: Entries, ranking: str, learnt: str) -> str:
    """The whole page.

    Args:
        entries: recipe -> its result, see `results.read`.
        ranking: the section on the default ranking, see `ranking_page.section`; may be empty.
        learnt: the closing section.
    """
    parts = [_opening(entries)]
    for kind, title in _TITLES.items():
        measured = [r for n, r in RECIPES.items() if r.kind == kind and n in entries]
        if measured:
            parts.append(_group(title, measured, entries))
    parts += [_targets(entries), ranking, learnt.strip(), _not_run(entries)]
    return "\n\n".join(part for part in parts if part) + "\n"


_OPENING = """# Quality: how well the scores find label errors

Measured with the engine itself by `make quality`, {dates}, seeds as listed, on

    {machines}

This page is written from the result files in `benchmarks/results/`. Every recipe trains a small
model on labels with known errors, keeps each epoch's weights, audits them in one process, and
holds every directed score against the truth. Nothing was tuned on these numbers but the default
ranking, on other seeds than it is shown on (see there). **Rows `suspicion` above that section were
measured while the default ranking was a fixed mix**, but where a recipe names its rule.
Durations are those of a busy machine.

Cells are AUROC / AUPRC, means over the seeds; in brackets the smallest and largest AUPRC where
there were several. A random ranking gets .5 and the error rate. A dash: not computed. `training`:
the checkpoints were trained on the audited labels; `held_out`: they never saw them. **Rows that
begin with `{prefix}` are rivals**: cleanlab's scores from the last checkpoint's probabilities,
in-sample in training audits and out-of-sample in held-out ones. `vog_logit`, and `vog` of CamVid
and CIFAR-10N, come from every fourth checkpoint. What correcting the labels gains is measured in
[correction-quality.md](correction-quality.md)."""


def _opening(entries: Entries) -> str:
    dates = sorted({entry["date"] for entry in entries.values()})
    machines = sorted({entry["machine"] for entry in entries.values()})
    span = " to ".join(dict.fromkeys([dates[0], dates[-1]])) if dates else "nothing yet"
    return _OPENING.format(dates=span, machines="\n    ".join(machines), prefix=PREFIX)


def _group(title: str, recipes: Sequence[Recipe], entries: Entries) -> str:
    lines = [f"## {title}"]
    for name in dict.fromkeys(recipe.set for recipe in recipes):
        of_set = [recipe for recipe in recipes if recipe.set == name]
        lines += ["", f"### {name}", "", *_facts(of_set, entries), ""]
        lines += _scores_table(of_set, entries)
        for recipe in of_set:
            if recipe.name in _BY_KIND:
                lines += ["", f"AUROC by kind of error, {recipe.name}:", ""]
                lines += _kinds_table(entries[recipe.name])
    return "\n".join(lines)


def _facts(recipes: Iterable[Recipe], entries: Entries) -> list[str]:
    lines = []
    for recipe in recipes:
        seeds = entries[recipe.name]["seeds"]
        first = next(iter(seeds.values()))
        rate = first["num_errors"] / first["num_samples"]
        training = [seed["extras"]["train_s"] for seed in seeds.values()]
        auditing = [seed["extras"]["audit_s"] for seed in seeds.values()]
        fitted = [seed["extras"].get("fitted_wrong_fraction") for seed in seeds.values()]
        known = [value for value in fitted if value is not None]
        memory = (
            f"; the last checkpoint predicts {sum(known) / len(known):.0%} of the wrong labels"
            if known
            else ""
        )
        plural = "s" if len(seeds) > 1 else ""
        lines.append(
            f"- `{recipe.name}`: {recipe.about}; seed{plural} {', '.join(sorted(seeds))}; "
            f"{first['num_samples']} samples, {rate:.3g} wrong{memory}.{_ranked_by(seeds)} "
            f"Training {max(training):.0f} s, audit {max(auditing):.0f} s."
        )
    return lines


def _ranked_by(seeds: dict[str, dict[str, Any]]) -> str:
    """Which rule of `measures.fit` gave `suspicion`; nothing of the fixed mix that was before."""
    rules = {seed.get("rule") for seed in seeds.values()}
    return "" if None in rules else f" `suspicion` by rule {', '.join(map(str, sorted(rules)))}."


def _scores_table(recipes: Sequence[Recipe], entries: Entries) -> list[str]:
    summaries = [entries[recipe.name]["summary"] for recipe in recipes]
    lines = [f"| score | {' | '.join(_short(recipe) for recipe in recipes)} |"]
    lines.append("|---" * (len(recipes) + 1) + "|")
    for score in _ordered(summaries):
        cells = [_cell(summary.get(score, {}).get(ALL_KINDS, {})) for summary in summaries]
        lines.append(f"| `{score}` | {' | '.join(cells)} |")
    return lines


def _short(recipe: Recipe) -> str:
    return recipe.name.removeprefix(f"{recipe.set}-")


def _ordered(summaries: Sequence[dict[str, Any]]) -> list[str]:
    """Ours first, then rivals; each by mean AUPRC, and the default ranking on top."""

    def place(score: str) -> tuple[bool, bool, float]:
        found = [s[score][ALL_KINDS]["auprc"]["mean"] for s in summaries if _has(s, score)]
        mean = sum(found) / len(found) if found else 0.0
        return score.startswith(PREFIX), score != "suspicion", -mean

    return sorted({score for summary in summaries for score in summary}, key=place)


def _has(summary: dict[str, Any], score: str) -> bool:
    return "auprc" in summary.get(score, {}).get(ALL_KINDS, {})


def _cell(metrics: dict[str, Any]) -> str:
    if "auprc" not in metrics:
        return "-"
    auroc, auprc = metrics["auroc"]["mean"], metrics["auprc"]
    spread = ""
    if auprc["num_seeds"] > 1:
        spread = f" ({_decimal(auprc['min'])}-{_decimal(auprc['max'])})"
    return f"{_decimal(auroc)} / {_decimal(auprc['mean'])}{spread}"


def _decimal(value: float) -> str:
    """Three digits, without the zero before the point."""
    return f"{value:.3f}".replace("0.", ".", 1) if 0 <= value < 0.9995 else f"{value:.3f}"


def _kinds_table(entry: dict[str, Any]) -> list[str]:
    summary = entry["summary"]
    kinds = sorted({kind for score in summary.values() for kind in score} - {ALL_KINDS})
    lines = [f"| score | {' | '.join(kinds)} |", "|---" * (len(kinds) + 1) + "|"]
    for score in _ordered([summary]):
        cells = [
            _decimal(summary[score][kind]["auroc"]["mean"])
            if "auroc" in summary[score].get(kind, {})
            else "-"
            for kind in kinds
        ]
        lines.append(f"| `{score}` | {' | '.join(cells)} |")
    return lines


def _targets(entries: Entries) -> str:
    lines = [
        "## Targets",
        "",
        "Set beforehand from prototypes of the same recipes; means over the seeds that were run.",
        "",
        "| recipe | target | measured | |",
        "|---|---|---|---|",
    ]
    for target in TARGETS:
        value = target.measured(entries)
        if value is None:
            lines.append(f"| {target.recipe} | {target.text} | - | not yet run |")
            continue
        verdict = "met" if target.is_met(value) else "**not met**"
        reason = f": {target.if_missed}" if target.if_missed and not target.is_met(value) else ""
        lines.append(f"| {target.recipe} | {target.text} | {value:.3f} | {verdict}{reason} |")
    return "\n".join(lines)


def _not_run(entries: Entries) -> str:
    missing = []
    for name, recipe in RECIPES.items():
        done = entries.get(name, {"seeds": {}})["seeds"]
        seeds = [str(seed) for seed in recipe.seeds if str(seed) not in done]
        if seeds:
            missing.append(f"`{name}` (seed {', '.join(seeds)})")
    if not missing:
        return ""
    return "## Not yet run\n\nRunnable with `python -m benchmarks.quality --only NAME`:\n" + (
        "".join(f"\n- {line}" for line in missing)
    )
