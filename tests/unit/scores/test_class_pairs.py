import numpy as np

from ray_audit.scores.class_pairs import ClassPairs


def matrices(predicted, given, num):
    counts = np.zeros((predicted.shape[1], num, num), np.int64)
    for sample, label in enumerate(given):
        for checkpoint, seen in enumerate(predicted[sample]):
            if seen >= 0:
                counts[checkpoint, label, seen] += 1
    return counts


def test_pairs_that_occur_say_what_whole_matrices_say():
    rng = np.random.default_rng(0)
    predicted, given = rng.integers(-1, 4, (50, 3)), rng.integers(0, 4, 50)
    whole, expected = ClassPairs.of(predicted, given, 4), matrices(predicted, given, 4)
    parts = [ClassPairs.of(predicted[rows], given[rows], 4) for rows in (slice(20), slice(20, 50))]
    for pairs in (whole, parts[0].merge(parts[1]), ClassPairs.of_matrices(expected)):
        np.testing.assert_array_equal(pairs.matrices(), expected)
        np.testing.assert_array_equal(pairs.given(), expected.sum(axis=2))
        np.testing.assert_array_equal(pairs.predicted(), expected.sum(axis=1))
        np.testing.assert_array_equal(pairs.correct(), np.diagonal(expected, axis1=1, axis2=2))


def test_of_nothing_all_counts_are_none():
    pairs = ClassPairs.of(np.zeros((0, 2), np.int64), np.zeros(0, np.int64), 3)
    assert pairs.given().shape == (2, 3)
    assert not pairs.merge(pairs).matrices().any()


def test_of_many_classes_only_pairs_that_occur_take_memory():
    predicted, given = np.array([[39_999, 5]]), np.array([39_999])
    pairs = ClassPairs.of(predicted, given, 40_000)
    assert pairs.pair.nbytes + pairs.count.nbytes == 32
    assert [part.tolist() for part in pairs.parts()] == [[0, 1], [39_999] * 2, [39_999, 5]]
