import numpy as np
from scipy import ndimage

from ray_audit.demo.phantoms import PHANTOM_CLASSES, make_phantoms

PHANTOMS = make_phantoms(40, 64, seed=0)


def test_image_and_mask_are_of_the_size_asked_for():
    for size_px in (64, 96):
        (phantom,) = make_phantoms(1, size_px, seed=0)
        assert phantom.image.shape == phantom.mask.shape == (size_px, size_px)
        assert phantom.image.dtype == phantom.mask.dtype == np.uint8


def test_every_phantom_has_every_structure_in_its_place():
    for phantom in PHANTOMS:
        assert np.unique(phantom.mask).tolist() == list(range(len(PHANTOM_CLASSES)))
        centres = ndimage.center_of_mass(np.ones_like(phantom.mask), phantom.mask, [1, 3])
        assert centres[0][0] < centres[1][0]  # the ventricle lies above the atrium
        around = ndimage.binary_dilation(phantom.mask == 1) & (phantom.mask != 1)
        assert (phantom.mask[around] == 2).mean() > 0.5  # and within its wall


def test_cavities_are_darker_than_walls_but_pixels_overlap():
    blood = np.concatenate([p.image[p.mask == 1] for p in PHANTOMS]).astype(float)
    wall = np.concatenate([p.image[p.mask == 2] for p in PHANTOMS]).astype(float)
    assert blood.mean() < 0.6 * wall.mean()
    assert (wall < np.quantile(blood, 0.9)).mean() > 0.05


def test_image_i_depends_on_the_seed_and_i_only():
    assert (make_phantoms(3, 64, seed=0)[2].image == PHANTOMS[2].image).all()
    assert (make_phantoms(3, 64, seed=1)[2].image != PHANTOMS[2].image).any()
    assert (PHANTOMS[0].mask != PHANTOMS[1].mask).any()
