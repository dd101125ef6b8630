"""One writer a label format: each copies labels to a new place and changes only what it is told."""

from ray_audit.corrections.writers.changes import FrameChange, LabelChanges, Written
from ray_audit.corrections.writers.write import (
    check_writable,
    write_labels,
    write_masks,
    written_masks,
)

__all__ = [
    "FrameChange",
    "LabelChanges",
    "Written",
    "check_writable",
    "write_labels",
    "write_masks",
    "written_masks",
]
