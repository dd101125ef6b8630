import io
import sys
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ray_audit.engine.backends import wire
from ray_audit.engine.backends.wire import Crate, Envelope, Receipt
from ray_audit.engine.ledger.crates import CrateName
from ray_audit.engine.ledger.records import Part, decode_crate, encode_crate, part_of
from ray_audit.errors import StorageError
from ray_audit.samples import FILTERED_SCHEMA, ShardFailure, Tail
from tests.support.batches import class_batch, rows

FAILURE = ShardFailure("s", "s#1", "probe", "ValueError", "of <script>", 1, 2)


NAME = CrateName(0, 2, "a" * 12, "b" * 12)


def crate_of(*batches, **rest):
    envelopes = tuple(Envelope(batch, f"{i:06d}-c") for i, batch in enumerate(batches))
    return Crate("unit", (0, 2), "set", NAME, envelopes, **rest)


def pictures(labels, first=0):
    num = len(labels)
    values = np.arange(first, first + 12 * num, dtype=np.uint8)
    return class_batch(values.reshape(num, 3, 2, 2), labels)


def test_batches_of_a_crate_cross_with_their_arrays_and_failures():
    first = pictures([0, 1])
    first = first.with_arrays(
        first.arrays | {"empty": np.zeros((0, 3)), "flags": np.array([True, False])}
    )
    second = pictures([1, 0, 1], first=100)
    sent = crate_of(first, second, fatal="fatal", notes=("a note",), probed_at_s=5.0)
    sent = replace(sent, batches=(sent.batches[0], replace(sent.batches[1], failures=(FAILURE,))))
    result = wire.decode(wire.encode(sent))
    assert replace(result, batches=()) == replace(sent, batches=())
    for left, other in zip(result.batches, sent.batches, strict=True):
        assert (left.name, left.failures, left.fatal) == (other.name, other.failures, other.fatal)
        assert left.item.samples.equals(other.item.samples)
        assert (left.item.index, left.item.unit_id) == (other.item.index, other.item.unit_id)
        for name, values in other.item.arrays.items():
            assert left.item.arrays[name].dtype == values.dtype
            assert np.array_equal(left.item.arrays[name], values)


def test_what_memory_held_before_does_not_travel(monkeypatch):
    crate = crate_of(pictures([0, 1]), pictures([1]))
    expected = wire.encode(crate)
    monkeypatch.setattr(np, "empty", lambda size, dtype: np.full(size, 255, dtype))
    assert wire.encode(crate).equals(expected)
    monkeypatch.setattr(np, "empty", np.zeros)
    assert wire.encode(crate).equals(expected)


def test_arrays_of_another_order_of_bytes_or_axes_keep_their_values():
    swapped = np.arange(6, dtype=">i2").reshape(2, 3)
    turned = np.arange(6.0).reshape(3, 2).T
    batch = pictures([0, 1])
    batch = batch.with_arrays(batch.arrays | {"swapped": swapped, "turned": turned})
    result = wire.decode(wire.encode(crate_of(batch))).batches[0].item.arrays
    assert result["swapped"].tolist() == swapped.tolist()
    assert result["turned"].tolist() == turned.tolist()


def test_arrays_are_read_only_views_of_what_was_sent():
    batch = class_batch(np.zeros((1, 3, 64, 64), np.uint8), [0])
    table = wire.encode(crate_of(batch))
    before = pa.total_allocated_bytes()
    inputs = wire.decode(table).batches[0].item.arrays["inputs"]
    assert pa.total_allocated_bytes() - before < inputs.nbytes
    assert not inputs.flags.owndata
    assert not inputs.flags.writeable


def test_a_row_of_a_larger_table_is_read_as_it_is():
    rows = pa.concat_tables([wire.encode(crate_of(pictures([i]))) for i in (0, 1)])
    result = wire.decode(rows.combine_chunks().slice(1, 1))
    assert result.batches[0].item.samples["label"].to_pylist() == [1]


