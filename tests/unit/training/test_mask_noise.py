import numpy as np
import pytest

from ray_audit.errors import SpecificationError
from ray_audit.training.noise import MASK_KINDS, MaskNoise, corrupt_masks, mask_geometry


def make_mask(radius, shift=0, size=64):
    y, x = np.mgrid[:size, :size]
    squared = (y - 28 - shift) ** 2 + (x - 30) ** 2
    mask = np.zeros((size, size), dtype=np.uint8)
    mask[squared < (radius + 6) ** 2] = 2
    mask[squared < radius**2] = 1
    mask[52:60, 20:44] = 3
    return mask


def masks(num=24):
    return {f"m{i}.png": make_mask(9 + i % 4, i % 3) for i in range(num)}


@pytest.mark.parametrize("kind", MASK_KINDS)
def test_exactly_the_share_of_masks_changes_and_truth_counts_pixels(kind):
    true = masks()
    given = corrupt_masks(true, 0.3, [kind], seed=0)
    assert len(given.changed) == int(0.3 * len(true))
    for row in given.truth:
        wrong_px = (
            given.changed.get(row.sample_id, true[row.sample_id]) != true[row.sample_id]
        ).sum()
        assert row.wrong_px == wrong_px
        assert row.is_error == (wrong_px > 0)
        assert row.kind == (kind if wrong_px else None)
    assert [row.sample_id for row in given.truth] == list(true)


def test_kinds_take_turns_and_the_seed_decides():
    first, again, other = (corrupt_masks(masks(), 0.84, list(MASK_KINDS), s) for s in (0, 0, 1))
    assert sorted(first.kinds.values()) == sorted([*MASK_KINDS] * 2)
    assert first.truth == again.truth
    assert first.truth != other.truth
    assert all((first.changed[key] == again.changed[key]).all() for key in first.changed)


@pytest.mark.parametrize("kind", MASK_KINDS)
def test_dtype_and_ignored_pixels_stay(kind):
    true = masks()
    for mask in true.values():
        mask[:, 28:31] = 255
        mask.setflags(write=False)
    given = corrupt_masks(true, 0.5, [kind], seed=0, noise=MaskNoise(ignored=(255,)))
    for key, mask in given.changed.items():
        assert mask.dtype == np.uint8
        kept = true[key] == 255
        assert (mask[kept] == 255).all()
        assert not (mask[~kept] == 255).any()


def test_drop_takes_one_class_to_void_or_to_its_neighbours():
    given = corrupt_masks(masks(60), 1, ["drop"], seed=0, noise=MaskNoise(void=9))
    to_void = 0
    for key, mask in given.changed.items():
        true = make_mask(9 + int(key[1:-4]) % 4, int(key[1:-4]) % 3)
        (dropped,) = set(np.unique(true)) - set(np.unique(mask))
        assert (mask[true != dropped] == true[true != dropped]).all()
        to_void += (mask[true == dropped] == 9).all()
    assert 15 <= to_void <= 45


def test_swap_exchanges_two_classes():
    for mask, true in changed_and_true("swap"):
        first, second = np.unique(true[mask != true])
        expected = np.select([true == first, true == second], [second, first], true)
        assert (mask == expected).all()


def test_shift_moves_one_class_by_a_length_in_range():
    noise = MaskNoise(shift_px=(4, 7))
    for mask, true in changed_and_true("shift", noise):
        wrong = mask != true
        (moved,) = [
            label
            for label in (1, 2, 3)
            if (mask == label)[wrong].any() and (true == label)[wrong].any()
            if any(
                (mask_geometry.translated(true == label, (dy, dx)) == (mask == label)).all()
                for dy in range(-7, 8)
                for dx in range(-7, 8)
                if 4 <= abs(dy) + abs(dx) <= 7
            )
        ]
        assert moved


