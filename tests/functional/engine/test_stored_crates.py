"""What comes from the object store is never written into, whatever is done to it."""

import warnings

import numpy as np
import pytest

from ray_audit.engine.backends import wire
from ray_audit.engine.backends.local import LocalBackend
from ray_audit.engine.backends.stages import StageSettings, commit, decode_unit
from ray_audit.engine.backends.worker import PoolWorker
from ray_audit.engine.planning.plan import make_plan, read_inputs
from tests.support import small_sets, tiny_models

MAKERS = ("class_folders", "masked_images", "labelled_videos", "feature_sequences")
CHANGES = {
    "plain": {},
    "tiles": {"dataset": {"tile": {"size": 12, "overlap": 4}}},
    "kept moments": {"vog": {"keep_moments": True}},
    "native": {"model": {"input": {"scale": 255}}},
    "adaptive": {"adaptive": {"budget": 0.7}, "scores": ["csl"]},
}
CASES = [
    *((maker, "plain") for maker in MAKERS),
    ("masked_images", "tiles"),
    ("labelled_videos", "kept moments"),
    ("class_folders", "native"),
    ("class_folders", "adaptive"),
]


def config_of(maker, changes, folder):
    small = getattr(small_sets, maker)(folder)
    for key, value in CHANGES[changes].items():
        whole = small.values.get(key)
        small.values[key] = whole | value if isinstance(whole, dict) else value
    return small.config(engine={"batch_size": 2, "checkpoints_per_actor": 1})


def relay(config, folder, memory):
    """Each pool reads what the one before has stored; `memory` gets all that was."""
    (folder / "index").mkdir()
    inputs = read_inputs(config, folder / "index", None, "2026-01-31")
    plan = make_plan(inputs, LocalBackend().resources())
    settings = StageSettings(
        inputs.config, inputs.checkpoints, inputs.required, str(folder / "index"), "cpu"
    )
    last = len(plan.layout.hops) - 1
    pools = [
        PoolWorker(settings, positions, is_last=i == last)
        for i, positions in enumerate(plan.layout.hops)
    ]
    for work in plan.work:
        for crate in decode_unit(settings, work):
            for pool in pools:
                table = wire.encode(crate)
                stored = np.frombuffer(table["payload"].chunk(0).buffers()[2], np.uint8)
                memory.append((stored, stored.copy()))
                crate = pool.process(wire.decode(table))
            assert not crate.fatal
            assert not any(envelope.failures for envelope in crate.batches)
            commit(settings, crate)


@pytest.mark.parametrize(("maker", "changes"), CASES)
def test_pools_leave_a_stored_crate_as_it_is(maker, changes, tmp_path, monkeypatch):
    for name in ("ImageModel", "PixelModel", "FrameModel"):
        plain = getattr(tiny_models, name)
        monkeypatch.setattr(tiny_models, name, _writing(plain))
    memory = []
    with warnings.catch_warnings():
        # Torch says no more than that where memory of the store is about to be written into.
        warnings.filterwarnings("error", message=".*not writable")
        relay(config_of(maker, changes, tmp_path), tmp_path, memory)
    assert len(memory) >= small_sets.NUM_CHECKPOINTS
    for now, before in memory:
        assert np.array_equal(now, before)


def _writing(plain):
    class Writing(plain):
        def forward(self, x):
            return super().forward(x.mul_(0.5))

    return Writing
