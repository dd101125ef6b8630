"""Commands that make models: train, demo."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

import ray_audit
from ray_audit.cli.ending import ending
from ray_audit.cli.options import Address, AsJson, Local, Set, Spec, Verbose


def train(
    spec: Spec,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Keep weights there, not at `checkpoints`, with a specification that audits them.",
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the data.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of weights, order and folds.")] = None,
    folds: Annotated[
        int | None, typer.Option(min=2, help="Train N models, each on all folds but one.")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="The largest of the cycle.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Of each worker.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that train.")] = None,
    num_gpus: Annotated[float | None, typer.Option(min=0, help="Of each worker.")] = None,
    correct: Annotated[
        str | None,
        typer.Option(metavar="none|adele|refurbish", help="Correct labels during training."),
    ] = None,
    records: Annotated[
        bool, typer.Option("--records", help="Keep each sample's loss in each epoch.")
    ] = False,
    set_: Set = None,
    address: Address = None,
    local: Local = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Train the specification's model and keep a checkpoint per epoch; resume by itself."""
    with ending(verbose, as_json) as answer:
        given = {
            "epochs": epochs,
            "seed": seed,
            "folds": folds,
            "learning_rate": learning_rate,
            "batch_size": batch_size,
            "workers": workers,
            "num_gpus": num_gpus,
            "correction.method": correct,
            "records": records or None,
        }
        options = [f"training.{key}={value}" for key, value in given.items() if value is not None]
        config = ray_audit.AuditConfig.load(spec, [*(set_ or []), *options])
        from ray_audit.console.training import print_epoch, print_training

        trained = ray_audit.train(config, address=address, local=local, to=to, progress=print_epoch)
        answer(asdict(trained))
        if not as_json:
            print_training(trained, str(spec))


def demo(
    to: Annotated[
        Path, typer.Option("--out", "--to", help="Folder for data, models and tables.")
    ] = Path("ray-audit-demo"),
    seed: Annotated[int, typer.Option(help="Seed of data, errors and training.")] = 0,
    verbose: Verbose = False,
) -> None:
    """Make small datasets with planted label errors, audit them, and print what was found."""
    with ending(verbose):
        from ray_audit.demo.demo import run_demo

        run_demo(to, seed=seed)
