import math
from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_audit.scores import segmentation as seg

T = 0.1

masks = st.tuples(st.integers(1, 7), st.integers(1, 7)).flatmap(
    lambda size: st.lists(
        st.lists(st.integers(-1, 2), min_size=size[1], max_size=size[1]),
        min_size=size[0],
        max_size=size[0],
    )
)


def image(seed, num_classes=4, height=9, width=11, void=0.2):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(num_classes), (height, width)).transpose(2, 0, 1)
    labels = np.kron(rng.integers(0, num_classes, (3, 4)), np.ones((3, 3), int))[:height, :width]
    labels[rng.random(labels.shape) < void] = -1
    return np.ascontiguousarray(p), labels


def neighbours(y, x, height, width):
    for b, a in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
        if 0 <= b < height and 0 <= a < width:
            yield b, a


def labelled_pixels(labels):
    return [(y, x) for y, x in np.ndindex(labels.shape) if labels[y, x] >= 0]


def slow_softmin(values, temperature=T):
    if not values:
        return math.nan
    w = [math.exp((min(values) - s) / temperature) for s in values]
    return sum(a * s for a, s in zip(w, values, strict=True)) / sum(w)


def slow_components(labels):
    found, seen = [], set()
    for start in labelled_pixels(labels):
        if start in seen:
            continue
        queue, members = deque([start]), []
        seen.add(start)
        while queue:
            here = queue.popleft()
            members.append(here)
            for there in neighbours(*here, *labels.shape):
                if there not in seen and labels[there] == labels[here]:
                    seen.add(there)
                    queue.append(there)
        found.append((int(labels[start]), members))
    return found


def slow_interior(labels):
    inside = np.zeros(labels.shape, bool)
    for y, x in labelled_pixels(labels):
        inside[y, x] = all(labels[b, a] == labels[y, x] for b, a in neighbours(y, x, *labels.shape))
    return inside


def slow_scores(p, labels):
    pixels = labelled_pixels(labels)
    own = {at: float(p[(labels[at], *at)]) for at in pixels}
    guess = {at: max(range(len(p)), key=lambda k, at=at: p[(k, *at)]) for at in pixels}
    present = {int(labels[at]) for at in pixels} | set(guess.values())
    ious, best = [], []
    for k in sorted(present):
        tp = sum(labels[at] == k == guess[at] for at in pixels)
        union = sum(labels[at] == k or guess[at] == k for at in pixels)
        ious.append(tp / union)
        best.append(
            max(
                sum((p[(k, *at)] > t / 10) == (labels[at] == k) for at in pixels) / len(pixels)
                for t in range(1, 10)
            )
        )
    by_class: dict[int, list[float]] = {}
    for k, members in slow_components(labels):
        by_class.setdefault(k, []).append(sum(own[at] for at in members) / len(members))
    inside = slow_interior(labels)
    mean = lambda values: sum(values) / len(values) if values else math.nan  # noqa: E731
    return {
        "softmin": slow_softmin(list(own.values())),
        "softmin_interior": slow_softmin([s for at, s in own.items() if inside[at]]),
        "cil": mean(list(own.values())),
        "ccp": mean([float(guess[at] == labels[at]) for at in pixels]),
        "tccp": mean(best),
        "iou": mean(ious),
        "coco": mean([mean(values) for values in by_class.values()]),
    }


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("void", [0.0, 0.3, 1.0])
def test_scores_equal_loops(seed, void):
    p, labels = image(seed, void=void)
    actual, expected = seg.score_image(p, labels), slow_scores(p, labels)
    assert actual == pytest.approx(expected, rel=1e-10, nan_ok=True)


def test_softmin_equals_published_values():
    values = {
        "short": np.array([0.9, 0.8, 0.1]),
        "one": np.r_[np.full(99, 0.9), 0.1],
        "ten": np.r_[np.full(990, 0.95), np.full(10, 0.02)],
    }
    expected = {
        T: {"short": 0.1009056, "one": 0.1257146, "ten": 0.0283419},
        1.0: {"short": 0.463363, "one": 0.882411, "ten": 0.926785},
    }
    for temperature, scores in expected.items():
        for name, score in scores.items():
            assert seg.softmin(values[name], temperature) == pytest.approx(score, abs=1e-6)


def test_softmin_equals_cleanlab():
    rank = pytest.importorskip("cleanlab.segmentation.rank")
    images = [image(seed, void=0.0) for seed in range(5)]
    p, labels = np.stack([p for p, _ in images]), np.stack([labels for _, labels in images])
    expected, _ = rank.get_label_quality_scores(labels, p, verbose=False)
    actual = [seg.score_image(*item)["softmin"] for item in images]
    np.testing.assert_allclose(actual, expected, rtol=1e-9)


@given(
    st.lists(st.lists(st.floats(0, 1), max_size=6), min_size=1, max_size=5),
    st.sampled_from([1e-3, 0.1, 1.0, 1e3]),
)
def test_softmin_of_tiles_equals_softmin_of_all(tiles, temperature):
    states = np.array([seg.softmin_state(np.array(t), temperature) for t in tiles])
    whole = seg.softmin(np.array([s for t in tiles for s in t]), temperature)
    ways = [
        seg.merge_softmin(states, temperature),
        seg.merge_softmin(states[::-1], temperature),
        seg.merge_softmin(
            np.stack([seg.merge_softmin(states[:1], temperature), *states[1:]]), temperature
        ),
    ]
    for state in ways:
        assert float(seg.finish_softmin(state)) == pytest.approx(whole, rel=1e-9, nan_ok=True)


