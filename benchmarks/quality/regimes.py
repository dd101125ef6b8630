"""Small trainings in every regime: {classes, masks, sequences} by how far they were fitted.

Each set is trained three ways, `barely`, `fitted` and `memorised`, and audited by checkpoints that
were trained on its labels, and by those of a training on its other half (`held_out`). The default
ranking is held to the best single score in each of these rows (see `ranking.py`), and in the mean
of the sets of a kind (see `matrix.py`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.ndimage import uniform_filter1d

from benchmarks.correction.slices import Kind as SliceKind
from benchmarks.correction.slices import corrupt_slices, make_slices
from benchmarks.quality import classes, frames, masks
from benchmarks.quality.case import Case, Training
from benchmarks.quality.recipes import CLASSES, DENSE, HELD_OUT, SEQUENCES, TRAINING, Recipe
from ray_audit.demo.phantoms import PHANTOM_CLASSES, make_phantoms
from ray_audit.training.noise import MaskNoise, TruthRow, corrupt_frames, corrupt_masks

BARELY, FITTED, MEMORISED = "barely", "fitted", "memorised"
REGIMES = (BARELY, FITTED, MEMORISED)
PROTOCOLS = (TRAINING, HELD_OUT)
REPORTING = (24, 25, 26)
"""Seeds that nobody has looked at while the rule was chosen."""
LABELS, MASKS, UNSEEN_BY_WEAK = (
    frozenset({0, 1}),
    frozenset({0, 1, 2, 10, 11, 12}),
    frozenset(range(20)),
)
"""Seeds that the rule was chosen on: of classes and sequences, of masks, and of masks that weak
models never saw. None of them is shown."""

_NUM_ROWS = 1500
_ACTION_CLASSES = 8
_ACTION_FEATURES = 12
_SLIPS = ("mislabel", "boundary", "adjacent")
_SLICE_KINDS: tuple[SliceKind, ...] = ("under", "over", "other")
_PHANTOM_NOISE = MaskNoise(systematic_class=1, under_px=2, over_px=2, shift_px=(3, 5))


@dataclass(frozen=True)
class Subject:
    """A set of the matrix.

    Attributes:
        name: of the set.
        kind: of its labels.
        about: a phrase for the page.
        make: data folder, work folder, seed, whether held out -> case; its first part counts.
        trainings: one a regime.
        needs_data: whether it is read from the data folder.
    """

    name: str
    kind: str
    about: str
    make: Callable[..., Case]
    trainings: tuple[Training, Training, Training]
    needs_data: bool = True


def cifar(data: Path, folder: Path, seed: int, is_held_out: bool) -> Case:
    """1,500 of the 10,000 rows, others for each seed modulo 6."""
    return classes.cifar_case(
        *(data, folder, seed),
        num_rows=_NUM_ROWS,
        first_row=_NUM_ROWS * (seed % 6),
        width=8,
        num_folds=2 * is_held_out,
    )


def digits(data: Path, folder: Path, seed: int, is_held_out: bool) -> Case:
    """2,000 test digits, a tenth with another class, half of them always the next one."""
    return classes.digit_case(
        data, folder, seed, num_rows=2000, rate=0.1, num_folds=2 * is_held_out
    )


def phantoms(data: Path, folder: Path, seed: int, is_held_out: bool) -> Case:
    """100 phantoms of 48 px, a fifth of the masks wrong."""
    drawn = make_phantoms(100, 48, seed)
    true = {f"p{index:03d}.png": phantom.mask for index, phantom in enumerate(drawn)}
    wrong = corrupt_masks(true, 0.2, masks.PHANTOM_KINDS, seed, _PHANTOM_NOISE)
    images = {name: phantom.image[..., None] for name, phantom in zip(true, drawn, strict=True)}
    scaling = {"mean": [0.2], "std": [0.2]}
    return masks.mask_case(
        *(folder, images, true, wrong.changed, wrong.truth),
        *(list(PHANTOM_CLASSES), scaling, 2 * is_held_out, seed, 8),
    )


def slices(data: Path, folder: Path, seed: int, is_held_out: bool) -> Case:
    """120 slices of 32 px, a quarter of the masks under-, over-segmented or with other names."""
    drawn = make_slices(120, seed)
    chosen = np.random.default_rng([seed, 79]).permutation(120)[:30].tolist()
    kinds = {index: _SLICE_KINDS[place % 3] for place, index in enumerate(chosen)}
    true, changed, images, truth = {}, {}, {}, []
    for index, (image, mask) in enumerate(zip(drawn.images, drawn.masks, strict=True)):
        name, kind = f"s{index:03d}.png", kinds.get(index)
        true[name] = mask
        images[name] = np.clip(image * 200, 0, 255).astype(np.uint8)[..., None]
        if kind is not None:
            changed[name] = corrupt_slices(mask[None], kind, 1.0, seed + index)[0]
        num_px = int((changed.get(name, mask) != mask).sum())
        truth.append(TruthRow(name, kind is not None, kind, None, num_px))
    scaling = {"mean": [0.5], "std": [0.2]}
    return masks.mask_case(
        *(folder, images, true, changed, truth),
        *(["background", "a", "b", "c"], scaling, 2 * is_held_out, seed, 8),
    )


def streets(data: Path, folder: Path, seed: int, is_held_out: bool) -> Case:
    """117 CamVid frames at 64x48 with five groups of classes and void."""
    return masks.street_case(data, folder, seed, num_folds=2 * is_held_out)


def poses(
    data: Path,
    folder: Path,
    seed: int,
    is_held_out: bool,
    kinds: Sequence[str] = frames.POSE_KINDS,
    rate: float | None = None,
) -> Case:
    """62 pose sequences of 9 strictly ordered phases, 30% with one error."""
    return frames.pose_case(
        *(data, folder, seed),
        factory="ray_audit.training.models:tcn",
        is_held_out=is_held_out,
        width=32,
        kinds=kinds,
        rate=rate,
    )


def actions(
    data: Path,
    folder: Path,
    seed: int,
    is_held_out: bool,
    kinds: Sequence[str] = _SLIPS,
    rate: float = 0.3,
) -> Case:
    """50 sequences of noisy features in a loose order; slips of annotation in 30% of them."""
    rng = np.random.default_rng([seed, 80])
    chain = rng.dirichlet(np.full(_ACTION_CLASSES, 0.7), _ACTION_CLASSES)
    means = rng.normal(0, 1, (_ACTION_CLASSES, _ACTION_FEATURES))
    features, labels = [], {}
    for index in range(50):
        steps = _steps(rng, chain)
        features.append(_looks(rng, steps, means))
        labels[f"sequences.npz#v{index:02d}"] = steps
    errors = corrupt_frames(labels, _ACTION_CLASSES, rate, kinds, seed)
    names = [key.partition("#")[2] for key in labels]
    return frames.sequence_case(
        folder, names, features, errors, _ACTION_CLASSES, seed if is_held_out else None
    )


def _steps(rng: np.random.Generator, chain: np.ndarray) -> np.ndarray:
    """Frame labels of one sequence: 6 to 10 steps by the chain, none twice in a row."""
    path = [int(rng.integers(_ACTION_CLASSES))]
    for _ in range(int(rng.integers(5, 10))):
        chances = chain[path[-1]].copy()
        chances[path[-1]] = 0
        path.append(int(rng.choice(_ACTION_CLASSES, p=chances / chances.sum())))
    return np.repeat(path, rng.integers(12, 45, len(path)))


def _looks(rng: np.random.Generator, steps: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Features of one performer, with noise that lasts over frames and noise that does not."""
    size = (len(steps), _ACTION_FEATURES)
    walk = rng.normal(0, 1, size).cumsum(axis=0)
    walk -= uniform_filter1d(walk, 31, axis=0)
    own = rng.normal(0, 0.5, _ACTION_FEATURES)
    noise = 0.6 * walk / walk.std() + rng.normal(0, 0.7, size)
    looks: np.ndarray = (means[steps] + own + noise).astype(np.float32)
    return looks


