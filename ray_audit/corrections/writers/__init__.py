"""One writer a label format: each copies labels to a new place and changes only what it is told."""

from ray_audit.corrections.writers.write import (
    check_writable,
    write_labels,
    write_masks,
    written_masks,
)
from ray_audit.formats.changes import FrameChange, LabelChanges, WrittenLabels

__all__ = [
    "FrameChange",
    "LabelChanges",
    "WrittenLabels",
    "check_writable",
    "write_labels",
    "write_masks",
    "written_masks",
]
