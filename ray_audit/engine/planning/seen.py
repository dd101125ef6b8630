"""What a look at a few samples has shown, before anything is started."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class SeenAnswer:
    """One checkpoint's answer to the first sample.

    Attributes:
        checkpoint: its name.
        shape: of the answer.
        range: its least and greatest number.
    """

    checkpoint: str
    shape: tuple[int, ...]
    range: tuple[float, float]


@dataclass(frozen=True)
class Seen:
    """Samples on their way from the file to the model.

    Attributes:
        num_tried: samples that were looked at, spread over the dataset.
        input_shapes: of the first, as the model gets it: one, or one a pathway; empty where none
            could be read.
        input_range: its least and greatest number.
        labels: how often each class was found in them: pixels, frames, milliseconds or samples.
        labels_of: whose labels these are, such as `6 sample(s)`; of labels along time whole files
            are looked at, not the first clips alone.
        answers: of the first and last checkpoint.
        notes: what is remarkable.
        nothing: of the notes, the one that says why no run could score anything; empty otherwise.
        failed: of the notes, the one that says what failed of the samples; empty where nothing did.
        num_failed: samples of images that failed on the way.
        num_all: samples that there are, where that is known without reading them.
    """

    num_tried: int = 0
    input_shapes: tuple[tuple[int, ...], ...] = ()
    input_range: tuple[float, float] = (0.0, 0.0)
    labels: dict[str, int] = field(default_factory=dict)
    labels_of: str = ""
    answers: tuple[SeenAnswer, ...] = ()
    notes: tuple[str, ...] = ()
    nothing: str = ""
    failed: str = ""
    num_failed: int = 0
    num_all: int | None = None
