"""Adaptive audits: who stays is scored as ever, who left has gaps, in every layout."""

import numpy as np
import pytest

from ray_audit.engine.run.audit import run_audit
from ray_audit.errors import SpecificationError
from tests.support import small_sets, tiny_models
from tests.support.tables import assert_identical, rows_of

NUM_CHECKPOINTS = 6
# Ranks and spreads over the dataset, and what is told of frames that left early.
OF_ALL = {"suspicion", "vog_z", "csl_segment", "order_nll", "clc"}
OF_ALL |= {"boundary_shift", "boundary_frame"}


def prepared(maker, folder, **dataset):
    small = getattr(small_sets, maker)(folder)
    small.values["dataset"] |= dataset
    for epoch in range(small_sets.NUM_CHECKPOINTS, NUM_CHECKPOINTS):
        add_checkpoint(small, epoch)
    return small


def add_checkpoint(small, epoch):
    model = small.values["model"]
    make = getattr(tiny_models, model["factory"].partition(":")[2])
    small.write_weights(epoch, make(**model["kwargs"]))


def audit(small, name, local=True, date="2026-01-31", **changes):
    changes = {"output": str(small.folder / f"out-{name}"), **changes}
    return run_audit(small.config(**changes), local=local, logical_date=date)


def adaptive(small, name, local=True, date="2026-01-31", **engine):
    return audit(small, name, local, date, adaptive={"budget": 0.5, "first": 0.3}, engine=engine)


@pytest.mark.parametrize(
    "maker", ["class_folders", "masked_images", "labelled_videos", "feature_sequences"]
)
def test_what_stays_is_scored_as_in_a_full_audit(maker, tmp_path):
    small = prepared(maker, tmp_path)
    full = rows_of(audit(small, "full"), "scores").sort_by("sample_id").to_pylist()
    outcome = adaptive(small, "adaptive")
    rows = rows_of(outcome, "scores").sort_by("sample_id").to_pylist()
    losses = rows_of(outcome, "trajectories").sort_by("sample_id")["loss"].to_pylist()
    assert [row["sample_id"] for row in rows] == [row["sample_id"] for row in full]
    reached = np.array([row["num_checkpoints"] for row in rows])
    assert reached.mean() <= NUM_CHECKPOINTS / 2
    for row, whole, loss in zip(rows, full, losses, strict=True):
        passed = [value for value in loss if value is not None]
        assert len(passed) == row["num_checkpoints"]
        assert row["csl"] == pytest.approx(np.mean(passed), rel=1e-5)
        assert row["predicted"] == whole["predicted"]
        assert row["suspicion"] is not None
        if len(passed) < NUM_CHECKPOINTS:
            assert row["csg"] is row["learning_time"] is row["forgetting"] is None
            continue
        for name in row.keys() - OF_ALL:
            if isinstance(row[name], float):
                # The same checkpoints in another order.
                assert row[name] == pytest.approx(whole[name], rel=1e-4), name
            elif not isinstance(row[name], list):
                assert row[name] == whole[name], name
    if maker in ("class_folders", "masked_images"):
        assert set(reached) == {2, NUM_CHECKPOINTS}
    assert any(note.startswith("adaptive: ") for note in outcome.manifest.notes)


@pytest.mark.parametrize("maker", ["class_folders", "masked_images", "labelled_videos"])
def test_hops_change_nothing(maker, tmp_path):
    small = prepared(maker, tmp_path)
    oracle = adaptive(small, "one")
    for packed in (1, 4):
        assert_identical(adaptive(small, f"p{packed}", checkpoints_per_actor=packed), oracle)


def test_tiles_of_an_image_pass_the_same_checkpoints(tmp_path):
    small = prepared("masked_images", tmp_path, tile={"size": 8, "overlap": 2})
    rows = rows_of(adaptive(small, "tiles"), "scores")
    assert set(rows["num_checkpoints"].to_pylist()) == {3}


def test_records_are_reused_whole_or_not_at_all(tmp_path):
    small = prepared("class_folders", tmp_path)
    first = adaptive(small, "nights")
    again = adaptive(small, "nights", date="2026-02-01")
    assert (again.manifest.plan["num_new"], again.manifest.plan["num_reused"]) == (0, 6)
    assert_identical(again, first)
    full = audit(small, "nights", date="2026-02-02")
    assert full.manifest.plan["num_new"] == 6  # its units have other names
    add_checkpoint(small, 6)
    longer = adaptive(small, "nights", date="2026-02-03")
    assert longer.manifest.plan["num_new"] == 7
    assert_identical(longer, adaptive(small, "afresh"))


@pytest.mark.parametrize("vog", [{"keep_moments": True}, {"window": "early"}])
def test_moments_of_some_checkpoints_only_are_refused(tmp_path, vog):
    with pytest.raises(SpecificationError, match="adaptive goes with vog"):
        audit(small_sets.class_folders(tmp_path), "x", adaptive={"budget": 0.5}, vog=vog)


def test_exact_confident_learning_counts_every_image(tmp_path):
    small = prepared("masked_images", tmp_path)
    exact = audit(small, "exact", confident="exact", adaptive={"budget": 0.5})
    full = audit(small, "full", confident="exact")
    clc = [
        rows_of(item, "scores").sort_by("sample_id")["clc"].to_pylist() for item in (exact, full)
    ]
    assert clc[0] == clc[1]


def test_a_copy_of_a_checkpoint_counts_only_where_a_sample_got_to_it(tmp_path):
    small = prepared("class_folders", tmp_path)
    files = [tmp_path / f"checkpoints/epoch_{epoch}.safetensors" for epoch in (0, 5)]
    apart = rows_of(adaptive(small, "apart"), "scores")["num_checkpoints"].to_pylist()
    files[0].write_bytes(files[1].read_bytes())
    copied = adaptive(small, "copied")
    assert sorted(rows_of(copied, "scores")["num_checkpoints"].to_pylist()) == sorted(apart)
    losses = rows_of(copied, "trajectories")["loss"].to_pylist()
    assert any(of_sample[0] is None for of_sample in losses)
    both = [of_sample for of_sample in losses if None not in (of_sample[0], of_sample[5])]
    assert all(of_sample[0] == of_sample[5] for of_sample in both)
