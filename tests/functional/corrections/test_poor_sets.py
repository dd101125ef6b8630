"""Sets too poor to tell anything: a correction changes nothing, or what is plainly wrong."""

import math

import numpy as np
import pytest

from ray_audit.errors import SpecificationError
from tests.support import knowing, small_sets
from tests.support.corrected import corrected
from tests.support.knowing import SURE
from tests.support.small_sets import table


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
    "one image": lambda folder: knowing.images(folder, num=1, wrong=())[0],
    "images of one class": lambda folder: one_class(knowing.images(folder, num=1, wrong=())[0]),
    "one mask": lambda folder: knowing.masks(folder, num=1, wrong=()),
    "equal checkpoints, masks": lambda folder: knowing.masks(folder, wrong=()),
}


def one_class(small):
    """Five more images like the first."""
    (first,) = (small.folder / "data").glob("*.png")
    rows = [{"image": first.name, "label": "a"}]
    for index in range(1, 6):
        path = first.with_name(f"i{index}.png")
        path.write_bytes(first.read_bytes())
        rows.append({"image": path.name, "label": "a"})
    table(small.folder / "labels.csv", rows)
    return small


@pytest.mark.parametrize("name", SETS)
def test_right_labels_stay_in_sets_that_tell_little(tmp_path, name):
    small = SETS[name](tmp_path)
    for asked in ({}, {"rule": "findings"}, {"rule": "flagged", "flagged_fraction": 0.5}):
        done = corrected(small, dry_run=True, **asked)
        assert done.num_changed == 0
        assert math.isfinite(done.num_harmed)
        assert 0 <= done.wrong.before <= 1
        assert 0 <= done.wrong.afterwards <= 1


@pytest.mark.parametrize("name", ["one mask", "equal checkpoints, masks", "one checkpoint, masks"])
def test_adele_is_refused_in_words_where_no_onset_can_be_told(tmp_path, name):
    small = SETS[name](tmp_path)
    with pytest.raises(SpecificationError, match="the onset is not to be trusted"):
        corrected(small, dry_run=True, rule="adele")


@pytest.mark.parametrize("fraction", [0.3, 0.5])
def test_of_equal_samples_none_is_flagged_before_another(tmp_path, fraction):
    small, *_ = knowing.images(tmp_path, wrong=(), sureness=(np.zeros((3, 3)),) * 3)
    done = corrected(small, rule="flagged", flagged_fraction=fraction, dry_run=True)
    assert done.outcomes == {}


def unlabelled(folder):
    small = knowing.masks(folder, wrong=())
    for path in small.folder.glob("data/masks/*.png"):
        knowing.save(np.full((knowing.SIDE, knowing.SIDE), 255, np.uint8), path)
    return small


@pytest.mark.parametrize("make", [small_sets.of_one_class, unlabelled])
def test_where_nothing_can_be_told_nothing_changes_or_it_is_refused_in_words(tmp_path, make):
    small = make(tmp_path)
    assert corrected(small, dry_run=True).num_changed == 0
    assert corrected(small, dry_run=True, rule="flagged", flagged_fraction=0.5).num_changed == 0
    with pytest.raises(SpecificationError, match="--rule adele"):
        corrected(small, dry_run=True, rule="adele")
