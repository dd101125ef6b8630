"""The specification that reads a copy of the labels."""

from typing import Any

import yaml

from ray_audit import storage
from ray_audit.claims import Claim
from ray_audit.config import AuditConfig
from ray_audit.formats.label_changes import WrittenLabels
from ray_audit.formats.places import SPECIFICATION, absolute


def write_specification(
    config: AuditConfig, written: WrittenLabels, to_uri: str, claim: Claim | None = None
) -> None:
    """Write `spec.yaml`: the specification with the new labels, everything else as it was given.

    Its `output` is `audit` below `to_uri`. Under a claim it is created only while that holds.
    """
    values: dict[str, Any] = config.model_dump(mode="json", exclude_unset=True)
    dataset = written.dataset.model_dump(mode="json", exclude_unset=True)
    checkpoints = config.checkpoints
    values |= {
        "dataset": dataset,
        "checkpoints": absolute(checkpoints)
        if isinstance(checkpoints, str)
        else [absolute(checkpoint) for checkpoint in checkpoints],
        "output": storage.join(to_uri, "audit"),
    }
    AuditConfig.parse(values, source="the copy of the specification")
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    uri = storage.join(to_uri, SPECIFICATION)
    if claim is None:
        storage.write_bytes(uri, text.encode())
    else:
        claim.check()
        storage.create_bytes(uri, text.encode())
