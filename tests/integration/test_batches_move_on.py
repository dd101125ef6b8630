"""On Ray a batch is scored and committed while the rest of its unit is still being decoded."""

import time

import pyarrow as pa
import pytest
import ray

from ray_audit.config import EngineConfig
from ray_audit.engine.backends.ray import pipeline
from ray_audit.engine.backends.ray.lanes import in_lanes
from ray_audit.engine.backends.ray.watchdog import watched
from ray_audit.engine.backends.wire import Receipt
from ray_audit.engine.planning import layout
from ray_audit.errors import StalledError
from tests.support import failing_lane, meeting, patient, small_sets
from tests.support.audits import audit
from tests.support.tables import assert_identical, rows_of

pytestmark = pytest.mark.integration


def test_a_batch_is_committed_before_its_unit_is_decoded_whole(tmp_path, cluster, monkeypatch):
    # By default it would not be: findings/ray_holds_small_yields_back.sh shows it.
    monkeypatch.setattr(pipeline, "_decode", patient.decode)
    videos = small_sets.labelled_videos(tmp_path, num=1)
    outcome = audit(videos, local=False, engine={"batch_size": 2})
    assert len(rows_of(outcome, "scores")) == 12


def test_a_receipt_comes_before_the_next_commit(tmp_path, cluster):
    # By `iter_rows` it would not: findings/ray_rows_wait_for_the_next_block.sh shows it.
    told = tmp_path / "told"

    def committed(table):
        (index,) = table["id"].to_pylist()
        until = time.monotonic() + patient.LIMIT_S
        while index and not told.exists() and time.monotonic() < until:
            time.sleep(0.1)
        return pa.table({"receipt": [Receipt(f"unit {index}").to_json()]})

    dataset = ray.data.range(2, override_num_blocks=2).map_batches(
        committed, batch_format="pyarrow", num_cpus=0.1
    )
    limits = EngineConfig(start_timeout_s=patient.LIMIT_S / 2)
    receipts = watched(dataset, limits, frozenset)
    first = next(receipts)
    told.touch()
    assert sorted([first.unit_id, *(each.unit_id for each in receipts)]) == ["unit 0", "unit 1"]


def test_calls_of_an_actor_overlap(tmp_path, cluster, monkeypatch):
    # By default they would not: findings/calls_of_an_actor_share_one_thread.sh shows it.
    monkeypatch.setattr(pipeline, "PoolActor", meeting.MeetingActor)
    videos = small_sets.labelled_videos(tmp_path, num=2)
    engine = {"batch_size": 12, "actors_per_pool": 1, "checkpoints_per_actor": 10}
    outcome = audit(videos, local=False, engine=engine)
    assert len(rows_of(outcome, "scores")) == 24


@pytest.mark.slow
def test_units_that_run_in_portions_are_all_scored(tmp_path, cluster, monkeypatch):
    monkeypatch.setattr(pipeline, "UNITS_AT_ONCE", 1)
    videos = small_sets.labelled_videos(tmp_path, num=2)
    outcome = audit(videos, local=False, engine={"batch_size": 4})
    expected = audit(videos, output=str(tmp_path / "local"), engine={"batch_size": 4})
    assert_identical(outcome, expected)


def test_a_relay_in_lanes_gives_the_same_tables(tmp_path, cluster, monkeypatch):
    monkeypatch.setattr(layout, "ACTORS_PER_LANE", 1)
    videos = small_sets.labelled_videos(tmp_path, num=3)
    engine = {"batch_size": 4, "actors_per_pool": 2, "checkpoints_per_actor": 10}
    outcome = audit(videos, local=False, engine=engine)
    expected = audit(videos, output=str(tmp_path / "local"), engine=engine)
    assert_identical(outcome, expected)


def test_what_stops_a_lane_stops_the_run_and_is_told(cluster):
    result = in_lanes(["a part"], failing_lane.gives_up)
    assert next(result).unit_id == "of a part"
    with pytest.raises(StalledError, match="as the test wants"):
        next(result)
