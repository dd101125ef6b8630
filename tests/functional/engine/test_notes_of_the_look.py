"""What a look at samples found stands in every night's manifest, and no night looks again."""

from dataclasses import replace

import pytest

from ray_audit.engine.run import audit
from ray_audit.engine.run.audit import run_audit
from tests.support import small_sets

REMARKABLE = "what was seen is remarkable"


@pytest.fixture
def looks(monkeypatch):
    """Looks that were taken; each finds something remarkable."""
    taken, look = [], audit.look_at_samples

    def remarks(*args):
        taken.append(look(*args))
        return replace(taken[-1], notes=(REMARKABLE,))

    monkeypatch.setattr(audit, "look_at_samples", remarks)
    return taken


def test_notes_of_the_first_look_stand_in_later_nights_that_look_no_more(tmp_path, looks):
    small = small_sets.class_folders(tmp_path)
    for date in ("2026-01-31", "2026-02-01", "2026-02-02"):
        outcome = run_audit(small.config(), local=True, logical_date=date)
        assert outcome.manifest.notes.count(REMARKABLE) == 1
    assert len(looks) == 1


def test_other_settings_are_looked_at_anew(tmp_path, looks):
    small = small_sets.class_folders(tmp_path)
    run_audit(small.config(), local=True, logical_date="2026-01-31")
    run_audit(small.config(engine={"batch_size": 3}), local=True, logical_date="2026-02-01")
    assert len(looks) == 2
