"""Findings of labels that the checkpoints never saw, weighed by Bayes' rule."""

import numpy as np
import pytest

from ray_audit.corrections.intents import FINDING_COLUMNS
from ray_audit.corrections.unseen_labels import weighed
from ray_audit.corrections.wrong_labels import wrong_labels
from ray_audit.scores.mistakes import Mistakes
from ray_audit.tables.run_tables import RunTables
from tests.support import knowing
from tests.support.audits import audit
from tests.support.corrected import corrected, labels_at

UNSURE, LAST = 0.5, 3.0


def run_of(folder, **options):
    small, true, given = knowing.images(folder, sureness=(UNSURE, LAST), **options)
    small.values["protocol"] = "held_out"
    audit(small)
    return small, RunTables.open(str(small.out)), true, given


def test_findings_are_weighed_by_what_the_last_checkpoint_says(tmp_path):
    _, tables, true, given = run_of(tmp_path)
    rows = tables.findings().select(FINDING_COLUMNS).to_pylist()
    found = weighed(rows, tables, 2 / 12)
    p_right = np.exp(LAST) / (np.exp(LAST) + 2)
    rest = np.full(1, (1 - p_right) / 2)
    counts = [given.count(k) for k in range(3)]
    wrong = [i for i in range(12) if true[i] != given[i]]
    pairs = sorted({(given[i], true[i]) for i in wrong})
    seen = np.array([sum((given[i], true[i]) == pair for i in wrong) for pair in pairs], float)
    mistakes = Mistakes.of(*np.array(pairs).T, seen, np.array(counts), 2 / 12)
    assert len(found) == len(wrong)
    for row in found:
        index = int(row["sample_id"].split(" ")[1].split("%")[0])
        g, s = np.array([given[index]]), np.array([true[index]])
        right = mistakes.posterior(rest, np.array([p_right]), g, s)
        assert row["suggested"] == "abc"[true[index]]
        assert [row["p_given"], row["p_suggested"]] == pytest.approx([right[0][0], right[1][0]])
        assert row["sureness"] == pytest.approx(p_right / (p_right + rest[0]))


def test_a_class_changes_where_it_is_more_probably_wrong_and_the_estimate_says_what_is_left(
    tmp_path,
):
    small, _, true, _ = run_of(tmp_path)
    done = corrected(small)
    names = sorted(range(12), key=str)  # as owners are ordered
    assert list(labels_at(done).values()) == [true[index] for index in names]
    assert any("never saw the labels" in note for note in done.notes)
    assert done.num_harmed < 0.5
    assert done.wrong.afterwards < done.wrong.before / 2


def test_a_third_class_that_may_be_right_counts_as_wrong_afterwards(tmp_path):
    _, tables, *_ = run_of(tmp_path)
    without = wrong_labels(tables, 2, 0.1)
    assert wrong_labels(tables, 2, 0.1, 0.5).afterwards == pytest.approx(
        without.afterwards + 0.5 / 12
    )


def test_a_checkpoint_that_is_not_sure_changes_nothing(tmp_path):
    small, *_ = knowing.images(tmp_path, sureness=(0.5, 1.0))  # e to one, less than four times
    small.values["protocol"] = "held_out"
    done = corrected(small)
    assert done.num_changed == 0
    assert done.outcomes.keys() == {"kept"}
