import itertools
import sys

import numpy as np
import pyarrow as pa
import pytest

from ray_audit.findings.finding import MAX_EVIDENCE
from ray_audit.findings.segment_findings import FEWEST_SHIFTED, SegmentContext, segment_findings
from ray_audit.scores.boundaries import boundary_shift
from ray_audit.scores.csl import csl, segment_mean
from ray_audit.scores.order import OrderStatistics

CLASSES = ("open", "<b>clip</b>", 'cut "deep"', "pack", "close")
K, E = len(CLASSES), 4
IN_ORDER = np.repeat(np.arange(K), 10)


def table_of(given, seen, p_seen=0.8, frames=None, suspicion=None):
    """Rows of one shard whose checkpoints see class `seen` with `p_seen`, the rest even."""
    given, seen = np.asarray(given), np.asarray(seen)
    num = len(given)
    frames = np.arange(num) if frames is None else np.asarray(frames)
    p = np.full((num, E, K), (1 - p_seen) / (K - 1))
    rows = np.arange(num)
    p[rows, :, seen] = p_seen
    p_label = p[rows, :, given]
    p[rows, :, given] = -1.0
    other, p_other = p.argmax(-1), p.max(-1)
    moved = boundary_shift(given, p_label, p_other, other)
    loss = csl(-np.log(p_label))
    return pa.table(
        {
            "sample_id": [f"v#{frame}" for frame in frames],
            "shard": ["v"] * num,
            "frame_index": frames,
            "label": pa.array(given, pa.int32()),
            "suggested": pa.array(other[:, 0], pa.int32()),
            "p_suggested": p_other.mean(1),
            "confidence": p_label.mean(1),
            "csl": loss,
            "csl_segment": segment_mean(loss, given),
            "boundary_shift": moved.score,
            "boundary_frame": pa.array(
                frames[np.maximum(moved.suggested, 0)], pa.int64(), mask=moved.suggested < 0
            ),
            "suspicion": np.linspace(0, 1, num) if suspicion is None else suspicion,
            "correctness": (p_label > p_other).sum(1).astype(float),
            "num_checkpoints": np.full(num, E, np.int32),
        }
    )


def context(given, ordered=True, cutoff=None):
    order = OrderStatistics.empty(K).observe(np.asarray(given))
    rng = np.random.default_rng(0)
    for _ in range(40):
        order = order.observe(np.repeat(np.arange(K), rng.integers(8, 13, K)))
    return SegmentContext(CLASSES, order if ordered else None, 0.05, cutoff)


def found(given, seen, ordered=True, cutoff=None, **kwargs):
    return segment_findings(table_of(given, seen, **kwargs), context(given, ordered, cutoff))


def relabelled(segment, label):
    labels = IN_ORDER.copy()
    labels[10 * segment : 10 * segment + 10] = label
    return labels


@pytest.mark.parametrize("ordered", [True, False])
def test_right_labels_give_no_findings(ordered):
    assert found(IN_ORDER, IN_ORDER, ordered) == []


def test_a_segment_seen_as_another_class_is_mislabelled():
    (result,) = found(relabelled(1, 3), IN_ORDER, ordered=False)
    assert (result.kind, result.given, result.suggested) == ("mislabel", "pack", "<b>clip</b>")
    assert (result.start_frame, result.end_frame, result.anchor) == (10, 20, "10-20")
    assert (result.p_given, result.p_suggested) == pytest.approx((0.05, 0.8))
    assert result.loss == pytest.approx(-np.log(0.05))
    assert result.suspicion == pytest.approx(np.linspace(0, 1, 50)[10:20].mean())
    assert result.reason == (
        "frames 10-19 are given 'pack', but the checkpoints see '<b>clip</b>' (mean probability "
        "0.80 against 0.05; 4.0 of 4 checkpoints, on average over the frames, do not predict the "
        "given class)"
    )


