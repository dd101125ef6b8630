"""What `init` drafts of a folder, and its labels read back."""

import ray_audit
from ray_audit.config import DatasetConfig
from tests.support.published import same_labels


def drafted(root):
    """The section `dataset` of the draft."""
    return ray_audit.init(root).specification["dataset"]


def same(dataset, expected):
    """Compare every label with what is expected: class indices, or the names of the classes."""
    same_labels(DatasetConfig.model_validate(dataset), expected)
