"""What a pass over records leaves for the next lies in the object store, and may be lost."""

from types import SimpleNamespace

import pytest
import ray

from ray_audit.config import EngineConfig
from ray_audit.engine.backends.ray.pipeline import RayBackend, _Stored
from ray_audit.engine.reduce import write_tables
from ray_audit.engine.reduce.load import read_before
from tests.functional.engine.test_read_once import without_records
from tests.support import small_sets
from tests.support.audits import audit
from tests.support.tables import assert_identical

pytestmark = pytest.mark.integration

LARGE = 300_000  # smaller ones stay with the driver


def halved(number):
    return number, b"x" * number


def length_of(held):
    value = held.value()
    return None if value is None else len(value)


def test_what_is_held_reaches_later_calls(cluster):
    backend = RayBackend(EngineConfig())
    for numbers in ([LARGE], [LARGE + 3, LARGE + 1, LARGE + 2]):  # of one item the driver makes it
        pairs = list(backend.map_holding(halved, numbers))
        assert [number for number, _ in pairs] == numbers
        held = [of_item for _, of_item in pairs]
        assert list(backend.map(length_of, held)) == numbers
    assert 0 < backend.held_bytes < backend.resources().object_store_bytes


def test_what_is_lost_with_its_node_is_made_again(monkeypatch):
    def lost(reference):
        raise ray.exceptions.ObjectLostError(reference, None, "")

    monkeypatch.setattr(ray, "get", lost)
    held = _Stored(ray.ObjectRef.from_random()).value()
    assert held is None
    again = SimpleNamespace(num_bytes=1)
    assert read_before(held).given("a", lambda: again) is again


def test_the_second_pass_on_ray_reads_no_record(tmp_path, cluster, monkeypatch):
    small = small_sets.labelled_videos(tmp_path)
    monkeypatch.setattr(write_tables, "_UNITS_PER_PART", 1)
    expected = audit(small, output=str(tmp_path / "whole"))
    without_records(monkeypatch)
    assert_identical(audit(small, local=False), expected)
