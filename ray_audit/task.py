"""What a label belongs to: said once, by the specification, and asked everywhere."""

from enum import StrEnum


class Task(StrEnum):
    """What one label of a dataset belongs to; `DatasetConfig.task` derives it."""

    DENSE = "dense"
    """A pixel: a sample has a mask."""
    CLASS = "class"
    """An image."""
    FRAMES = "frames"
    """A frame of a video or of a feature sequence."""
    CLIPS = "clips"
    """A whole video."""

    @property
    def is_dense(self) -> bool:
        """Whether samples have masks."""
        return self is Task.DENSE

    @property
    def is_sequence(self) -> bool:
        """Whether samples follow each other in time, so that segments and their order count."""
        return self is Task.FRAMES

    @property
    def has_one_label(self) -> bool:
        """Whether a sample has one label and no neighbours."""
        return self in (Task.CLASS, Task.CLIPS)

    @property
    def element(self) -> str:
        """What is labelled, in the plural, for people: pixels, frames or samples."""
        return {Task.DENSE: "pixels", Task.FRAMES: "frames"}.get(self, "samples")
