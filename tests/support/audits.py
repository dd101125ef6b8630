"""Runs of the small sets, and what every outcome must satisfy."""

import json
from collections import Counter

import pytest
import torch
from safetensors.torch import load_file, save_file

from ray_audit.engine.run.audit import run_audit
from tests.support.small_sets import class_folders
from tests.support.tables import rows_of

ALL_MAY_FAIL = {"failures": {"max_fraction": 1.0}}


def audit(small_set, /, local=True, **changes):
    return run_audit(small_set.config(**changes), local=local, logical_date="2026-01-31")


def refused(small_set, kind, /, **changes):
    """The message of an error that comes before anything was written."""
    with pytest.raises(kind) as error:
        audit(small_set, **changes)
    assert small_set.files_written() == {}
    return str(error.value)


def only_error(outcome, stage, error_class):
    """The one row of `errors`; the counts add up."""
    (row,) = rows_of(outcome, "errors").to_pylist()
    assert (row["stage"], row["error_class"]) == (stage, error_class)
    assert outcome.counts["failed"] == row["num_samples"]
    assert_counts_add_up(outcome)
    return row


def assert_counts_add_up(outcome):
    counts = outcome.counts
    assert counts["entered"] == counts["scored"] + counts["filtered"] + counts["failed"]
    by_stage = Counter()
    for row in rows_of(outcome, "errors").to_pylist():
        by_stage[row["stage"]] += row["num_samples"]
    assert counts["failed_by_stage"] == by_stage
    assert counts["filtered_by_reason"] == Counter(
        rows_of(outcome, "filtered")["reason"].to_pylist()
    )
    assert counts["failed"] == by_stage.total()
    lost_before = by_stage.total() - by_stage["probe"] - by_stage["scores"]
    assert counts["decoded"] == counts["entered"] - counts["filtered"] - lost_before
    assert counts["probed"] == counts["decoded"] - by_stage["probe"]
    assert counts["scored"] == counts["probed"] - by_stage["scores"]
    for name, number in (("scores", "scored"), ("filtered", "filtered")):
        assert rows_of(outcome, name).num_rows == counts[number]
    assert rows_of(outcome, "trajectories").num_rows == counts["scored"]


def filtered(outcome):
    rows = rows_of(outcome, "filtered").to_pylist()
    return {row["sample_id"]: row["reason"] for row in rows}


def with_trap(images, epoch, is_set=True):
    """A checkpoint that gives NaN for black images."""
    path = images.folder / f"checkpoints/epoch_{epoch}.safetensors"
    save_file(load_file(path) | {"trap": torch.tensor(float(is_set))}, path)


def bad_images(folder, num=2):
    images = class_folders(folder)
    for index in range(num):
        (folder / f"data/b/{index}.png").write_bytes(b"no image")
    return images


def failure_file(dataset):
    (path,) = dataset.out.glob("runs/*/failure.json")
    assert not (path.parent / "manifest.json").exists()
    return json.loads(path.read_text())
