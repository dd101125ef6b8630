"""However a relay is laid out, the tables are the same, and each shard is read once."""

from dataclasses import replace

import numpy as np
import pytest

from ray_audit.engine.run import audit as run
from ray_audit.engine.run.audit import run_audit
from tests.support import small_sets
from tests.support.tables import assert_identical

pytestmark = pytest.mark.integration

MAKERS = ("masked_images", "class_folders", "labelled_videos", "feature_sequences")
LAYOUTS = (
    {"checkpoints_per_actor": 1, "actors_per_pool": 1},
    {"checkpoints_per_actor": 2, "actors_per_pool": 2},
    {"checkpoints_per_actor": 3, "actors_per_pool": 4},
)


def audit(small, name, local, **engine):
    output = str(small.folder / f"out-{name}")
    return run_audit(small.config(output=output, engine=engine), local=local)


@pytest.mark.parametrize(
    "maker",
    [
        "labelled_videos",  # of the others, tests of their own hold one layout to one process
        *(pytest.param(m, marks=pytest.mark.slow) for m in MAKERS if m != "labelled_videos"),
    ],
)
def test_tables_do_not_depend_on_hops_or_actors(maker, tmp_path, cluster):
    small = getattr(small_sets, maker)(tmp_path)
    oracle = audit(small, "local", local=True)
    assert oracle.counts["scored"] > 0
    for index, engine in enumerate(LAYOUTS):
        assert_identical(audit(small, f"ray-{index}", local=False, **engine), oracle)


@pytest.mark.parametrize("local", [True, False], ids=["local", "ray"])
def test_tables_do_not_depend_on_the_order_of_the_shards(tmp_path, cluster, monkeypatch, local):
    small = small_sets.labelled_videos(tmp_path, num=6)
    oracle = audit(small, "sorted", local=True)
    make_plan = run.make_plan

    def shuffled(*arguments, **named):
        plan = make_plan(*arguments, **named)
        order = np.random.default_rng(0).permutation(len(plan.work))
        assert list(order) != sorted(order)
        return replace(plan, work=tuple(plan.work[i] for i in order))

    monkeypatch.setattr(run, "make_plan", shuffled)
    engine = {"checkpoints_per_actor": 3, "actors_per_pool": 2}
    assert_identical(audit(small, "shuffled", local, **engine), oracle)


@pytest.mark.parametrize("maker", MAKERS)
def test_a_shard_is_read_once_however_many_checkpoints_there_are(maker, tmp_path):
    small = getattr(small_sets, maker)(tmp_path)
    many = audit(small, "many", local=True)
    only = str(tmp_path / "checkpoints/epoch_0.safetensors")
    one = run_audit(small.config(output=str(tmp_path / "out-one"), checkpoints=only), local=True)
    assert many.manifest.timing["bytes_read"] == one.manifest.timing["bytes_read"] > 0


def test_bf16_gives_scores_close_to_float32(tmp_path):
    small = small_sets.class_folders(tmp_path)
    exact = audit(small, "float32", local=True)
    rough = audit(small, "bf16", local=True, precision="bf16")
    losses = [
        outcome.manifest.table(outcome.run_uri, "scores").sort_by("sample_id")["csl"].to_pylist()
        for outcome in (exact, rough)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
    assert losses[1] != losses[0]
