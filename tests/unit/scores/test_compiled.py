"""The compiled loop gives what numpy gives, to the last bit, and only where that pays."""

import subprocess
import sys
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ray_audit.scores import compiled, confident, elements


def drawn(seed, shape, num_classes, void=0.0, steps=None, labels=np.int64, p=np.float32):
    """Labels and probabilities; of few steps many are equal, and a class may be given nowhere."""
    rng = np.random.default_rng(seed)
    odds = rng.gamma(0.3, size=(shape[0], num_classes, *shape[1:]))
    odds /= odds.sum(axis=1, keepdims=True)
    if steps:
        odds = np.round(odds * steps) / steps
    chosen = rng.integers(0, max(1, num_classes - 1), shape)
    given_class = np.where(rng.random(shape) < 0.7, odds.argmax(axis=1), chosen)
    if np.dtype(labels).kind == "i":
        given_class[rng.random(shape) < void] = -1
    return given_class.astype(labels), odds.astype(p)


def counted(labels, p, num_bins=confident.NUM_BINS):
    state, wrong = confident.observe(labels, p, num_bins)
    return {f.name: getattr(state, f.name) for f in fields(state)} | {"wrong": wrong}


def by_numpy(labels, p, num_bins=confident.NUM_BINS):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "loop_for", lambda *_: None)
        return counted(labels, p, num_bins)


def assert_same_bits(labels, p, num_bins=confident.NUM_BINS):
    assert compiled.loop_for(np.zeros(1, labels.dtype), np.ones((1, 1), p.dtype), 2) is not None
    expected, actual = by_numpy(labels, p, num_bins), counted(labels, p, num_bins)
    for name, array in expected.items():
        assert actual[name].dtype == array.dtype
        assert actual[name].tobytes() == array.tobytes(), name


@pytest.fixture
def at_once(monkeypatch):
    pytest.importorskip("numba")
    monkeypatch.setattr(compiled, "PATIENCE", 0)


@pytest.fixture
def forgetful():
    compiled._compiled.cache_clear()
    yield
    compiled._compiled.cache_clear()


@pytest.mark.usefixtures("at_once")
@settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    seed=st.integers(0, 2**32),
    shape=st.lists(st.integers(1, 40), min_size=1, max_size=3),
    num_classes=st.sampled_from([1, 2, 3, 12, 20, 300]),
    void=st.sampled_from([0.0, 0.2, 1.0]),
    steps=st.sampled_from([None, 4, 1000]),
    types=st.sampled_from([(np.int64, np.float32), (np.int16, np.float64), (np.uint8, np.float32)]),
    num_bins=st.sampled_from([1, 7, 1000]),
    chunk=st.sampled_from([5, 700, 3 << 14]),
)
@example(1, [1, 400, 300], 12, 0.1, None, (np.int64, np.float32), 1000, 3 << 14)
@example(2, [3, 91, 67], 300, 0.0, 4, (np.uint8, np.float32), 1000, 2100)
def test_every_bit_is_numpys(seed, shape, num_classes, void, steps, types, num_bins, chunk):
    if types[0] == np.uint8:
        num_classes = min(num_classes, 255)
    labels, p = drawn(seed, tuple(shape), num_classes, void, steps, *types)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(elements, "_CHUNK", chunk)
        assert_same_bits(labels, p, num_bins)


