import json

import pytest

from ray_audit.errors import LabelError
from ray_audit.findings.decisions import (
    Decision,
    later_than,
    merge,
    read_decisions,
    save_decisions,
    saved_rows,
    standing,
)


def decision(finding_id="f1", verdict="accept", label="cut", reviewer="ann", hour=1):
    return Decision(finding_id, verdict, label, reviewer, f"2026-01-01T{hour:02d}:00:00+00:00")


def test_the_latest_word_of_a_reviewer_counts():
    found = merge([decision(verdict="reject", label=None, hour=5), decision(hour=3)])
    assert found.agreed["f1"].decision == "reject"


def test_two_who_agree_are_one_decision():
    assert merge([decision(), decision(reviewer="bob")]).agreed["f1"].label == "cut"


def test_two_who_disagree_decide_nothing():
    found = merge([decision(), decision(reviewer="bob", label="clip")])
    assert found.agreed == {}
    assert {item.reviewer for item in found.disputed["f1"]} == {"ann", "bob"}


def test_times_are_compared_as_times():
    early = Decision("f1", "accept", "a", "ann", "2026-01-01T12:00:00+02:00")
    late = Decision("f1", "accept", "b", "ann", "2026-01-01T11:00:00Z")
    assert merge([late, early]).agreed["f1"].label == "b"


def test_each_reviewer_has_a_file(tmp_path):
    first = save_decisions(str(tmp_path), "ann", [decision()])
    second = save_decisions(str(tmp_path), "Ann/../..", [decision("f2", reviewer="Ann/../..")])
    save_decisions(str(tmp_path), "ann", [decision(verdict="reject", label=None)])
    assert first != second
    assert {path.parent for path in tmp_path.rglob("*.parquet")} == {tmp_path / "decisions"}
    saved = {item.finding_id: item.decision for item in standing(saved_rows(str(tmp_path)))}
    assert saved == {"f1": "reject", "f2": "accept"}


def test_a_downloaded_file_is_read(tmp_path):
    path = tmp_path / "decisions.json"
    row = vars(decision(verdict="relabel"))
    path.write_text(json.dumps({"run_id": "r", "decisions": [row]}))
    assert read_decisions(str(path)) == [decision(verdict="relabel")]


@pytest.mark.parametrize(
    "content",
    [
        "no json",
        "{}",
        "[1]",
        '[{"finding_id": "f", "decision": "burn", "reviewer": "a", "time": "2026-01-01"}]',
        '[{"finding_id": "f", "decision": "relabel", "reviewer": "a", "time": "2026-01-01"}]',
        '[{"finding_id": "f", "decision": "reject", "reviewer": "a", "time": "yesterday"}]',
        '[{"finding_id": "", "decision": "reject", "reviewer": "a", "time": "2026-01-01"}]',
        '[{"finding_id": "f", "decision": "accept", "label": 3, "reviewer": "a", "time": "2026"}]',
    ],
)
def test_what_is_no_decision_is_refused(tmp_path, content):
    path = tmp_path / "decisions.json"
    path.write_text(content)
    with pytest.raises(LabelError, match=r"decisions|JSON"):
        read_decisions(str(path))


def test_two_sessions_of_one_reviewer_never_lose_a_decision(tmp_path):
    run = str(tmp_path)
    save_decisions(run, "ann", [decision("f1"), decision("f2")], "a")
    save_decisions(run, "ann", [decision("f3")], "b")
    assert [item.finding_id for item in standing(saved_rows(run))] == ["f1", "f2", "f3"]


def test_a_withdrawal_is_a_row_and_holds_against_older_words_only(tmp_path):
    run, gone = str(tmp_path), decision(verdict="withdraw", label=None, hour=2)
    save_decisions(run, "ann", [decision(hour=1)], "a")
    save_decisions(run, "ann", [gone], "b")
    assert standing(saved_rows(run)) == []
    assert merge(saved_rows(run)).agreed == {}
    save_decisions(run, "ann", [decision(hour=3)], "c")
    assert standing(saved_rows(run)) == [decision(hour=3)]


def test_a_later_word_is_later_whatever_the_browsers_clock_says():
    kept = decision(hour=5)
    again = later_than(decision(verdict="reject", label=None, hour=1), kept)
    assert standing([again, kept]) == standing([kept, again]) == [again]


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00", "now", ""])
def test_a_time_that_no_clock_shows_is_refused(time):
    values = {"finding_id": "f", "decision": "reject", "label": None, "reviewer": "ann"}
    with pytest.raises(LabelError):
        Decision.parse(values | {"time": time})
