"""Both passes over the records read them once, as far as there is room to hold them."""

from pathlib import Path

import pytest

from ray_audit.engine.backends.local import LocalBackend
from ray_audit.engine.reduce import write_tables
from ray_audit.engine.run import audit as auditing
from tests.support import small_sets
from tests.support.audits import audit
from tests.support.tables import assert_identical

MAKERS = ("labelled_videos", "masked_images", "class_folders")


def without_records(monkeypatch):
    """Between the two passes the records go."""
    publish = auditing.publish

    def publishing(engine, inputs, *rest):
        records = list(Path(inputs.config.output, "units").rglob("*.parquet"))
        assert records
        for record in records:
            record.unlink()
        return publish(engine, inputs, *rest)

    monkeypatch.setattr(auditing, "publish", publishing)


@pytest.mark.parametrize("maker", MAKERS)
def test_the_second_pass_reads_no_record(maker, tmp_path, monkeypatch):
    small = getattr(small_sets, maker)(tmp_path)
    monkeypatch.setattr(write_tables, "_UNITS_PER_PART", 1)
    expected = audit(small, output=str(tmp_path / "whole"))
    without_records(monkeypatch)
    assert_identical(audit(small), expected)


def test_what_there_is_no_room_for_is_read_again(tmp_path, monkeypatch):
    small = small_sets.labelled_videos(tmp_path)
    expected = audit(small, output=str(tmp_path / "whole"))
    monkeypatch.setattr(LocalBackend, "held_bytes", 0)
    assert_identical(audit(small), expected)
    without_records(monkeypatch)
    with pytest.raises(Exception, match="units"):
        audit(small, output=str(tmp_path / "third"))
