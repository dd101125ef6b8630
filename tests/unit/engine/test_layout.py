import pytest

from ray_audit.config import EngineConfig
from ray_audit.engine.planning.layout import ClusterResources, NodeResources, gpus_each, plan_layout
from ray_audit.errors import PlanError

GIB = 2**30
LAPTOP = ClusterResources((NodeResources(2, 0, 24 * GIB),), 7 * GIB)
GPU_NODES = ClusterResources((NodeResources(16, 4, 256 * GIB),) * 2, 64 * GIB)
SMALL_NODES = [
    ClusterResources((NodeResources(cpus, 0, 16 * GIB),) * num, 8 * GIB)
    for num, cpus in ((4, 1), (2, 2), (4, 2), (3, 3))
]


def layout(cluster=LAPTOP, num_checkpoints=8, model_bytes=10 * 2**20, payload=4 * 2**20, **engine):
    positions = tuple(range(num_checkpoints))
    return plan_layout(positions, model_bytes, payload, cluster, EngineConfig(**engine))


def reserved_cpus(planned):
    return planned.num_actors * planned.cpus_per_actor + planned.num_decoders * (
        planned.cpus_per_decoder
    )


@pytest.mark.parametrize("num_checkpoints", [1, 2, 8, 100])
@pytest.mark.parametrize("cluster", [LAPTOP, GPU_NODES, *SMALL_NODES])
@pytest.mark.parametrize("packed", ["auto", 1])
def test_what_is_reserved_fits_the_cluster(cluster, num_checkpoints, packed):
    if (packed == 1 and num_checkpoints == 100) or (packed == 1 and cluster is GPU_NODES):
        packed = 16
    planned = layout(cluster, num_checkpoints, checkpoints_per_actor=packed)
    assert reserved_cpus(planned) <= cluster.num_cpus + 1e-9
    for node in cluster.nodes:  # even a node that is full of actors has room for a decoder
        by_gpu = node.num_gpus if planned.gpus_per_actor else planned.num_actors
        fitting = min(int(node.num_cpus / planned.cpus_per_actor), planned.num_actors, by_gpu)
        left = node.num_cpus - fitting * planned.cpus_per_actor
        assert left >= planned.cpus_per_decoder - 1e-9
    assert planned.num_actors * planned.gpus_per_actor <= cluster.num_gpus


@pytest.mark.parametrize("num_cpus", range(1, 9))
@pytest.mark.parametrize("num_checkpoints", range(1, 17))
def test_decoding_and_models_are_never_run_in_one_process(num_cpus, num_checkpoints):
    """Ray fuses stages of equal resources, and then decoding and the models take turns."""
    cluster = ClusterResources((NodeResources(num_cpus, 0, 256 * GIB),), 64 * GIB)
    for actors in ("auto", 1, 2):
        try:
            planned = layout(
                cluster, num_checkpoints, checkpoints_per_actor=1, actors_per_pool=actors
            )
        except PlanError:
            continue
        assert planned.cpus_per_actor != planned.cpus_per_decoder


def test_small_models_share_an_actor_and_every_core_has_one():
    planned = layout()
    assert planned.hops == (tuple(range(8)),)
    assert planned.actors_per_pool == 2


def test_every_checkpoint_runs_once_and_in_order():
    planned = layout(num_checkpoints=7, checkpoints_per_actor=3)
    assert planned.hops == ((0, 1, 2), (3, 4, 5), (6,))


def test_strict_relay_is_one_checkpoint_a_pool():
    planned = layout(checkpoints_per_actor=1)
    assert len(planned.hops) == 8
    assert planned.cpus_per_actor * 8 < 2


def test_models_that_do_not_fit_memory_are_spread_over_hops():
    planned = layout(num_checkpoints=10, model_bytes=2 * GIB)
    assert len(planned.hops) > 1
    assert any("fit half of the memory" in reason for reason in planned.reasons)


def test_every_gpu_gets_an_actor():
    planned = layout(GPU_NODES, num_checkpoints=4)
    assert planned.gpus_per_actor == 1
    assert planned.num_actors == 8


def test_fractions_of_a_gpu_multiply_the_actors():
    planned = layout(GPU_NODES, num_checkpoints=4, num_gpus=0.25)
    assert planned.num_actors == 32


@pytest.mark.parametrize(
    ("engine", "names"),
    [
        ({"actors_per_pool": 64}, "2 CPUs leave less than"),
        ({"num_gpus": 1}, "0 GPU"),
        ({"checkpoints_per_actor": 1, "actors_per_pool": 8}, "64 actors"),
    ],
)
def test_more_than_the_cluster_can_hold_is_an_error_at_once(engine, names):
    with pytest.raises(PlanError, match=names):
        layout(**engine)


