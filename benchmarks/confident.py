"""Confident learning over pixels: time and memory against cleanlab's pixel filter, in one run.

Each measurement is a process of its own with one thread; the forms take turns. Memory is what the
process grows by beyond the arrays that are given to all of them. The histogram is counted by numpy
and by the compiled loop of the extra `compiled`, whose start is measured apart.

    python -m benchmarks.confident [--repeats 5] [--quick]
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Figure, Report, parser, ratios
from benchmarks.processes import peak_bytes, reset_peak
from ray_audit.scores import compiled, confident

HISTOGRAMS = ("histogram", "compiled histogram")
FORMS = ("cleanlab", "exact", *HISTOGRAMS)
WEIGHED = FORMS[:-1]  # what compiling leaves free is taken again: nothing is seen of the loop's own
NUM_IMAGES, SIZE = 24, (288, 288)
NUM_CLASSES = (12, 20)
WRONG_FRACTION = 0.05
RUNS_IN_PROCESS = 3
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def write_pixels(folder: Path, num_classes: int) -> None:
    """Masks of 16-px blocks, 5% of the pixels relabelled, and float32 probabilities of a model."""
    rng = np.random.default_rng(num_classes)
    coarse = rng.integers(0, num_classes, (NUM_IMAGES, SIZE[0] // 16, SIZE[1] // 16))
    true = coarse.repeat(16, axis=1).repeat(16, axis=2)
    logits = rng.normal(size=(NUM_IMAGES, num_classes, *SIZE)).astype(np.float32)
    np.put_along_axis(logits, true[:, None], np.float32(5.0), axis=1)
    p = np.exp(logits)
    p /= p.sum(axis=1, keepdims=True)
    is_wrong = rng.random(true.shape) < WRONG_FRACTION
    np.save(folder / "labels.npy", np.where(is_wrong, (true + 1) % num_classes, true))
    np.save(folder / "p.npy", p)


def run_form(form: str, labels: np.ndarray, p: np.ndarray) -> Any:
    """One of them on the same arrays."""
    if form == "exact":
        return confident.find_issues(labels, p)
    if form in HISTOGRAMS:
        compiled.PATIENCE = sys.maxsize if form == "histogram" else 0
        state, wrong_p_label = confident.observe(labels, p)
        return state.finish().num_flagged(wrong_p_label)
    from cleanlab.segmentation.filter import find_label_issues

    return find_label_issues(labels, p, n_jobs=1, verbose=False)


def measure(form: str, folder: Path) -> dict[str, float]:
    """CPU seconds of the fastest run, and bytes by which the peak of the first grew.

    What is paid once, to import and to compile, is told apart: `start_s` and `start_bytes`.
    """
    labels, p = np.load(folder / "labels.npy"), np.load(folder / "p.npy")
    start_s, start_bytes = growth(form, labels[:1, :16, :16], p[:1, :, :16, :16])
    _, grown = growth(form, labels, p)
    seconds = []
    for _ in range(RUNS_IN_PROCESS):
        # One thread: CPU time is what the clock would say if nobody else used the core.
        started = time.process_time()
        run_form(form, labels, p)
        seconds.append(time.process_time() - started)
    return {"seconds": min(seconds), "bytes": grown, "start_s": start_s, "start_bytes": start_bytes}


def growth(form: str, labels: np.ndarray, p: np.ndarray) -> tuple[float, int]:
    """CPU seconds of one run, and bytes by which the process grew at most."""
    reset_peak()
    before, started = peak_bytes(), time.process_time()
    run_form(form, labels, p)
    return time.process_time() - started, peak_bytes() - before


def in_own_process(form: str, folder: Path) -> dict[str, float]:
    """The same in a fresh process, so that peaks do not mix."""
    command = [sys.executable, "-m", "benchmarks.confident", "--only", form, "--data", str(folder)]
    environment = {**os.environ, **ONE_THREAD}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def check_answers(folder: Path) -> None:
    """Flags are equal but for ties, and histograms count as many."""
    labels, p = np.load(folder / "labels.npy"), np.load(folder / "p.npy")
    flags = {form: run_form(form, labels, p) for form in FORMS}
    if compiled._compiled() is None:
        raise SystemExit("numba is missing or disabled: numpy would be measured twice")
    if (flags["histogram"] != flags["compiled histogram"]).any():
        raise SystemExit("the compiled histogram differs from numpy's")
    different = int((flags["exact"] != flags["cleanlab"]).sum())
    counts = flags["exact"].sum(axis=(1, 2))
    off = float(abs(flags["histogram"] - counts).sum() / counts.sum())
    if different > 10 or off > 0.02:
        raise SystemExit(f"{different} pixels differ from cleanlab, histogram off by {off:.2%}")


def figures_of(num_classes: int, repeats: int) -> list[Figure]:
    """Time and memory of each form, and their quotients."""
    num_px = NUM_IMAGES * SIZE[0] * SIZE[1]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pixels(folder, num_classes)
        check_answers(folder)
        runs = [{form: in_own_process(form, folder) for form in FORMS} for _ in range(repeats)]
    named = f"K = {num_classes}, "
    seconds = {form: [run[form]["seconds"] for run in runs] for form in FORMS}
    memory = {form: [run[form]["bytes"] for run in runs] for form in FORMS}
    figures = []
    for form in FORMS:
        ns = tuple(1e9 * s / num_px for s in seconds[form])
        figures.append(Figure(f"{named}{form}: time", "ns/px", ns))
        if form in WEIGHED:
            per_px = tuple(b / num_px for b in memory[form])
            figures.append(Figure(f"{named}{form}: memory", "B/px", per_px))
    for form in FORMS[1:]:
        faster = ratios(seconds["cleanlab"], seconds[form])
        figures.append(Figure(f"{named}{form}: times as fast as cleanlab", "", faster))
        if form in WEIGHED:
            smaller = ratios(memory["cleanlab"], memory[form])
            figures.append(Figure(f"{named}{form}: cleanlab's memory / its own", "", smaller))
    starts = [run["compiled histogram"] for run in runs]
    once = f"{named}importing numba and compiling, once a process"
    figures.append(Figure(f"{once}: time", "s", tuple(start["start_s"] for start in starts)))
    mib = tuple(start["start_bytes"] / 2**20 for start in starts)
    return [*figures, Figure(f"{once}: memory", "MiB", mib)]


def main() -> None:
    """Run and publish."""
    options = parser(__doc__)
    options.add_argument("--only", choices=FORMS, help="measure one form and print its figures")
    options.add_argument("--data", type=Path, help="folder of the arrays for --only")
    arguments = options.parse_args()
    if arguments.only:
        print(json.dumps(measure(arguments.only, arguments.data)))
        return
    chosen = NUM_CLASSES[:1] if arguments.quick else NUM_CLASSES
    figures = [figure for k in chosen for figure in figures_of(k, arguments.repeats)]
    pixels = f"{NUM_IMAGES} images of {SIZE[0]}x{SIZE[1]} px, float32, {WRONG_FRACTION:.0%} wrong"
    notes = [
        pixels,
        "one thread, CPU time, n_jobs=1, downsample=1; answers compared first",
        f"numba {version('numba')}, llvmlite {version('llvmlite')}",
    ]
    Report("confident", figures, notes).publish(is_kept=not arguments.quick)


if __name__ == "__main__":
    main()
