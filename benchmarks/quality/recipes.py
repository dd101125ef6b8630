"""The recipes: every set, training, protocol and seed of the benchmark."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.quality.case import Case, Training
from benchmarks.quality.classes import cifar_case, mnist_case
from benchmarks.quality.frames import pose_case, swing_case
from benchmarks.quality.masks import camvid_case, phantom_case

MakeCase = Callable[[Path, Path, int], Case]

DENSE, CLASSES, SEQUENCES = "dense", "class", "sequences"
TRAINING, HELD_OUT = "training", "held_out"


@dataclass(frozen=True)
class Recipe:
    """One row of the benchmark.

    Attributes:
        name: on the command line and in the tables.
        set: name of the result file, and of the data folder where `needs_data`.
        kind: of labels: dense, class or sequences.
        protocol: training or held_out.
        about: a sentence for the page.
        make: data folder, work folder and seed -> case.
        training: how.
        seeds: of data, errors and training alike.
        needs_data: whether the set lies in the data folder.
        has_gradients: whether the audit computes VoG of the loss.
        thinned_seeds: seeds audited once more with VoG of the logit at every fourth checkpoint,
            and with VoG of the loss where the audit itself lacks it.
        every: checkpoints that are audited: each n-th, the last one among them.
    """

    name: str
    set: str
    kind: str
    protocol: str
    about: str
    make: MakeCase
    training: Training
    seeds: tuple[int, ...] = (0, 1)
    needs_data: bool = True
    has_gradients: bool = True
    thinned_seeds: tuple[int, ...] = ()
    every: int = 1


def _phantoms(rate: float, num_folds: int) -> Recipe:
    def make(data: Path, folder: Path, seed: int) -> Case:
        return phantom_case(folder, seed, rate=rate, num_folds=num_folds)

    protocol = HELD_OUT if num_folds else TRAINING
    how = "2 folds, each audited by the model of the other" if num_folds else "trained on all"
    return Recipe(
        f"phantoms-{round(100 * rate)}-{protocol}",
        "phantoms",
        DENSE,
        protocol,
        f"300 echo-like phantoms of 64 px, {rate:.0%} of the masks wrong, {how}",
        make,
        Training(15, 3e-3, 16),
        needs_data=False,
    )


def _camvid(name: str, about: str, training: Training, num_folds: int = 0) -> Recipe:
    return Recipe(
        f"camvid-{name}",
        "camvid",
        DENSE,
        HELD_OUT if num_folds else TRAINING,
        about,
        partial(camvid_case, num_folds=num_folds),
        training,
        has_gradients=False,
        thinned_seeds=(0,) if name == "A1" else (),
    )


_POSE_MODELS = {
    "tcn": ("ray_audit.training.models:tcn", "TCN of 7 dilated blocks"),
    "transformer": ("benchmarks.quality.models:sequence_transformer", "transformer of 2 layers"),
    "mlp": ("benchmarks.quality.models:frame_mlp", "MLP over single frames"),
}


def _poses(model: str, protocol: str, seeds: tuple[int, ...]) -> Recipe:
    factory, what = _POSE_MODELS[model]
    how = {
        TRAINING: "trained on all, one error in 30% of 62 sequences",
        HELD_OUT: "trained on 70% with right labels, one error in 2/3 of the other 19 sequences",
    }
    return Recipe(
        f"golf_poses-{model}-{protocol}",
        "golf_poses",
        SEQUENCES,
        protocol,
        f"{what}, {how[protocol]}",
        partial(pose_case, factory=factory, is_held_out=protocol == HELD_OUT),
        Training(30, 2e-3, 4),
        seeds,
        thinned_seeds=seeds[:2] if model == "tcn" else (),
    )


_A1 = Training(12, 3e-3, 16, is_flipped=True)
_A2 = Training(18, 3e-3, 8, is_flipped=True, is_weighted=True)
_C1 = Training(20, 3e-3, 128, is_flipped=True)
_C2 = Training(30, 1.5e-3, 128, one_cycle=False)

_REAL = [
    _camvid("A1", "468 images of 160x120, 12 epochs, batch 16, plain loss", _A1),
    _camvid("A2", "the same, 18 epochs, batch 8, classes weighted by 1/sqrt(frequency)", _A2),
    _camvid("A1-folds", "A1, 2 folds, each audited by the model of the other", _A1, num_folds=2),
    _poses("tcn", TRAINING, (0, 1, 2, 3)),
    _poses("tcn", HELD_OUT, (0, 1, 2, 3, 4, 5)),
    _poses("mlp", TRAINING, (0, 1, 2)),
    _poses("mlp", HELD_OUT, (0, 1, 2)),
    _poses("transformer", TRAINING, (0, 1)),
    _poses("transformer", HELD_OUT, (0, 1)),
    Recipe(
        "golf_swing",
        "golf_swing",
        SEQUENCES,
        TRAINING,
        "5 videos (1,514 frames), one error in 3 of them: far too few to rank scores by",
        swing_case,
        Training(20, 2e-3, 2),
    ),
    Recipe(
        "cifar10n-C1",
        "cifar10n",
        CLASSES,
        TRAINING,
        "10,000 rows, labels of one person each, CNN, 20 epochs, hardly memorised",
        cifar_case,
        _C1,
        has_gradients=False,
        thinned_seeds=(0,),
    ),
    Recipe(
        "cifar10n-C2",
        "cifar10n",
        CLASSES,
        TRAINING,
        "first 4,000 rows, 30 epochs at a constant rate, memorised wholly",
        partial(cifar_case, num_rows=4000),
        _C2,
        has_gradients=False,
        thinned_seeds=(0,),
    ),
    Recipe(
        "cifar10n-C1-folds",
        "cifar10n",
        CLASSES,
        HELD_OUT,
        "C1, 3 folds, each audited by a model of the other two",
        partial(cifar_case, num_folds=3),
        _C1,
        seeds=(0,),
        has_gradients=False,
    ),
    Recipe(
        "mnist_errors",
        "mnist_errors",
        CLASSES,
        TRAINING,
        "10,000 test digits, 15 judged wrong by people (100 were looked at), CNN, 10 epochs",
        mnist_case,
        Training(10, 3e-3, 128),
    ),
    Recipe(
        "mnist_errors-folds",
        "mnist_errors",
        CLASSES,
        HELD_OUT,
        "the same in 3 folds",
        partial(mnist_case, num_folds=3),
        Training(10, 3e-3, 128),
        seeds=(0,),
    ),
]

RECIPES = {
    recipe.name: recipe
    for recipe in [
        *(_phantoms(rate, 0) for rate in (0.2, 0.1, 0.3, 0.5)),
        *(_phantoms(rate, 2) for rate in (0.2, 0.1, 0.3, 0.5)),
        *_REAL,
    ]
}
"""By name."""
