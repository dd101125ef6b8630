from collections import Counter

import pytest

from ray_audit.config import FoldConfig
from ray_audit.errors import SpecificationError
from ray_audit.folds import fold_of, is_in
from ray_audit.samples import Shard
from ray_audit.sources.fold_shards import shards_in


def fold(index=0, num=3, **more):
    return FoldConfig(num=num, index=index, **more)


KEYS = [f"or{n % 4}/case_{n}.mp4" for n in range(300)]


def test_each_name_is_held_out_of_one_fold_and_in_the_rest_of_the_others():
    for key in KEYS:
        held_out = [is_in(key, fold(index)) for index in range(3)]
        rest = [is_in(key, fold(index, part="rest")) for index in range(3)]
        assert sum(held_out) == 1
        assert rest == [not item for item in held_out]
    assert is_in("anything", None)


def test_folds_are_about_equal_and_follow_from_the_name_alone():
    sizes = Counter(fold_of(key, fold()) for key in KEYS)
    assert set(sizes) == {0, 1, 2}
    assert min(sizes.values()) > 75
    before = {key: fold_of(key, fold()) for key in KEYS[:10]}
    assert before == {key: fold_of(key, fold(index=2)) for key in KEYS[:10]}
    other_seed = [fold_of(key, fold(seed=1)) for key in KEYS]
    assert other_seed != [fold_of(key, fold()) for key in KEYS]


def test_a_group_stays_together():
    grouped = fold(num=2, group=r"^(or\d)/")
    by_group = {}
    for key in KEYS:
        by_group.setdefault(key[:3], set()).add(fold_of(key, grouped))
    assert all(len(folds) == 1 for folds in by_group.values())
    assert fold_of("or1/x", grouped) == fold_of("or1/x", fold(num=2, group=r"or\d"))


def test_a_group_that_names_nothing_is_refused():
    with pytest.raises(SpecificationError, match="matches nothing in"):
        fold_of("a.mp4", fold(group=r"(patient\d+)"))
    with pytest.raises(SpecificationError, match="is no pattern"):
        fold_of("a.mp4", fold(group="("))


def shard(key):
    return Shard(key, f"/d/{key}", 10, "etag")


def test_a_part_without_files_is_refused():
    empty = next(n for n in range(3) if n != fold_of("a.mp4", fold()))
    with pytest.raises(SpecificationError, match=rf"fold {empty} of 3 \(held_out\) has none"):
        shards_in([shard("a.mp4")], fold(empty))
    assert shards_in([shard("a.mp4")], fold(empty, part="rest")) == [shard("a.mp4")]
    assert shards_in([shard("a.npz")], fold(empty)) == [shard("a.npz")]  # sifted when it is read


@pytest.mark.parametrize("index", [3, 4])
def test_an_index_beyond_the_folds_is_refused(index):
    with pytest.raises(SpecificationError, match="folds count from 0"):
        fold(index)
