"""What was planted, corrected or exported, and what to type next."""

import shlex
from typing import Any

from rich.console import Console
from rich.markup import escape

from ray_audit import storage
from ray_audit.console.lines import LINE, SafeConsole
from ray_audit.task import Task

_NUM_SHOWN = 10


def print_injection(
    done: dict[str, Any], limit: int | None, console: Console | None = None
) -> None:
    """What was planted where, and what to type next."""
    console = console or SafeConsole(stderr=True)
    items = {Task.FRAMES: "sequences", Task.DENSE: "masks"}.get(done["labels"], "samples")
    num_planted = sum(done["kinds"].values())
    verb = "Would plant" if done["spec"] is None else "Planted"
    console.print(f"{verb} errors in {num_planted} of {done['num_items']} {items}:", **LINE)
    for kind, number in done["kinds"].items():
        console.print(f"  {kind:<12} {number}", **LINE)
    for note in done["notes"]:
        console.print(f"[yellow]note[/] {escape(note)}", **LINE)
    if done["spec"] is None:
        console.print("A dry run: nothing was written.", **LINE)
        return
    only = f" --limit {limit}" if limit else ""
    model = _model_folder(done["spec"])
    for line in (
        f"{done['num_errors']} of {done['num_samples']} samples have a wrong label now.",
        f"Truth:         {done['truth']}",
        f"Specification: {done['spec']}",
        "Train a model on these labels (your own: name its checkpoints in the specification):",
        f"  ray-audit train {shlex.quote(done['spec'])} --to {shlex.quote(model)}",
        f"  ray-audit run {shlex.quote(storage.join(model, 'spec.yaml'))}{only}",
        f"  ray-audit evaluate {shlex.quote(storage.join(model, 'audit'))} "
        f"--truth {shlex.quote(done['truth'])}",
    ):
        console.print(line, markup=False, **LINE)


def _model_folder(spec: str) -> str:
    """Folder for a model that is trained by a copy of a specification."""
    return storage.join(spec.rpartition("/")[0], "model")


def print_correction(done: dict[str, Any], console: Console | None = None) -> None:
    """What was changed, what was not and why, and what to type next."""
    console = console or SafeConsole(stderr=True)
    unit = {Task.DENSE: "pixels", Task.FRAMES: "frames"}.get(done["labels"], "labels")
    verb = "Would change" if done["spec"] is None else "Changed"
    lines = [
        f"{verb} {done['num_changed']} {unit} by run {done['run_id']}, rule {done['rule']}, "
        f"confidence above {done['confidence']:g}{_of_segments(done)}:"
    ]
    lines += [f"  {p['given']} -> {p['corrected']}  {p['num']}" for p in done["pairs"]]
    lines.append(
        f"About {done['num_harmed']:.1f} of them may have been right (an estimate from the "
        "probabilities, without what reviewers decided; models that are too sure make it too low)."
    )
    if done["wrong"] is not None:
        lines.append(f"{done['wrong']['sentence']}.")
    lines += [f"{number} {outcome}" for outcome, number in done["outcomes"].items()]
    lines += _what_to_do(done)
    for outcome, named in done["named"].items():
        lines += [f"  {outcome}: {name}" for name in named]
    if done["ignored_decisions"]:
        few = ", ".join(done["ignored_decisions"][:_NUM_SHOWN])
        num = len(done["ignored_decisions"])
        lines.append(f"{num} decisions are of findings that this run does not have: {few}")
    lines += [f"note: {note}" for note in done["notes"]]
    if done["spec"] is None:
        lines.append("A dry run: nothing was written.")
    else:
        model = _model_folder(done["spec"])
        lines += [
            f"Corrections:   {done['table']}",
            f"Specification: {done['spec']}",
            "The given labels are as they were. Train on the new ones, then audit them:",
            f"  ray-audit train {shlex.quote(done['spec'])} --to {shlex.quote(model)}",
            f"  ray-audit run {shlex.quote(storage.join(model, 'spec.yaml'))}",
        ]
    for line in lines:
        console.print(line, markup=False, **LINE)


def _what_to_do(done: dict[str, Any]) -> list[str]:
    """Where findings are there and nothing changes."""
    if done["num_changed"] or not done["outcomes"].get("kept"):
        return []
    lines = ["No finding is sure enough to change a label. `ray-audit review` lets people decide."]
    if done["wrong"] is not None and done["wrong"]["is_lower_bound"]:
        lines.append(
            "Checkpoints that never saw the labels tell more: `ray-audit train --folds 3`, then "
            "`ray-audit run --folds`, and correct by that run."
        )
    return lines


def _of_segments(done: dict[str, Any]) -> str:
    gate = done["segment_confidence"]
    is_other = done["labels"] == "frames" and done["rule"] == "findings" and gate is not None
    return f" (of whole segments {gate:g})" if is_other else ""


def print_export(done: dict[str, Any], console: Console | None = None) -> None:
    """What was written where, and what was left out."""
    console = console or SafeConsole(stderr=True)
    for note in done["notes"]:
        console.print(f"[yellow]note[/] {escape(note)}", **LINE)
    lines = [f"{done['num_findings']} findings of {done['run_id']} as {done['format']}:"]
    lines += [f"  {done['to'].rstrip('/')}/{name}" for name in done["files"][:_NUM_SHOWN]]
    if len(done["files"]) > _NUM_SHOWN:
        lines.append(f"  and {len(done['files']) - _NUM_SHOWN} more")
    for line in lines:
        console.print(line, markup=False, **LINE)
