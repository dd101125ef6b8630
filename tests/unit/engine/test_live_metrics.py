from types import SimpleNamespace

from ray_audit.engine.backends.ray.live_metrics import LiveMetrics
from ray_audit.engine.backends.wire import Receipt


class Recorder:
    def __init__(self):
        self.sums = {}
        self.last = {}

    def record(self, metric, value, **labels):
        metric.check(labels)
        key = (metric.name, *labels.values())
        self.sums[key] = self.sums.get(key, 0) + value
        self.last[key] = value


def unit(unit_id, positions, *keys):
    shards = tuple(SimpleNamespace(key=key) for key in keys)
    return SimpleNamespace(
        unit=SimpleNamespace(unit_id=unit_id, shards=shards), positions=positions
    )


def watched(work, hops, counts=True):
    plan = SimpleNamespace(work=work, layout=SimpleNamespace(hops=hops))
    recorder = Recorder()
    return LiveMetrics(plan, recorder, lambda: 7, counts), recorder


def test_samples_and_progress_follow_the_receipts():
    live, recorder = watched([unit("u", (0,), "a"), unit("v", (0,), "b")], ((0,),))
    live.observe(Receipt("u", num_batches=1, num_samples=5, probe_s=[0.5]))
    live.observe(Receipt("u", True, decode_s=2.0))
    assert recorder.sums["ray_audit_samples_total",] == 5
    assert recorder.sums["ray_audit_shards_total", "done"] == 1
    assert recorder.sums["ray_audit_decode_seconds",] == 2.0
    assert recorder.last["ray_audit_progress_ratio",] == 0.5
    assert recorder.last["ray_audit_queue_batches",] == 7


def test_probe_times_are_those_of_the_pools_that_hold_the_checkpoints():
    live, recorder = watched([unit("u", (1, 2, 3), "a")], ((0, 1), (2, 3)))
    live.observe(Receipt("u", num_batches=1, num_samples=1, probe_s=[0.1, 0.2, 0.4]))
    assert recorder.sums["ray_audit_probe_seconds", "00"] == 0.1
    assert abs(recorder.sums["ray_audit_probe_seconds", "01"] - 0.6) < 1e-12


def test_a_sliced_video_is_one_shard_and_fails_once():
    live, recorder = watched([unit("u1", (0,), "a"), unit("u2", (0,), "a")], ((0,),))
    live.observe(Receipt("u1", True, lost_shards=["a"]))
    assert ("ray_audit_shards_total", "failed") not in recorder.sums
    live.observe(Receipt("u2", True))
    assert recorder.sums["ray_audit_shards_total", "failed"] == 1
    assert ("ray_audit_shards_total", "done") not in recorder.sums


def test_a_second_pass_over_the_same_samples_does_not_count_them_again():
    live, recorder = watched([unit("u", (0,), "a")], ((0,),), counts=False)
    live.observe(Receipt("u", num_batches=1, num_samples=5))
    live.observe(Receipt("u", True))
    assert not [key for key in recorder.sums if key[0].endswith("_total")]
    assert recorder.last["ray_audit_progress_ratio",] == 1.0
