"""New labels, and the writers that put them into a copy of a dataset's labels."""

from ray_audit.corrections.changes import FrameChange, LabelChanges, Written
from ray_audit.corrections.writers.write import check_writable, write_labels

__all__ = ["FrameChange", "LabelChanges", "Written", "check_writable", "write_labels"]
