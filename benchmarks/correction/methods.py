"""What is compared: training on given, right and corrected labels, correction while training."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks.correction.measure import (
    LabelChange,
    Labels,
    compare,
    held_out_scores,
    labels_of,
    predictions,
    sample_ids,
)
from benchmarks.correction.problems import Condition, Problem, Section
from ray_audit.config import AuditConfig
from ray_audit.corrections.correct import correct
from ray_audit.corrections.options import CorrectionOptions
from ray_audit.corrections.refurbish import refurbish
from ray_audit.corrections.write_labels import write_labels
from ray_audit.engine.backends.local import LocalBackend
from ray_audit.engine.run.audit import run_audit
from ray_audit.engine.run.fold_run import run_folds
from ray_audit.errors import SpecificationError
from ray_audit.formats.label_changes import FrameChange, LabelChanges
from ray_audit.sample_ids import Owner
from ray_audit.sources import list_dataset
from ray_audit.tables.run_tables import RunTables
from ray_audit.training.correction import read_corrected
from ray_audit.training.fold_models import held_out_parts
from ray_audit.training.train import train

GATE = 0.8
_DATE = "2000-01-01"


@dataclass(frozen=True)
class Measured:
    """What one method gave.

    Attributes:
        held_out: scores of the model's last checkpoint; empty where none was trained.
        labels: what became of the labels; None where they stay as they are.
        facts: further numbers.
        refused: why the method would not run.
    """

    held_out: dict[str, float] = field(default_factory=dict)
    labels: LabelChange | None = None
    facts: dict[str, float] = field(default_factory=dict)
    refused: str = ""

    def as_json(self) -> dict[str, Any]:
        """Rounded, without what is empty."""
        return json.loads(json.dumps(asdict(self)), parse_float=lambda text: round(float(text), 5))


class Bench:
    """One condition: its problem, and what its methods share.

    Args:
        condition: which.
        problem: prepared data.
        folder: of this condition.
    """

    def __init__(self, condition: Condition, problem: Problem, folder: Path) -> None:
        self.condition, self.problem, self.folder = condition, problem, folder

    def config(self, name: str, dataset: Section, correction: Section | None = None) -> AuditConfig:
        """Specification of a training and its audit, in a folder of its own."""
        training = self.problem.training | {"seed": self.condition.seed}
        if correction:
            training |= {"correction": correction}
        values = {
            "name": self.condition.name.replace("/", "-"),
            "dataset": dataset,
            "model": self.problem.model,
            "checkpoints": str(self.folder / name / "epoch_*.safetensors"),
            "scores": ["csl", "softmin"] if self.problem.form == "dense" else ["csl"],
            "training": training,
            "output": str(self.folder / "audit"),
        }
        return AuditConfig.parse(values, source=name)

    def index_dir(self, name: str) -> Path:
        """A fresh folder for a label index."""
        path = self.folder / "index" / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    def trained(self, config: AuditConfig) -> list[str]:
        """Train, or go on; the checkpoints."""
        return list(train(config, local=True).models[0].checkpoints)

    def held_out(self, checkpoint: str) -> dict[str, float]:
        """Scores of a checkpoint."""
        config = self.config("held_out", self.problem.held_out)
        found = predictions(config, self.problem.form, checkpoint, self.index_dir("held_out"))
        return held_out_scores(found, self.problem.unscored)

    @cached_property
    def given(self) -> dict[Owner, np.ndarray]:
        """The given labels."""
        return self._labels(self.problem.given)

    @cached_property
    def true(self) -> dict[Owner, np.ndarray]:
        """The right ones."""
        return self._labels(self.problem.true)

    def _labels(self, dataset: Section) -> dict[Owner, np.ndarray]:
        return labels_of(self.config("labels", dataset), self.index_dir("labels"))

    def change(self, after: Labels) -> LabelChange:
        """Hold corrected labels against given and right ones."""
        return compare(self.true, self.given, after)

    @cached_property
    def noisy(self) -> tuple[AuditConfig, list[str]]:
        """The training on given labels."""
        config = self.config("noisy", self.problem.given)
        return config, self.trained(config)

    @cached_property
    def run(self) -> RunTables:
        """The audit of that training."""
        config, _ = self.noisy
        if self.problem.is_by_folds:
            parts = held_out_parts(config)
            outcome = run_folds(config, parts, local=True, logical_date=_DATE)
        else:
            outcome = run_audit(config, local=True, logical_date=_DATE)
        return RunTables(outcome.run_uri, outcome.manifest)

    def corrected(
        self, name: str, options: CorrectionOptions
    ) -> tuple[Section, LabelChange, dict[str, float]]:
        """Correct by the run; the dataset with the new labels, and what changed."""
        target = self.folder / "corrected" / name
        shutil.rmtree(target, ignore_errors=True)
        done = correct(self.run, LocalBackend, str(target), options)
        config = AuditConfig.load(target / "spec.yaml")
        change = self.change(labels_of(config, self.index_dir(name)))
        harmed = done.num_harmed / sum(labels.size for labels in self.true.values())
        facts = {"estimated_damaged": harmed, "memorised": float(done.memorised)}
        if done.wrong is not None:
            facts |= {
                "estimated_before": done.wrong.before,
                "estimated_after": done.wrong.afterwards,
            }
        return config.dataset.model_dump(mode="json", exclude_unset=True), change, facts


def noisy(bench: Bench) -> Measured:
    """The given labels as they are; how well the audit finds the wrong ones."""
    _, checkpoints = bench.noisy
    scores = bench.held_out(checkpoints[-1]) if bench.problem.held_out else {}
    return Measured(scores, bench.change(bench.given), _detection(bench))


def _detection(bench: Bench) -> dict[str, float]:
    """How well `suspicion` ranks images, or frames, with a wrong label first."""
    form = bench.problem.form
    wrong = {
        name: is_wrong
        for owner in bench.true
        for name, is_wrong in zip(
            sample_ids({owner: bench.true[owner]}, form),
            _wrong(bench.true[owner], bench.given[owner], form),
            strict=True,
        )
    }
    scores = bench.run.whole("scores").select(["sample_id", "suspicion"]).to_pydict()
    truth = [wrong[name] for name in scores["sample_id"]]
    return {
        "auroc": float(roc_auc_score(truth, scores["suspicion"])),
        "auprc": float(average_precision_score(truth, scores["suspicion"])),
        "num_findings": float(sum(f.num_rows for f in bench.run.manifest.tables["findings"])),
    }


def _wrong(true: np.ndarray, given: np.ndarray, form: str) -> list[bool]:
    return (true != given).tolist() if form == "frames" else [bool((true != given).any())]


def clean(bench: Bench) -> Measured:
    """The right labels."""
    checkpoints = bench.trained(bench.config("clean", bench.problem.true))
    return Measured(bench.held_out(checkpoints[-1]))


def last_epoch(bench: Bench) -> Measured:
    """Every label that the last checkpoint is sure is another class; trained anew."""
    config, checkpoints = bench.noisy
    form = bench.problem.form
    seen = predictions(config, form, checkpoints[-1], bench.index_dir("last_epoch"))
    by_id = {predicted.sample_id: predicted.p for predicted in seen}
    after = {}
    for owner, labels in bench.given.items():
        p = [by_id[name] for name in sample_ids({owner: labels}, form)]
        after[owner] = refurbish(labels, np.stack(p, -1) if form == "frames" else p[0], GATE).labels
    return _retrained(bench, "last_epoch", _written(bench, after), bench.change(after), {})


def _written(bench: Bench, after: Labels) -> Section:
    """A dataset with some labels changed."""
    target = bench.folder / "corrected" / "last_epoch"
    shutil.rmtree(target, ignore_errors=True)
    index_dir = bench.index_dir("written")
    config = bench.config("written", bench.problem.given)
    listing = list_dataset(config.dataset, index_dir)
    changes = LabelChanges(
        frames={
            owner: FrameChange(np.arange(len(labels)), labels.astype(np.int32))
            for owner, labels in after.items()
            if labels.ndim == 1
        },
        classes={owner: int(labels) for owner, labels in after.items() if labels.ndim == 0},
        mask=lambda owner: after[owner].astype(np.uint8),
    )
    written = write_labels(config.dataset, listing, changes, str(target))
    return written.dataset.model_dump(mode="json", exclude_unset=True)


def by_default(bench: Bench) -> Measured:
    """What `correct` changes by default; labels only."""
    options = CorrectionOptions(background=bench.problem.background_name)
    _, change, facts = bench.corrected("default", options)
    return Measured(labels=change, facts=facts)


def findings(bench: Bench) -> Measured:
    """`correct --rule findings`: all that the gate lets pass; trained anew."""
    dataset, change, facts = bench.corrected(
        "findings", CorrectionOptions("findings", background=bench.problem.background_name)
    )
    if bench.problem.is_by_folds:
        return Measured(labels=change, facts=facts)
    return _retrained(bench, "findings", dataset, change, facts)


def flagged(bench: Bench) -> Measured:
    """`correct --rule flagged`, told the true share of wrong samples; labels only."""
    rate = bench.problem.error_rate
    options = CorrectionOptions(
        "flagged", flagged_fraction=rate, background=bench.problem.background_name
    )
    _, change, facts = bench.corrected("flagged", options)
    return Measured(labels=change, facts=facts)


def adele_after(bench: Bench) -> Measured:
    """`correct --rule adele` of all classes but the background; labels only."""
    try:
        _, change, facts = bench.corrected(
            "adele_after", CorrectionOptions("adele", background=bench.problem.background_name)
        )
    except SpecificationError as error:
        return Measured(refused=str(error))
    return Measured(labels=change, facts=facts)


def _retrained(
    bench: Bench, name: str, dataset: Section, change: LabelChange, facts: dict[str, float]
) -> Measured:
    checkpoints = bench.trained(bench.config(name, dataset))
    return Measured(bench.held_out(checkpoints[-1]), change, facts)


def adele(bench: Bench) -> Measured:
    """`train --correct adele`: its loss over three scales, and labels corrected from the onsets."""
    settings = {"method": "adele", "background": bench.problem.background}
    return _while_training(bench, "adele", settings)


def multi_scale(bench: Bench) -> Measured:
    """ADELE's loss alone: no label is sure enough to change. What of `adele` is not correction."""
    settings = {"method": "adele", "background": bench.problem.background, "confidence": 1.0}
    return _while_training(bench, "multi_scale", settings)


