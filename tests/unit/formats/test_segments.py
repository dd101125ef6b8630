import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_audit.errors import LabelError
from ray_audit.formats.label_changes import FrameChange
from ray_audit.formats.labels.segments import Segment, resegmented
from ray_audit.samples import IGNORE


def label_of(segments, time):
    """The definition: the segment that holds the time; None where there is none."""
    found = [s.label for s in segments if s.start <= time < s.end]
    assert len(found) <= 1
    return found[0] if found else None


def applied(segments, replaced):
    """The rows of the table after the change."""
    rows = []
    for segment in segments:
        for cells in replaced.get(segment.row, [{}]):
            new = {"start": segment.start, "end": segment.end, "label": segment.label} | cells
            assert new["start"] < new["end"]
            rows.append(Segment(segment.row, new["start"], new["end"], new["label"]))
    return rows


@st.composite
def cases(draw):
    edges = sorted(draw(st.sets(st.integers(0, 80).map(lambda n: n / 4), min_size=2, max_size=8)))
    labels = draw(st.lists(st.integers(-1, 2), min_size=len(edges) - 1, max_size=len(edges) - 1))
    segments = [
        Segment(row, start, end, label)
        for row, (start, end, label) in enumerate(zip(edges, edges[1:], labels, strict=False))
        if draw(st.booleans())
    ]
    frames = draw(st.dictionaries(st.integers(0, 20), st.integers(0, 2), max_size=10))
    order = sorted(frames)
    change = FrameChange(np.array(order, np.int64), np.array([frames[t] for t in order], np.int32))
    return segments, change, draw(st.booleans())


@given(cases())
def test_every_frame_has_its_new_label_and_void_and_missing_ones_stay(case):
    segments, change, in_seconds = case
    times = (np.arange(21) * 1.0, np.arange(21) + 0.5)
    found, num_written = resegmented(segments, change, times if in_seconds else None)
    new = applied(segments, found)
    expected = dict(zip(change.frames.tolist(), change.labels.tolist(), strict=True))
    hits = 0
    for frame in range(21):
        old = label_of(segments, frame + 0.5)
        can_change = frame in expected and old not in (None, IGNORE)
        hits += can_change
        assert label_of(new, frame + 0.5) == (expected[frame] if can_change else old)
    assert num_written == hits
    if not hits:
        assert new == segments


def change_of(**labels):
    frames = sorted(int(name[1:]) for name in labels)
    return FrameChange(np.array(frames), np.array([labels[f"t{t}"] for t in frames]))


TWO = [Segment(0, 0, 10, 0), Segment(1, 10, 20, 1)]


def test_a_moved_boundary_stays_two_segments():
    assert resegmented(TWO, change_of(t8=1, t9=1), None)[0] == {0: [{"end": 8}], 1: [{"start": 8}]}


def test_a_span_inside_splits_a_segment_in_three():
    found, _ = resegmented(TWO, change_of(t3=2, t4=2), None)
    assert found == {0: [{"end": 3}, {"start": 3, "end": 5, "label": 2}, {"start": 5}]}


def test_a_segment_that_gets_its_neighbours_label_is_merged_into_it():
    change = FrameChange(np.arange(10, 20), np.zeros(10, np.int32))
    assert resegmented(TWO, change, None)[0] == {0: [{"end": 20}], 1: []}


def test_equal_neighbours_that_do_not_change_stay_two():
    three = [Segment(0, 0, 5, 0), Segment(1, 5, 10, 0), Segment(2, 10, 20, 1)]
    found, _ = resegmented(three, change_of(t19=2), None)
    assert found == {2: [{"end": 19}, {"start": 19, "label": 2}]}


def test_frames_out_of_order_cannot_be_told_apart_in_seconds():
    times = np.array([0.0, 2.0, 1.0, 3.0])
    with pytest.raises(LabelError, match="order of time"):
        resegmented([Segment(0, 0.0, 5.0, 0)], change_of(t1=1), (times, times + 0.5))
