"""A model's answer to the logits in it, in the shape and scale that the probes expect."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  (the name that everybody uses)
from torch import Tensor

from ray_audit.config.model import FRAMES_ALONE
from ray_audit.task import Task

_NUM_NAMED = 8
_NOT_THERE = object()


@dataclass(frozen=True)
class AnswerForm:
    """How a model answers.

    Attributes:
        num_classes: K.
        output: where in the answer the logits lie: a name, an attribute, a dotted path of both, or
            an index (-1 for the last stage); None where it is the logits.
        answers: `logits`, `probabilities`, `log_probabilities` or `sigmoid`.
        layout: of the inputs, as `model.input.layout`, which answers of maps follow.
    """

    num_classes: int
    output: str | int | None = None
    answers: str = "logits"
    layout: str | None = None

    def logits(self, answer: Any, task: Task, num_frames: int | None = None) -> Tensor:
        """The logits in an answer.

        Args:
            answer: what the model gave.
            task: what was asked.
            num_frames: T of sequences, and of clips of masks.

        Returns:
            (N, K), (N, T, K), (N, K, h, w), or of clips of masks (N * T, K, h, w), whatever the
            model gave; a model that answers one number for two classes gives the second class's,
            the first one's is 0.

        Raises:
            ValueError: there is no tensor, or it holds class indices.
        """
        logits = logits_of(answer, self.output)
        if not logits.is_floating_point():
            raise ValueError(
                f"the model answered {logits.dtype} numbers, such as the indices of classes; "
                "expected logits"
            )
        if task.is_dense and num_frames is not None:
            logits, num_frames = self._of_frames(logits, num_frames), None
        if num_frames is not None and self.layout in FRAMES_ALONE.values():
            logits = self._in_clips(logits, num_frames)
        axis = 1 if task.is_dense else -1
        logits = self._placed(logits, task, num_frames)
        if self.num_classes == 2:
            num_axes = 4 if task.is_dense else 2 if num_frames is None else 3
            if logits.ndim == num_axes - 1 and logits.shape[axis] != 2:
                logits = logits.unsqueeze(axis)
            if logits.ndim == num_axes and logits.shape[axis] == 1:
                return self._of_both(logits, axis)
        return self._as_logits(logits)

    def _of_frames(self, logits: Tensor, num_frames: int) -> Tensor:
        """Maps of each frame of clips, (N * T, ...)."""
        is_turned = logits.ndim == 5 and logits.shape[1] in (self.num_classes, 1)
        if self.layout == "NCTHW" and is_turned and logits.shape[2] == num_frames:
            logits = logits.transpose(1, 2)
        if logits.ndim not in (4, 5) or logits.shape[1] != num_frames:
            raise ValueError(
                f"the model answered logits of shape {tuple(logits.shape)} to clips of "
                f"{num_frames} frames; expected (clips, {num_frames}, {self.num_classes}, height, "
                "width). Give dataset.clip.frames: 1 where it looks at one frame"
            )
        return logits.flatten(0, 1)

    def _in_clips(self, logits: Tensor, num_frames: int) -> Tensor:
        """(N, T, K) of what a model said of single frames, (N * T, K) or one number each."""
        if logits.ndim not in (1, 2) or len(logits) % num_frames:
            raise ValueError(
                f"the model answered logits of shape {tuple(logits.shape)} to single frames of "
                f"clips of {num_frames}; expected (frames, {self.num_classes})"
            )
        return logits.reshape(-1, num_frames, logits[0].numel())

    def _placed(self, logits: Tensor, task: Task, num_frames: int | None) -> Tensor:
        """With classes on the axis where they belong."""
        num = self.num_classes
        if task.is_dense and self.layout == "NHWC" and logits.ndim == 4:
            return logits.movedim(-1, 1) if logits.shape[-1] in (num, 1) else logits
        if num_frames is not None and logits.ndim == 3:
            shape = tuple(logits.shape[1:])
            only_fits = shape == (num, num_frames) and num != num_frames
            if only_fits or (self.layout == "NDT" and shape[0] in (num, 1)):
                return logits.transpose(1, 2)
        return logits

    def _of_both(self, second: Tensor, axis: int) -> Tensor:
        """Of one number for two classes, which is the second one's, both."""
        if self.answers == "probabilities":
            return self._as_logits(torch.cat([1 - second, second], dim=axis))
        if self.answers == "log_probabilities":
            log_p = second.float()
            return torch.cat([torch.log(-torch.expm1(log_p)), log_p], dim=axis)
        return torch.cat([torch.zeros_like(second), second], dim=axis)

    def _as_logits(self, answer: Tensor) -> Tensor:
        if self.answers == "probabilities":
            values = answer.float()
            return values.clamp_min(torch.finfo(values.dtype).tiny).log()
        if self.answers == "sigmoid":
            # One against the rest, each: their probabilities, in proportion.
            return F.logsigmoid(answer.float())
        return answer


def logits_of(answer: Any, output: str | int | None) -> Tensor:
    """The tensor in a model's answer.

    Args:
        answer: what the model gave.
        output: entry of it that holds the logits; None where it is the logits.

    Raises:
        ValueError: it is not there (what is there is named), or is no tensor.
    """
    if isinstance(output, int):
        answer = _entry(answer, output, "")
    elif output is not None:
        for part in output.split("."):
            answer = _entry(answer, part, output)
    if not torch.is_tensor(answer):
        raise ValueError(
            f"the model answered a {type(answer).__name__}{_named(answer)}, expected a tensor of "
            "logits; name the entry that holds them with model.output"
        )
    return answer


def _entry(answer: Any, part: str | int, path: str) -> Any:
    """An entry by name or index, or an attribute; of a tensor, a stage along its first axis."""
    found: Any = _NOT_THERE
    if isinstance(part, str) and isinstance(answer, Mapping) and part in answer:
        return answer[part]
    is_index = isinstance(part, int) or part.removeprefix("-").isdigit()
    if is_index and (isinstance(answer, (tuple, list)) or torch.is_tensor(answer)):
        place = int(part)
        if -len(answer) <= place < len(answer):
            return answer[place]
    elif isinstance(answer, Mapping) and part in answer:
        return answer[part]
    elif isinstance(part, str) and not torch.is_tensor(answer):
        found = getattr(answer, part, _NOT_THERE)
    if found is _NOT_THERE:
        within = f" of {path!r}" if path and path != str(part) else ""
        raise ValueError(
            f"model.output: {part!r}{within} is not in the model's answer, a "
            f"{type(answer).__name__}{_named(answer)}"
        )
    return found


def _named(answer: Any) -> str:
    """What an answer holds, by name."""
    if isinstance(answer, Mapping):
        names = [str(name) for name in answer]
    elif is_dataclass(answer):
        names = [field.name for field in fields(answer)]
    elif hasattr(answer, "_fields"):
        names = list(answer._fields)
    elif isinstance(answer, (tuple, list)):
        return f" of {len(answer)} entries"
    elif torch.is_tensor(answer):
        return f" of shape {tuple(answer.shape)}"
    else:
        names = list(vars(answer)) if hasattr(answer, "__dict__") else []
    if not names:
        return ""
    more = ", ..." if len(names) > _NUM_NAMED else ""
    return f" with {', '.join(names[:_NUM_NAMED])}{more}"