def test_a_first_segment_that_was_given_its_neighbours_class_is_missing():
    seen = IN_ORDER[::-1]
    given = np.concatenate([seen[10:20], seen[10:]])
    (result,) = found(given, seen, ordered=False)
    assert (result.kind, result.given, result.suggested) == ("missing_segment", "pack", "close")
    assert (result.start_frame, result.end_frame) == (0, 10)


@pytest.mark.parametrize(
    ("segment", "label"), [(4, 3), (2, 1), (2, 3)], ids=["last", "before", "behind"]
)
@pytest.mark.parametrize("ordered", [True, False])
def test_a_segment_that_was_given_its_neighbours_class_is_missing(segment, label, ordered):
    given = relabelled(segment, label)
    (result,) = found(given, IN_ORDER, ordered)
    assert result.kind == "missing_segment"
    assert (result.given, result.suggested) == (CLASSES[label], CLASSES[segment])
    assert (result.start_frame, result.end_frame) == (10 * segment, 10 * segment + 10)
    assert (result.p_given, result.p_suggested) == pytest.approx((0.05, 0.8))
    first = 10 * min(segment, label)
    assert result.anchor == f"{first}-{first + 20}:{CLASSES[segment]}:1"
    assert "in 10 of the segment's 20 frames: a segment seems to be missing" in result.reason


def test_a_stretch_is_a_missing_segment_where_it_is_long_enough_and_of_no_neighbour_there():
    def seen_as(label, start, stop):
        seen = IN_ORDER.copy()
        seen[start:stop] = label
        return [f.kind for f in found(IN_ORDER, seen, ordered=False)]

    assert seen_as(4, 13, 17) == []  # of ten frames as in the median segment
    assert seen_as(4, 13, 18) == ["missing_segment"]
    assert seen_as(2, 12, 17) == ["missing_segment"]  # within, not at that neighbour's end
    assert seen_as(2, 15, 20) == ["boundary"]
    assert seen_as(4, 15, 20) == ["missing_segment"]


def test_where_there_is_an_order_it_says_whether_a_stretch_is_a_missing_segment():
    seen = np.repeat([0, 1, 2, 3, 4], [10, 10, 4, 10, 10])
    given = np.where(seen == 2, 1, seen)
    assert found(given, seen, ordered=False) == []  # too short to be told from a wavering model
    (result,) = found(given, seen)
    assert (result.kind, result.start_frame, result.end_frame) == ("missing_segment", 20, 24)
    assert result.reason.endswith("missing; the order of the other videos has it there")
    wavering = IN_ORDER.copy()
    wavering[13:18] = 4
    assert [f.kind for f in found(IN_ORDER, wavering, ordered=False)] == ["missing_segment"]
    assert found(IN_ORDER, wavering) == []


def test_two_missing_segments_of_one_class_have_names_of_their_own():
    given, seen = np.zeros(50, int), np.zeros(50, int)
    given[:4], seen[:4], given[-4:], seen[-4:] = 1, 1, 2, 2
    seen[10:14] = seen[20:24] = 3
    first, second = found(given, seen, ordered=False)
    assert first.finding_id != second.finding_id
    assert (second.start_frame, second.end_frame) == (20, 24)


def test_of_thinned_frames_a_missing_segment_reaches_to_the_next_one():
    frames = 5 * np.arange(50)
    (result,) = found(relabelled(2, 1), IN_ORDER, ordered=False, frames=frames)
    assert (result.start_frame, result.end_frame) == (100, 150)


def test_where_model_and_order_agree_there_is_one_finding():
    (result,) = found(relabelled(1, 3), IN_ORDER)
    assert (result.kind, result.suggested) == ("mislabel", "<b>clip</b>")
    assert (
        "'open' -> 'pack' occurs never and 'pack' -> 'cut \"deep\"' occurs never" in result.reason
    )


