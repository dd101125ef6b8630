import numpy as np
import pytest

from ray_audit.corrections.frame_corrections import correct_frames
from ray_audit.corrections.intents import Intent
from ray_audit.samples import IGNORE

CLASSES = ("a", "b", "c")
FRAMES = np.arange(12)
GIVEN = np.repeat([0, 1, 2], 4).astype(np.int32)


def intent(start, end, given, suggested, by="findings", outcome=None, **values):
    values = {"kind": "mislabel", "rank": 1, "p_given": 0.1, "p_suggested": 0.3} | values
    return Intent(
        f"v#{start}",
        "v",
        given,
        suggested,
        by,
        outcome,
        0.75,
        "why",
        start_frame=start,
        end_frame=end,
        finding_id=f"{start}-{end}",
        **values,
    )


def corrected(*intents, frames=FRAMES, given=GIVEN, max_fraction=1.0):
    return correct_frames(frames, given, intents, CLASSES, max_fraction)


def outcomes(made):
    return [row.outcome for row in made.rows]


def test_a_segment_changes_as_a_whole_and_nothing_beside_it():
    made = corrected(intent(4, 8, "b", "c"))
    assert made.labels.tolist() == [0] * 4 + [2] * 8
    (row,) = made.rows
    assert (row.outcome, row.num_changed) == ("changed", 4)
    assert row.num_harmed == pytest.approx(4 * 0.25)


def test_only_frames_with_the_given_class_change():
    given = np.array([1, IGNORE, 1, 0, 1], np.int32)
    frames = np.array([2, 3, 5, 6, 9])  # of 4, 7 and 8 there is no label
    made = corrected(intent(2, 9, "b", "c"), frames=frames, given=given)
    assert made.labels.tolist() == [2, IGNORE, 2, 0, 1]
    assert made.rows[0].num_changed == 2


def test_labels_that_are_others_by_now_are_unmatched():
    made = corrected(intent(0, 4, "b", "c"), intent(4, 8, "b", "b"))
    assert outcomes(made) == ["unmatched", "unmatched"]
    assert made.labels.tolist() == GIVEN.tolist()


def test_the_order_must_agree_where_it_speaks():
    seen, fits = intent(4, 8, "b", "c"), intent(4, 8, "b", "a", kind="disorder")
    assert outcomes(corrected(seen, fits)) == ["conflict", "conflict"]
    agreed = intent(4, 8, "b", "c", kind="disorder", rank=2)
    made = corrected(seen, agreed)
    assert made.rows[0].outcome == "changed"
    assert made.labels[4:8].tolist() == [2] * 4
    # Even one that is not sure enough to change anything itself.
    unsure = intent(4, 8, "b", "a", kind="disorder", outcome="kept")
    assert corrected(seen, unsure).labels.tolist() == GIVEN.tolist()


def test_a_boundary_moves_by_its_frames():
    made = corrected(intent(4, 6, "b", "a", kind="boundary"))
    assert made.labels.tolist() == [0] * 6 + [1] * 2 + [2] * 4


def test_the_better_rank_comes_first_where_two_overlap():
    first = intent(4, 7, "b", "a", kind="boundary", rank=1)
    second = intent(6, 8, "b", "c", kind="boundary", rank=2)
    made = corrected(second, first)
    assert made.labels[4:8].tolist() == [0, 0, 0, 1]
    assert sorted(outcomes(made)) == ["changed", "conflict"]


def test_decided_frames_are_the_reviewers():
    accepted = intent(4, 8, "b", "a", by="decisions")
    rejected = intent(8, 12, "c", "a", by="decisions", outcome="rejected")
    flagged = [intent(t, t + 1, "c", "b", by="flagged") for t in range(8, 12)]
    against = intent(4, 8, "b", "c", rank=0)
    made = corrected(against, *flagged, rejected, accepted)
    assert made.labels.tolist() == [0] * 8 + [2] * 4
    by_outcome = {row.outcome for row in made.rows if row.rule != "decisions"}
    assert by_outcome == {"conflict"}
    assert made.rows[1].num_harmed is None


def test_a_rule_may_not_change_most_of_a_video_but_a_reviewer_may():
    rule = [intent(0, 4, "a", "c"), intent(4, 8, "b", "c")]
    refused = corrected(*rule, max_fraction=0.5)
    assert outcomes(refused) == ["refused", "refused"]
    assert refused.labels.tolist() == GIVEN.tolist()
    assert "67%" in refused.rows[0].evidence
    assert corrected(*rule, max_fraction=None).labels.tolist() == [2] * 12
    reviewers = [intent(0, 4, "a", "c", by="decisions"), intent(4, 8, "b", "c", by="decisions")]
    assert corrected(*reviewers, max_fraction=0.5).labels.tolist() == [2] * 12


def test_a_span_reaches_to_the_ends_of_its_segment_and_not_beyond():
    whole = {"reach_before": np.inf, "reach_after": True}
    made = corrected(intent(5, 7, "b", "c", **whole))
    assert made.labels.tolist() == [0] * 4 + [2] * 8
    (row,) = made.rows
    assert (row.start_frame, row.end_frame, row.num_changed) == (4, 8, 4)


def test_the_end_of_a_segment_that_moves_takes_the_frames_beyond_it_along():
    made = corrected(intent(5, 7, "b", "a", kind="boundary", reach_before=np.inf))
    assert made.labels.tolist() == [0] * 7 + [1] + [2] * 4
    made = corrected(intent(6, 7, "b", "c", kind="boundary", reach_after=True))
    assert made.labels.tolist() == [0] * 4 + [1, 1] + [2] * 6


def test_frames_that_another_one_stands_for_stay_where_one_is_flagged():
    made = corrected(intent(6, 8, "b", "c", by="flagged", reach_before=2))
    assert made.labels.tolist() == [0] * 4 + [1, 1] + [2] * 6  # 4 was looked at, and stands for 5
    made = corrected(intent(5, 7, "b", "c", by="flagged", reach_before=2))
    assert made.labels.tolist() == [0] * 4 + [2, 2, 2] + [1] + [2] * 4  # 3 was looked at


def test_a_reviewer_who_rejects_a_segment_keeps_all_of_it():
    whole = {"reach_before": np.inf, "reach_after": True}
    rejected = intent(5, 7, "b", "c", outcome="rejected", **whole)
    made = corrected(rejected, intent(4, 5, "b", "c", by="flagged"))
    assert made.labels.tolist() == GIVEN.tolist()
    assert outcomes(made) == ["rejected", "conflict"]


def test_a_stored_label_of_several_frames_changes_as_a_whole_or_not_at_all():
    stored = np.arange(12) // 4
    most = intent(4, 7, "b", "c")
    few = intent(8, 10, "c", "a")
    made = correct_frames(FRAMES, GIVEN, [most, few], CLASSES, 1.0, stored)
    assert made.labels.tolist() == [0] * 4 + [2] * 8
    assert [(row.outcome, row.num_changed) for row in made.rows] == [("changed", 4), ("kept", 0)]
    assert made.rows[0].num_harmed == pytest.approx(4 * 0.25)
    rejected = intent(7, 8, "b", "c", outcome="rejected")
    made = correct_frames(FRAMES, GIVEN, [most, rejected], CLASSES, 1.0, stored)
    assert made.labels.tolist() == GIVEN.tolist()
    assert outcomes(made) == ["rejected", "kept"]
