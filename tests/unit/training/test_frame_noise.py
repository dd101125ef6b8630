import numpy as np
import pytest

from ray_audit.errors import SpecificationError
from ray_audit.training.noise import FRAME_KINDS, corrupt_frames, truth_table
from ray_audit.training.noise.frame_noise import runs

NUM_CLASSES = 6


def sequences(num=21, num_segments=6):
    rng = np.random.default_rng(1)
    return {
        f"s{i}": np.repeat(np.arange(num_segments), rng.integers(4, 12, num_segments))
        for i in range(num)
    }


@pytest.mark.parametrize("kind", FRAME_KINDS)
@pytest.mark.parametrize("rate", [0.0, 0.34, 1.0])
def test_exactly_the_share_of_sequences_changes(kind, rate):
    true = sequences()
    given = corrupt_frames(true, NUM_CLASSES, rate, [kind], seed=3)
    changed = [key for key in true if (given.labels[key] != true[key]).any()]
    assert len(changed) == int(rate * len(true))
    assert given.kinds == dict.fromkeys(changed, kind)


@pytest.mark.parametrize("kind", FRAME_KINDS)
def test_truth_names_every_frame_and_only_wrong_ones_as_errors(kind):
    true = sequences()
    given = corrupt_frames(true, NUM_CLASSES, 0.5, [kind], seed=0)
    rows = iter(given.truth)
    for key, labels in true.items():
        for frame_index, label in enumerate(labels):
            row = next(rows)
            wrong = given.labels[key][frame_index] != label
            assert (row.sample_id, row.true_label) == (f"{key}#{frame_index}", label)
            assert (row.is_error, row.kind) == (wrong, kind if wrong else None)
    assert next(rows, None) is None


def test_kinds_take_turns_and_the_seed_decides():
    first, again, other = (
        corrupt_frames(sequences(), NUM_CLASSES, 0.86, list(FRAME_KINDS), seed)
        for seed in (0, 0, 1)
    )
    assert sorted(first.kinds.values()) == sorted([*FRAME_KINDS] * 3)
    assert first.truth == again.truth
    assert first.truth != other.truth


def test_mislabel_is_one_whole_segment():
    true = sequences()
    given = corrupt_frames(true, NUM_CLASSES, 1, ["mislabel"], seed=0)
    for key, labels in true.items():
        wrong = np.flatnonzero(given.labels[key] != labels)
        assert len(set(labels[wrong])) == len(set(given.labels[key][wrong])) == 1
        assert (labels == labels[wrong[0]]).sum() == len(wrong)


@pytest.mark.parametrize(("kind", "least", "largest"), [("adjacent", 1, 1), ("distant", 2, 5)])
def test_exchange_swaps_two_labels_at_a_distance(kind, least, largest):
    true = sequences()
    given = corrupt_frames(true, NUM_CLASSES, 1, [kind], seed=0)
    for key, labels in true.items():
        wrong = given.labels[key] != labels
        first, second = np.unique(labels[wrong])
        assert least <= second - first <= largest
        expected = np.select([labels == first, labels == second], [second, first], labels)
        assert (given.labels[key] == expected).all()


def test_reversed_is_a_span_turned_round():
    true = sequences()
    given = corrupt_frames(true, NUM_CLASSES, 1, ["reversed"], seed=0)
    for key, labels in true.items():
        assert (np.bincount(given.labels[key]) == np.bincount(labels)).all()
        falls = (np.diff(given.labels[key]) < 0).sum()
        assert 2 <= falls <= 4


def test_boundary_keeps_the_order():
    true = sequences()
    given = corrupt_frames(true, NUM_CLASSES, 1, ["boundary"], seed=0)
    for key, labels in true.items():
        assert runs(given.labels[key])[:, 2].tolist() == runs(labels)[:, 2].tolist()


def test_missing_is_one_segment_that_becomes_part_of_one_beside_it():
    true = sequences()
    given = corrupt_frames(true, NUM_CLASSES, 1, ["missing"], seed=0)
    for key, labels in true.items():
        (missing,) = set(labels.tolist()) - set(given.labels[key].tolist())
        (neighbour,) = set(given.labels[key][labels == missing].tolist())
        assert abs(neighbour - missing) == 1


def test_a_segment_between_unlabelled_frames_cannot_be_missing():
    true = {"a": np.array([0, 0, -1, 1, 1, -1, 2, 2])}
    with pytest.raises(SpecificationError, match="in 0 of 1 items"):
        corrupt_frames(true, NUM_CLASSES, 1, ["missing"], seed=0)


@pytest.mark.parametrize("kind", FRAME_KINDS)
def test_unlabelled_frames_stay_unlabelled_and_out_of_the_truth(kind):
    true = {"a": np.array([-1, 0, 0, 0, 1, 1, 1, 1, -1, 2, 2, 2, 2, 2, 3, 3, -1])}
    given = corrupt_frames(true, NUM_CLASSES, 1, [kind], seed=0)
    assert ((given.labels["a"] == -1) == (true["a"] == -1)).all()
    assert len(given.truth) == 14


def test_sequences_that_cannot_be_changed_are_passed_over():
    true = {f"one{i}": np.zeros(9, dtype=int) for i in range(8)} | sequences(2)
    given = corrupt_frames(true, NUM_CLASSES, 0.2, ["adjacent"], seed=0)
    assert sorted(given.kinds) == ["s0", "s1"]
    with pytest.raises(SpecificationError, match="in 2 of 10 items, 3 were"):
        corrupt_frames(true, NUM_CLASSES, 0.3, ["adjacent"], seed=0)


@pytest.mark.parametrize(
    ("rate", "kinds"), [(1.1, ["mislabel"]), (0.1, []), (0.1, ["typo"]), (0.1, ["mislabel"] * 2)]
)
def test_wrong_requests_are_refused(rate, kinds):
    with pytest.raises(SpecificationError):
        corrupt_frames(sequences(), NUM_CLASSES, rate, kinds, seed=0)


def test_inputs_are_never_written():
    true = sequences()
    for labels in true.values():
        labels.setflags(write=False)
    corrupt_frames(true, NUM_CLASSES, 1, list(FRAME_KINDS), seed=0)


def test_truth_table_has_the_columns_of_the_contract():
    table = truth_table(corrupt_frames(sequences(), NUM_CLASSES, 0.5, ["adjacent"], 0).truth)
    assert table.column_names == ["sample_id", "is_error", "kind", "true_label", "wrong_px"]
    assert table["kind"].null_count == table.num_rows - sum(table["is_error"].to_pylist())
