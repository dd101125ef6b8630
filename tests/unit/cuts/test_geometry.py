import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ray_audit.cuts.clips import stream_clips
from ray_audit.cuts.geometry import spans, starts, tiles
from ray_audit.formats.base import Frame


def owner_by_definition(position, begins, size):
    """The cut in which the element is farthest from the nearer edge, ties to the earlier."""
    holding = [b for b in begins if b <= position < b + size]
    return max(holding, key=lambda b: (min(position - b, b + size - 1 - position), -b))


lengths = st.tuples(
    st.integers(1, 60),
    st.integers(1, 20).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))),
)


@given(lengths)
def test_each_element_is_owned_by_the_cut_of_the_definition(case):
    length, (size, stride) = case
    cuts = spans(length, size, stride)
    begins = starts(length, size, stride)
    real = min(size, length)
    owner = {p: s.start for s in cuts for p in range(s.owned_start, s.owned_stop)}
    assert owner == {p: owner_by_definition(p, begins, real) for p in range(length)}
    assert sum(s.owned_stop - s.owned_start for s in cuts) == length


@given(lengths)
def test_starts_follow_the_stride_and_the_last_ends_at_the_end(case):
    length, (size, stride) = case
    begins = starts(length, size, stride)
    assert begins[:-1] == [i * stride for i in range(len(begins) - 1)]
    assert begins[-1] + min(size, length) == length
    assert len(set(begins)) == len(begins)


@given(lengths)
def test_streamed_clips_are_those_of_the_whole(case):
    length, (size, stride) = case
    max_held = 0
    taken = 0

    def frames():
        nonlocal taken
        for i in range(length):
            taken += 1
            yield Frame(i, None, 0, np.array([i]))

    clips = []
    for clip in stream_clips(frames(), size, stride):
        max_held = max(max_held, taken - clip.start)
        clips.append(clip)
    expected = spans(length, size, stride)
    assert [(c.start, c.start + len(c.frames)) for c in clips] == [
        (s.start, s.stop) for s in expected
    ]
    owned = [[c.frames[p].frame_index for p in c.owned] for c in clips]
    assert owned == [list(range(s.owned_start, s.owned_stop)) for s in expected]
    assert max_held <= 3 * size


def test_no_size_is_one_clip_of_everything():
    frames = [Frame(i, None, 0, np.array([i])) for i in range(7)]
    (clip,) = stream_clips(frames, None, 1)
    assert len(clip.frames) == 7
    assert list(clip.owned) == list(range(7))
    assert list(stream_clips([], None, 1)) == []


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 16), st.data())
def test_tiles_own_each_pixel_once(height, width, size, data):
    overlap = data.draw(st.integers(0, size - 1))
    owned = np.zeros((height, width), int)
    for v, h in tiles((height, width), size, overlap):
        owned[v.owned_start : v.owned_stop, h.owned_start : h.owned_stop] += 1
        assert v.start <= v.owned_start <= v.owned_stop <= v.stop <= height
        assert h.start <= h.owned_start <= h.owned_stop <= h.stop <= width
    assert (owned == 1).all()