def adele_labels(bench: Bench) -> Measured:
    """`train --correct adele` with plain cross-entropy: what of `adele` is correction."""
    settings = {"method": "adele", "background": bench.problem.background, "consistency": 0}
    return _while_training(bench, "adele_labels", settings)


def refurbish_by_loss(bench: Bench) -> Measured:
    """`train --correct refurbish`, told the true share of wrong samples."""
    return _refurbished(bench, "loss")


def refurbish_by_vog(bench: Bench) -> Measured:
    """The same by VoG of the training's own gradients."""
    return _refurbished(bench, "vog")


def _refurbished(bench: Bench, flag_by: str) -> Measured:
    settings = {
        "method": "refurbish",
        "flag_by": flag_by,
        "flagged_fraction": bench.problem.error_rate,
        "background": bench.problem.background,
    }
    return _while_training(bench, f"refurbish_by_{flag_by}", settings)


def _while_training(bench: Bench, name: str, correction: Section) -> Measured:
    trained = train(bench.config(name, bench.problem.given, correction), local=True).models[0]
    after = dict(bench.given)
    by_key = {
        sample_ids({owner: given}, bench.problem.form)[0]: owner for owner, given in after.items()
    }
    for file in sorted((bench.folder / name / "corrected").glob("epoch_*.parquet")):
        after |= {by_key[key]: labels for key, labels in read_corrected(str(file)).items()}
    assert trained.harm is not None
    harmed = trained.harm.num_harmed / sum(labels.size for labels in bench.true.values())
    facts = {"estimated_damaged": harmed, "num_refused": float(trained.harm.num_refused)}
    return Measured(bench.held_out(trained.checkpoints[-1]), bench.change(after), facts)


METHODS: dict[str, Callable[[Bench], Measured]] = {
    "noisy": noisy,
    "clean": clean,
    "default": by_default,
    "findings": findings,
    "refurbish_by_loss": refurbish_by_loss,
    "last_epoch": last_epoch,
    "adele": adele,
    "flagged": flagged,
    "adele_after": adele_after,
    "refurbish_by_vog": refurbish_by_vog,
    "adele_labels": adele_labels,
    "multi_scale": multi_scale,
}
"""In the order in which they run."""

ON_REQUEST = ("adele_labels", "multi_scale")
"""Take `adele` apart; run where `--methods` names them."""


def methods_for(problem: Problem) -> list[str]:
    """ADELE is defined for masks, VoG of the input for images; by folds labels are compared."""
    if problem.is_by_folds:
        return ["noisy", "default", "findings"]
    masks_only = {"adele", "adele_after", "adele_labels", "multi_scale"}
    left_out = {"dense": set(), "class": masks_only, "frames": masks_only | {"refurbish_by_vog"}}
    return [name for name in METHODS if name not in left_out[problem.form]]
