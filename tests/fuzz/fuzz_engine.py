"""Random specifications and histories of nights, against a plain oracle and against fresh runs.

    python -m tests.fuzz.fuzz_engine --minutes 10 --seed 0

Each case has a seed of its own, which is printed where something differs: `--only SEED` repeats
it. A configuration is audited once and held against float64 numbers. A history changes one thing
a night; in some nights the store gives a file not, the model raises, or the process is killed in
the middle; after each, an undisturbed run must equal a fresh one, bit for bit.
"""

import argparse
import contextlib
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from ray_audit import storage
from ray_audit.engine.run.audit import run_audit
from ray_audit.errors import RayAuditError, StorageError
from tests.fuzz.engine_sets import KINDS, expected_scores
from tests.fuzz.reader import Trouble
from tests.support.tables import assert_identical, rows_of

_TOLERANCE = 2e-4
_MAX_NIGHTS = 5


class Killed(BaseException):
    """The process ends here, as far as the engine can tell."""


def audit(dataset, date, **changes):
    return run_audit(dataset.config(**changes), local=True, logical_date=date)


def check_oracle(dataset, outcome):
    """Every sample has the outcome that it must have, and the numbers of its scores."""
    filtered, failed, scores = expected_scores(dataset)
    rows = rows_of(outcome, "scores").to_pylist()
    assert {row["sample_id"] for row in rows} == set(scores)
    left_out = {r["sample_id"]: r["reason"] for r in rows_of(outcome, "filtered").to_pylist()}
    assert left_out == filtered
    assert {row["sample_id"] for row in rows_of(outcome, "errors").to_pylist()} == failed
    for row in rows:
        for name, expected in scores[row["sample_id"]].items():
            actual = row[name]
            if expected is None:  # a tie of two classes, which rounding decides
                continue
            assert np.isclose(actual, expected, rtol=_TOLERANCE, atol=_TOLERANCE), (
                f"{row['sample_id']}.{name} is {actual}, expected {expected}"
            )
    check_counts(outcome)


def check_counts(outcome):
    counts = outcome.counts
    assert counts["entered"] == counts["scored"] + counts["filtered"] + counts["failed"], counts


def one_configuration(dataset, injected):
    """A random specification, once."""
    check_oracle(dataset, audit(dataset, "2026-01-01"))


def one_history(dataset, injected):
    """One change a night, and now and then something that goes wrong."""
    rng = dataset.rng
    for night in range(1, int(rng.integers(2, _MAX_NIGHTS + 1)) + 1):
        date = f"2026-01-{night:02d}"
        if night > 1:
            changes = dataset.changes()
            changes[rng.integers(len(changes))]()
        trouble = TROUBLES[rng.integers(len(TROUBLES))]
        if trouble is not None:
            injected[trouble.__name__] += 1
            with trouble(dataset), contextlib.suppress(Killed, RayAuditError):
                check_counts(audit(dataset, date))
            # What was published in spite of it stays as it is: the next night tries again.
            date = f"2026-02-{night:02d}"
        outcome = audit(dataset, date)
        check_oracle(dataset, outcome)
        fresh = dataset.folder / f"fresh-{night}"
        assert_identical(outcome, audit(dataset, date, output=str(fresh)))
        shutil.rmtree(fresh)


@contextlib.contextmanager
def no_answer(dataset):
    """The store does not give some of the files."""
    read, rng = storage.read_bytes, dataset.rng
    share = rng.uniform(0.05, 0.5)

    def read_bytes(uri, in_parts=False):
        if "/data/" in uri and rng.random() < share:
            raise StorageError(f"cannot read {uri}: 503 Slow Down", may_pass=True)
        return read(uri, in_parts)

    storage.read_bytes = read_bytes
    try:
        yield
    finally:
        storage.read_bytes = read


@contextlib.contextmanager
def model_error(dataset):
    """The model raises once."""
    Trouble.calls_left = int(dataset.rng.integers(0, 12))
    try:
        yield
    finally:
        Trouble.calls_left = None


@contextlib.contextmanager
def kill(dataset):
    """The process is gone after so many objects that it wrote."""
    write, left = storage.write_bytes, int(dataset.rng.integers(0, 25))

    def write_bytes(uri, content):
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        write(uri, content)

    storage.write_bytes = write_bytes
    try:
        yield
    finally:
        storage.write_bytes = write


TROUBLES = (None, None, no_answer, model_error, kill)
CASES = {"configurations": one_configuration, "histories": one_history}


def run_case(kind, seed, injected):
    """One case in a folder of its own; what went wrong, or None."""
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory(prefix="fuzz-engine-") as name:
        try:
            dataset = KINDS[rng.integers(len(KINDS))](Path(name) / "set", rng)
            CASES[kind](dataset, injected)
        except Exception:
            return traceback.format_exc()
    return None


def main():
    """Go on for as long as asked; exit code 1 where something differed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the first case")
    parser.add_argument("--only", type=int, help="repeat the cases of one seed")
    options = parser.parse_args()
    torch.set_num_threads(1)
    done, injected, problems = Counter(), Counter(), []
    ends_s = time.monotonic() + 60 * options.minutes
    seed = options.seed if options.only is None else options.only
    print(f"seeds from {seed} on", flush=True)
    while time.monotonic() < ends_s:
        # A history is some ten audits: one of them for every two configurations.
        for kind in CASES if options.only is not None or seed % 2 == 0 else ("configurations",):
            problem = run_case(kind, seed, injected)
            done[kind] += 1
            if problem:
                problems.append(seed)
                print(f"seed {seed}, {kind}: {problem}", flush=True)
        seed += 1
        if options.only is not None:
            break
    cases = ", ".join(f"{num} {kind}" for kind, num in done.items())
    faults = ", ".join(f"{num} {kind}" for kind, num in sorted(injected.items()))
    print(f"{cases}; injected: {faults or 'nothing'}; {len(problems)} with a difference {problems}")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
