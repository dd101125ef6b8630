"""While a batch is at the models the next one is decoded and brought to their device."""

import threading

import numpy as np
import pytest

from ray_audit.engine.backends import local
from ray_audit.engine.backends.worker import PoolWorker
from ray_audit.engine.planning import plan as planning
from ray_audit.engine.run.audit import run_audit
from ray_audit.probes.prober import Prober, ProbeTurn
from tests.support import small_sets
from tests.support.batches import class_batch
from tests.support.probed import prober
from tests.unit.probes.test_prober import image_model

LIMIT_S = 30


def test_a_batch_becomes_ready_while_the_one_before_is_at_the_models(tmp_path, monkeypatch):
    small = small_sets.class_folders(tmp_path)
    ready, observe = Prober.ready, Prober.observe
    made: dict[int, threading.Event] = {}
    waited, came_ready = [], []

    def noted(self, batch):
        done = ready(self, batch)
        made.setdefault(batch.index, threading.Event()).set()
        return done

    def waiting(self, batch, *args, **rest):
        came_ready.append((batch.index, rest.get("ready") is not None))
        if batch.index == 1:  # of the second crate, the first goes on only when the next is there
            waited.append(made.setdefault(2, threading.Event()).wait(LIMIT_S))
        return observe(self, batch, *args, **rest)

    monkeypatch.setattr(planning, "crate_bytes", lambda *_: (2**30, "all batches together"))
    monkeypatch.setattr(Prober, "ready", noted)
    monkeypatch.setattr(Prober, "observe", waiting)
    config = small.config(output=str(tmp_path / "out"), engine={"batch_size": 2})
    outcome = run_audit(config, local=True)
    assert outcome.counts["failed"] == 0
    assert waited
    assert all(waited)
    assert (2, True) in came_ready


@pytest.mark.parametrize("gradient", [None, "loss"])
def test_a_batch_made_ready_by_another_thread_gives_the_same_arrays(gradient):
    rng = np.random.default_rng(0)
    batch = class_batch(rng.integers(0, 256, (5, 3, 8, 9), np.uint8), rng.integers(0, 4, 5))
    single = prober([image_model(0)], gradient)
    turns = {0: ProbeTurn(is_final=True, in_window=gradient is not None)}
    expected = single.observe(batch, turns)
    found = []
    thread = threading.Thread(target=lambda: found.append(single.ready(batch)))
    thread.start()
    thread.join()
    actual = single.observe(batch, turns, ready=found[0])
    assert actual.keys() == expected.keys()
    for name in actual.keys() - {"trajectory/probe_s"}:
        assert np.array_equal(actual[name], expected[name]), name


def test_in_one_process_a_crate_is_decoded_while_the_one_before_is_at_the_models(
    tmp_path, monkeypatch
):
    small = small_sets.labelled_videos(tmp_path, num=3)
    decoded = [threading.Event() for _ in range(3)]
    waited = []
    decode, process = local.decode_unit, PoolWorker.process

    def noted(settings, work):
        for crate in decode(settings, work):
            decoded[int(work.unit.files.removeprefix("v")[0])].set()
            yield crate

    def waiting(self, crate, first=None):
        if len(waited) < 2:  # each but the last one goes on only when the next one is there
            waited.append(decoded[len(waited) + 1].wait(LIMIT_S))
        return process(self, crate, first)

    monkeypatch.setattr(local, "decode_unit", noted)
    monkeypatch.setattr(PoolWorker, "process", waiting)
    outcome = run_audit(small.config(), local=True)
    assert outcome.counts["scored"] == 36
    assert waited == [True, True]
