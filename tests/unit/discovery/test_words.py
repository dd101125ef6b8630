import pytest

from ray_audit.discovery.words import LABEL_ARRAY, LABEL_FILE, MASK, NO_CLASS, NO_CLASS_FOLDER

MASKS = ["x_mask.png", "GT/x.png", "labelsTr/a.nii.gz", "x_seg.png", "trainSeg", "gtFine", "segs"]
NO_MASKS = ["image.png", "sequel/x.png", "length", "frames/0.png", "Segovia.jpg", "clsx"]


@pytest.mark.parametrize(("name", "is_one"), [(n, n in MASKS) for n in MASKS + NO_MASKS])
def test_masks_are_told_by_their_names(name, is_one):
    assert bool(MASK.search(name)) == is_one


def test_arrays_of_labels_are_told_by_their_names():
    names = ["y", "y_train", "train/labels", "class_id", "x", "my", "y2/x"]
    assert [name for name in names if LABEL_ARRAY.search(name)] == names[:4]


def test_a_word_of_masks_or_of_who_drew_them_names_no_class():
    words = ["mask", "gt2", "expert1", "1st", "cat", "liver", "vein"]
    assert [word for word in words if NO_CLASS.fullmatch(word)] == words[:4]
    folders = ["images", "Masks", "left_masks", "val", "training", "cat", "trainer"]
    assert [name for name in folders if NO_CLASS_FOLDER.fullmatch(name)] == folders[:5]


def test_files_of_labels_are_told_by_their_names():
    names = ["labels.csv", "train.txt", "gt.txt", "phase.csv", "readme.txt", "sgt.txt"]
    assert [name for name in names if LABEL_FILE.search(name)] == names[:4]
