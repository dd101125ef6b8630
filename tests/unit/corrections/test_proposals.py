import numpy as np
import pytest

from ray_audit import rle
from ray_audit.corrections.extent import Extent, refusal
from ray_audit.corrections.intents import Gate, Intent
from ray_audit.corrections.proposals import MaskRule, propose, region_in
from ray_audit.engine.run.predict import Predicted
from ray_audit.samples import IGNORE

H, W, K = 6, 9, 3
RNG = np.random.default_rng(0)
GIVEN = RNG.integers(0, K, (H, W)).astype(np.int8)
GIVEN[0, :3] = IGNORE
P = RNG.dirichlet(np.ones(K) * 0.4, (H, W)).transpose(2, 0, 1).astype(np.float32)


def rule(kind, confidence=0.6, memorised=False, classes=((),), writable=(0, 1, 2)):
    return MaskRule(kind, Gate(confidence, memorised), classes, writable)


def intent(region, by="findings", outcome=None):
    return Intent(
        "i", "i", "a", "b", by, outcome, None, "", mask_rle=rle.encode(region), mask_size_px=(H, W)
    )


def block(y0, x0, y1, x1):
    region = np.zeros((H, W), bool)
    region[y0:y1, x0:x1] = True
    return region


def whole(p=P):
    return Predicted("i", "i", None, np.empty(0), GIVEN, p, (0, 0, H, W), None)


def tiles(p=P):
    """Two tiles that overlap by 3 columns, of which each owns a part."""
    for x0, x1, own in ((0, 6, (0, 4)), (3, 9, (1, 6))):
        owned = (0, own[0], H, own[1])
        yield Predicted(
            "i", "i", None, np.empty(0), GIVEN[:, x0:x1], p[:, :, x0:x1], owned, (0, x0, H, W)
        )


def drawn(proposal):
    flat = GIVEN.T.copy().reshape(-1)
    for label, pieces in proposal.runs.items():
        for start, stop in rle.union(pieces).tolist():
            flat[start:stop] = label
    return flat.reshape(W, H).T


def confident(confidence=0.6):
    """Oracle, a pixel at a time."""
    new = GIVEN.copy()
    for y, x in np.ndindex(H, W):
        best = int(P[:, y, x].argmax())
        if GIVEN[y, x] != IGNORE and P[best, y, x] > confidence:
            new[y, x] = best
    return new


@pytest.mark.parametrize("cut", [lambda: [whole()], tiles])
def test_whole_images_change_where_the_checkpoints_are_sure(cut):
    found = propose([(item,) for item in cut()], {}, rule("images"))
    expected = confident()
    np.testing.assert_array_equal(drawn(found["i"]), expected)
    changed = expected != GIVEN
    assert changed.any()
    assert sum(tally.num for tally in found["i"].tallies.values()) == changed.sum()
    for (position, before, after), tally in found["i"].tallies.items():
        here = changed & (before == GIVEN) & (expected == after)
        assert position == -1
        assert tally.num == here.sum()
        assert tally.sum_p_new == pytest.approx(P[after][here].sum(), rel=1e-5)
        assert tally.sum_p_given == pytest.approx(P[before][here].sum(), rel=1e-5)
        share = P[before][here] / (P[before][here] + P[after][here])
        assert tally.num_harmed == pytest.approx(share.sum(), rel=1e-5)
    assert found["i"].extent == Extent.of(GIVEN, expected, 0)


@pytest.mark.parametrize("cut", [lambda: [whole()], tiles])
def test_regions_change_within_themselves_and_not_where_a_reviewer_spoke(cut):
    regions = [block(0, 0, 4, 5), block(3, 4, 6, 9)]
    rejected = block(2, 2, 5, 6)
    intents = [*map(intent, regions), intent(rejected, "decisions", "rejected")]
    found = propose([(item,) for item in cut()], {"i": intents}, rule("regions"))["i"]
    allowed = (regions[0] | regions[1]) & ~rejected
    np.testing.assert_array_equal(drawn(found), np.where(allowed, confident(), GIVEN))
    first = sum(t.num for (position, *_), t in found.tallies.items() if position == 0)
    assert first == ((confident() != GIVEN) & regions[0] & ~rejected).sum()


def test_what_is_not_sure_enough_or_cannot_be_written_stays():
    assert propose([(whole(),)], {}, rule("images", 1.0))["i"].runs == {}
    found = propose([(whole(),)], {}, rule("images", writable=(1, 2)))["i"]
    assert set(found.runs) == {1, 2}


def test_memorised_labels_give_way_to_the_best_other_class():
    p = np.stack([np.where(k == GIVEN, 0.6, 0.02) for k in range(K)]).astype(np.float32)
    best = np.where(GIVEN == IGNORE, 0, (GIVEN + 1) % K)
    np.put_along_axis(p, best[None], 0.38, axis=0)
    found = propose([(whole(p),)], {}, rule("images", 0.8, memorised=True))["i"]
    np.testing.assert_array_equal(drawn(found), np.where(GIVEN == IGNORE, IGNORE, best))
    assert propose([(whole(p),)], {}, rule("images", 0.5))["i"].runs == {}


def test_adele_corrects_each_class_by_its_own_checkpoint():
    sees_b = np.stack([np.full((H, W), v, np.float32) for v in (0.05, 0.9, 0.05)])
    sees_c = sees_b[[0, 2, 1]]
    both = (whole(sees_b), whole(sees_c))
    found = propose([both], {}, rule("adele", 0.7, classes=((1,), (2,))))["i"]
    # By the first, background becomes b; by the second what is background still, or c: none.
    np.testing.assert_array_equal(drawn(found), np.where(GIVEN == 0, 1, GIVEN))
    swapped = propose([both[::-1]], {}, rule("adele", 0.7, classes=((2,), (1,))))["i"]
    np.testing.assert_array_equal(drawn(swapped), np.where(GIVEN == 0, 2, GIVEN))


def test_a_region_is_cut_by_a_window():
    region = RNG.random((H, W)) < 0.5
    for window in ((0, 0, H, W), (1, 2, 4, 7), (5, 8, 6, 9)):
        y0, x0, y1, x1 = window
        np.testing.assert_array_equal(region_in(intent(region), window), region[y0:y1, x0:x1])


def test_extents_of_tiles_add_up_to_that_of_the_image():
    after = confident()
    parts = [Extent.of(GIVEN[:, a:b], after[:, a:b], 0) for a, b in ((0, 4), (4, 9))]
    both = parts[0].merge(parts[1])
    assert both == Extent.of(GIVEN, after, 0)
    assert both.refusal(0.01) == refusal(GIVEN, after, 0, 0.01)
    assert both.refusal(0.01) is not None


def test_labels_of_a_class_that_was_never_learnt_stay():
    rule_ = MaskRule("images", Gate(0.6), ((),), (0, 1, 2), unlearnt=(1,))
    new = drawn(propose([(whole(),)], {}, rule_)["i"])
    expected = np.where(GIVEN == 1, GIVEN, confident())
    assert (expected != confident()).any()
    np.testing.assert_array_equal(new, expected)
