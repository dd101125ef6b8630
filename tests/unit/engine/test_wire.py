import sys

import numpy as np
import pyarrow as pa

from ray_audit.engine.backends import wire
from ray_audit.engine.backends.wire import Envelope, Receipt
from ray_audit.engine.ledger.records import Part, decode_part, encode_part, part_of
from ray_audit.samples import FILTERED_SCHEMA, ShardFailure, Tail
from tests.support.batches import class_batch, rows

FAILURE = ShardFailure("s", "s#1", "probe", "ValueError", "of <script>", 1, 2)


def test_a_batch_crosses_with_its_arrays_and_failures():
    batch = class_batch(np.arange(24, dtype=np.uint8).reshape(2, 3, 2, 2), [0, 1])
    arrays = batch.arrays | {"empty": np.zeros((0, 3)), "flags": np.array([True, False])}
    sent = Envelope(batch.with_arrays(arrays), (0, 2), "set", "name", (FAILURE,), "fatal")
    got = wire.decode(wire.encode(sent))
    assert (got.positions, got.set_id, got.failures, got.fatal) == (
        (0, 2),
        "set",
        (FAILURE,),
        "fatal",
    )
    assert got.item.samples.equals(batch.samples)
    for name, values in arrays.items():
        assert got.item.arrays[name].dtype == values.dtype
        assert np.array_equal(got.item.arrays[name], values)


def test_arrays_are_views_of_what_was_sent():
    table = wire.encode(Envelope(class_batch(np.zeros((1, 3, 64, 64), np.uint8), [0]), (), "", ""))
    before = pa.total_allocated_bytes()
    inputs = wire.decode(table).item.arrays["inputs"]
    assert pa.total_allocated_bytes() - before < inputs.nbytes
    assert not inputs.flags.owndata


def test_a_tail_crosses_with_what_was_filtered():
    filtered = pa.table([["a#1"], ["a"], [1], ["void"]], schema=FILTERED_SCHEMA)
    tail = Tail("unit", 3, filtered, (FAILURE,), 100, 0.5, 7, 5)
    got = wire.decode(wire.encode(Envelope(tail, (1,), "set", "name"))).item
    assert got.filtered.equals(tail.filtered)
    counters = (got.num_batches, got.failures, got.bytes_read, got.num_decoded, got.num_lead_in)
    assert counters == (3, (FAILURE,), 100, 7, 5)


def test_receipts_round_trip():
    receipt = Receipt("unit", False, 3, probe_s=[0.1, 0.2])
    assert Receipt.from_json(receipt.to_json()) == receipt


def test_parts_round_trip_exactly_and_equal_parts_give_equal_bytes():
    batch = class_batch(np.zeros((2, 1, 1, 1), np.uint8), [0, 1])
    loss = np.array([[0.1, np.nan, np.inf], [1e-300, 3.0, 4.0]])
    state = {"probe_s": np.array([0.1, 0.2])}
    part = part_of(
        batch.with_arrays({"trajectory/loss": loss, "trajectory/probe_s": state["probe_s"]})
    )
    content = encode_part(part)
    got = decode_part(content)
    assert np.array_equal(np.stack(got.rows["loss"].to_numpy()), loss, equal_nan=True)
    assert np.array_equal(got.state["probe_s"], state["probe_s"])
    assert encode_part(part) == content


def test_a_failed_batch_keeps_its_failures_and_no_rows():
    part = part_of(class_batch(np.zeros((2, 1, 1, 1), np.uint8), [0, 1]), (FAILURE,))
    got = decode_part(encode_part(part))
    assert got.rows.num_rows == 0
    assert got.failures == (FAILURE,)


def test_components_of_each_mask_stay_with_it():
    components = np.array([[0, 5, 1, 2.0, 3.0], [2, 6, 0, 1.0, 1.0], [2, 7, 1, 0.5, 1.0]])
    batch = class_batch(np.zeros((3, 1, 1, 1), np.uint8), [0, 1, 0])
    part = part_of(batch.with_arrays({"final/components": components}))
    lists = part.rows["final/components"].to_pylist()
    assert [len(one) // 4 for one in lists] == [1, 0, 2]
    assert lists[2][:4] == [6.0, 0.0, 1.0, 1.0]


def test_identity_of_rows_is_kept():
    assert Part(rows(2), {}).rows["sample_id"].to_pylist() == ["s0", "s1"]


def test_nothing_sent_is_held_on_to():
    batch = class_batch(np.zeros((1, 3, 8, 8), np.uint8), [0])
    inputs = batch.arrays["inputs"]
    before = sys.getrefcount(inputs), pa.total_allocated_bytes()
    for _ in range(10):
        wire.encode(Envelope(batch, (), "", ""))
    assert (sys.getrefcount(inputs), pa.total_allocated_bytes()) == before
