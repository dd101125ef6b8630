"""Batches that were chosen by GPUs once are those of all later runs to the same output."""

import pytest

from ray_audit.engine.planning import batches
from ray_audit.engine.run.dry_run import dry_run
from tests.support import small_sets
from tests.support.audits import audit
from tests.support.tables import assert_identical

SMALL = 2 * 3 * 32 * 32 * 4  # of two images


@pytest.fixture
def on_gpus(monkeypatch):
    """A cluster whose GPUs want other batches than a CPU; here they are small."""
    monkeypatch.setattr(batches, "fitting_bytes", lambda config, cluster: SMALL)


def test_they_are_stored_and_kept_on_other_machines(tmp_path, monkeypatch, on_gpus):
    images = small_sets.class_folders(tmp_path)
    config = images.config()
    assert dry_run(config, None, True, None, None, False).inputs.config.engine.batch_bytes == SMALL
    first = audit(images)
    assert first.manifest.numeric["batch_bytes"] == SMALL
    monkeypatch.undo()
    again = dry_run(config, None, True, None, None, False)
    assert again.num_new == 0
    assert again.inputs.run_id[-8:] == first.manifest.run_id[-8:]
    output = str(tmp_path / "told")
    assert_identical(first, audit(images, output=output, engine={"batch_bytes": SMALL}))


def test_a_run_on_a_cpu_decides_for_later_ones_on_gpus(tmp_path, monkeypatch):
    images = small_sets.class_folders(tmp_path)
    assert "batch_bytes" not in audit(images).manifest.numeric
    monkeypatch.setattr(batches, "fitting_bytes", lambda config, cluster: SMALL)
    assert dry_run(images.config(), None, True, None, None, False).num_new == 0


def test_a_number_of_samples_that_was_fixed_once_decides_nothing(tmp_path, on_gpus):
    images = small_sets.class_folders(tmp_path)
    audit(images, engine={"batch_size": 3})
    plan = dry_run(images.config(), None, True, None, None, False)
    assert plan.inputs.config.engine.batch_bytes == SMALL
    assert plan.num_reused == 0
