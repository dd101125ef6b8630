import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_audit.scores.suggested import suggested_class

ROWS = st.lists(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from([0.0, 0.25, 0.5])), min_size=3, max_size=3
    ),
    min_size=1,
    max_size=6,
)


def slow(row):
    """The class with the most probability, then with the most checkpoints, then the first."""
    classes = {c for c, _ in row}
    total = {c: sum(p for other, p in row if other == c) for c in classes}
    named = {c: sum(other == c for other, _ in row) for c in classes}
    best = min(classes, key=lambda c: (-total[c], -named[c], c))
    return best, total[best] / len(row)


@settings(deadline=None)
@given(ROWS)
def test_it_is_the_class_of_most_probability_and_of_equals_the_one_named_most(rows):
    other = np.array([[c for c, _ in row] for row in rows])
    p_other = np.array([[p for _, p in row] for row in rows])
    label, p = suggested_class(other, p_other)
    assert [(int(first), float(q)) for first, q in zip(label, p, strict=True)] == [
        slow(row) for row in rows
    ]


def test_a_class_that_is_never_the_best_other_is_never_suggested():
    label, p = suggested_class(np.full((4, 3), 2), np.zeros((4, 3)))
    assert label.tolist() == [2] * 4
    assert p.tolist() == [0.0] * 4


def test_of_no_samples_and_of_no_checkpoints_there_is_nothing_to_say():
    for shape in ((0, 3), (2, 0)):
        label, p = suggested_class(np.zeros(shape, int), np.zeros(shape))
        assert len(label) == len(p) == shape[0]


def test_memory_does_not_grow_with_the_number_of_classes():
    rng = np.random.default_rng(0)
    other = rng.integers(0, 2**40, (500, 4))
    label, _ = suggested_class(other % (2**31 - 1), rng.random((500, 4)))
    assert len(label) == 500
