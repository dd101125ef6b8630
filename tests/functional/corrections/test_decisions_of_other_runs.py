"""What was decided of a finding on one night is decided on the next."""

import numpy as np
import pytest

from ray_audit.engine.backends.local import LocalBackend
from ray_audit.engine.run.audit import run_audit
from ray_audit.findings.decisions import save_decisions
from ray_audit.findings.kept_decisions import kept_decisions
from ray_audit.report.serve import Review
from ray_audit.tables.run_tables import RunTables
from tests.support import knowing
from tests.support.corrected import corrected, decided, labels_at
from tests.support.knowing import SURE

WRONG = "=i 3%20é.png"  # it shows an a, and is labelled b


def night(small, day):
    outcome = run_audit(small.config(), local=True, logical_date=f"2026-01-{day:02}")
    return RunTables(outcome.run_uri, outcome.manifest)


def finding_in(tables):
    (finding,) = [row for row in tables.findings().to_pylist() if row["sample_id"] == WRONG]
    return finding


def said(tables, *words, reviewer="ann", hour=10):
    time = f"2026-02-01T{hour}:00:00"
    decision = decided(finding_in(tables), *words, reviewer=reviewer, time=time)
    save_decisions(tables.run_uri, reviewer, [decision])


@pytest.fixture
def small(tmp_path):
    return knowing.images(tmp_path, wrong=(3,))[0]


def holds(note):
    return note.endswith("saved in other runs of this output hold for 1 finding")


def test_what_was_rejected_last_night_is_not_applied_tonight(small):
    said(night(small, 5), "reject")
    night(small, 6)
    done = corrected(small)
    assert labels_at(done)[WRONG] == 1
    assert done.outcomes == {"rejected": 1}
    assert any(map(holds, done.notes))


def test_a_class_that_was_written_in_last_night_is_written_tonight(small):
    said(night(small, 5), "relabel", "c")
    night(small, 6)
    assert labels_at(corrected(small, rule="decisions"))[WRONG] == 2


def test_a_reviewer_takes_back_tonight_what_was_said_last_night(small):
    said(night(small, 5), "reject")
    said(night(small, 6), "withdraw", hour=11)
    done = corrected(small)
    assert labels_at(done)[WRONG] == 0
    assert not any(map(holds, done.notes))


def test_reviewers_of_two_nights_who_disagree_are_in_dispute(small):
    said(night(small, 5), "reject")
    said(night(small, 6), "accept", reviewer="bob")
    done = corrected(small)
    assert labels_at(done)[WRONG] == 1
    assert done.outcomes == {"disputed": 1}


@pytest.mark.parametrize("words", [("accept",), ("relabel", "c"), ("reject",)])
def test_of_a_finding_that_looks_otherwise_tonight_only_a_rejection_holds(small, words):
    said(night(small, 5), *words)
    sees_c = SURE * np.eye(3)
    sees_c[:, 0] = [0, 0, SURE]  # what was an a is a c
    knowing.knows(small, *[sees_c] * 3)
    assert finding_in(night(small, 6))["suggested"] == "c"
    done = corrected(small, rule="decisions")
    assert labels_at(done)[WRONG] == 1
    is_open = any("of another place or class now: 1 finding" in note for note in done.notes)
    assert is_open == (words != ("reject",))


@pytest.mark.parametrize("relabelled", [None, WRONG, "=i 0%20é.png"])
def test_what_was_rejected_and_is_found_no_more_stays_until_its_label_changes(small, relabelled):
    said(night(small, 5), "reject")
    is_relabelled = relabelled == WRONG
    if relabelled is not None:
        path = small.folder / "labels.csv"
        before = "b" if is_relabelled else "a"
        path.write_text(path.read_text().replace(f"{relabelled},{before}", f"{relabelled},c"))
    sees_b = SURE * np.eye(3)
    sees_b[:, 0] = [0, SURE, 0]  # tonight's checkpoints agree with b
    knowing.knows(small, *[sees_b] * 3)
    found = {row["sample_id"] for row in night(small, 6).findings().to_pylist()}
    assert (WRONG in found) == is_relabelled
    everything = {"rule": "flagged", "flagged_fraction": 1.0, "confidence": 0.0}
    done = corrected(small, **everything, max_changed_fraction=None)
    assert done.num_changed > 3
    assert labels_at(done)[WRONG] == 1  # it stays b, or it becomes b


@pytest.mark.parametrize("relabelled", [0, 1])
def test_segments_that_were_rejected_stay_while_their_labels_do(tmp_path, relabelled):
    small = knowing.videos(tmp_path)
    tables = night(small, 5)
    (finding,) = tables.findings().to_pylist()
    save_decisions(tables.run_uri, "ann", [decided(finding, "reject")])
    path = tmp_path / "frames.csv"
    frame = f"v {relabelled}%20é.mp4,{finding['start_frame'] + 2},"
    before = "c" if relabelled == 1 else "a"
    assert f"{frame}{before}" in path.read_text()
    path.write_text(path.read_text().replace(f"{frame}{before}", f"{frame}b"))
    agrees = SURE * np.eye(3)
    agrees[:, 0] = [0, 0, SURE]  # what was an a is a c, as this segment is labelled
    knowing.knows(small, *[agrees] * 3)
    (gone,) = [kept_decisions(night(small, 6)).gone]
    assert [row["finding_id"] for row in gone] == [finding["finding_id"]] * (relabelled == 0)


def test_the_review_of_tonight_shows_what_was_said_last_night(small):
    said(night(small, 5), "reject")
    tables = night(small, 6)
    page = Review(tables, LocalBackend(), "bob").page()
    assert '"decision": "reject"' in page or '"decision":"reject"' in page
