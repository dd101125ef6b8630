"""The estimated number of wrong labels through the front: its interval holds the truth."""

import numpy as np
import pytest

from ray_audit.console.outcome import _judgements
from ray_audit.engine.run.audit import run_audit
from tests.support.echoes import echoes
from tests.support.small_sets import class_folders, masked_images


def simulated(folder, seed, num_classes, noise, peak=6.0, num=1500, length=1, **changes):
    """Checkpoints that never saw the labels and get better; uniform errors in whole segments."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, num_classes, num // length)
    wrong = rng.random(len(true)) < noise
    given = np.where(wrong, (true + rng.integers(1, num_classes, len(true))) % num_classes, true)
    true, given = true.repeat(length), given.repeat(length)
    seen = rng.normal(0, 1, (len(true), num_classes))
    seen[np.arange(len(true)), true] += peak
    config = echoes(
        folder,
        [given],
        [seen.astype(np.float32)],
        num_classes,
        scales=(0.2, 0.5, 1.0),
        clip={"frames": 1},
        scores=["csl"],
        engine={"batch_size": 1500},
        **changes,
    )
    found = run_audit(config, local=True, logical_date="2026-01-31")
    return found.manifest.estimate, int((given != true).sum())


@pytest.mark.parametrize("num_seeds", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_the_interval_of_held_out_audits_holds_the_truth(num_seeds, tmp_path):
    cases = [(3, 0.1, 6.0), (10, 0.1, 6.0), (10, 0.02, 6.0), (10, 0.1, 3.0), (30, 0.1, 8.0)]
    inside = []
    for seed in range(num_seeds):
        for num, (num_classes, noise, peak) in enumerate(cases):
            folder = tmp_path / f"{seed}-{num}"
            estimate, truth = simulated(folder, seed, num_classes, noise, peak, protocol="held_out")
            assert estimate["low"] <= estimate["num_wrong"] <= estimate["high"]
            inside.append(estimate["low"] <= truth <= estimate["high"])
    assert sum(inside) >= 0.9 * len(inside)


def test_frames_that_are_wrong_together_make_the_interval_wider(tmp_path):
    widths = []
    for length in (1, 30):
        estimate, truth = simulated(
            tmp_path / str(length), 1, 5, 0.1, length=length, protocol="held_out"
        )
        assert estimate["low"] <= truth <= estimate["high"]
        widths.append(estimate["high"] - estimate["low"])
    assert widths[1] > 1.5 * widths[0]


def test_checkpoints_that_know_the_labels_give_no_interval(tmp_path):
    estimate, _ = simulated(tmp_path, 0, 3, 0.1, protocol="training")
    assert estimate["num_wrong"] > 0
    assert (estimate["low"], estimate["high"]) == (None, None)
    assert "trained on these labels" in estimate["no_interval"]


@pytest.mark.parametrize("make", [class_folders, masked_images])
def test_the_screen_says_why_there_is_no_interval(make, tmp_path):
    small = make(tmp_path)
    found = run_audit(small.config(), local=True, logical_date="2026-01-31")
    (line,) = (
        judgement for judgement in _judgements(found.manifest) if judgement.startswith("About")
    )
    assert "no interval: " in line