def test_memory_that_is_short_is_an_error():
    small = ClusterResources((NodeResources(8, 0, 2 * GIB),), GIB)
    with pytest.raises(PlanError, match="GiB of memory"):
        layout(small, actors_per_pool=8)


def test_batches_larger_than_half_the_object_store_are_an_error():
    with pytest.raises(PlanError, match="object store"):
        layout(payload=GIB)


def test_tasks_that_look_again_get_gpus_like_the_actors():
    assert gpus_each(LAPTOP, EngineConfig()) == 0
    assert gpus_each(GPU_NODES, EngineConfig()) == 1
    assert gpus_each(GPU_NODES, EngineConfig(num_gpus=0.25)) == 0.25
    assert gpus_each(GPU_NODES, EngineConfig(num_gpus=0)) == 0


@pytest.mark.parametrize("num_checkpoints", [1, 4, 30])
@pytest.mark.parametrize("mib_model", [1, 100, 500])
@pytest.mark.parametrize(
    ("cpus", "gib"),
    [(1, 2), (2, 4), (4, 4), (8, 16), (16, 8), (16, 16), (32, 16), (64, 32), (128, 64), (192, 24)],
)
def test_the_planner_never_refuses_its_own_choice(cpus, gib, mib_model, num_checkpoints):
    cluster = ClusterResources((NodeResources(cpus, 0, gib * GIB),), gib * GIB // 3)
    held_bytes = 600 * 2**20 + num_checkpoints * mib_model * 2**20
    if held_bytes > gib * GIB:  # no one process can hold all
        with pytest.raises(PlanError):
            layout(cluster, num_checkpoints, model_bytes=mib_model * 2**20)
        return
    planned = layout(cluster, num_checkpoints, model_bytes=mib_model * 2**20)
    packed = len(planned.hops[0])
    memory = planned.num_actors * (600 * 2**20 + packed * mib_model * 2**20)
    assert memory <= gib * GIB
    assert planned.in_flight_bytes(4 * 2**20) <= gib * GIB // 6
    assert planned.num_actors * planned.cpus_per_actor <= cpus
    assert [p for hop in planned.hops for p in hop] == list(range(num_checkpoints))


@pytest.mark.parametrize(
    ("gpu_gib", "num_checkpoints", "mib_model"),
    [(16, 100, 100), (None, 100, 100), (None, 50, 500), (16, 8, 1500), (24, 20, 1000)],
)
@pytest.mark.parametrize("num_gpus", ["auto", 1])
def test_one_gpu_holds_all_checkpoints_where_they_fit_it(
    gpu_gib, num_checkpoints, mib_model, num_gpus
):
    gpu_bytes = None if gpu_gib is None else gpu_gib * GIB
    cluster = ClusterResources((NodeResources(4, 1, 32 * GIB, gpu_bytes),), 10 * GIB)
    planned = layout(cluster, num_checkpoints, model_bytes=mib_model * 2**20, num_gpus=num_gpus)
    assert planned.hops == (tuple(range(num_checkpoints)),)
    assert (planned.num_actors, planned.gpus_per_actor) == (1, 1.0)


def test_checkpoints_that_fit_no_gpu_are_refused():
    cluster = ClusterResources((NodeResources(4, 1, 32 * GIB, 8 * GIB),), 10 * GIB)
    with pytest.raises(PlanError, match="the cluster can hold 1"):
        layout(cluster, 100, model_bytes=100 * 2**20)


def test_a_choice_that_became_smaller_says_why():
    cluster = ClusterResources((NodeResources(16, 0, 8 * GIB),), 3 * GIB)
    planned = layout(cluster, 4, model_bytes=2**20)
    assert "after all" in planned.reasons[-1]
    assert planned.hops == ((0, 1, 2, 3),)
    assert planned.num_actors == 13  # what 8 GiB hold of processes of 600 MiB


def test_what_the_user_fixed_is_never_made_smaller():
    cluster = ClusterResources((NodeResources(16, 0, 8 * GIB),), 3 * GIB)
    with pytest.raises(PlanError, match="need about"):
        layout(cluster, 4, actors_per_pool=16, checkpoints_per_actor=4)


@pytest.mark.parametrize(
    ("num_cpus", "actors_per_pool", "expected"),
    [(4, 2, 2), (4, 1, 1), (4, 3, 1), (4, "auto", 1), (16, 2, 4), (16, 8, 8), (2, 2, 1)],
)
def test_cpus_that_no_actor_takes_decode_up_to_one_for_each(num_cpus, actors_per_pool, expected):
    cluster = ClusterResources((NodeResources(num_cpus, 0, 64 * GIB),), 16 * GIB)
    assert layout(cluster, actors_per_pool=actors_per_pool).num_decoders == expected