def test_a_tail_crosses_with_what_was_filtered():
    filtered = pa.table([["a#1"], ["a"], [1], ["void"]], schema=FILTERED_SCHEMA)
    tail = Tail("unit", 3, filtered, (FAILURE,), 100, 0.5, 7, 5)
    result = wire.decode(wire.encode(crate_of(tail=tail))).tail
    assert result.filtered.equals(tail.filtered)
    counters = (
        result.num_batches,
        result.failures,
        result.bytes_read,
        result.num_decoded,
        result.num_lead_in,
    )
    assert counters == (3, (FAILURE,), 100, 7, 5)


def test_receipts_round_trip():
    receipt = Receipt("unit", False, 3, probe_s=[0.1, 0.2])
    assert Receipt.from_json(receipt.to_json()) == receipt


def test_records_of_a_crate_round_trip_exactly_and_equal_ones_give_equal_bytes():
    batch = class_batch(np.zeros((2, 1, 1, 1), np.uint8), [0, 1])
    loss = np.array([[0.1, np.nan, np.inf], [1e-300, 3.0, 4.0]])
    states = [{"trajectory/probe_s": np.array(values)} for values in ([0.1, 0.2], [0.3, 1e-20])]
    parts = [part_of(batch.with_arrays({"trajectory/loss": loss, **state})) for state in states]
    tail = Tail("", 2, failures=(FAILURE,))
    content = encode_crate(parts, tail)
    result = decode_crate(content)
    both = np.concatenate([loss, loss])
    assert np.array_equal(np.stack(result.rows["loss"].to_numpy()), both, equal_nan=True)
    assert result.states["probe_s"].tolist() == [[0.1, 0.2], [0.3, 1e-20]]
    assert (result.tail.num_batches, result.tail.failures, result.failures) == (2, (FAILURE,), ())
    assert encode_crate(parts, tail) == content


def test_a_failed_batch_keeps_its_failures_and_the_others_of_its_crate_their_rows():
    batch = class_batch(np.zeros((2, 1, 1, 1), np.uint8), [0, 1])
    loss = {"trajectory/loss": np.ones((2, 3)), "trajectory/probe_s": np.ones(2)}
    good = part_of(batch.with_arrays(loss))
    result = decode_crate(encode_crate([part_of(batch, (FAILURE,), is_lost=True), good]))
    assert result.rows.num_rows == 2
    assert result.states["probe_s"].tolist() == [[1.0, 1.0]]
    assert result.failures == (FAILURE,)
    alone = decode_crate(encode_crate([part_of(batch, (FAILURE,), is_lost=True)]))
    assert (alone.rows.num_rows, alone.states, alone.failures) == (0, {}, (FAILURE,))


def test_a_tail_without_a_batch_is_a_crate_of_its_own():
    result = decode_crate(encode_crate([], Tail("", 0)))
    assert (result.rows.num_rows, result.tail.num_batches) == (0, 0)


def test_records_of_an_earlier_version_are_refused():
    sink = io.BytesIO()
    pq.write_table(pa.table({"sample_id": ["a"]}), sink)
    with pytest.raises(StorageError, match="another version"):
        decode_crate(sink.getvalue())


def test_components_of_each_mask_stay_with_it():
    components = np.array([[0, 5, 1, 2.0, 3.0], [2, 6, 0, 1.0, 1.0], [2, 7, 1, 0.5, 1.0]])
    batch = class_batch(np.zeros((3, 1, 1, 1), np.uint8), [0, 1, 0])
    part = part_of(batch.with_arrays({"final/components": components}))
    lists = part.rows["final/components"].to_pylist()
    assert [len(values) // 4 for values in lists] == [1, 0, 2]
    assert lists[2][:4] == [6.0, 0.0, 1.0, 1.0]


def test_identity_of_rows_is_kept():
    assert Part(rows(2), {}).rows["sample_id"].to_pylist() == ["s0", "s1"]


# findings/arrays_of_memoryviews_are_never_released.sh shows what would be.
def test_nothing_sent_is_held_on_to():
    batch = class_batch(np.zeros((1, 3, 8, 8), np.uint8), [0])
    inputs = batch.arrays["inputs"]
    before = sys.getrefcount(inputs), pa.total_allocated_bytes()
    for _ in range(10):
        wire.encode(crate_of(batch))
    assert (sys.getrefcount(inputs), pa.total_allocated_bytes()) == before
