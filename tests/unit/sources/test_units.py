import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_audit.samples import Shard, WorkUnit
from ray_audit.sources import group_units


def shards(names, size_bytes=10):
    return [Shard(name, f"/d/{name}", size_bytes, "etag", label_digest="d") for name in names]


def images(num):
    return shards([f"{i:05d}.png" for i in range(num)])


@pytest.mark.parametrize("suffix", ["mp4", "npz", "npy", "parquet", "tar"])
def test_one_unit_per_container(suffix):
    units = group_units(shards([f"{i}.{suffix}" for i in range(3)]), "salt")
    assert [[s.key for s in u.shards] for u in units] == [[f"{i}.{suffix}"] for i in range(3)]
    assert len({u.unit_id for u in units}) == 3


def test_image_groups_end_where_a_key_says_so():
    units = group_units(images(2000), "salt")
    assert [s.key for u in units for s in u.shards] == [s.key for s in images(2000)]
    assert 10 < len(units) < 80
    for unit in units[:-1]:
        last = int(hashlib.sha256(unit.shards[-1].key.encode()).hexdigest(), 16)
        assert last % 64 == 0 or len(unit.shards) == 256


def test_groups_grow_with_the_batch_that_is_asked_for():
    sizes = [len(u.shards) for u in group_units(images(20_000), "salt", batch_size=128)]
    assert 256 < sum(sizes) / len(sizes) < 1024
    assert max(sizes) <= 4 * 4 * 128
    assert group_units(images(2000), "salt", batch_size=16) == group_units(images(2000), "salt")


@given(st.integers(0, 999))
def test_one_file_less_changes_its_own_group_only(removed):
    everything = images(1000)
    before = {u.unit_id for u in group_units(everything, "salt")}
    fewer = everything[:removed] + everything[removed + 1 :]
    after = {u.unit_id for u in group_units(fewer, "salt")}
    assert len(before - after) <= 2
    assert len(after - before) <= 2


def test_small_images_make_groups_that_fill_a_crate():
    sizes = [
        len(unit.shards)
        for unit in group_units(images(20_000), "salt", decoded_bytes=lambda _: 3 * 64 * 64)
    ]
    assert sum(sizes) / len(sizes) > 256
    assert max(sizes) <= 1024
    large = group_units(images(2000), "salt", decoded_bytes=lambda _: 3 * 1024 * 1024)
    assert large == group_units(images(2000), "salt")


@given(st.integers(0, 2999), st.integers(1, 400_000))
@settings(max_examples=20)
def test_one_small_image_more_changes_its_own_group_only(place, weight):
    before = group_units(images(3000), "salt", decoded_bytes=lambda _: weight)
    changed = [*images(3000)[:place], *shards([f"{place:05d}a.png"]), *images(3000)[place:]]
    after = group_units(changed, "salt", decoded_bytes=lambda _: weight)
    new = {unit.unit_id for unit in after} - {unit.unit_id for unit in before}
    assert len(new) <= 3


def test_large_files_make_small_groups():
    units = group_units(shards([f"{i}.png" for i in range(8)], 32 * 2**20), "salt")
    assert max(len(u.shards) for u in units) == 2


def test_identity_follows_content_labels_and_salt():
    shard = Shard("a.mp4", "/d/a.mp4", 10, "etag", label_digest="d")
    variants = [
        Shard("b.mp4", "/d/a.mp4", 10, "etag", label_digest="d"),
        Shard("a.mp4", "/d/a.mp4", 11, "etag", label_digest="d"),
        Shard("a.mp4", "/d/a.mp4", 10, "other", label_digest="d"),
        Shard("a.mp4", "/d/a.mp4", 10, "etag", label_digest="e"),
    ]
    ids = {group_units([s], "salt")[0].unit_id for s in [shard, *variants]}
    ids.add(group_units([shard], "pepper")[0].unit_id)
    assert len(ids) == 6
    moved = Shard("a.mp4", "s3://elsewhere/a.mp4", 10, "etag", label_digest="d")
    assert group_units([moved], "salt")[0].unit_id in ids


def test_units_travel_as_json():
    (unit,) = group_units(images(1), "salt")
    assert WorkUnit.from_json(unit.to_json()) == unit
