from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import scaling_check, scaling_model
from benchmarks.harness import read_report
from ray_audit.config import AuditConfig, EngineConfig

ROOT = Path(__file__).parents[2]
PACE = scaling_model.Pace(decode_s=0.002, probe_s=0.002)


def predict(gpus, hours):
    cluster, work = scaling_model.cluster_of(gpus), scaling_model.surgical(hours)
    return scaling_model.predict(work, PACE, cluster, EngineConfig())


def test_the_page_shows_what_the_model_prints():
    assert scaling_model.table() in (ROOT / "docs/scaling.md").read_text()


def test_seconds_are_those_counted_by_hand():
    found = predict(1, 100)
    # 100 h of 18,000 sampled frames, each seen in two clips, by ten checkpoints; a clip a batch.
    num_batches = 100 * 18000 / 16
    assert found.seconds["pools"] == pytest.approx(
        100 * 18000 * 2 * 10 * 0.002 + num_batches * 0.03
    )
    assert found.seconds["decode"] == pytest.approx(100 * 18000 * 5 * 0.002 / 5)
    # Of a batch of 32 frames in 8 bits 13 fill a crate; a unit has 80 batches and a bit.
    assert found.num_puts == 100 * 14 * 7


def test_a_crate_costs_the_driver_what_was_measured():
    figures = {figure.name: figure.median for figure in read_report("crates")[0].figures}
    num_batches = 1000 / figures["now: objects for 1,000 batches"]
    measured_s = figures["now: driver, CPU a batch"] * 1e-3 * num_batches
    # Room for the next machine: the page says what was assumed.
    assert PACE.receipt_s == pytest.approx(measured_s, rel=0.5)


def test_the_driver_does_not_limit_a_thousand_gpus():
    found = predict(1000, 100_000)
    assert found.limit == "pools"
    assert found.seconds["driver"] < found.seconds["pools"] / 2


def test_ten_times_the_gpus_do_ten_times_the_hours_in_the_same_time():
    first, ten = predict(1, 100), predict(10, 1000)
    assert ten.seconds["pools"] == pytest.approx(first.seconds["pools"])
    # Of 80 cores 52 decode, of 8 there are 5.
    assert ten.seconds["decode"] == pytest.approx(first.seconds["decode"] * 50 / 52)
    assert ten.seconds["driver"] == pytest.approx(10 * first.seconds["driver"])


def synthetic(case, batch_s):
    """What a run of a case would measure where each probe of a batch takes 0.4 s."""
    config = AuditConfig.parse(
        {
            "dataset": {
                "kind": "video",
                "uri": "v/*.mp4",
                "labels": {"frames": "frames.csv"},
                "classes": ["a"],
                "clip": {"frames": 4, "stride": 2},
            },
            "model": {"factory": "m:f", "input": {"size": [32, 32]}},
            "checkpoints": ["a.safetensors", "b.safetensors"],
            "engine": {"batch_size": 8, **case.engine},
            "output": "o",
        }
    )
    num_batches = 4 * case.num_videos
    timing = {"num_batches": num_batches, "decode_s": 0.01, "probe_s": 2 * 0.4 * num_batches}
    return scaling_check.Measured(config, timing, batch_s)


def test_the_check_predicts_other_layouts_from_one_run():
    small = synthetic(scaling_check.SMALL, batch_s=0.5)
    assert scaling_check.paces(small).hop_s == pytest.approx(0.1)
    # Seconds of a batch: one probe and the hop; two probes and the hop; two actors side by side.
    for case, batch_s in zip(scaling_check.CASES, (0.5, 0.9, 0.25), strict=True):
        found = scaling_check.predicted(case, synthetic(case, 0.0), small)
        assert found.limit == "pools"
        # The model counts on 33 clips a video in batches of 8; there are 32.
        assert found.total_s == pytest.approx(4 * case.num_videos * batch_s, rel=0.04)


def test_the_first_batch_only_starts_the_clock():
    steady = scaling_check.Steady()
    for number, at_s in ((0, 0.0), (1, 100.0), (1, 0.0), (2, 100.5), (3, 101.0)):
        steady.progress(SimpleNamespace(num_batches=number, probed_at_s=at_s))
    assert steady.batch_s == 0.5
