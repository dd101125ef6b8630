"""What the pipeline tells Ray Data, without a cluster."""

from types import SimpleNamespace

import pytest

from ray_audit.engine.backends.ray import pipeline

MIB = 2**20


@pytest.mark.parametrize(("under_way", "limit"), [(MIB, 256 * MIB), (640 * MIB, 1280 * MIB)])
def test_how_far_decoders_run_ahead_is_bounded_by_the_plan(under_way, limit):
    """Limits of tasks in flight hold no generator back; the share of the object store does."""
    context = pipeline._quiet_context(SimpleNamespace(in_flight_bytes=under_way))
    assert context.execution_options.resource_limits.object_store_memory == limit
    assert context.target_max_block_size == 1  # a crate a block
    assert not context.execution_options.preserve_order


def test_a_call_gets_one_whole_crate_and_no_copy_of_it():
    assert pipeline._by_crate() == pipeline._by_crate(0.5) | {"batch_size": None}
    assert pipeline._by_crate(0.5)["batch_size"] == 1
    assert pipeline._by_crate()["zero_copy_batch"]
