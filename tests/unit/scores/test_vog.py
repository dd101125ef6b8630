import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_audit.scores import vog
from ray_audit.scores.vog import VogMoments

RNG = np.random.default_rng(1)
GRADIENTS = RNG.normal(5, 2, (6, 3, 2, 4, 5))  # E, N, C, H, W


def slow_vog(gradients):
    scores = []
    for n in range(gradients.shape[1]):
        stds = []
        for y in range(gradients.shape[3]):
            for x in range(gradients.shape[4]):
                series = [sum(g[n, :, y, x]) / gradients.shape[2] for g in gradients]
                centre = sum(series) / len(series)
                stds.append(math.sqrt(sum((v - centre) ** 2 for v in series) / len(series)))
        scores.append(sum(stds) / len(stds))
    return scores


def observed(maps, shape=None):
    moments = VogMoments.empty(maps.shape[1:] if shape is None else shape)
    for map_ in maps:
        moments = moments.observe(map_)
    return moments


def test_whole_stack_equals_a_loop():
    np.testing.assert_allclose(vog.vog_from_gradients(GRADIENTS, 2), slow_vog(GRADIENTS))


def test_published_vector():
    maps = np.array([[1, 0, 0, 2], [3, 0, 0, 2], [5, 0, 0, 5]], np.float64)
    std = observed(maps).finish()
    assert std == pytest.approx([1.63299, 0, 0, 1.41421], abs=1e-5)
    assert vog.vog_from_gradients(maps[:, None])[0] == pytest.approx(0.7618017, abs=1e-7)


def test_streaming_equals_the_whole_stack():
    maps = GRADIENTS.mean(axis=2)
    streamed = observed(maps).finish().mean(axis=(1, 2))
    np.testing.assert_allclose(streamed, vog.vog_from_gradients(GRADIENTS, 2), rtol=1e-12)


def test_merging_is_associative_and_takes_empty_states():
    maps = GRADIENTS.mean(axis=2)
    a, b, c = observed(maps[:1]), observed(maps[1:3]), observed(maps[3:])
    left, right = a.merge(b).merge(c), a.merge(b.merge(c))
    whole = observed(maps)
    empty = VogMoments.empty(maps.shape[1:])
    for merged in (left, right, c.merge(a).merge(b), empty.merge(whole), whole.merge(empty)):
        assert merged.count == 6
        np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-12)
        np.testing.assert_allclose(merged.finish(), whole.finish(), rtol=1e-12)
    assert empty.merge(empty).count == 0


def test_large_offsets_do_not_cancel():
    maps = np.array([1e8, 1e8 + 1, 1e8 + 2]).reshape(3, 1)
    assert observed(maps).finish()[0] == pytest.approx(math.sqrt(2 / 3), rel=1e-9)


def test_fewer_than_two_checkpoints_have_no_spread():
    assert np.isnan(vog.vog_from_gradients(GRADIENTS[:1], 2)).all()
    assert np.isnan(observed(GRADIENTS[:1]).finish()).all()


def test_a_map_of_another_size_is_refused():
    with pytest.raises(ValueError, match="same pixels"):
        VogMoments.empty((2, 2)).observe(np.zeros((2, 3)))


def slow_z(values, groups):
    out = []
    for value, group in zip(values, groups, strict=True):
        own = [v for v, g in zip(values, groups, strict=True) if g == group and not math.isnan(v)]
        if len(own) < 2 or len(set(own)) == 1 or math.isnan(value):
            out.append(math.nan)
            continue
        centre = sum(own) / len(own)
        std = math.sqrt(sum((v - centre) ** 2 for v in own) / len(own))
        out.append((value - centre) / std)
    return out


@given(
    st.lists(
        st.tuples(st.integers(-50, 50).map(float) | st.just(math.nan), st.integers(0, 3)),
        max_size=20,
    )
)
def test_z_equals_a_loop(rows):
    values = np.array([v for v, _ in rows], np.float64)
    groups = np.array([g for _, g in rows], np.int64)
    np.testing.assert_allclose(vog.z_within(values, groups), slow_z(values, groups), atol=1e-9)


def test_z_of_equal_values_is_null_despite_rounding():
    assert np.isnan(vog.z_within(np.full(7, 0.1), np.zeros(7, int))).all()


def test_group_moments_merge_to_those_of_all():
    values, groups = RNG.normal(size=60), RNG.integers(0, 4, 60)
    merged: dict = {}
    for part in np.array_split(np.arange(60), 7):
        merged = vog.merge_group_moments(merged, vog.group_moments(values[part], groups[part]))
    np.testing.assert_allclose(
        vog.finish_z(values, groups, merged), vog.z_within(values, groups), rtol=1e-10
    )


def test_csg_is_a_sum_over_checkpoints():
    assert vog.csg(np.array([[1.0, 2.0], [0.0, 0.5]])).tolist() == [3.0, 0.5]
    assert np.isnan(vog.csg(np.empty((2, 0)))).all()


def test_gradient_that_moves_scores_higher():
    steady, moving = np.ones((4, 1, 3)), RNG.normal(size=(4, 1, 3))
    scores = vog.vog_from_gradients(np.concatenate([steady, moving], axis=1))
    assert scores[1] > scores[0] == 0
