import pytest

from ray_audit.config import AuditConfig, EngineConfig
from ray_audit.engine.planning.crate_size import FULL_BYTES, crate_bytes
from ray_audit.engine.planning.layout import ClusterResources, NodeResources, plan_layout
from ray_audit.samples import Shard, WorkUnit

GIB = 2**30
PAYLOAD = 4 * 2**20


def config(kind="images", **model):
    labels = {"images": {"folder": True}, "sequences": {"frames": "t.csv"}}[kind]
    return AuditConfig.parse(
        {
            "dataset": {"kind": kind, "uri": "d/*", "labels": labels, "classes": ["a", "b"]}
            | ({"clip": {"frames": None}} if kind == "sequences" else {}),
            "model": {"factory": "m:f", **model},
            "checkpoints": "c/*",
            "output": "o",
        }
    )


def units(num, num_labelled=None, size_bytes=2**20):
    return [
        WorkUnit(f"{i}", (Shard(f"{i}", f"{i}", size_bytes, "", num_labelled=num_labelled),))
        for i in range(num)
    ]


def chosen(some, requested, num_actors=2, store_bytes=100 * GIB):
    cluster = ClusterResources((NodeResources(64, 0, 512 * GIB),), store_bytes)
    layout = plan_layout((0,), 2**20, PAYLOAD, cluster, EngineConfig(actors_per_pool=num_actors))
    return crate_bytes(some, requested, PAYLOAD, layout, cluster)


def test_crates_of_many_units_are_full():
    assert chosen(units(16), config())[0] == FULL_BYTES


def test_a_large_unit_has_full_crates_too():
    assert chosen(units(1, size_bytes=GIB), config())[0] == FULL_BYTES


@pytest.mark.parametrize("num_actors", [1, 2, 8])
def test_each_actor_gets_several_crates_of_a_small_dataset(num_actors):
    size = {"input": {"size": [100, 100]}}
    num_bytes, why = chosen(units(1, num_labelled=3200), config(**size), num_actors)
    assert num_bytes == 3200 * 30_000 // (8 * num_actors)
    assert f"8 for each of {num_actors} actor(s)" in why


def test_what_is_not_known_counts_as_large_as_its_files():
    some = units(1, size_bytes=40 * 2**20)
    assert chosen(some, config())[0] == 40 * 2**20 // 16
    assert chosen(some, config("sequences"))[0] == 40 * 2**20 // 16


def test_what_is_under_way_fits_half_of_the_object_store():
    num_bytes, why = chosen(units(100), config(), store_bytes=GIB)
    assert num_bytes < FULL_BYTES
    assert "object store" in why
