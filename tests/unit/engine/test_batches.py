"""Automatic batches follow the memory of GPUs, and stay what they were in one output."""

import pytest

from ray_audit.engine.planning.batches import fitting_bytes, why_batches, with_gpu_batches
from ray_audit.engine.planning.layout import ClusterResources, NodeResources
from tests.support import small_sets

GIB, MIB = 2**30, 2**20


def cluster(*gpu_gib, store_gib=8):
    nodes = [NodeResources(16, 1, 64 * GIB, MIB, size and int(size * GIB)) for size in gpu_gib]
    nodes = tuple(nodes) or (NodeResources(16, 0, 64 * GIB),)
    return ClusterResources(nodes, store_gib * GIB)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return small_sets.class_folders(tmp_path_factory.mktemp("set"))


@pytest.mark.parametrize(
    ("gpu_gib", "num_gpus", "expected_mib"),
    [
        ((), "auto", 2),
        ((1,), "auto", 4),
        ((15.77,), "auto", 32),
        ((16,), "auto", 32),  # the same, as it is sold
        ((16,), 0.5, 16),  # of a half
        ((None,), "auto", 32),  # an unknown one counts as 16 GiB
        ((24,), "auto", 32),
        ((80, 24), "auto", 32),  # the smallest
        ((40,), "auto", 64),
        ((141,), "auto", 64),
        ((141,), 0, 2),  # not used
    ],
)
def test_batches_grow_in_steps_with_the_memory_of_the_smallest_gpu(
    images, gpu_gib, num_gpus, expected_mib
):
    config = images.config(engine={"num_gpus": num_gpus})
    assert fitting_bytes(config, cluster(*gpu_gib)) == expected_mib * MIB


def test_batches_find_room_in_the_object_store(images):
    assert fitting_bytes(images.config(), cluster(80, store_gib=1)) == 16 * MIB


@pytest.mark.parametrize("fixed", [{"batch_size": 5}, {"batch_bytes": 12 * MIB}])
def test_what_the_specification_fixes_stays(images, fixed):
    config = images.config(engine=fixed)
    assert with_gpu_batches(config, cluster(80)) == config


def test_the_plan_says_why_where_batches_are_not_of_2_mib(images):
    open_, small, large = (
        images.config(engine=engine) for engine in ({}, {"batch_bytes": 4 * MIB}, {"batch_size": 5})
    )
    assert list(why_batches(open_, cluster())) == list(why_batches(large, cluster(80))) == []
    (chosen,) = why_batches(with_gpu_batches(open_, cluster(80)), cluster(80))
    assert chosen.startswith("batches of 64 MiB of network input: by the memory of the smallest")
    (kept,) = why_batches(small, cluster(80))
    assert kept.startswith("batches of 4 MiB")
    assert "engine.batch_bytes: 67108864 fits" in kept
