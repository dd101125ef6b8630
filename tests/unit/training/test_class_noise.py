import numpy as np
import pytest

from ray_audit.errors import SpecificationError
from ray_audit.training.noise import CLASS_KINDS, corrupt_classes

NUM_CLASSES = 5
LABELS = np.random.default_rng(0).integers(0, NUM_CLASSES, 3000)
LOGITS = np.random.default_rng(1).normal(scale=3, size=(3000, NUM_CLASSES))


@pytest.mark.parametrize("kind", CLASS_KINDS)
@pytest.mark.parametrize("rate", [0.0, 0.1234, 0.6])
def test_exactly_the_share_is_wrong_and_truth_is_right(kind, rate):
    given = corrupt_classes(LABELS, NUM_CLASSES, rate, [kind], 0, logits=LOGITS)
    wrong = given.labels != LABELS
    assert wrong.sum() == int(rate * len(LABELS))
    assert [row.is_error for row in given.truth] == wrong.tolist()
    assert [row.true_label for row in given.truth] == LABELS.tolist()
    assert {row.kind for row in given.truth if row.is_error} <= {kind}


def test_kinds_share_evenly_and_the_seed_decides():
    first, again, other = (
        corrupt_classes(LABELS, NUM_CLASSES, 0.2, CLASS_KINDS, seed, logits=LOGITS)
        for seed in (0, 0, 1)
    )
    counts = [sum(row.kind == kind for row in first.truth) for kind in CLASS_KINDS]
    assert counts == [200, 200, 200]
    assert (first.labels == again.labels).all()
    assert (first.labels != other.labels).any()


def test_symmetric_is_uniform_over_the_other_classes():
    given = corrupt_classes(np.zeros(9000, dtype=int), 4, 1, ["symmetric"], 0)
    assert np.bincount(given.labels, minlength=4) == pytest.approx([0, 3000, 3000, 3000], abs=200)


def test_asymmetric_follows_the_pairs():
    pairs = {0: 3, 1: 2}
    given = corrupt_classes(LABELS, NUM_CLASSES, 0.2, ["asymmetric"], 0, confused_with=pairs)
    wrong = given.labels != LABELS
    assert {(a, b) for a, b in zip(LABELS[wrong], given.labels[wrong], strict=True)} == {
        (0, 3),
        (1, 2),
    }
    with pytest.raises(SpecificationError, match="could be planted in"):
        corrupt_classes(LABELS, NUM_CLASSES, 0.9, ["asymmetric"], 0, confused_with=pairs)


def test_instance_errors_hit_hard_samples_and_look_alike_classes():
    given = corrupt_classes(LABELS, NUM_CLASSES, 0.2, ["instance"], 0, logits=LOGITS)
    wrong = given.labels != LABELS
    true_logit = LOGITS[np.arange(len(LABELS)), LABELS]
    assert true_logit[wrong].mean() < true_logit[~wrong].mean() - 1
    others = LOGITS.copy()
    others[np.arange(len(LABELS)), LABELS] = -np.inf
    assert (others.argmax(axis=1) == given.labels)[wrong].mean() > 0.6


def test_instance_errors_from_features_depend_on_the_features():
    rng = np.random.default_rng(0)
    features = np.repeat(rng.normal(size=(2, 16)), 1000, axis=0) + rng.normal(0, 0.01, (2000, 16))
    labels = np.zeros(2000, dtype=int)
    given = corrupt_classes(labels, NUM_CLASSES, 1, ["instance"], 0, features=features)
    shares = [np.bincount(part, minlength=5) / 1000 for part in np.split(given.labels, 2)]
    assert np.abs(shares[0] - shares[1]).max() > 0.1


def test_sample_ids_name_the_rows():
    given = corrupt_classes(np.array([0, 1]), 2, 0.5, ["symmetric"], 0, sample_ids=["a", "b"])
    assert [row.sample_id for row in given.truth] == ["a", "b"]


@pytest.mark.parametrize(
    ("labels", "num_classes", "kinds"),
    [([0, 1], 1, ["symmetric"]), ([0, -1], 2, ["symmetric"]), ([0, 1], 2, ["instance"])],
)
def test_wrong_requests_are_refused(labels, num_classes, kinds):
    with pytest.raises(SpecificationError):
        corrupt_classes(np.array(labels), num_classes, 0.5, kinds, 0)
