"""A calibration chooses pools and changes no number; what checkpoints share is told."""

import pytest
from safetensors.torch import load_file, save_file

from ray_audit.engine.run.audit import run_audit
from ray_audit.engine.run.dry_run import dry_run
from tests.support import small_sets
from tests.support.tables import assert_identical


def audit(small, name, **engine):
    output = str(small.folder / f"out-{name}")
    config = small.config(output=output, engine=engine)
    return run_audit(config, local=True, logical_date="2026-01-31")


def frozen(folder):
    """Images and checkpoints of which only the last layer differs."""
    small = small_sets.class_folders(folder, factory="backbone_and_head")
    paths = sorted((folder / "checkpoints").glob("*"))
    first = load_file(paths[0])
    for path in paths[1:]:
        own = load_file(path)
        save_file({k: own[k] if k.startswith("4.") else first[k] for k in own}, path)
    return small


@pytest.mark.parametrize("maker", ["masked_images", "labelled_videos"])
def test_a_calibrated_run_gives_the_same_tables(maker, tmp_path):
    small = getattr(small_sets, maker)(tmp_path)
    calibrated = audit(small, "calibrated", calibrate=True)
    assert_identical(calibrated, audit(small, "plain"))
    assert calibrated.manifest.plan["reasons"][0].startswith("measured on cpu: a batch of ")


def test_a_frozen_backbone_runs_once_and_the_manifest_says_so(tmp_path):
    small = frozen(tmp_path)
    shared = audit(small, "shared")
    alone = audit(small, "alone", checkpoints_per_actor=1)
    assert_identical(shared, alone)
    (note,) = [note for note in shared.manifest.notes if "run once a batch" in note]
    assert note.startswith("4 of 5 layers are the same in checkpoint epoch_1")
    assert not [note for note in alone.manifest.notes if "run once a batch" in note]


def test_a_calibrated_plan_tells_what_will_be_shared(tmp_path):
    small = frozen(tmp_path)
    config = small.config(engine={"checkpoints_per_actor": 3})
    plan = dry_run(config, None, True, None, None, calibrate=True)
    assert any("run once a batch" in reason for reason in plan.layout.reasons)
    assert plan.expected_s > 0
    assert small.files_written() == {}
