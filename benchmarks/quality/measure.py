"""One recipe and seed: prepare, train, audit with the engine, join the truth, evaluate."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from benchmarks.plain_training import Batches, train_and_keep
from benchmarks.quality.batches import ClipBatches
from benchmarks.quality.case import Case, ItemBatches, Part, Training, class_weights
from benchmarks.quality.recipes import Recipe
from benchmarks.quality.rivals import PREFIX, rival_scores
from ray_audit.checkpoints.factory import build_model
from ray_audit.checkpoints.loading import load_weights
from ray_audit.config import AuditConfig, ModelConfig
from ray_audit.engine.run.audit import RunOutcome, run_audit
from ray_audit.evaluation.detection import Detection, evaluate_scores
from ray_audit.evaluation.truth import directed_columns

TRUTH_COLUMNS = ("is_error", "kind")
_THINNED = 4  # every fourth checkpoint
_LOGIT_VOG, _LOSS_VOG = "vog_logit", "vog"
_DATE = "2000-01-01"  # of the runs: the audit is made anew each time


@dataclass(frozen=True)
class Found:
    """What one recipe and seed gave.

    Attributes:
        detections: a row a score and kind of error.
        samples: a row a sample: directed scores, rivals, `is_error` and `kind`.
        directions: of the columns of `samples`.
        extras: further numbers, durations among them.
    """

    detections: list[Detection]
    samples: pd.DataFrame
    directions: dict[str, str]
    extras: dict[str, float]


def measure(recipe: Recipe, seed: int, data: Path, work: Path, *, local: bool = True) -> Found:
    """Run one recipe with one seed; trainings that `work` already holds are not repeated.

    Args:
        recipe: what to run.
        seed: of everything in it.
        data: folder of the real sets.
        work: folder for copies, checkpoints and audits.
        local: audit in this process; else on Ray.
    """
    folder = (work / recipe.name / f"seed{seed}").resolve()
    case = recipe.make(data, folder, seed)
    extras, tables, directions = dict(case.extras), [], dict[str, str]()
    durations = {"train_s": 0.0, "audit_s": 0.0}
    for part in case.parts:
        started = time.monotonic()
        checkpoints = train(case, part, recipe.training, folder / part.name, seed)
        checkpoints = checkpoints[::-1][:: recipe.every][::-1]
        trained = time.monotonic()
        scores, directed = audit(recipe, seed, case, part, checkpoints, local=local)
        durations["train_s"] += trained - started
        durations["audit_s"] += time.monotonic() - trained
        rivals, more = rival_scores(case, part, model_at(case, checkpoints[-1]))
        tables.append(scores.merge(rivals, on="sample_id", how="left", validate="1:1"))
        directions |= directed | {
            name: "lower" for name in map(str, rivals) if name.startswith(PREFIX)
        }
        for name, value in more.items():
            extras[name] = extras.get(name, 0.0) + value / len(case.parts)
    samples = _with_truth(pd.concat(tables, ignore_index=True), case)
    extras |= durations | _fitted(samples)
    samples = samples[["sample_id", *TRUTH_COLUMNS, *directions]]
    detections = evaluate_scores(
        {name: samples[name].to_numpy(np.float64) for name in directions},
        directions,
        samples["is_error"].to_numpy(),
        samples["kind"].fillna("").to_numpy(),
    )
    return Found(detections, samples, directions, extras)


def train(case: Case, part: Part, training: Training, folder: Path, seed: int) -> list[Path]:
    """Train one part, or take the checkpoints that a complete training left."""
    checkpoint_dir = folder / "checkpoints"
    done = folder / "trained"
    if not done.exists():
        shutil.rmtree(checkpoint_dir, ignore_errors=True)
        model_seed = seed + 1000 * part.model_seed
        with torch.random.fork_rng([]):
            torch.manual_seed(model_seed)
            model = build_model(ModelConfig.model_validate(case.model)).requires_grad_(True)
        weights = class_weights(case, part.trained) if training.is_weighted else None
        with _one_thread():
            train_and_keep(
                model,
                _batches(case, part, training, model_seed),
                num_epochs=training.num_epochs,
                checkpoint_dir=checkpoint_dir,
                learning_rate=training.learning_rate,
                seed=model_seed,
                class_weights=weights,
                one_cycle=training.one_cycle,
            )
        done.touch()
    return sorted(checkpoint_dir.glob("epoch_*.safetensors"))


def _batches(case: Case, part: Part, training: Training, seed: int) -> Batches:
    if case.clip_frames is not None:
        chosen = part.trained.tolist()
        return ClipBatches(
            tuple(case.inputs[i] for i in chosen),
            tuple(case.targets[i] for i in chosen),
            case.clip_frames,
            training.batch_size,
            seed,
        )
    return ItemBatches(case, part.trained, training.batch_size, seed, training.is_flipped)


@contextmanager
def _one_thread() -> Iterator[None]:
    """The same weights whatever the number of cores."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)


