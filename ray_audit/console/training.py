"""What a person sees of a training."""

import shlex

from rich.markup import escape

from ray_audit.console.lines import LINE, SafeConsole
from ray_audit.training.loop import EpochDone
from ray_audit.training.train import Trained


def print_epoch(fold: int | None, done: EpochDone) -> None:
    """One epoch, on a line."""
    where = "" if fold is None else f"fold {fold}, "
    failed = f", {done.num_failed} not readable" if done.num_failed else ""
    correction = f"; {done.correction}" if done.correction else ""
    SafeConsole(stderr=True).print(
        f"{where}epoch {done.epoch} of {done.num_epochs}: loss {done.loss:.4f}, "
        f"{done.num_samples} samples{failed} in {done.duration_s:.0f} s{correction}",
        markup=False,
        **LINE,
    )


def print_training(trained: Trained, spec: str) -> None:
    """What was trained, what correction did, the best epoch, and what to type next."""
    console = SafeConsole(stderr=True)
    for note in trained.notes:
        console.print(f"[yellow]note[/] {escape(note)}", **LINE)
    lines = []
    for model in trained.models:
        what = "Trained" if model.fold is None else f"Fold {model.fold}: trained"
        lines.append(f"{what} {model.num_new_epochs} of {len(model.checkpoints)} epochs")
        if model.harm is not None:
            lines.append(
                f"  {model.harm.num_changed} labels were corrected; by the model's own "
                f"probabilities about {model.harm.num_harmed:.1f} of them were right before"
            )
        lines.append(f"  ray-audit run {shlex.quote(model.spec or trained.spec or spec)}")
    if trained.held_out is not None:
        lines += trained.held_out.sentences
    if trained.fold_map is not None:
        lines.append(f"Folds: {trained.fold_map}; all of them as one run:")
        lines.append(f"  ray-audit run {shlex.quote(trained.spec or spec)} --folds")
    for line in lines:
        console.print(line, markup=False, **LINE)
