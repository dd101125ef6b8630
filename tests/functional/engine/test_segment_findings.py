"""Findings of frames through the front: what lies in them, and where their boundaries go."""

import numpy as np
import pytest

from ray_audit.engine.run.audit import run_audit
from tests.support.echoes import echoes, repeated
from tests.support.tables import rows_of


def audited(folder, given, seen, num_classes=4, **changes):
    config = echoes(folder, given, seen, num_classes, **changes)
    return run_audit(config, local=True, logical_date="2026-01-31")


def samples_in(found):
    """Scored samples that lie in a finding."""
    findings = rows_of(found, "findings").to_pylist()
    return {
        row["sample_id"]
        for row in rows_of(found, "scores").to_pylist()
        for finding in findings
        if row["shard"] == finding["shard"]
        and finding["start_frame"] <= row["frame_index"] < finding["end_frame"]
    }


def one_segment_wrong():
    seen = [repeated(range(4), [50] * 4) for _ in range(4)]
    given = [labels.copy() for labels in seen]
    given[0][50:100] = 3
    return given, seen


def test_samples_that_lie_in_findings_are_counted_where_frames_are_thinned_out(tmp_path):
    gates = {"max_findings_fraction": 0.2}
    found = audited(tmp_path, *one_segment_wrong(), clip={"every": 5}, gates=gates)
    inside = samples_in(found)
    assert 0 < len(inside) < 0.2 * found.counts["scored"]
    assert found.manifest.findings["num_samples"] == len(inside)
    assert found.manifest.breached_gates == []


def test_frames_without_a_label_in_a_finding_are_not_counted(tmp_path):
    given, seen = one_segment_wrong()
    given[0] = np.where((np.arange(200) > 60) & (np.arange(200) < 90), -1, given[0])
    config = echoes(tmp_path, given, seen, 4)
    config = config.model_copy(update={"dataset": config.dataset.model_copy(update={"void": [-1]})})
    found = run_audit(config, local=True, logical_date="2026-01-31")
    inside = samples_in(found)
    assert 0 < len(inside) < 50
    assert found.manifest.findings["num_samples"] == len(inside)


def test_shifts_that_meet_are_told_apart_with_side_and_frames(tmp_path):
    seen = [repeated([0, 1, 2], [30, 30, 30]) for _ in range(3)]
    given = [labels.copy() for labels in seen]
    given[0] = repeated([0, 3, 2], [26, 8, 26])
    seen[0] = repeated([0, 2], [30, 30])
    found = audited(tmp_path, given, seen)
    rows = [r for r in rows_of(found, "findings").to_pylist() if r["shard"] == "f.npz#v0"]
    rows.sort(key=lambda row: row["start_frame"])
    assert [(row["start_frame"], row["end_frame"]) for row in rows] == [(26, 30), (30, 34)]
    assert [(row["suggested"], row["side"], row["shift_frames"]) for row in rows] == [
        ("k0", "start", 4),
        ("k2", "end", -4),
    ]
    assert "the segment's start belongs at frame 30, 4 frames later" in rows[0]["reason"]


@pytest.mark.parametrize("model_sees", [2, 5])
def test_a_segment_is_found_once_whoever_speaks_against_it(tmp_path, model_sees):
    rng = np.random.default_rng(0)
    seen = [repeated(range(6), rng.integers(8, 20, 6)) for _ in range(12)]
    given = [labels.copy() for labels in seen]
    given[0][seen[0] == 2] = 4
    seen[0] = np.where(seen[0] == 2, model_sees, seen[0])
    found = audited(tmp_path, given, seen, 6)
    (row,) = rows_of(found, "findings").to_pylist()
    assert (row["kind"], row["suggested"]) == ("mislabel", f"k{model_sees}")
    assert "'k2' fits their order" in row["reason"]
    assert found.manifest.findings["num_samples"] == row["end_frame"] - row["start_frame"]