def audit(
    recipe: Recipe, seed: int, case: Case, part: Part, checkpoints: list[Path], *, local: bool
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Audit one part with the engine; the scores with their directions."""
    values = _specification(recipe, case, part, checkpoints)
    table = _audited(values, local)
    directions = directed_columns(table.schema)
    directions = {k: v for k, v in directions.items() if table[k].null_count < table.num_rows}
    scores = table.to_pandas()
    if seed in recipe.thinned_seeds:
        few = checkpoints[_THINNED - 1 :: _THINNED]
        for target, name in (("logit", _LOGIT_VOG), ("loss", _LOSS_VOG)):
            if name not in directions:
                vog = _thinned_vog(values, few, target, local)
                scores = scores.merge(
                    vog.rename(columns={"vog": name}), on="sample_id", validate="1:1"
                )
                directions[name] = "higher"
    return scores, directions


def audited_run(recipe: Recipe, case: Case, part: Part, checkpoints: list[Path]) -> RunOutcome:
    """Audit one part in this process; the whole run."""
    return _run(_specification(recipe, case, part, checkpoints), local=True)


def _specification(
    recipe: Recipe, case: Case, part: Part, checkpoints: list[Path]
) -> dict[str, Any]:
    return {
        "name": f"quality-{recipe.name}",
        "dataset": case.dataset | {"uri": part.uri},
        "model": case.model,
        "checkpoints": [str(path) for path in checkpoints],
        "protocol": recipe.protocol,
        "scores": ["csl", "softmin"] + (["vog"] if recipe.has_gradients else []),
        "output": str(checkpoints[0].parents[1] / "audit"),
    }


def _thinned_vog(
    values: dict[str, Any], checkpoints: list[Path], target: str, local: bool
) -> pd.DataFrame:
    """`sample_id` and `vog` from some checkpoints: backward passes are the dearest of all."""
    changed = {
        "checkpoints": [str(path) for path in checkpoints],
        "scores": ["vog"],
        "vog": {"target": target},
        "output": f"{values['output']}-{target}",
    }
    return _audited(values | changed, local).to_pandas()[["sample_id", "vog"]]


def _audited(values: dict[str, Any], local: bool) -> Any:
    outcome = _run(values, local)
    return outcome.manifest.table(outcome.run_uri, "scores")


def _run(values: dict[str, Any], local: bool) -> RunOutcome:
    shutil.rmtree(values["output"], ignore_errors=True)
    config = AuditConfig.parse(values, source=values["name"])
    return run_audit(config, local=local, logical_date=_DATE)


def _with_truth(scores: pd.DataFrame, case: Case) -> pd.DataFrame:
    joined = scores.merge(case.truth.to_pandas(), on="sample_id", how="left", validate="1:1")
    if joined["is_error"].isna().any():
        missing = joined["sample_id"][joined["is_error"].isna()].iloc[0]
        raise SystemExit(f"the truth does not know sample {missing}: recipe and engine disagree")
    return joined.astype({"is_error": bool})


def _fitted(samples: pd.DataFrame) -> dict[str, float]:
    """Whether the last checkpoint predicts the given labels: of wrong ones, memorisation."""
    if samples["label"].isna().all():
        return {}
    agrees = samples["predicted"] == samples["label"]
    return {
        "fitted_fraction": float(agrees.mean()),
        "fitted_wrong_fraction": float(agrees[samples["is_error"]].mean()),
    }


def model_at(case: Case, checkpoint: Path) -> nn.Module:
    model = build_model(ModelConfig.model_validate(case.model))
    load_weights(model, str(checkpoint))
    return model.eval()
