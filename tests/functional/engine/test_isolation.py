"""A sample on which the model raises costs itself, not its batch, however pools are laid out."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ray_audit.engine.backends.isolation import part_of_batch, raising
from ray_audit.engine.backends.local import LocalBackend
from ray_audit.engine.backends.stages import StageSettings, decode_unit
from ray_audit.engine.backends.worker import PoolWorker
from ray_audit.engine.planning.plan import make_plan, read_inputs
from ray_audit.probes.prober import ProbeTurn
from ray_audit.samples import IGNORE
from tests.functional.engine.test_failed_samples import NUM_MASKS, assert_others_are_the_same
from tests.functional.engine.test_failed_samples import masks as failing_masks
from tests.support.audits import ALL_MAY_FAIL, assert_counts_add_up, audit, with_trap
from tests.support.batches import class_batch, dense_batch
from tests.support.probed import NUM_CLASSES, dense_model, prober
from tests.support.small_sets import class_folders
from tests.support.tables import assert_identical, rows_of
from tests.unit.probes.test_prober import image_model

LAYOUTS = ({"checkpoints_per_actor": 1}, {"checkpoints_per_actor": 2}, {"checkpoints_per_actor": 3})


def masks(folder):
    """Masked images, of which a `RaisingPixels` takes all but one, where its trap is set."""
    return failing_masks(folder, "RaisingPixels", failing=2)


@pytest.mark.parametrize(
    ("epoch", "changes"), [(0, {}), (1, {"scores": ["csl", "vog", "softmin"]}), (2, {})]
)
def test_a_mask_on_which_a_checkpoint_raises_costs_itself(tmp_path, epoch, changes):
    failing, whole = masks(tmp_path / "failing"), masks(tmp_path / "whole")
    with_trap(failing, epoch)
    outcomes = [
        audit(failing, output=str(tmp_path / f"out-{i}"), engine=layout, **ALL_MAY_FAIL, **changes)
        for i, layout in enumerate(LAYOUTS)
    ]
    for outcome in outcomes:
        assert outcome.counts["failed_by_stage"] == {"probe": 1}
        (row,) = rows_of(outcome, "errors").to_pylist()
        assert (row["sample_id"], row["error_class"]) == ("i2.png", "ValueError")
        assert_counts_add_up(outcome)
        assert_identical(outcome, outcomes[0])
    for kind in ("images", "masks"):
        (whole.folder / f"data/{kind}/i2.png").unlink()
    assert_others_are_the_same(outcomes[0], audit(whole, **changes))


def test_what_is_lost_in_a_tile_is_the_whole_image_and_no_other(tmp_path):
    small = masks(tmp_path)
    small.values["dataset"]["tile"] = {"size": 12, "overlap": 4}
    with_trap(small, 1)
    outcome = audit(small, **ALL_MAY_FAIL)
    assert {row["sample_id"] for row in rows_of(outcome, "errors").to_pylist()} == {"i2.png"}
    assert outcome.counts["scored"] == NUM_MASKS - 1
    assert_counts_add_up(outcome)


def test_where_every_sample_fails_all_of_them_are_told(tmp_path):
    small = class_folders(tmp_path, factory="NarrowHater")
    for name in ("c/0", "c/1", "c/2"):
        Image.fromarray(np.zeros((16, 12, 3), np.uint8)).save(tmp_path / f"data/{name}.png")
    outcome = audit(small, **ALL_MAY_FAIL)
    assert outcome.counts["failed"] == 3
    assert outcome.counts["scored"] == 9
    assert_counts_add_up(outcome)


@pytest.mark.parametrize("gradient", [None, "loss"])
@pytest.mark.parametrize("is_dense", [False, True])
def test_a_part_of_a_batch_carries_what_its_samples_have_learnt(is_dense, gradient):
    rng = np.random.default_rng(0)
    inputs = rng.integers(0, 256, (5, 3, 12, 10), np.uint8)
    if is_dense:
        given = rng.integers(0, NUM_CLASSES, (5, 12, 10))
        given[:, 2:9, 2:9] = IGNORE
        batch, make = dense_batch(inputs, given), dense_model
    else:
        batch, make = class_batch(inputs, [0, 1, 2, 3, 0]), image_model
    single = prober([make(0), make(1)], gradient)
    turns = {i: ProbeTurn(is_final=i == 1, in_window=gradient is not None) for i in range(2)}
    cuts = np.array([0, 3, 4])
    learnt = part_of_batch(batch.with_arrays(single.observe(batch, turns)), cuts)
    part = part_of_batch(batch, cuts)
    expected = part.with_arrays(single.observe(part, turns))
    assert learnt.samples.equals(expected.samples)
    assert learnt.samples["cut"].to_pylist() == [0, 1, 2]
    assert learnt.arrays.keys() == expected.arrays.keys()
    for name in learnt.arrays.keys() - {"trajectory/probe_s"}:
        np.testing.assert_allclose(
            learnt.arrays[name], expected.arrays[name], rtol=1e-4, atol=1e-5, err_msg=name
        )


def test_cuts_that_fail_are_found_by_halves():
    batch = class_batch(np.arange(16, dtype=np.uint8).reshape(16, 1, 1, 1), [0] * 16)
    asked = []

    def observe(part, turn):
        values = part.arrays["inputs"].ravel().tolist()
        asked.append(values)
        if {5, 11} & set(values):
            raise ValueError(values)
        return {}

    found = list(raising(observe, batch, {0: None}, lambda part, error: len(part.samples)))
    assert found == [(5, 1), (11, 1)]
    assert len(asked) == 15  # all of them, and two halves of each part that fails


class Known:
    """Processes that have died before, by what they tried."""

    def __init__(self, *died):
        self.died, self.tried, self.ended = died, [], []

    def has_died(self, what):
        self.tried.append(what)
        return what in self.died

    def survived(self, what):
        self.ended.append(what)


def worker_and_envelope(tmp_path):
    """A worker with all checkpoints, and a batch of all twelve images."""
    (tmp_path / "index").mkdir()
    config = class_folders(tmp_path).config(engine={"batch_size": 12})
    inputs = read_inputs(config, tmp_path / "index", None, "2026-01-31")
    plan = make_plan(inputs, LocalBackend().resources())
    settings = StageSettings(
        config, inputs.checkpoints, inputs.required, str(tmp_path / "index"), "cpu"
    )
    (crate,) = decode_unit(replace(settings, crate_bytes=2**40), plan.work[0])
    (envelope,) = crate.batches
    return PoolWorker(settings, (0, 1, 2), is_last=True), envelope


def test_an_input_on_which_a_process_died_alone_is_given_up(tmp_path):
    worker, envelope = worker_and_envelope(tmp_path)
    ids = envelope.item.samples["sample_id"].to_pylist()
    known = Known("1-3")
    probed = worker.probe_each(envelope, (0, 1, 2), known)
    assert [(f.sample_id, f.error_class, f.attempts) for f in probed.failures] == [
        (ids[3], "crash", 4)
    ]
    assert probed.item.samples["sample_id"].to_pylist() == ids[:3] + ids[4:]
    assert probed.item.arrays["trajectory/loss"].shape == (11, 3)
    assert not probed.is_lost
    assert set(known.tried) - set(known.ended) == {"1-3"}
    # Up to the checkpoint at which one fails, the others were with it in the batch as it came.
    whole = worker.probe(envelope, (0, 1, 2)).item.arrays["trajectory/loss"]
    others = np.delete(np.arange(12), 3)
    assert np.array_equal(probed.item.arrays["trajectory/loss"][:, 0], whole[others, 0])


def test_a_batch_of_which_no_input_is_deadly_alone_is_given_up_whole(tmp_path):
    worker, envelope = worker_and_envelope(tmp_path)
    probed = worker.probe_each(envelope, (0, 1, 2), Known("2-together"))
    assert probed.is_lost
    assert {(f.error_class, f.attempts) for f in probed.failures} == {("crash", 3)}
    assert len(probed.failures) == 12
