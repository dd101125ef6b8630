"""On Ray, the tables and labels are those of one process, whatever the specification asks for."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from ray_audit.corrections.correct import correct
from ray_audit.corrections.options import CorrectionOptions
from ray_audit.engine.backends.ray import pipeline
from ray_audit.engine.run import audit as run
from ray_audit.engine.run.audit import run_audit
from ray_audit.tables.run_tables import RunTables
from tests.functional.engine import test_adaptive as adaptive
from tests.functional.engine import test_moments as moments
from tests.functional.engine import test_second_pass as exact
from tests.functional.engine import test_slices as slices
from tests.functional.engine.test_reading_once import MAKERS
from tests.support import knowing, small_sets
from tests.support.audits import ALL_MAY_FAIL, audit, bad_images, with_trap
from tests.support.corrected import corrected, rows_at
from tests.support.label_sets import files_of
from tests.support.tables import assert_identical

pytestmark = pytest.mark.integration

LAYOUTS = {
    "a relay": {"checkpoints_per_actor": 1, "actors_per_pool": 1},
    "pools of two": {"checkpoints_per_actor": 2, "actors_per_pool": 2},
    "one pool": {"checkpoints_per_actor": 3, "actors_per_pool": 4},
}
# The start of an actor takes longer than what a small set gives it to do.
ONE_ACTOR = {"checkpoints_per_actor": 3, "actors_per_pool": 1}


def audit_as(small, name, local=False, **engine):
    return audit(small, local=local, output=str(small.folder / f"out-{name}"), engine=engine)


# One of them in every run: of the other sets, tests of their own hold a layout to one process.
ALWAYS = ("labelled_videos", "pools of two")


@pytest.mark.parametrize(
    ("maker", "layout"),
    [
        pytest.param(*case, marks=() if case == ALWAYS else pytest.mark.slow)
        for case in product(MAKERS, LAYOUTS)
    ],
)
def test_tables_do_not_depend_on_hops_or_actors(maker, layout, tmp_path, cluster):
    small = getattr(small_sets, maker)(tmp_path)
    oracle = audit_as(small, "local", local=True)
    assert oracle.counts["scored"] > 0
    assert_identical(audit_as(small, "ray", **LAYOUTS[layout]), oracle)


@pytest.mark.slow
def test_tables_do_not_depend_on_the_order_of_the_shards(tmp_path, cluster, monkeypatch):
    small = small_sets.labelled_videos(tmp_path, num=6)
    oracle = audit_as(small, "sorted", local=True)
    make_plan = run.make_plan

    def shuffled(*arguments, **named):
        plan = make_plan(*arguments, **named)
        order = np.random.default_rng(0).permutation(len(plan.work))
        assert list(order) != sorted(order)
        return replace(plan, work=tuple(plan.work[i] for i in order))

    monkeypatch.setattr(run, "make_plan", shuffled)
    engine = {"checkpoints_per_actor": 3, "actors_per_pool": 2}
    for local in (True, False):
        assert_identical(audit_as(small, f"shuffled-{local}", local, **engine), oracle)


def test_files_that_cannot_be_read_give_the_same_rows(tmp_path, cluster):
    images = bad_images(tmp_path)
    with_trap(images, epoch=1)
    small_sets.picture(tmp_path / "data/c/1.png", 0, black=True)
    there = audit(images, local=False, engine=ONE_ACTOR, **ALL_MAY_FAIL)
    here = audit(images, output=str(tmp_path / "here"), **ALL_MAY_FAIL)
    assert there.counts["failed"] == 3
    assert_identical(there, here)


@pytest.mark.slow
def test_adaptive_audits(tmp_path, cluster):
    small = adaptive.prepared("masked_images", tmp_path)
    engine = {"checkpoints_per_actor": 2, "actors_per_pool": 1, "start_timeout_s": 1200}
    there = adaptive.adaptive(small, "ray", local=False, **engine)
    assert_identical(there, adaptive.adaptive(small, "local"))


def test_the_second_pass_of_confident_learning(tmp_path, cluster):
    small = exact.relabelled(tmp_path)
    local = exact.clc_of(run_audit(small.config(**exact.CHANGES), local=True))
    on_ray = small.config(**exact.CHANGES, output=str(tmp_path / "out_ray"), engine=ONE_ACTOR)
    np.testing.assert_array_equal(exact.clc_of(run_audit(on_ray)), local)


def test_moments_that_are_continued(tmp_path, cluster):
    small = small_sets.masked_images(tmp_path)
    only = [str(tmp_path / "checkpoints/epoch_0.safetensors")]
    moments.night(small, checkpoints=only, **moments.KEEP)
    second = run_audit(small.config(engine=ONE_ACTOR, **moments.KEEP), local=False)
    assert moments.num_new(second) == 2
    assert_identical(second, moments.fresh(small))


@pytest.mark.slow  # in one process in every run: test_real_sets.py
def test_slices_of_long_videos(tmp_path, cluster):
    small = slices.long_videos(tmp_path)
    whole = slices.run(small, None, "whole")
    assert_identical(whole, slices.run(small, 10, "parts", local=False))


def test_masks_that_are_corrected(tmp_path, cluster):
    small = knowing.masks(tmp_path)
    here = corrected(small)
    tables = RunTables.open(str(small.out))
    there = correct(
        tables,
        lambda: pipeline.RayBackend(tables.config.engine),
        str(tmp_path / "ray"),
        CorrectionOptions(),
    )
    assert files_of(tmp_path / "ray/labels") == files_of(tmp_path / "to/labels")
    assert rows_at(there) == rows_at(here)
