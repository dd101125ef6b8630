from dataclasses import replace

import numpy as np
import pytest

from ray_audit.cuts.batching import AUTO_BATCH, AutoBatch, Batcher, Cut, SampleRow
from ray_audit.task import Task


def image(height, name="x", alone=False):
    inputs = np.full((3, height, 64), ord(name[0]), np.uint8)
    return Cut(inputs, np.array(0, np.int8), (SampleRow(name, "shard", label=0),), alone=alone)


def batches(cuts, max_batch=AUTO_BATCH, size=None):
    batcher = Batcher("unit", Task.CLASS, max_batch, size, 3)
    found = [batch for cut in cuts for batch in batcher.add(cut)]
    return [*found, *batcher.flush()]


@pytest.mark.parametrize(
    ("height", "size", "expected"),
    [
        (64, None, 42),  # 3 * 64 * 64 * 4 bytes = 48 KiB: 42 fit 2 MiB
        (64, (16, 16), 256),  # counted after the resize, at most 256
        (6000, None, 1),  # at least one
    ],
)
def test_auto_fills_2_mib_of_network_input(height, size, expected):
    cut = image(height)
    found = batches([cut] * (expected * 2 + (expected > 1)), size=size)
    sizes = [len(b.arrays["inputs"]) for b in found]
    assert sizes == [expected, expected] + [1] * (expected > 1)


@pytest.mark.parametrize(("size", "expected"), [(None, 341), ((8, 8), 1024)])
def test_a_larger_network_input_makes_larger_batches_of_1024_at_most(size, expected):
    found = batches([image(64)] * expected, AutoBatch(16 * 2**20), size)
    assert [len(batch.arrays["inputs"]) for batch in found] == [expected]


def test_a_cut_alone_is_not_copied_unless_it_is_a_view():
    (whole,) = batches([cut := image(8)], max_batch=1)
    assert np.shares_memory(whole.arrays["inputs"], cut.inputs)
    assert whole.arrays["inputs"].shape == (1, 3, 8, 64)
    large = np.zeros((3, 800, 64), np.uint8)
    (tile,) = batches([replace(cut, inputs=large[:, :8])], max_batch=1)
    assert not np.shares_memory(tile.arrays["inputs"], large)


def test_shapes_are_flushed_in_first_seen_order():
    cuts = [image(8, "a"), image(9, "b"), image(8, "c"), image(7, "d"), image(9, "e")]
    found = batches(cuts, max_batch=2)
    ids = [b.samples["sample_id"].to_pylist() for b in found]
    assert ids == [["a", "c"], ["b", "e"], ["d"]]
    assert [b.index for b in found] == [0, 1, 2]
    assert {b.unit_id for b in found} == {"unit"}
    assert found[0].samples["cut"].to_pylist() == [0, 1]


def test_a_lone_cut_does_not_wait():
    found = batches([image(8, "a"), image(8, "b", alone=True)], max_batch=2)
    assert [b.samples["sample_id"].to_pylist() for b in found] == [["b"], ["a"]]


def test_many_shapes_do_not_pile_up():
    cuts = [image(20_000 + i, "x") for i in range(40)]  # 3.8 MB each, no two alike
    batcher = Batcher("unit", Task.CLASS, 8, None, 3)
    before_flush = [batch for cut in cuts for batch in batcher.add(cut)]
    num_bytes = sum(b.num_bytes for b in batcher.flush())
    assert num_bytes <= 64 * 2**20
    assert len(before_flush) > 20
