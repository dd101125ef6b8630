"""On Ray a batch is scored and committed while the rest of its unit is still being decoded."""

import pytest

from ray_audit.engine.backends.ray import pipeline
from tests.support import patient, small_sets
from tests.support.audits import audit
from tests.support.tables import assert_identical, rows_of

pytestmark = pytest.mark.integration


def test_a_batch_is_committed_before_its_unit_is_decoded_whole(tmp_path, cluster, monkeypatch):
    # By default it would not be: findings/ray_holds_small_yields_back.sh shows it.
    monkeypatch.setattr(pipeline, "_decode", patient.decode)
    videos = small_sets.labelled_videos(tmp_path, num=1)
    outcome = audit(videos, local=False, engine={"batch_size": 2})
    assert len(rows_of(outcome, "scores")) == 12


def test_units_that_run_in_portions_are_all_scored(tmp_path, cluster, monkeypatch):
    monkeypatch.setattr(pipeline, "UNITS_AT_ONCE", 1)
    videos = small_sets.labelled_videos(tmp_path, num=2)
    outcome = audit(videos, local=False, engine={"batch_size": 4})
    expected = audit(videos, output=str(tmp_path / "local"), engine={"batch_size": 4})
    assert_identical(outcome, expected)
