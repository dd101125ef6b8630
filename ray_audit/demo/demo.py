"""The demo: data with planted errors, tiny models, an audit of both, and what was found."""

import shutil
from pathlib import Path

from rich.console import Console

from ray_audit.config import AuditConfig, EngineConfig
from ray_audit.console.evaluation import detection_table
from ray_audit.console.lines import SafeConsole
from ray_audit.console.progress import ConsoleReporter
from ray_audit.demo.planted import write_mask_set, write_video_set
from ray_audit.demo.specifications import write_specifications
from ray_audit.engine.run.audit import RunOutcome, opened_backend, run_audit
from ray_audit.evaluation.detection import ALL_KINDS, Detection
from ray_audit.evaluation.truth import evaluate_table, read_truth
from ray_audit.report.write_report import write_report
from ray_audit.tables.run_tables import RunTables
from ray_audit.training.loop import EpochDone
from ray_audit.training.train import train

NUM_VIDEOS = 24
NUM_IMAGES = 160
IMAGE_PX = 64


def make_datasets(out: Path, seed: int = 0) -> dict[str, Path]:
    """Write both datasets and their specifications below `out`.

    Returns:
        `videos` and `masks` -> specification.
    """
    out.mkdir(parents=True, exist_ok=True)
    write_video_set(out / "videos", NUM_VIDEOS, seed)
    write_mask_set(out / "masks", NUM_IMAGES, IMAGE_PX, seed)
    return write_specifications(out, seed)


def train_models(out: Path, console: Console | None = None) -> dict[str, list[Path]]:
    """Train a model on the given labels of each dataset, and keep every epoch's weights.

    Args:
        out: folder that `make_datasets` filled.
        console: gets one line per epoch.

    Returns:
        `videos` and `masks` -> checkpoints in order.
    """
    return {name: _train(out, name, console) for name in ("videos", "masks")}


def _train(out: Path, name: str, console: Console | None) -> list[Path]:
    def progress(fold: int | None, done: EpochDone) -> None:
        if console is not None:
            console.print(
                f"demo-{name}: epoch {done.epoch} of {done.num_epochs}, loss {done.loss:.3f}"
            )

    # Checkpoints of an earlier demo are of other data.
    shutil.rmtree(out / name / "checkpoints", ignore_errors=True)
    config = AuditConfig.load(out / f"audit-{name}.yaml")
    (model,) = train(config, local=True, progress=progress).models
    return [Path(uri) for uri in model.checkpoints]


def run_demo(
    out: Path,
    seed: int = 0,
    *,
    address: str | None = None,
    local: bool = False,
    console: Console | None = None,
) -> dict[str, list[Detection]]:
    """Make data, train, audit both datasets and print how well the planted errors were found.

    Args:
        out: folder for everything; made where absent, files of an earlier demo are replaced.
        seed: of data, errors and training.
        address: Ray cluster; None starts a Ray on this machine.
        local: audit in this process, without Ray.
        console: where to print; standard output where absent.

    Returns:
        `videos` and `masks` -> detection metrics of every score with a direction.

    Raises:
        RayAuditError: an audit failed.
    """
    console = console or SafeConsole()
    console.print(f"Making videos and images with planted label errors in {out} ...")
    specifications = make_datasets(out, seed)
    console.print("Training a tiny model on each, keeping the weights of every epoch ...")
    train_models(out, console)
    found = {}
    # One Ray for both audits: starting it takes as long as a small audit.
    with opened_backend(EngineConfig(), address, local) as engine, ConsoleReporter() as reporter:
        for name, specification in specifications.items():
            console.print(f"Auditing {name}: ray-audit run {specification}", soft_wrap=True)
            config = AuditConfig.load(specification)
            outcome = run_audit(config, address=address, local=local, reporter=reporter)
            scores = outcome.manifest.table(outcome.run_uri, "scores")
            truth = read_truth(str(out / name / "truth.parquet"))
            found[name] = evaluate_table(scores, truth)
            report = write_report(RunTables.open(config.output, outcome.run_id), engine)
            _print_found(console, name, outcome, found[name], report.uri)
    return found


def _print_found(
    console: Console, name: str, outcome: RunOutcome, found: list[Detection], report: str
) -> None:
    overall = next(row for row in found if row.kind == ALL_KINDS)
    console.print(
        f"{outcome.counts['scored']} samples scored in {outcome.duration_s:.0f} s; "
        f"{overall.num_errors} of them have a wrong label."
    )
    console.print(detection_table(f"How well each score finds them ({name})", found))
    findings = outcome.manifest.findings
    console.print(
        f"{findings['total']} findings; look at them in a browser: {report}", soft_wrap=True
    )
    console.print(f"Tables: {outcome.run_uri}\n", soft_wrap=True)
