from types import SimpleNamespace

from ray_audit.engine.backends.wire import Receipt
from ray_audit.engine.reduce.load import LoadedSet, _failures
from ray_audit.engine.run.progress import ProgressCounter
from ray_audit.samples import ShardFailure, Tail


def test_a_sample_that_fails_in_several_batches_is_counted_once():
    tally = ProgressCounter(SimpleNamespace(work=[None], num_expected=None))
    tally.add(Receipt("unit", num_batches=1, num_failed=2, failed=["a", "b"]))
    tally.add(Receipt("unit", num_batches=1, num_failed=2, failed=["b", "c"]))
    tally.add(Receipt("unit", ends_unit=True, num_failed=5))
    assert tally.num_failed == 3 + 5


def failure(sample_id, stage, message):
    return ShardFailure("shard", sample_id, stage, "error", message, 1)


def test_a_sample_is_lost_once_whatever_befell_its_parts():
    tiles = (failure("s", "probe", "tile 1"), failure("s", "probe", "tile 2"))
    rest = (
        failure("s", "decode", "tile 3"),
        failure(None, "decode", "x"),
        failure("t", "read", ""),
    )
    lost = _failures([LoadedSet(None, tiles, Tail("unit", 1, failures=rest))])
    assert [(f.sample_id, f.message) for f in lost] == [("s", "tile 1"), (None, "x"), ("t", "")]
