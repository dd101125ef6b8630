"""Images and their masks as arrays of one file: read, and written back in place."""

import h5py
import numpy as np
import pytest

from ray_audit.config import DatasetConfig
from ray_audit.corrections.write_labels import check_writable, write_labels
from ray_audit.errors import SpecificationError
from ray_audit.formats.label_changes import LabelChanges
from ray_audit.sample_ids import Owner
from tests.support.label_sets import listed
from tests.support.media import cut
from tests.support.published import labels_of

NUM, SHAPE = 70, (5, 6)
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (NUM, *SHAPE, 3), np.uint8)
MASKS = RNG.integers(0, 3, (NUM, *SHAPE)).astype(np.uint8)


def npz(path, masks):
    np.savez_compressed(path, images=IMAGES, masks=masks)
    return "masks"


def hdf5(path, masks):
    with h5py.File(path, "w") as file:
        file["train/images"], file["train/masks"] = IMAGES, masks
    return "train/masks"


FILES = {"npz": npz, "h5": hdf5}


def dataset(folder, suffix, masks=MASKS):
    name = FILES[suffix](folder / f"x.{suffix}", masks)
    labels = {"masks": name, "image_column": name.replace("masks", "images")}
    values = {"kind": "images", "uri": str(folder / f"x.{suffix}"), "labels": labels}
    return DatasetConfig.model_validate(values | {"classes": ["a", "b", "c"]})


def same(config, masks):
    found = labels_of(config)
    assert len(found) == NUM
    for key, mask in found.items():
        np.testing.assert_array_equal(mask, masks[int(key.partition("#")[2])], key)


@pytest.mark.parametrize("suffix", FILES)
@pytest.mark.parametrize("stored", [MASKS, MASKS[..., None], MASKS.astype(np.float32)])
def test_every_mask_is_read_whatever_its_type(tmp_path, suffix, stored):
    same(dataset(tmp_path, suffix, stored), MASKS)


@pytest.mark.parametrize("suffix", FILES)
def test_changed_masks_are_written_into_the_array_and_all_else_stays(tmp_path, suffix):
    config = dataset(tmp_path, suffix)
    new, key = MASKS.copy(), f"x.{suffix}#68"
    new[68, 1:3] = 2

    def mask(owner):
        return new[68] if owner == Owner.of_sample(f"x.{suffix}", key) else None

    listing, _ = listed(config)
    check_writable(config, listing, str(tmp_path / "to"))
    written = write_labels(config, listing, LabelChanges(mask=mask), str(tmp_path / "to"))
    same(written.dataset, new)


@pytest.mark.parametrize("suffix", FILES)
def test_masks_of_another_number_and_missing_arrays_are_told(tmp_path, suffix):
    result = cut(dataset(tmp_path, suffix, MASKS[:-1]), tmp_path)
    assert "70 images" in result.failures[0].message
    config = dataset(tmp_path, suffix)
    wrong = config.labels.model_copy(update={"masks": "labels"})
    with pytest.raises(SpecificationError, match="has no array 'labels'"):
        listed(config.model_copy(update={"labels": wrong}))


def test_numbers_that_are_no_class_are_failures_of_their_images(tmp_path):
    masks = MASKS.copy()
    masks[3, 0, 0] = 9
    result = cut(dataset(tmp_path, "npz", masks), tmp_path)
    assert [(failure.shard, failure.error_class) for failure in result.failures] == [
        ("x.npz", "label_outside")
    ]
    assert len({row["sample_id"] for row in result.rows}) == NUM - 1


@pytest.mark.parametrize("suffix", FILES)
def test_masks_lie_along_the_axis_along_which_images_do(tmp_path, suffix):
    """Also where all axes are of one length, and the first would do as well."""
    images, masks = IMAGES[:5, :, :5], MASKS[:5, :, :5]
    path = tmp_path / f"x.{suffix}"
    if suffix == "npz":
        np.savez(path, images=np.moveaxis(images, 0, -1), masks=np.moveaxis(masks, 0, -1))
    else:
        with h5py.File(path, "w") as file:
            file["images"], file["masks"] = np.moveaxis(images, 0, -1), np.moveaxis(masks, 0, -1)
    labels = {"masks": "masks", "image_column": "images", "image_axis": "last"}
    values = {"kind": "images", "uri": str(path), "labels": labels, "classes": ["a", "b", "c"]}
    config = DatasetConfig.model_validate(values)
    assert [mask.tolist() for mask in labels_of(config).values()] == masks.tolist()
    new = masks.copy()
    new[3] = 2

    def mask(owner):
        return new[3] if owner == Owner(path.name, "3") else None

    changes = LabelChanges(mask=mask)
    written = write_labels(config, listed(config)[0], changes, str(tmp_path / "to"))
    assert [mask.tolist() for mask in labels_of(written.dataset).values()] == new.tolist()


def test_masks_along_another_axis_than_images_are_failures(tmp_path):
    np.savez(tmp_path / "x.npz", images=np.moveaxis(IMAGES, 0, -1), masks=MASKS)
    labels = {"masks": "masks", "image_column": "images", "image_axis": "last"}
    values = {"kind": "images", "uri": str(tmp_path / "x.npz"), "labels": labels}
    result = cut(DatasetConfig.model_validate(values | {"classes": ["a", "b", "c"]}), tmp_path)
    assert result.rows == []
    assert {failure.error_class for failure in result.failures} == {"length"}