def test_where_the_model_is_silent_the_order_speaks():
    given = relabelled(1, 3)
    (result,) = found(given, given)
    assert (result.kind, result.given, result.suggested) == ("disorder", "pack", "<b>clip</b>")
    assert "the checkpoints do not object (mean probability 0.80)" in result.reason
    assert found(given, given, ordered=False) == []


def test_where_they_disagree_one_finding_tells_both():
    given = relabelled(1, 3)
    (result,) = found(given, relabelled(1, 4))
    assert (result.kind, result.suggested) == ("mislabel", "close")
    assert "the checkpoints see 'close'" in result.reason
    assert "while '<b>clip</b>' fits their order" in result.reason


def test_exchanged_segments_are_two_findings_with_names_of_their_own():
    given = relabelled(1, 2)
    given[20:30] = 1
    first, second = found(given, given)
    assert (first.suggested, second.suggested) == ("<b>clip</b>", 'cut "deep"')
    assert first.finding_id != second.finding_id


def test_a_learnt_label_with_a_high_loss_is_a_finding_that_says_so():
    given = relabelled(1, 3)
    assert found(given, given, ordered=False, cutoff=1.0) == []
    wrong = [
        item for item in found(given, given, ordered=False, cutoff=0.1) if item.given == "pack"
    ]
    assert wrong[0].kind == "mislabel"
    assert "this was learnt late: their mean loss of 0.22 nats is among the highest 5.0%" in (
        wrong[0].reason
    )


def test_a_learnt_label_that_the_order_speaks_for_is_no_finding():
    assert len(found(IN_ORDER, IN_ORDER, ordered=False, cutoff=0.1)) == K
    assert found(IN_ORDER, IN_ORDER, cutoff=0.1) == []
    (result,) = found(IN_ORDER, relabelled(1, 3))
    assert result.suggested == "pack"
    assert result.reason.endswith("; the order of the other videos speaks against it")


@pytest.mark.parametrize(
    ("moved_to", "given_name", "suggested", "span", "anchor"),
    [
        (16, "<b>clip</b>", "open", (10, 14), "10-20:start"),
        (24, "<b>clip</b>", 'cut "deep"', (16, 20), "10-20:end"),
    ],
)
def test_frames_beyond_a_boundary_are_offered(moved_to, given_name, suggested, span, anchor):
    seen = IN_ORDER.copy()
    if moved_to == 16:
        seen[10:14] = 0
    else:
        seen[16:20] = 2
    (result,) = found(IN_ORDER, seen)
    assert (result.kind, result.given, result.suggested) == ("boundary", given_name, suggested)
    assert (result.start_frame, result.end_frame) == span
    assert result.anchor == anchor
    assert result.sample_id == f"v#{span[0]}"
    side = anchor.partition(":")[2]
    assert (result.side, result.shift_frames) == (side, 4 if side == "start" else -4)
    towards = "later" if side == "start" else "earlier"
    assert f"the segment's {side} belongs at frame {span[side == 'start']}" in result.reason
    assert result.reason.endswith(f"4 frames {towards}")


def test_two_shifts_that_meet_are_two_findings_with_numbers_of_their_own():
    given, seen = IN_ORDER.copy(), IN_ORDER.copy()
    given[10:20], seen[10:15], seen[15:20] = 3, 0, 2
    table = table_of(given, seen, suspicion=np.arange(50) / 50)
    first, second = segment_findings(table, context(given, ordered=False))[:2]
    assert [(item.start_frame, item.end_frame) for item in (first, second)] == [(10, 15), (15, 20)]
    assert [item.suggested for item in (first, second)] == ["open", 'cut "deep"']
    assert [item.suspicion for item in (first, second)] == pytest.approx([0.24, 0.34])
    assert first.finding_id != second.finding_id


def test_a_shift_of_few_frames_is_no_finding():
    seen = IN_ORDER.copy()
    seen[10 : 10 + FEWEST_SHIFTED - 1] = 0
    assert found(IN_ORDER, seen) == []