def _trainings(
    rate: float, batch: int, num_epochs: tuple[int, int, int], is_flipped: bool = False
) -> tuple[Training, Training, Training]:
    """Barely and well fitted with a cycle of the rate; memorised at a constant one."""
    barely, fitted, memorised = num_epochs
    return (
        Training(barely, rate, batch, is_flipped=is_flipped),
        Training(fitted, rate, batch, is_flipped=is_flipped),
        Training(memorised, 2e-3, batch, one_cycle=False),
    )


SUBJECTS = {
    subject.name: subject
    for subject in (
        Subject(
            "cifar",
            CLASSES,
            "1,500 rows of CIFAR-10N, 17% wrong by people",
            cifar,
            _trainings(3e-3, 32, (4, 12, 24), is_flipped=True),
        ),
        Subject(
            "digits",
            CLASSES,
            "2,000 digits of MNIST, 10% planted",
            digits,
            _trainings(2e-3, 64, (2, 8, 24)),
        ),
        Subject(
            "phantoms",
            DENSE,
            "100 phantoms of 48 px, 20% of the masks wrong",
            phantoms,
            _trainings(3e-3, 8, (4, 15, 40)),
            needs_data=False,
        ),
        Subject(
            "slices",
            DENSE,
            "120 slices of 32 px, 25% of the masks wrong",
            slices,
            _trainings(3e-3, 4, (3, 12, 30)),
            needs_data=False,
        ),
        Subject(
            "streets",
            DENSE,
            "117 CamVid frames of 64x48, 20% of the masks wrong",
            streets,
            _trainings(5e-3, 4, (4, 15, 40)),
        ),
        Subject(
            "poses",
            SEQUENCES,
            "62 sequences of golf poses in a strict order, 30% with an error",
            poses,
            _trainings(2e-3, 4, (3, 10, 30)),
        ),
        Subject(
            "actions",
            SEQUENCES,
            "50 made sequences in a loose order, 30% with a slip of annotation",
            actions,
            _trainings(2e-3, 4, (3, 10, 30)),
            needs_data=False,
        ),
    )
}


def looked_at(kind: str, regime: str, protocol: str) -> frozenset[int]:
    """Seeds that the rule was chosen on."""
    if kind != DENSE:
        return LABELS
    return UNSEEN_BY_WEAK if (regime, protocol) == (BARELY, HELD_OUT) else MASKS


def recipe(subject: Subject, regime: str, protocol: str) -> Recipe:
    """One row of the matrix as a recipe of the benchmark."""

    def make(data: Path, folder: Path, seed: int) -> Case:
        case = subject.make(data, folder, seed, protocol == HELD_OUT)
        # Of two folds one is enough: a row is one training and the audit of its checkpoints.
        return replace(case, parts=case.parts[:1])

    return Recipe(
        f"{subject.name}-{regime}-{protocol}",
        f"regimes-{subject.name}",
        subject.kind,
        protocol,
        subject.about,
        make,
        subject.trainings[REGIMES.index(regime)],
        REPORTING,
        subject.needs_data,
        has_gradients=False,
        every=2 if regime == MEMORISED else 1,
    )
