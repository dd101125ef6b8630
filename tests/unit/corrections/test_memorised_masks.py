"""Which masks count as memorised, by the verdict of a run and the losses of its checkpoints."""

from types import SimpleNamespace

import numpy as np
import pytest

from ray_audit.corrections import memorised
from ray_audit.corrections.memorised import memorised_masks
from ray_audit.task import Task

NUM, NUM_WRONG = 60, 15


def run(verdict, task=Task.DENSE):
    manifest = SimpleNamespace(memorisation={"verdict": verdict})
    return SimpleNamespace(task=task, manifest=manifest)


def losses(late_spread, num_late):
    """Wrong masks lose three times as much over the first 4 checkpoints, all vary later."""
    rng = np.random.default_rng(0)
    first = np.where(np.arange(NUM) < NUM_WRONG, 1.5, 0.5) * np.exp(rng.normal(0, 0.1, NUM))
    late = 3 * np.exp(rng.normal(0, late_spread, NUM))
    return np.concatenate([np.tile(first, (4, 1)), np.tile(late, (num_late, 1))]).T


FORGOTTEN, STILL_TOLD = losses(0.5, 28), losses(0.01, 8)


@pytest.mark.parametrize(
    ("verdict", "seen", "is_found"),
    [
        pytest.param("early", FORGOTTEN, True, id="memorised by the last checkpoint"),
        pytest.param("mean", FORGOTTEN, True, id="early losses alone tell"),
        pytest.param("mean", STILL_TOLD, False, id="all losses tell"),
        pytest.param("mean", FORGOTTEN[NUM_WRONG:], False, id="nothing is wrong"),
        pytest.param("final", FORGOTTEN, False, id="nothing is fitted"),
    ],
)
def test_masks_count_as_memorised_where_only_early_losses_tell_them(
    monkeypatch, verdict, seen, is_found
):
    monkeypatch.setattr(memorised, "_sampled_losses", lambda tables: seen)
    found = memorised_masks(run(verdict))
    assert (found is not None) == is_found
    if found is not None:
        assert np.flatnonzero(found.holds(seen)).tolist() == list(range(NUM_WRONG))


def test_only_masks_are_looked_at():
    assert memorised_masks(run("early", Task.FRAMES)) is None