def test_under_and_over_change_the_systematic_class_only():
    for kind, grows in (("under", False), ("over", True)):
        noise = MaskNoise(systematic_class=1, under_px=3, over_px=3)
        for mask, true in changed_and_true(kind, noise):
            smaller, larger = (true, mask) if grows else (mask, true)
            assert ((smaller == 1) <= (larger == 1)).all()
            band = (larger == 1) & (smaller != 1)
            assert band.any()
            assert (mask[~band] == true[~band]).all()
            radii = [np.sqrt((m == 1).sum() / np.pi) for m in (larger, smaller)]
            assert radii[0] - radii[1] == pytest.approx(3, abs=0.6)


def test_boundary_noise_stays_near_boundaries():
    for mask, true in changed_and_true("boundary", MaskNoise(boundary_px=1.0)):
        wrong = mask != true
        near = np.zeros_like(wrong)
        for dy in range(-6, 7):
            for dx in range(-6, 7):
                near |= np.roll(true, (dy, dx), axis=(0, 1)) != true
        assert (wrong <= near).all()
        assert 0 < wrong.mean() < 0.1


def test_scaled_noise_hurts_small_regions_in_proportion():
    mask = np.zeros((128, 128), dtype=np.uint8)
    mask[20:84, 20:84] = 1
    mask[100:116, 100:116] = 2
    classes = np.array([1, 2])
    smaller = mask_geometry.scaled_noise(mask, classes, 0, grows=False, num_steps=3)
    lost = [1 - (smaller == label).sum() / (mask == label).sum() for label in classes]
    # A square of 1000 px is 31.6 wide: 3 steps on either side leave (25.6 / 31.6)^2 of it.
    assert lost == pytest.approx([1 - (25.6 / 31.6) ** 2] * 2, abs=0.1)
    larger = mask_geometry.scaled_noise(mask, classes, 0, grows=True, num_steps=3)
    assert ((mask > 0) <= (larger == mask)).all()
    assert (larger == 2).sum() > (mask == 2).sum()


def test_scaling_alone_moves_no_boundary():
    mask = make_mask(12)
    for label in (1, 2, 3):
        region = mask == label
        resized = mask_geometry._resized(region, mask_geometry._scaled_shape(region))
        assert resized.sum() == pytest.approx(1000, rel=0.05)
        assert (mask_geometry._resized(resized, region.shape) != region).mean() < 0.01


def test_random_is_the_mask_of_another_image():
    true = masks(6)
    given = corrupt_masks(true, 1, ["random"], seed=0)
    for key, mask in given.changed.items():
        assert any((mask == other).all() for name, other in true.items() if name != key)


def test_masks_of_one_class_are_passed_over():
    true = {f"flat{i}": np.zeros((8, 8), dtype=np.uint8) for i in range(5)} | masks(1)
    assert list(corrupt_masks(true, 0.17, ["swap"], seed=0).changed) == ["m0.png"]
    with pytest.raises(SpecificationError, match="in 1 of 6 items"):
        corrupt_masks(true, 0.5, ["swap"], seed=0)


def test_offsets_follow_the_size_of_the_picture():
    rng = np.random.default_rng(0)
    drawn = np.abs([mask_geometry.random_offset((120, 160), None, rng) for _ in range(3000)])
    assert drawn[:, 0].max() == 12
    assert drawn[:, 1].max() == 20
    assert drawn.sum(axis=1).min() == 8


def changed_and_true(kind, noise=None):
    true = masks()
    given = corrupt_masks(true, 0.5, [kind], seed=0, noise=noise)
    return [(mask, true[key]) for key, mask in given.changed.items()]


def test_flip_and_merge_change_one_structure_each():
    for kind in ("flip", "merge"):
        given = corrupt_masks(masks(), 0.5, [kind], seed=3)
        for key, mask in given.changed.items():
            true, wrong = masks()[key], mask != masks()[key]
            (old,), (new,) = np.unique(true[wrong]), np.unique(mask[wrong])
            assert old not in (0, new)
            assert wrong.sum() == (true == old).sum()  # each class is one structure here
            assert kind == "flip" or {old, new} == {1, 2}  # only these two touch
