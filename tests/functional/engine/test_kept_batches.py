"""Batches that were chosen by GPUs once are those of all later runs to the same output."""

import json

import pytest

from ray_audit.engine.planning import batches
from ray_audit.engine.run.dry_run import dry_run
from ray_audit.engine.run.fold_run import run_folds
from ray_audit.errors import RunError, StorageError
from tests.support import small_sets
from tests.support.audits import audit
from tests.support.tables import assert_identical

SMALL = 2 * 3 * 16 * 16 * 4  # of two images


@pytest.fixture
def on_gpus(monkeypatch):
    """A cluster whose GPUs want other batches than a CPU; here they are small."""
    monkeypatch.setattr(batches, "fitting_bytes", lambda config, cluster: SMALL)


def planned(images, **changes):
    return dry_run(images.config(**changes), None, True, None, None, False)


def test_they_are_stored_and_kept_on_other_machines(tmp_path, monkeypatch, on_gpus):
    images = small_sets.class_folders(tmp_path)
    assert planned(images).inputs.config.engine.batch_bytes == SMALL
    assert images.files_written() == {}
    first = audit(images)
    assert first.manifest.numeric["batch_bytes"] == SMALL
    monkeypatch.undo()
    again = planned(images)
    assert again.num_new == 0
    assert again.inputs.run_id[-8:] == first.manifest.run_id[-8:]
    output = str(tmp_path / "told")
    assert_identical(first, audit(images, output=output, engine={"batch_bytes": SMALL}))


def test_they_are_kept_of_a_run_that_failed(tmp_path, monkeypatch, on_gpus):
    images = small_sets.class_folders(tmp_path)
    with monkeypatch.context() as failing:
        failing.setattr("ray_audit.engine.run.audit._execute", fail)
        with pytest.raises(RunError, match="as the test wants"):
            audit(images)
    monkeypatch.undo()
    assert planned(images).inputs.config.engine.batch_bytes == SMALL


def fail(*_):
    raise RunError("as the test wants")


def test_a_run_that_began_beside_another_takes_those_of_the_other(tmp_path, on_gpus):
    images = small_sets.class_folders(tmp_path)
    kept = tmp_path / "out/batches.json"
    assert str(kept.parent) == images.config().output
    kept.parent.mkdir()
    kept.write_text(json.dumps({"batch_bytes": 3 * SMALL}))
    assert audit(images).manifest.numeric["batch_bytes"] == 3 * SMALL
    kept.write_text("{}")
    with pytest.raises(StorageError, match="is damaged"):
        planned(images)


def test_what_was_committed_on_a_cpu_decides_for_later_runs_on_gpus(tmp_path, monkeypatch):
    images = small_sets.class_folders(tmp_path)
    assert audit(images).manifest.numeric["batch_bytes"] == batches.AUTO_BATCH_BYTES
    monkeypatch.setattr(batches, "fitting_bytes", lambda config, cluster: SMALL)
    assert planned(images).num_new == 0


def test_a_number_of_samples_that_was_fixed_once_decides_nothing(tmp_path, on_gpus):
    images = small_sets.class_folders(tmp_path)
    audit(images, engine={"batch_size": 3})
    plan = planned(images)
    assert plan.inputs.config.engine.batch_bytes == SMALL
    assert plan.num_reused == 0


def test_all_folds_have_the_batches_of_the_first(tmp_path, monkeypatch, on_gpus):
    images = small_sets.class_folders(tmp_path)
    parts = [images.config(output=str(tmp_path / f"fold-{n}")) for n in range(2)]
    audit(images, output=parts[0].output)
    monkeypatch.setattr(batches, "fitting_bytes", lambda config, cluster: 3 * SMALL)
    outcome = run_folds(images.config(), parts, local=True, logical_date="2026-01-31")
    assert outcome.manifest.numeric["batch_bytes"] == SMALL
