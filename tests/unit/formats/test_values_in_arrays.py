"""Labels in arrays: what is one, and what each means."""

import math

import numpy as np
import pytest

from ray_audit.errors import LabelError
from tests.support.media import cut, dataset


@pytest.mark.parametrize("stored", [[0.0, math.nan, 2.0, 1.0], ["a ", " b", "c", "b\n"]])
def test_labels_in_arrays_mean_what_they_mean_in_tables(tmp_path, stored):
    features = np.zeros((4, 3), np.float32)
    np.savez(tmp_path / "x.npz", v=features, v_label=np.array(stored)[None])
    result = cut(dataset("sequences", tmp_path / "x.npz", {"arrays": "{key}_label"}), tmp_path)
    is_number = not isinstance(stored[0], str)
    labels = {f"x.npz#v#{t}": label for t, label in enumerate([0, 1, 2, 1])}
    if is_number:
        assert labels.pop("x.npz#v#1") == 1  # which is NaN, and no label
    assert result.labels == labels
    assert result.filtered == ({"x.npz#v#1": "unlabelled"} if is_number else {})
    assert not result.failed


def test_a_label_that_is_nan_is_an_empty_one_where_labels_lie_alone_in_an_array(tmp_path):
    np.save(tmp_path / "v.npy", np.zeros((3, 2), np.float32))
    (tmp_path / "labels").mkdir()
    np.save(tmp_path / "labels/v.npy", np.array([0.0, math.nan, 2.0]))
    labels = {"frames": str(tmp_path / "labels/{stem}.npy")}
    config = dataset("sequences", tmp_path / "v.npy", labels)
    with pytest.raises(LabelError, match="row 2: the label is empty; "):
        cut(config, tmp_path)
    result = cut(config.model_copy(update={"void": [""]}), tmp_path)
    assert result.labels == {"v.npy#0": 0, "v.npy#2": 2}
