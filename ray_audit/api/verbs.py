"""What can be asked of the package; the command line calls only these.

Wherever a specification is asked for, it may be an `AuditConfig`, the path of a YAML file (local or
in a store), or a mapping with the same keys.
"""

from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

from ray_audit.api.run import Progress, Run, Uri
from ray_audit.config import AuditConfig
from ray_audit.errors import SpecificationError

if TYPE_CHECKING:  # each verb loads what it needs
    from ray_audit.corrections.correct import CorrectionOutcome
    from ray_audit.discovery import Drafted
    from ray_audit.engine.planning.plan import Plan
    from ray_audit.engine.run.audit import Reporter
    from ray_audit.engine.run.status import OutputStatus
    from ray_audit.evaluation.report import Evaluation
    from ray_audit.exports.export import Exported
    from ray_audit.training.inject import Injection
    from ray_audit.training.train import Progress as TrainingProgress
    from ray_audit.training.train import Trained

Specification = AuditConfig | Uri | Mapping[str, Any]


def as_config(specification: Specification) -> AuditConfig:
    """A specification in any of the forms that the verbs take.

    Raises:
        SpecificationError: it cannot be read, or breaks a rule; the message names the key.
    """
    if isinstance(specification, AuditConfig):
        return specification
    if isinstance(specification, str | PathLike):
        return AuditConfig.load(specification)
    if isinstance(specification, Mapping):
        return AuditConfig.parse(dict(specification))
    raise SpecificationError(
        f"a specification is an AuditConfig, the path of a YAML file, or a mapping; got "
        f"{type(specification).__name__}"
    )


def init(
    data: Uri,
    *,
    labels: Uri | None = None,
    checkpoints: Uri | None = None,
    model: str | None = None,
    to: Uri | None = None,
    force: bool = False,
) -> "Drafted":
    """Look at a dataset that nobody has described, and draft a specification for it.

    Published layouts and common shapes of folders are recognised by a bounded listing and a few
    files; the draft says in comments what was assumed, and what could not be known.

    Args:
        data: its folder, local or in a store.
        labels: the folder of its labels, where that lies elsewhere.
        checkpoints: folder, pattern or file of weights.
        model: `package.module:function` that returns the model.
        to: where the draft is written; nowhere by default.
        force: write over a file that is there.

    Raises:
        SpecificationError: nothing was recognised, or a file is there at `to`.
        StorageError: something cannot be listed, read or written.
    """
    from ray_audit.discovery import discover, save

    places = [None if uri is None else fspath(uri) for uri in (labels, checkpoints)]
    draft = discover(fspath(data), places[0], places[1], model)
    return draft if to is None else save(draft, fspath(to), force)


def audit(
    config: Specification,
    *,
    address: str | None = None,
    local: bool = False,
    limit: int | None = None,
    date: str | None = None,
    folds: bool = False,
    reporter: "Reporter | None" = None,
) -> Run:
    """Run an audit; resume what an earlier run of the same specification left.

    Args:
        config: the specification.
        address: Ray cluster; None starts one on this machine, unless one is connected.
        local: run in this process, without Ray.
        limit: take only the first shards.
        date: logical date of the run, `YYYY-MM-DD`; today in UTC by default.
        folds: one run by the models of `train` with `folds`, each on what it never saw.
        reporter: told of the plan and the progress.

    Raises:
        SpecificationError: nothing was started.
        RunError: the run failed; what was committed is reused by the next one.
    """
    from ray_audit.tables.run_tables import RunTables

    config = as_config(config)
    if folds:
        from ray_audit.engine.run.fold_run import run_folds
        from ray_audit.training.fold_models import held_out_parts

        if limit is not None:
            raise SpecificationError("--limit does not go with --folds")
        parts = held_out_parts(config)
        outcome = run_folds(
            config, parts, address=address, local=local, logical_date=date, reporter=reporter
        )
    else:
        from ray_audit.engine.run.audit import run_audit

        outcome = run_audit(
            config, address=address, local=local, limit=limit, logical_date=date, reporter=reporter
        )
    tables = RunTables(outcome.run_uri, outcome.manifest, is_trusted=True)
    return Run(
        config.output,
        tables,
        outcome.duration_s,
        outcome.reused,
        outcome.breached_gates,
        outcome.notes,
    )


