from collections import Counter

import numpy as np
import pytest

from ray_audit.sources import group_units, list_dataset
from ray_audit.training.examples import Example, ExampleReader, batched, shuffled
from tests.support.batches import class_batch
from tests.support.small_sets import class_folders, feature_sequences, masked_images


def reader(small_set, **training):
    config = small_set.config(training={"batch_size": 5, **training})
    index = small_set.folder / "index"
    listing = list_dataset(config.dataset, index)
    return ExampleReader(config, group_units(listing.shards, "salt"), str(index))


def keys(reader_, epoch):
    return [key for batch in reader_.batches(epoch) for key in batch.keys]


def test_every_example_comes_once_an_epoch_in_another_order(tmp_path):
    read = reader(class_folders(tmp_path))
    first, second = keys(read, 1), keys(read, 2)
    assert Counter(first) == Counter(second)
    assert len(set(first)) == 12
    assert first != second
    assert first != sorted(first)
    assert read.counts.num_read == 12


@pytest.mark.parametrize("settings", [{"cache_mib": 0}, {"cache_mib": 512}])
def test_the_order_depends_on_seed_and_epoch_alone(tmp_path, settings):
    small_set = class_folders(tmp_path)
    expected = [keys(reader(small_set), epoch) for epoch in (1, 2, 3)]
    read = reader(small_set, **settings)
    assert [keys(read, epoch) for epoch in (1, 2, 3)] == expected
    assert keys(reader(small_set, seed=1), 1) != expected[0]


def test_what_is_cached_is_not_read_again(tmp_path):
    small_set = class_folders(tmp_path)
    cached, streamed = reader(small_set), reader(small_set, cache_mib=0)
    first = keys(cached, 1), keys(streamed, 1)
    assert first[0] == first[1]
    for path in (tmp_path / "data").glob("*/*.png"):
        path.unlink()
    assert len(keys(cached, 2)) == 12
    assert keys(streamed, 2) == []
    assert streamed.counts.num_failed == 12


def test_a_batch_has_the_labels_of_its_images(tmp_path):
    read = reader(class_folders(tmp_path))
    for batch in read.batches(1):
        given = [["a", "b", "c"].index(key.split("/")[0]) for key in batch.keys]
        assert batch.batch.arrays["targets"].tolist() == given
        assert batch.batch.samples["label"].to_pylist() == given
        assert batch.batch.samples["cut"].to_pylist() == list(range(len(given)))


def test_sequences_of_one_length_share_a_batch_and_others_do_not(tmp_path):
    read = reader(feature_sequences(tmp_path, lengths=(9, 14, 9)))
    shapes = sorted(batch.batch.arrays["inputs"].shape for batch in read.batches(1))
    assert shapes == [(1, 14, 5), (2, 9, 5)]


def test_tiles_are_examples_with_names_of_their_own(tmp_path):
    small_set = masked_images(tmp_path, num=2)
    small_set.values["dataset"]["tile"] = {"size": 8}
    found = keys(reader(small_set), 1)
    assert len(set(found)) == 8
    assert {key.split("@")[0] for key in found} == {"i0.png", "i1.png"}


def examples(num):
    return [
        Example(str(n), class_batch(np.zeros((1, 3, 2, 2), np.uint8), [n % 3])) for n in range(num)
    ]


def test_a_small_buffer_moves_examples_a_little_and_a_large_one_anywhere():
    size = examples(1)[0].batch.num_bytes
    moved = []
    for num_held in (1, 10, 1000):
        rng = np.random.default_rng(0)
        order = [int(item.key) for item in shuffled(examples(400), rng, num_held * size)]
        assert sorted(order) == list(range(400))
        moved.append(np.abs(np.array(order) - np.arange(400)).mean())
    assert moved[0] < 3 < moved[1] < 30 < 100 < moved[2]


def test_examples_without_a_label_are_left_out():
    unlabelled = Example("none", class_batch(np.zeros((1, 3, 2, 2), np.uint8), [-1]))
    (batch,) = batched([*examples(2), unlabelled], 4)
    assert batch.keys == ("0", "1")
