import numpy as np
import pytest

from ray_audit.scores import compiled, confident, elements
from ray_audit.scores.confident import ConfidentState
from tests.support.states import assert_same_state, folded_both_ways


@pytest.fixture(autouse=True, params=["numpy", "compiled"])
def counted_by(request, monkeypatch):
    if request.param == "compiled":
        pytest.importorskip("numba")
        monkeypatch.setattr(compiled, "PATIENCE", 0)


def data(seed=0, num=4, num_classes=5, size=24, noise=0.1, void=0.0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    true = rng.integers(0, num_classes, (num, size, size))
    logits = rng.normal(size=(num, num_classes, size, size))
    np.put_along_axis(logits, true[:, None], 2.5, 1)
    p = np.exp(logits)
    p /= p.sum(axis=1, keepdims=True)
    labels = np.where(rng.random(true.shape) < noise, (true + 1) % num_classes, true)
    labels[rng.random(true.shape) < void] = -1
    return labels, p.astype(dtype), labels != true


def slow_flags(labels, p):
    rows = [(n, y, x) for n, y, x in np.ndindex(labels.shape) if labels[n, y, x] >= 0]
    num_classes = p.shape[1]
    thresholds = []
    for k in range(num_classes):
        own = [float(p[n, k, y, x]) for n, y, x in rows if labels[n, y, x] == k]
        thresholds.append(max(sum(own) / len(own), 2e-6) if own else 2.0)
    issues = 0
    for n, y, x in rows:
        top = int(p[n, :, y, x].argmax())
        issues += top != labels[n, y, x] and p[n, top, y, x] >= thresholds[top] - 1e-6
    ranked = sorted(rows, key=lambda r: p[r[0], labels[r], r[1], r[2]])
    flags = np.zeros(labels.shape, bool)
    for n, y, x in ranked[:issues]:
        flags[n, y, x] = p[n, :, y, x].argmax() != labels[n, y, x]
    return flags


@pytest.mark.parametrize("void", [0.0, 0.4])
@pytest.mark.parametrize("seed", range(3))
def test_flags_equal_a_loop(seed, void):
    labels, p, _ = data(seed, num=2, size=12, void=void)
    np.testing.assert_array_equal(confident.find_issues(labels, p), slow_flags(labels, p))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", range(3))
def test_flags_equal_cleanlab(seed, dtype):
    cleanlab = pytest.importorskip("cleanlab.segmentation.filter")
    labels, p, _ = data(seed, dtype=dtype)
    expected = cleanlab.find_label_issues(labels, p, downsample=1, n_jobs=1, verbose=False)
    actual = confident.find_issues(labels, p)
    assert (actual != expected).mean() <= 1e-3
    assert actual.any()


def test_flags_of_rows_equal_cleanlab():
    batched = pytest.importorskip("cleanlab.experimental.label_issues_batched")
    labels, p, _ = data(7, num=1, size=50)
    rows, row_p = labels.ravel(), np.ascontiguousarray(p[0].reshape(5, -1).T)
    ranked = batched.find_label_issues_batched(
        labels=rows, pred_probs=row_p, verbose=False, n_jobs=1
    )
    expected = np.zeros(len(rows), bool)
    expected[ranked] = True
    # cleanlab's row form keeps flags on elements whose prediction is their label.
    expected &= row_p.argmax(axis=1) != rows
    np.testing.assert_array_equal(confident.find_issues(rows, row_p), expected)


def test_memory_layout_does_not_matter():
    labels, p, _ = data(2)
    last = np.ascontiguousarray(p.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(
        confident.find_issues(labels, p), confident.find_issues(labels.astype(np.int8), last)
    )


def test_chunks_do_not_matter(monkeypatch):
    labels, p, _ = data(2, void=0.2)
    whole, (state, wrong) = confident.find_issues(labels, p), confident.observe(labels, p)
    monkeypatch.setattr(confident, "_CHUNK", 41)
    monkeypatch.setattr(elements, "_CHUNK", 37)
    np.testing.assert_array_equal(confident.find_issues(labels, p), whole)
    again, wrong_again = confident.observe(labels, p)
    np.testing.assert_array_equal(wrong, wrong_again)
    np.testing.assert_array_equal(state.off_diagonal, again.off_diagonal)
    np.testing.assert_allclose(state.class_sum, again.class_sum)


def test_void_in_some_chunks_only(monkeypatch):
    labels, p, _ = data(8, num=2, size=12)
    labels[0, 3:5] = labels[1, 11, 7:] = -1
    monkeypatch.setattr(elements, "_CHUNK", 24)
    np.testing.assert_array_equal(confident.find_issues(labels, p), slow_flags(labels, p))
    state, wrong = confident.observe(labels, p)
    is_labelled = labels >= 0
    assert state.class_count.tolist() == [int((labels == k).sum()) for k in range(5)]
    own = np.take_along_axis(p, np.maximum(labels, 0)[:, None], 1)[:, 0]
    for k in range(5):
        assert state.class_sum[k] == pytest.approx(own[labels == k].astype(float).sum())
    bins = np.minimum((own * np.float32(1000)).astype(int), 999)
    counted = np.bincount(bins[is_labelled], minlength=1000)
    np.testing.assert_array_equal(state.p_label, counted)
    is_wrong = is_labelled & (p.argmax(axis=1) != labels)
    assert wrong.sum(axis=1).tolist() == is_wrong.sum(axis=(1, 2)).tolist()


@pytest.mark.parametrize("num", [1, 9, 10, 11, 20, 21, 95])
def test_the_chunks_of_a_sample_are_equally_long(monkeypatch, num):
    monkeypatch.setattr(elements, "_CHUNK", 10)
    labels, p = np.zeros(num, int), np.random.default_rng(0).dirichlet(np.ones(3), num)
    scratch = elements.Scratch.of(labels, p)
    places = [part.place for part in elements.elements(labels, np.array(p.T), scratch)]
    lengths = [place.stop - place.start for place in places]
    assert [place.start for place in places] == [0, *np.cumsum(lengths)[:-1]]
    assert sum(lengths) == num
    assert len(lengths) == -(-num // 10)
    assert max(lengths) - min(lengths) < len(lengths)


def test_the_last_bin_holds_a_probability_of_one():
    labels, p = np.array([0, 0, 1]), np.array([[1.0, 0.0], [0.9995, 0.0005], [1.0, 0.0]])
    state, wrong = confident.observe(labels, p)
    assert (state.p_label[999], state.p_label[0]) == (2, 1)
    assert (state.off_diagonal[0, 999], wrong[2, 0]) == (1, 1)


def test_planted_errors_are_flagged():
    labels, p, bad = data(1, num=8)
    flags = confident.find_issues(labels, p)
    assert flags[bad].mean() > 0.6
    assert flags[~bad].mean() < 0.1


@pytest.mark.parametrize("void", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(4))
def test_histograms_differ_from_exact_by_less_than_the_two_bins(seed, void):
    labels, p, _ = data(seed, num=6, size=64, void=void)
    state, wrong = confident.observe(labels, p)
    cutoff = state.finish()
    exact = confident.find_issues(labels, p)
    place = np.minimum((cutoff.thresholds * 1000).astype(int), 999)
    bound = sum(state.off_diagonal[k, place[k]] for k in range(5))
    scan = confident.Scan.of(labels, p)
    num_exact = (scan.p_predicted >= cutoff.thresholds[scan.predicted] - 1e-6).sum()
    assert abs(cutoff.num_issues - num_exact) <= bound
    edge = state.p_label[cutoff.num_full_bins]
    assert abs(cutoff.num_flagged(wrong).sum() - exact.sum()) <= bound + edge
    num_labelled = (labels >= 0).sum(axis=(1, 2))
    result = confident.clc(cutoff.num_flagged(wrong), num_labelled)
    want = confident.clc(exact.sum(axis=(1, 2)), num_labelled)
    np.testing.assert_allclose(result, want, atol=2e-3)


def test_more_bins_come_closer():
    labels, p, _ = data(3, num=6, size=64)
    exact = confident.find_issues(labels, p).sum()

    def off(num_bins):
        state, wrong = confident.observe(labels, p, num_bins)
        return abs(state.finish().num_flagged(wrong).sum() - exact)

    assert off(100_000) <= off(1000) + 1 <= off(10) + 2
    assert off(100_000) <= 2


def test_states_merge_in_any_order():
    labels, p, _ = data(4, num=6, void=0.1)
    parts = [confident.observe(labels[i : i + 1], p[i : i + 1])[0] for i in range(6)]
    whole, _ = confident.observe(labels, p)
    for merged in folded_both_ways(ConfidentState.empty(5), parts):
        assert_same_state(merged, whole)
        assert merged.finish().num_issues == pytest.approx(whole.finish().num_issues)


def test_rows_give_one_histogram_each():
    labels, p, _ = data(5, num=1, void=0.2)
    rows, row_p = labels.ravel(), p[0].reshape(5, -1).T
    state, wrong = confident.observe(rows, row_p)
    as_image, image_wrong = confident.observe(labels, p)
    np.testing.assert_array_equal(state.off_diagonal, as_image.off_diagonal)
    np.testing.assert_array_equal(wrong.sum(axis=0), image_wrong[0])
    assert (wrong.sum(axis=1) == ((rows >= 0) & (row_p.argmax(axis=1) != rows))).all()


def test_a_class_without_labels_is_never_confident():
    state = ConfidentState.empty(2)
    assert state.finish().thresholds.tolist() == [2.0, 2.0]
    assert state.finish().num_issues == 0
    labels, p = np.zeros((1, 2, 2), int), np.zeros((1, 2, 2, 2))
    p[:, 1] = 1
    assert not confident.find_issues(labels, p).any()
    state, wrong = confident.observe(labels, p)
    assert state.finish().num_flagged(wrong).tolist() == [0.0]


def test_probabilities_of_exactly_0_and_1():
    labels = np.array([0, 0, 0, 1, 1, 1])
    p = np.eye(2)[[0, 0, 1, 1, 1, 1]]
    assert confident.find_issues(labels, p).tolist() == [False, False, True, False, False, False]


def test_one_class_only_is_never_wrong():
    labels, p = np.zeros((2, 3, 3), int), np.ones((2, 1, 3, 3))
    assert not confident.find_issues(labels, p).any()
    state, wrong = confident.observe(labels, p)
    assert state.finish().num_issues == wrong.sum() == 0
    assert state.finish().thresholds.tolist() == [1.0]


def test_a_given_class_that_ties_for_the_largest_counts_as_predicted():
    p = np.array([[0.5, 0.5], [0.5, 0.5], [0.1, 0.9]])
    assert not confident.Scan.of(np.array([0, 1, 1]), p).is_wrong.any()


def test_of_equal_largest_classes_the_first_is_predicted():
    scan = confident.Scan.of(np.array([0]), np.array([[0.2, 0.4, 0.4]]))
    assert scan.predicted.tolist() == [1]


def test_a_class_absent_from_one_batch_has_its_threshold_from_the_others():
    labels, p, _ = data(6, num=2)
    rows, row_p = labels.ravel(), p.transpose(0, 2, 3, 1).reshape(-1, 5)
    parts = [confident.observe(rows[own], row_p[own])[0] for own in (rows == 0, rows != 0)]
    whole, _ = confident.observe(rows, row_p)
    np.testing.assert_allclose(
        parts[0].merge(parts[1]).finish().thresholds, whole.finish().thresholds
    )
    assert parts[1].finish().thresholds[0] == 2.0


@pytest.mark.parametrize("num_classes", [255, 256, 300])
def test_many_classes(num_classes):
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(num_classes), 400)
    labels = rng.integers(0, num_classes, 400)
    scan = confident.Scan.of(labels, p)
    np.testing.assert_array_equal(scan.predicted, p.argmax(axis=1)[scan.is_wrong])
    np.testing.assert_array_equal(scan.is_wrong, p.argmax(axis=1) != labels)


def test_nothing_labelled_gives_no_flags_and_a_null_score():
    labels, p, _ = data(0, num=1)
    void = np.full_like(labels, -1)
    assert not confident.find_issues(void, p).any()
    state, wrong = confident.observe(void, p)
    assert np.isnan(confident.clc(state.finish().num_flagged(wrong), np.zeros(1))).all()


def test_empty_arrays():
    assert confident.find_issues(np.empty(0, int), np.empty((0, 3))).shape == (0,)
    state, wrong = confident.observe(np.empty((0, 4, 4), int), np.empty((0, 3, 4, 4)))
    assert wrong.shape == (0, 1000)
    assert state.p_label.sum() == 0


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(N, K, \.\.\.\)"):
        confident.find_issues(np.zeros((2, 3), int), np.ones((2, 3)))
    with pytest.raises(ValueError, match="label 5 with 3 classes"):
        confident.find_issues(np.full(2, 5), np.ones((2, 3)))