def plan(
    config: Specification,
    *,
    address: str | None = None,
    local: bool = False,
    limit: int | None = None,
    date: str | None = None,
    calibrate: bool = False,
) -> "Plan":
    """What `audit` would do: new and reused work, pools, resources. Writes nothing.

    Args:
        config: the specification.
        address: Ray cluster; None plans for this machine.
        local: plan for this process, without Ray.
        limit: take only the first shards.
        date: logical date of the run, `YYYY-MM-DD`; today in UTC by default.
        calibrate: time a batch at each checkpoint on this machine, and choose pools by it.

    Raises:
        SpecificationError: a run would not start either.
    """
    from ray_audit.engine.run.dry_run import dry_run

    return dry_run(as_config(config), address, local, limit, date, calibrate)


def status(output: Uri) -> "OutputStatus":
    """The runs below an output: their state, progress and counts."""
    from ray_audit.engine.run.status import read_status

    return read_status(fspath(output))


def open_run(
    output: Uri,
    run: str | None = None,
    *,
    specification: "Specification | None" = None,
    trust: bool = False,
) -> Run:
    """Open a complete run.

    A run is data: the model that its manifest names is called (for pictures and corrections of
    masks) only where this user audited with it on this machine, or one of the last two is given.

    Args:
        output: the `output` of a specification.
        run: its id; the latest complete one by default.
        specification: whose model is taken in the place of the manifest's.
        trust: call the model that the manifest names.

    Raises:
        StorageError: there is none, or it is not complete.
    """
    from dataclasses import replace

    from ray_audit.tables.run_tables import RunTables

    output = fspath(output)
    tables = RunTables.open(output, run)
    if specification is not None:
        tables = tables.with_model_of(as_config(specification))
    elif trust:
        tables = replace(tables, is_trusted=True)
    return Run(output, tables)


def train(
    config: Specification,
    *,
    to: Uri | None = None,
    address: str | None = None,
    local: bool = False,
    progress: "TrainingProgress | None" = None,
) -> "Trained":
    """Train the specification's model and keep a checkpoint per epoch; resume by itself.

    Args:
        config: the specification; its section `training` says how.
        to: folder for the weights in place of `checkpoints`, with a specification that audits them.
        address: Ray cluster; None starts one on this machine, unless one is connected.
        local: train in this process, without Ray.
        progress: told of each epoch: its fold or None, and what was done.

    Raises:
        SpecificationError: nothing was started.
        RunError: the training failed; the epochs that were kept are reused by the next call.
    """
    from ray_audit.training.train import train

    return train(
        as_config(config),
        address=address,
        local=local,
        to=None if to is None else fspath(to),
        **({} if progress is None else {"progress": progress}),
    )


def inject(
    config: Specification,
    to: Uri,
    rate: float,
    *,
    kinds: Sequence[str] | None = None,
    seed: int = 0,
    systematic_class: str | None = None,
    limit: int | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> "Injection":
    """Write a copy of the labels with planted errors, the truth, and a specification for them.

    Args:
        config: whose dataset.
        to: an empty folder, local or of any store.
        rate: fraction of videos, masks or images with an error, 0-1.
        kinds: of error; those of the label form by default.
        seed: the same seed plants the same errors.
        systematic_class: the class that `under` and `over` change in every mask.
        limit: only the first shards.
        dry_run: choose the errors; write nothing.
        progress: told what is done, how much of it, and of how much.

    Raises:
        SpecificationError: an unknown kind, too few samples, a form that cannot be written back,
            or a folder that is not empty.
        StorageError: something cannot be read or written.
    """
    from ray_audit.training.inject import inject

    return inject(
        as_config(config),
        fspath(to),
        rate,
        None if kinds is None else list(kinds),
        seed,
        systematic_class=systematic_class,
        limit=limit,
        dry_run=dry_run,
        **({} if progress is None else {"progress": progress}),
    )


def correct(output: Uri, to: Uri, *, run: str | None = None, **options: Any) -> "CorrectionOutcome":
    """Open a run and correct labels by it: see `Run.correct`."""
    return open_run(output, run).correct(to, **options)


def export(
    output: Uri,
    format: str,
    to: Uri | None = None,
    *,
    run: str | None = None,
    **options: Any,
) -> "Exported":
    """Open a run and write its findings for another tool: see `Run.export`."""
    return open_run(output, run).export(format, to, **options)


def evaluate(
    output: Uri,
    truth: Uri,
    *,
    run: str | None = None,
    scores: Sequence[str] | None = None,
) -> "Evaluation":
    """Measure how well the scores of a run find known errors: see `Run.evaluate`."""
    from ray_audit.evaluation.report import evaluate_run

    return evaluate_run(fspath(output), fspath(truth), run, scores)
