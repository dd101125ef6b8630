from pathlib import Path

import pytest

from benchmarks import scaling_model
from ray_audit.config import EngineConfig

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
    assert found.seconds["decode"] == pytest.approx(100 * 18000 * 5 * 0.002 / 2)
    assert found.num_puts == num_batches + 100 * 14


def test_ten_times_the_gpus_do_ten_times_the_hours_in_the_same_time():
    one, ten = predict(1, 100), predict(10, 1000)
    for part in ("pools", "decode"):
        assert ten.seconds[part] == pytest.approx(one.seconds[part])
    assert ten.seconds["driver"] == pytest.approx(10 * one.seconds["driver"])