def test_softmin_states_merge_over_a_batch_at_once():
    states = np.random.default_rng(0).random((6, 3, 3))
    one_by_one = np.stack([seg.merge_softmin(state) for state in states])
    np.testing.assert_allclose(seg.merge_softmin(states), one_by_one)


def test_softmin_goes_from_least_to_mean_with_temperature():
    s = np.array([0.2, 0.5, 0.9])
    assert seg.softmin(s, 1e-4) == pytest.approx(0.2)
    assert seg.softmin(s, 1e6) == pytest.approx(s.mean(), abs=1e-5)


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_softmin_of_equal_extremes_is_that_value(p):
    assert seg.softmin(np.full(1000, p)) == p


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_temperature_must_be_positive(temperature):
    with pytest.raises(ValueError, match="temperature"):
        seg.softmin(np.ones(2), temperature)


@given(masks)
@settings(max_examples=200)
def test_interior_and_components_equal_loops(rows):
    labels = np.array(rows)
    np.testing.assert_array_equal(seg.interior_mask(labels), slow_interior(labels))
    ids = seg.connected_components(labels)
    expected = slow_components(labels)
    assert set(ids[labels >= 0].tolist()) == set(range(len(expected)))
    assert (ids[labels < 0] == -1).all()
    for _, members in expected:
        assert len({int(ids[at]) for at in members}) == 1


def test_an_empty_interior_has_no_score():
    p = np.full((2, 2, 2), 0.5)
    scores = seg.score_image(p, np.array([[0, 1], [1, 0]]))
    assert math.isnan(scores["softmin_interior"])
    assert scores["softmin"] == 0.5


@pytest.mark.parametrize("seed", range(4))
def test_states_of_tiles_add_up_to_those_of_the_image(seed):
    p, labels = image(seed)
    components = seg.connected_components(labels)
    p_label = np.where(labels >= 0, np.take_along_axis(p, labels.clip(0)[None], 0)[0], 0)
    tiles = [np.s_[:4, :5], np.s_[:4, 5:], np.s_[4:, :]]
    counts = sum(seg.class_counts(p.argmax(0)[t], labels[t], 4) for t in tiles)
    agreement = sum(seg.threshold_agreement(p[(slice(None), *t)], labels[t]) for t in tiles)
    parts = seg.merge_components(
        [seg.component_sums(p_label[t], labels[t], components[t]) for t in tiles]
    )
    whole = seg.score_image(p, labels)
    assert float(seg.finish_iou(counts)) == pytest.approx(whole["iou"])
    assert float(seg.finish_ccp(counts)) == pytest.approx(whole["ccp"])
    assert float(seg.finish_tccp(agreement, counts)) == pytest.approx(whole["tccp"])
    assert seg.finish_coco(parts) == pytest.approx(whole["coco"])


def test_finishing_works_on_a_batch_of_counts():
    images = [image(seed) for seed in range(3)]
    counts = np.stack([seg.class_counts(p.argmax(0), labels, 4) for p, labels in images])
    assert seg.finish_iou(counts).shape == (3,)
    assert seg.finish_iou(counts)[1] == seg.finish_iou(counts[1])


def test_a_small_wrong_region_moves_softmin_more_than_the_mean():
    labels = np.zeros((40, 40), int)
    p = np.stack([np.full((40, 40), 0.95), np.full((40, 40), 0.05)])
    clean = seg.score_image(p, labels)
    p[:, 10:15, 10:15] = p[::-1, 10:15, 10:15]
    dirty = seg.score_image(p, labels)
    assert clean["softmin"] - dirty["softmin"] > 0.5
    assert clean["cil"] - dirty["cil"] < 0.02
    assert all(dirty[name] < clean[name] for name in clean)


def test_other_shapes_and_labels_are_refused():
    with pytest.raises(ValueError, match=r"\(K, H, W\)"):
        seg.score_image(np.ones((2, 3, 3)), np.zeros((3, 4), int))
    with pytest.raises(ValueError, match="label 2 with 2 classes"):
        seg.score_image(np.ones((2, 3, 3)), np.full((3, 3), 2))


def test_sums_of_components_are_those_of_the_pixels_that_count():
    rng = np.random.default_rng(0)
    components = rng.integers(0, 1000, (5, 6)).repeat(2, 0).repeat(3, 1)
    labels = np.where(rng.random(components.shape) < 0.3, -1, components % 4)
    p = rng.random(components.shape)
    rows = seg.component_sums(p, labels, components)
    ids = np.unique(components[labels >= 0])
    assert np.array_equal(rows[:, 0], ids)
    for id_, class_, total, num_px, first in rows:
        own = (components == id_) & (labels >= 0)
        assert (class_, num_px, first) == (id_ % 4, own.sum(), np.flatnonzero(own)[0])
        assert total == pytest.approx(p[own].sum())
