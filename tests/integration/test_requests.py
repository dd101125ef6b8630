"""What a night asks of the store, by S3 request: no weights and no records for nothing."""

from collections import Counter

import pytest
from aiobotocore.client import AioBaseClient

from ray_audit.engine.run.audit import run_audit
from tests.support import small_sets
from tests.support.killed import killed_after_a_unit
from tests.support.tables import assert_identical

pytestmark = pytest.mark.integration


@pytest.fixture
def requests(monkeypatch):
    calls = []
    call = AioBaseClient._make_api_call

    async def counted(self, operation, arguments):
        calls.append((operation, arguments.get("Key", arguments.get("Prefix", ""))))
        return await call(self, operation, arguments)

    monkeypatch.setattr(AioBaseClient, "_make_api_call", counted)
    return calls


def in_bucket(small, bucket, files):
    bucket.put(small.folder / "checkpoints", "checkpoints")
    bucket.put(small.folder / "data", "data")
    return {
        "dataset": small.values["dataset"] | {"uri": f"{bucket.uri}/data/{files}"},
        "checkpoints": f"{bucket.uri}/checkpoints/*.safetensors",
        "output": f"{bucket.uri}/out",
    }


def test_a_run_goes_on_in_a_bucket_where_one_stopped(tmp_path, bucket, requests, monkeypatch):
    small = small_sets.labelled_videos(tmp_path)
    changes = in_bucket(small, bucket, "*.mp4")
    with killed_after_a_unit(monkeypatch):
        run_audit(small.config(**changes), local=True)
    requests.clear()
    second = run_audit(small.config(**changes), local=True)
    plan = second.manifest.plan
    assert (plan["num_new"], plan["num_reused"]) == (6, 3)
    read = [key for operation, key in requests if operation == "GetObject" and "data/" in key]
    assert sorted(key.rpartition("/")[2] for key in read) == ["v1.mp4", "v2.mp4"]
    assert_identical(second, run_audit(small.config(), local=True))


def test_a_night_without_news_reads_no_weights_and_no_records(tmp_path, bucket, requests):
    small = small_sets.class_folders(tmp_path)
    changes = in_bucket(small, bucket, "*/*.png")

    def night(date):
        requests.clear()
        outcome = run_audit(small.config(**changes), local=True, logical_date=date)
        return outcome, Counter(operation for operation, _ in requests), list(requests)

    first, _, _ = night("2026-01-31")
    again, again_calls, calls = night("2026-01-31")
    next_day, _, next_calls = night("2026-02-01")
    assert (first.reused, again.reused, next_day.reused) == (False, True, False)
    read = [key for operation, key in calls if operation == "GetObject"]
    assert [key.rpartition("/")[2] for key in read] == ["manifest.json", "metrics.prom"]
    assert "PutObject" not in again_calls
    # Another day makes its tables from the same records; of weights only headers are looked at.
    shards = [key for operation, key in next_calls if operation == "GetObject" and "data/" in key]
    assert shards == []
    assert not [key for operation, key in next_calls if operation == "PutObject" and "units" in key]
