"""What `init` drafts of a folder, and its labels read back."""

import numpy as np

import ray_audit
from ray_audit.config import DatasetConfig
from tests.support.published import labels_of


def drafted(root):
    """The section `dataset` of the draft."""
    return ray_audit.init(root).specification["dataset"]


def same(dataset, expected):
    """Compare every label with what is expected: class indices, or the names of the classes."""
    config = DatasetConfig.model_validate(dataset)
    found = labels_of(config)
    assert sorted(found) == sorted(expected)
    for key, value in expected.items():
        if isinstance(value, str):
            assert config.classes[found[key]] == value, key
        else:
            np.testing.assert_array_equal(found[key], value, key)
