import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_audit.scores import csl

LOSS = np.array([[4.0, 2.0, 1.0, 0.0, 0.5], [0.1, 0.2, 0.3, 0.2, 0.1]])

trajectories = st.integers(0, 5).flatmap(
    lambda num: st.lists(
        st.lists(st.floats(0, 50), min_size=num, max_size=num), min_size=1, max_size=4
    )
)


def mean(values):
    return sum(values) / len(values) if values else math.nan


def spread(values):
    if len(values) < 2:
        return math.nan
    centre = mean(values)
    return math.sqrt(sum((v - centre) ** 2 for v in values) / len(values))


@given(trajectories)
def test_aggregates_equal_loops(rows):
    loss = np.array(rows, np.float64).reshape(len(rows), -1)
    half = math.ceil(loss.shape[1] / 2)
    expected = {
        csl.csl: lambda r: mean(r),
        csl.final_loss: lambda r: r[-1] if r else math.nan,
        csl.early_loss: lambda r: mean(r[:half]),
        csl.late_loss: lambda r: mean(r[half:]),
        csl.loss_std: spread,
        csl.loss_max: lambda r: max(r, default=math.nan),
    }
    for function, oracle in expected.items():
        np.testing.assert_allclose(
            function(loss), [oracle(list(row)) for row in rows], rtol=1e-12, atol=1e-12
        )


def test_one_checkpoint_has_no_late_half_and_no_spread():
    assert csl.early_loss(LOSS[:, :1]).tolist() == [4.0, 0.1]
    assert np.isnan(csl.late_loss(LOSS[:, :1])).all()
    assert np.isnan(csl.loss_std(LOSS[:, :1])).all()


def test_halves_weighted_by_length_give_the_mean():
    whole = (3 * csl.early_loss(LOSS) + 2 * csl.late_loss(LOSS)) / 5
    np.testing.assert_allclose(whole, csl.csl(LOSS))


def test_no_samples_give_no_scores():
    assert csl.csl(np.empty((0, 3))).shape == (0,)


def test_nan_at_one_checkpoint_gives_nan_for_that_sample_only():
    loss = LOSS.copy()
    loss[0, 1] = np.nan
    assert np.isnan(csl.csl(loss)).tolist() == [True, False]
    assert np.isnan(csl.loss_max(loss)).tolist() == [True, False]


def test_float32_is_summed_in_float64():
    loss = np.full((1, 3000), 0.1, np.float32)
    assert csl.csl(loss)[0] == pytest.approx(float(np.float32(0.1)), abs=1e-12)


def test_trajectories_must_be_two_dimensional():
    with pytest.raises(ValueError, match=r"\(samples, checkpoints\)"):
        csl.csl(np.zeros(3))


@given(st.lists(st.floats(-9, 9), max_size=12), st.sampled_from([1, 3, 5, 21]))
def test_smoothing_equals_a_loop_over_cut_off_windows(values, window):
    half = window // 2
    expected = [mean(values[max(t - half, 0) : t + half + 1]) for t in range(len(values))]
    actual = csl.smooth_over_time(np.array(values, np.float64), window)
    np.testing.assert_allclose(actual, expected, atol=1e-12)


@pytest.mark.parametrize("window", [0, 2, -3])
def test_even_or_empty_windows_are_refused(window):
    with pytest.raises(ValueError, match="odd"):
        csl.smooth_over_time(np.zeros(5), window)


def slow_segment_mean(values, labels, sequences):
    runs, current = [], None
    for t, label in enumerate(labels):
        if label < 0:
            continue
        name = (label, sequences[t])
        if name != current:
            runs.append([])
            current = name
        runs[-1].append(t)
    means = [math.nan] * len(labels)
    for run in runs:
        known = [values[t] for t in run if not math.isnan(values[t])]
        for t in run:
            if not math.isnan(values[t]):
                means[t] = mean(known)
    return means


@given(
    st.lists(
        st.tuples(st.floats(0, 9) | st.just(math.nan), st.integers(-1, 2), st.integers(0, 1)),
        max_size=25,
    )
)
def test_segment_mean_equals_a_loop(rows):
    rows = sorted(rows, key=lambda row: row[2])
    values, labels, sequences = (np.array([row[c] for row in rows]) for c in range(3))
    result = csl.segment_mean(values.astype(float), labels.astype(int), sequences)
    np.testing.assert_allclose(result, slow_segment_mean(values, labels, sequences), atol=1e-12)


def test_unlabelled_frames_do_not_end_a_segment_but_another_sequence_does():
    labels = np.array([1, -1, 1, 1])
    assert csl.segment_ids(labels).tolist() == [0, -1, 0, 0]
    assert csl.segment_ids(labels, np.array(["a", "a", "a", "b"])).tolist() == [0, -1, 0, 1]


def test_planted_wrong_segment_has_the_highest_segment_mean():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2, 3], 20)
    loss = rng.exponential(0.5, 80)
    loss[40:60] += 1.5
    assert labels[csl.segment_mean(loss, labels).argmax()] == 2


def test_rows_of_segments_are_those_of_each_id():
    rng = np.random.default_rng(0)
    for labels in ([], [-1, -1], [0], *(rng.integers(-1, 3, n) for n in range(1, 40))):
        ids = csl.segment_ids(np.asarray(labels, np.int64))
        expected = [np.flatnonzero(ids == item) for item in range(ids.max(initial=-1) + 1)]
        found = csl.segment_rows(ids)
        assert len(found) == len(expected)
        assert all(np.array_equal(*pair) for pair in zip(found, expected, strict=True))


def test_many_segments_take_no_longer_than_as_many_frames():
    ids = csl.segment_ids(
        np.arange(400_000) % 2
    )  # 400,000 segments: frames x segments would be hours
    assert len(csl.segment_rows(ids)) == 400_000
