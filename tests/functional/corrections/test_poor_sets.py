"""Sets too poor to tell anything: a correction changes nothing, or what is plainly wrong."""

import math

import numpy as np
import pytest

from tests.support import knowing
from tests.support.corrected import corrected
from tests.support.knowing import SURE


def one_checkpoint(make, folder, **options):
    small = make(folder, sureness=(SURE,), **options)
    return small[0] if isinstance(small, tuple) else small


SETS = {
    "two images": lambda folder: knowing.images(folder, num=2, wrong=())[0],
    "a class with one image": lambda folder: knowing.images(folder, num=4, wrong=())[0],
    "one video": lambda folder: knowing.videos(folder, num=1, wrong=()),
    "two masks": lambda folder: knowing.masks(folder, num=2, wrong=()),
    "equal checkpoints that know nothing": lambda folder: knowing.images(
        folder, wrong=(), sureness=(0.0,) * 3
    )[0],
    "one checkpoint, images": lambda folder: one_checkpoint(knowing.images, folder, wrong=()),
    "one checkpoint, masks": lambda folder: one_checkpoint(knowing.masks, folder, wrong=()),
    "one checkpoint, videos": lambda folder: one_checkpoint(knowing.videos, folder, wrong=()),
}


@pytest.mark.parametrize("name", SETS)
def test_right_labels_stay_in_sets_that_tell_little(tmp_path, name):
    small = SETS[name](tmp_path)
    done = corrected(small, dry_run=True)
    assert done.num_changed == 0
    assert math.isfinite(done.num_harmed)


@pytest.mark.parametrize("fraction", [0.3, 0.5])
def test_of_equal_samples_none_is_flagged_before_another(tmp_path, fraction):
    small, *_ = knowing.images(tmp_path, wrong=(), sureness=(np.zeros((3, 3)),) * 3)
    done = corrected(small, rule="flagged", flagged_fraction=fraction, dry_run=True)
    assert done.outcomes == {}