@pytest.mark.usefixtures("at_once")
def test_memory_layout_does_not_matter():
    labels, p = drawn(3, (2, 30, 41), 5, void=0.1)
    expected = by_numpy(labels, p)
    last = np.ascontiguousarray(p.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    for other in ((labels, last), (np.asfortranarray(labels), p[:, :, :, ::-1][:, :, :, ::-1])):
        actual = counted(*other)
        assert all(actual[name].tobytes() == expected[name].tobytes() for name in expected)
    assert_same_bits(labels[:, ::2, ::3], p[:, :, ::2, ::3])
    assert_same_bits(labels.reshape(-1)[::2], p.transpose(0, 2, 3, 1).reshape(-1, 5)[::2])
    labels.flags.writeable = p.flags.writeable = False
    assert_same_bits(labels, p)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("dtype", [np.float16, np.longdouble, np.dtype(">f4")])
def test_types_without_a_loop_are_numpys(dtype):
    labels, p = drawn(4, (2, 9, 9), 3)
    given_class = labels.reshape(-1)
    assert compiled.loop_for(given_class, p.reshape(3, -1).astype(dtype), 1000) is None
    assert counted(labels, p.astype(dtype))["class_count"].sum() == labels.size


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("value", [np.nan, -0.1, -np.inf])
def test_what_is_no_probability_is_refused_in_the_same_words(value):
    labels, p = drawn(5, (1, 8, 8), 3)
    labels[0, 2, 2], p[0, :, 2, 2] = 1, value
    for count in (counted, by_numpy):
        with pytest.raises(ValueError, match="below 0 or not a number"):
            count(labels, p)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("value", [np.nan, np.inf, 2.0, -0.0, -1e-9])
@pytest.mark.parametrize("given_class", [-1, 0, 1, 2])
def test_odd_values_are_counted_alike_where_they_can_be(value, given_class):
    labels, p = drawn(6, (1, 8, 8), 3)
    labels[0, 0, 0], p[0, :, 0, 0] = given_class, (0.2, value, 0.5)
    try:
        by_numpy(labels, p)
    except ValueError:
        with pytest.raises(ValueError, match="below 0 or not a number"):
            counted(labels, p)
    else:
        assert_same_bits(labels, p)


@pytest.mark.usefixtures("at_once")
def test_nothing_to_count():
    assert_same_bits(np.empty((0, 4, 4), int), np.empty((0, 3, 4, 4)))
    assert_same_bits(np.empty((2, 0), int), np.empty((2, 3, 0)))
    assert_same_bits(np.empty(0, int), np.empty((0, 3)))


def test_the_first_elements_of_a_process_are_numpys(monkeypatch):
    pytest.importorskip("numba")
    labels, p = drawn(7, (4, 10, 10), 3)
    monkeypatch.setattr(compiled, "_num_counted", 0)
    monkeypatch.setattr(compiled, "PATIENCE", 300)
    asked, loop_for = [], compiled.loop_for
    monkeypatch.setattr(
        compiled, "loop_for", lambda *args: asked.append(loop_for(*args)) or asked[-1]
    )
    actual, expected = counted(labels, p), by_numpy(labels, p)
    assert [loop is not None for loop in asked] == [False, False, True, True]
    assert all(actual[name].tobytes() == expected[name].tobytes() for name in expected)


def test_little_is_counted_without_importing_numba():
    check = (
        "import sys, numpy as np; from ray_audit.scores import confident; "
        "confident.observe(np.zeros((9, 50, 50), int), np.ones((9, 2, 50, 50))); "
        "assert 'numba' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", check], check=True)


@pytest.mark.usefixtures("forgetful")
def test_without_numba_numpy_counts_and_nothing_is_said(monkeypatch, capfd):
    monkeypatch.setattr(compiled, "PATIENCE", 0)
    monkeypatch.setitem(sys.modules, "numba", None)
    labels, p = drawn(8, (2, 6, 6), 4)
    assert compiled.loop_for(labels[0].reshape(-1), p[0].reshape(4, -1), 1000) is None
    assert counted(labels, p)["class_count"].sum() == labels.size
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("at_once", "forgetful")
def test_where_compiling_is_switched_off_numpy_counts(monkeypatch):
    import numba

    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    assert compiled.loop_for(np.zeros(1, int), np.ones((1, 1)), 1000) is None


@pytest.mark.usefixtures("at_once")
def test_it_lets_other_threads_run_and_takes_no_liberties_with_floats():
    loop = compiled.loop_for(np.zeros(1, int), np.ones((1, 1)), 1000)
    options = {name for name, value in loop.targetoptions.items() if value}
    assert options == {"nogil", "nopython"}
