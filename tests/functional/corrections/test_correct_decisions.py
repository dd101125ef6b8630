"""Reviewers come before every rule of correction."""

import shutil

import numpy as np
import pytest

from ray_audit.errors import LabelError
from ray_audit.findings.decisions import Decision, save_decisions
from ray_audit.tables.run_tables import RunTables
from tests.support import knowing
from tests.support.audits import audit
from tests.support.corrected import (
    corrected,
    decided,
    findings_of,
    labels_at,
    masks_at,
    rows_at,
)
from tests.support.knowing import SURE, UNSURE


def test_reviewers_have_the_last_word(tmp_path):
    small, true, given = knowing.images(tmp_path, wrong=(0, 3, 6, 9))
    audit(small)
    findings = {row["sample_id"]: row for row in findings_of(small)}
    kept, other, disputed, left = (findings[f"=i {index}%20é.png"] for index in (0, 3, 6, 9))
    save_decisions(
        RunTables.open(str(small.out)).run_uri,
        "ann",
        [decided(kept, "reject"), decided(other, "relabel", "c"), decided(disputed)],
    )
    gone = Decision("0" * 16, "accept", None, "ann", "2026-02-01T10:00:00")
    done = corrected(small, decisions=[decided(disputed, "reject", reviewer="bob"), gone])
    after = labels_at(done)
    assert after["=i 0%20é.png"] == given[0]  # rejected
    assert after["=i 3%20é.png"] == 2  # relabelled
    assert after["=i 6%20é.png"] == given[6]  # disputed
    assert after["=i 9%20é.png"] == true[9]  # nobody looked: the rule
    assert done.outcomes == {"changed": 2, "disputed": 1, "rejected": 1}
    assert disputed["finding_id"] in done.named["disputed"][0]
    assert done.ignored_decisions == ("0" * 16,)
    rules = {row["finding_id"]: row["rule"] for row in rows_at(done)}
    assert rules[other["finding_id"]] == "decisions"
    assert rules[left["finding_id"]] == "findings"
    # Reviewers' changes count as no harm.
    assert done.num_harmed == pytest.approx(1 / (np.exp(SURE) + 1), rel=1e-3)


def test_only_decisions_need_no_confidence_and_no_checkpoint(tmp_path):
    small = knowing.masks(tmp_path, sureness=(UNSURE,) * 3)
    findings = [row for row in findings_of(small) if row["given"] == "a"]
    shutil.rmtree(tmp_path / "checkpoints")
    accepted = findings[0]
    done = corrected(small, rule="decisions", decisions=[decided(accepted)])
    index = int(accepted["sample_id"][1])
    masks = masks_at(done, "files")
    np.testing.assert_array_equal(masks[index], knowing.given_mask(index, wrong=()))
    other = ({1, 4} - {index}).pop()
    np.testing.assert_array_equal(masks[other], knowing.given_mask(other, wrong=(other,)))


def test_an_accepted_unlabelled_region_is_labelled(tmp_path):
    small = knowing.masks(tmp_path)
    void = next(row for row in findings_of(small) if row["given"] == "void")
    done = corrected(small, rule="decisions", decisions=[decided(void)])
    mask = masks_at(done, "files")[int(void["sample_id"][1])]
    assert (mask != 255).all()
    assert done.pairs == [{"given": "void", "corrected": "a", "num": void["num_px"]}]


def test_rejected_regions_stay_whatever_the_rule(tmp_path):
    small = knowing.masks(tmp_path)
    rejected = next(row for row in findings_of(small) if row["given"] == "a")
    done = corrected(
        small, rule="flagged", flagged_fraction=1.0, decisions=[decided(rejected, "reject")]
    )
    index = int(rejected["sample_id"][1])
    masks = masks_at(done, "files")
    for i in range(6):
        wrong = (index,) if i == index else ()
        np.testing.assert_array_equal(masks[i], knowing.given_mask(i, wrong))


def test_an_unknown_class_in_the_decisions_is_refused(tmp_path):
    small, *_ = knowing.images(tmp_path)
    finding = findings_of(small)[0]
    with pytest.raises(LabelError, match="'zebra'"):
        corrected(small, decisions=[decided(finding, "relabel", "zebra")])