def test_evidence_is_spread_and_begins_with_the_highest_loss():
    given = relabelled(1, 3)
    table = table_of(given, IN_ORDER)
    loss = np.zeros(50)
    loss[10:20] = [1, 9, 2, 8, 3, 7, 4, 6, 5, 0]
    table = table.set_column(table.column_names.index("csl"), "csl", pa.array(loss))
    (result,) = segment_findings(table, context(given, ordered=False))
    assert result.evidence == ("v#11", "v#13", "v#15", "v#17", "v#18")
    assert len(result.evidence) == MAX_EVIDENCE


def test_the_order_of_rows_does_not_matter():
    given = relabelled(1, 3)
    table = table_of(given, IN_ORDER)
    mixed = table.take(np.random.default_rng(0).permutation(len(table)))
    assert segment_findings(mixed, context(given)) == segment_findings(table, context(given))


def test_thinned_frames_keep_those_between():
    given = relabelled(1, 3)
    (result,) = found(given, IN_ORDER, frames=5 * np.arange(50))
    assert (result.start_frame, result.end_frame) == (50, 100)
    last = found(relabelled(4, 0), IN_ORDER, ordered=False, frames=5 * np.arange(50))[0]
    assert (last.start_frame, last.end_frame) == (200, 246)
    shifted = IN_ORDER.copy()
    shifted[16:20] = 2
    (result,) = found(IN_ORDER, shifted, frames=5 * np.arange(50))
    assert (result.start_frame, result.end_frame) == (80, 100)


@pytest.mark.parametrize("given", [[], [2], [1] * 6])
def test_short_videos_and_those_of_one_class(given):
    given = np.array(given, int)
    assert found(given, given, ordered=False) == []
    assert [item.kind for item in found(given, 0 * given, ordered=False)] == ["mislabel"][
        : len(given)
    ]
    assert len(found(given, given)) <= 1


def test_frames_without_a_label_or_a_suggestion_are_left_out():
    table = table_of(relabelled(1, 3), IN_ORDER)
    nothing = pa.nulls(50, pa.int32())
    unlabelled = table.set_column(table.column_names.index("label"), "label", nothing)
    assert segment_findings(unlabelled, context(IN_ORDER)) == []
    silent = table.set_column(table.column_names.index("suggested"), "suggested", nothing)
    assert segment_findings(silent, context(IN_ORDER, ordered=False)) == []


def test_rows_of_two_shards_are_refused():
    table = table_of(IN_ORDER, IN_ORDER)
    shards = pa.array(["v", "w"] * 25)
    with pytest.raises(ValueError, match="2 shards"):
        segment_findings(table.set_column(1, "shard", shards), context(IN_ORDER))


def num_calls(num_frames):
    """Function calls for a video of two classes that take turns at every frame."""
    given = np.arange(num_frames) % 2
    table, about = table_of(given, 1 - given), context(given)
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        findings = segment_findings(table, about)
    finally:
        sys.setprofile(None)
    assert len(findings) == num_frames
    return calls


def test_the_work_for_a_video_grows_with_its_segments_not_with_their_square():
    assert num_calls(800) < 3 * num_calls(400)


@pytest.mark.parametrize("seed", range(30))
def test_no_frame_lies_in_two_findings(seed):
    rng = np.random.default_rng(seed)
    given = np.repeat(rng.integers(0, K, 12), rng.integers(1, 14, 12))
    seen = np.where(rng.random(len(given)) < 0.1, rng.integers(0, K, len(given)), np.roll(given, 3))
    for part in np.flatnonzero(rng.random(12) < 0.3):
        seen[8 * part : 8 * part + 8] = rng.integers(0, K)
    results = found(given, seen, ordered=bool(seed % 2), p_seen=0.6 + 0.3 * rng.random())
    spans = sorted((item.start_frame, item.end_frame) for item in results)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
    assert all((item.side is None) == (item.kind != "boundary") for item in results)
