"""A small specification, and what is said of a wrong one."""

import copy

import pytest

from ray_audit.config import AuditConfig
from ray_audit.errors import SpecificationError
from ray_audit.spec_yaml import apply_overrides

SPEC = {
    "dataset": {
        "kind": "video",
        "uri": "s3://bucket/videos/*.mp4",
        "labels": {"frames": "s3://bucket/frames.csv"},
        "classes": ["a", "b"],
    },
    "model": {"factory": "package.module:function"},
    "checkpoints": "s3://bucket/epoch_*.safetensors",
    "output": "s3://bucket/audits",
}


def spec(*overrides):
    return apply_overrides(copy.deepcopy(SPEC), list(overrides))


def parsed(*overrides):
    return AuditConfig.parse(spec(*overrides))


def refusal(*overrides):
    with pytest.raises(SpecificationError) as error:
        parsed(*overrides)
    return str(error.value)
