"""The layout that a calibration chooses is the fastest of those that fit."""

from itertools import product

import pytest

from ray_audit.config import EngineConfig
from ray_audit.engine.planning.layout import ClusterResources, NodeResources, plan_layout
from ray_audit.engine.planning.pace import BatchTimes, fastest_layout, predicted_s
from ray_audit.errors import PlanError

GIB = 2**30
LAPTOP = ClusterResources((NodeResources(2, 0, 24 * GIB),), 7 * GIB)
SERVER = ClusterResources((NodeResources(16, 0, 64 * GIB),), 16 * GIB)
GPU_NODE = ClusterResources((NodeResources(16, 2, 128 * GIB, 80 * GIB),), 32 * GIB)


def seen(num=8, **changed):
    values = {
        "probe_s": dict.fromkeys(range(num), 0.05),
        "overhead_s": 0.002,
        "decode_s": 0.02,
        "copy_s": 0.002,
        "load_s": 0.1,
        "model_bytes": 10 * 2**20,
        "payload_bytes": 2**20,
        "num_rows": 16,
        "device": "cpu",
    }
    return BatchTimes(**(values | changed))


def fastest(calibration, num_batches=1000, cluster=LAPTOP, **engine):
    positions = tuple(calibration.probe_s)
    return fastest_layout(positions, calibration, num_batches, cluster, EngineConfig(**engine))


@pytest.mark.parametrize("cluster", [LAPTOP, SERVER])
@pytest.mark.parametrize("num_batches", [5, 2000])
@pytest.mark.parametrize("changed", [{}, {"decode_s": 0.5}, {"model_bytes": GIB}])
def test_no_fixed_layout_is_much_faster(cluster, num_batches, changed):
    calibration = seen(**changed)
    _, chosen_s = fastest(calibration, num_batches, cluster)
    for packed, actors in product(range(1, 9), range(1, 17)):
        engine = EngineConfig(checkpoints_per_actor=packed, actors_per_pool=actors)
        try:
            layout = plan_layout(tuple(range(8)), calibration.model_bytes, 2**20, cluster, engine)
        except PlanError:
            continue
        assert chosen_s <= 1.05 * predicted_s(layout, calibration, cluster, num_batches, 1)


def test_a_handful_of_batches_is_not_worth_many_processes():
    assert fastest(seen(), 2, SERVER)[0].num_actors < fastest(seen(), 5000, SERVER)[0].num_actors
    assert fastest(seen(), 5000, SERVER)[0].num_actors >= 13  # of 16 cores


def test_what_the_user_fixed_stays():
    layout, _ = fastest(seen(), checkpoints_per_actor=4, actors_per_pool=1)
    assert layout.hops == ((0, 1, 2, 3), (4, 5, 6, 7))
    assert layout.actors_per_pool == 1


def test_an_order_of_visits_is_kept():
    calibration = seen(4)
    layout, _ = fastest_layout((3, 1, 2, 0), calibration, 100, LAPTOP, EngineConfig())
    assert [p for hop in layout.hops for p in hop] == [3, 1, 2, 0]


def test_a_host_that_is_slower_than_its_gpu_gets_several_actors_a_gpu():
    slow_host = seen(overhead_s=0.4, device="cuda")
    fast_host = seen(overhead_s=0.001, device="cuda")
    assert fastest(slow_host, 5000, GPU_NODE)[0].gpus_per_actor < 1
    assert fastest(fast_host, 5000, GPU_NODE)[0].gpus_per_actor == 1


def test_a_quick_probe_has_more_batches_waiting():
    quick = seen(probe_s=dict.fromkeys(range(8), 0.0005), overhead_s=0.0)
    assert fastest(quick)[0].in_flight_per_actor > fastest(seen())[0].in_flight_per_actor


def test_reasons_say_what_was_measured_and_what_else_fits():
    layout, seconds = fastest(seen())
    measured, chosen = layout.reasons
    assert "a batch of 16 samples takes 50 ms a checkpoint, 20 ms to decode and 12 ms a hop" in (
        measured
    )
    assert f"about {seconds:.3g} s for 1000 batches" in chosen
    assert "not known" in fastest(seen(), None)[0].reasons[1]


def test_nothing_that_fits_is_the_planners_own_error():
    with pytest.raises(PlanError, match="GiB of memory"):
        fastest(seen(model_bytes=60 * GIB))


def test_the_memory_of_a_gpu_bounds_what_shares_it():
    def packed(gpu_bytes):
        cluster = ClusterResources((NodeResources(32, 16, 512 * GIB, gpu_bytes),), 32 * GIB)
        layout = plan_layout(tuple(range(20)), 4 * GIB, 2**20, cluster, EngineConfig())
        return len(layout.hops[0]), layout.reasons[0]

    assert packed(80 * GIB)[0] == 10
    assert packed(24 * GIB)[0] < 4
    assert "16 GiB, which is assumed" in packed(None)[1]
