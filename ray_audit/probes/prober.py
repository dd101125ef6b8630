"""Runs the checkpoints of one actor over a batch and lets the batch carry the results."""

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ray_audit.config import InputConfig
from ray_audit.probes import dense, rows
from ray_audit.probes.gradients import (
    channel_mean,
    finish_moments,
    input_gradient,
    update_moments,
)
from ray_audit.probes.masks import TILE_ARRAYS, Masks, owned_input_rects
from ray_audit.probes.prepare import model_input
from ray_audit.probes.recount import recount_pixels
from ray_audit.probes.trajectories import TRAJECTORIES
from ray_audit.samples import Batch
from ray_audit.scores.recount import Recount

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class ProbeSettings:
    """What is computed, apart from the weights.

    Attributes:
        num_classes: K.
        input: resizing and normalisation.
        output: entry of the model's answer that holds the logits, or None.
        gradient: `loss` or `logit` for VoG, or None where no gradient is needed.
        temperature: of soft-min.
        precision: float32, bf16 or fp16 (autocast; losses are float32 always).
    """

    num_classes: int
    input: InputConfig
    output: str | int | None
    gradient: str | None
    temperature: float
    precision: str


@dataclass(frozen=True)
class ProbeTurn:
    """One checkpoint's turn in the relay.

    Attributes:
        is_final: whether it is the last checkpoint of the catalogue.
        in_window: whether its gradient enters VoG.
        recount: what a second pass of confident learning counts, and nothing else, or None.
    """

    is_final: bool
    in_window: bool
    recount: Recount | None = None


class Prober:
    """A model with the weights of one checkpoint after another.

    Args:
        model: a frozen module in eval mode on `device`.
        settings: what is computed.
        device: where the model is.
    """

    def __init__(self, model: nn.Module, settings: ProbeSettings, device: torch.device) -> None:
        # Convolutions are faster on this layout, on CPUs too (1.4 times for a small U-Net).
        self._model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._settings = settings
        self._device = device

    def observe(self, batch: Batch, turn: ProbeTurn) -> dict[str, np.ndarray]:
        """Run the model over the batch; return the arrays that the batch carries afterwards.

        Raises:
            ValueError: the model's answer has another shape than the task needs.
        """
        started = time.perf_counter()
        wants_gradient = self._settings.gradient is not None and turn.in_window
        inputs = model_input(batch.arrays["inputs"], self._settings.input, self._device)
        context = nullcontext() if wants_gradient else torch.inference_mode()
        with context:
            if wants_gradient:
                inputs = inputs.detach().requires_grad_()
            logits = self._forward(inputs)
            probe = self._dense if batch.task == "dense" else self._rows
            observed = probe(batch, inputs, logits, turn, wants_gradient)
        arrays = dict(batch.arrays)
        for name, values in observed.items():
            _append(arrays, name, values)
        _append(arrays, "probe_s", np.array([time.perf_counter() - started]))
        return arrays

    @torch.inference_mode()
    def probabilities(self, batch: Batch) -> np.ndarray:
        """Softmax at this checkpoint.

        Returns:
            float32: (N, K, H, W) at the masks' size for dense labels, else (R, K), a row for
            each owned row of the batch.

        Raises:
            ValueError: the model's answer has another shape than the task needs.
        """
        inputs = model_input(batch.arrays["inputs"], self._settings.input, self._device)
        logits = self._forward(inputs)
        shaped = dense.pixel_logits if batch.task == "dense" else rows.row_logits
        at_labels = shaped(logits, batch, self._settings.num_classes)
        p: np.ndarray = torch.softmax(at_labels.float(), dim=1).cpu().numpy()
        return p

    def _forward(self, inputs: Tensor) -> Tensor:
        with self._autocast():
            answer = self._answer(inputs)
        output = self._settings.output
        if output is not None:
            answer = answer[output]
        if not torch.is_tensor(answer):
            raise ValueError(
                f"the model answered a {type(answer).__name__}, expected a tensor of logits; "
                "name the entry that holds them with model.output"
            )
        return answer

    def _answer(self, inputs: Tensor) -> Any:
        """The model's answer; one whose views need the plain layout is run in that.

        Batch by batch, so that the answer does not depend on what came before.
        """
        fast = inputs
        if inputs.ndim == 4:
            fast = inputs.contiguous(memory_format=torch.channels_last)
        try:
            return self._model(fast)
        except RuntimeError as error:
            if "view size is not compatible" not in str(error):
                raise
        self._model.to(memory_format=torch.contiguous_format)
        try:
            return self._model(inputs.contiguous())
        finally:
            self._model.to(memory_format=torch.channels_last)

    def _autocast(self) -> AbstractContextManager[Any]:
        dtype = _AUTOCAST.get(self._settings.precision)
        return torch.autocast(self._device.type, dtype) if dtype else nullcontext()

    def _rows(
        self, batch: Batch, inputs: Tensor, logits: Tensor, turn: ProbeTurn, wants_gradient: bool
    ) -> dict[str, np.ndarray]:
        observed = rows.observe_rows(logits, batch, self._settings.num_classes, turn.is_final)
        if wants_gradient:
            target = rows.gradient_target(logits, batch, str(self._settings.gradient))
            maps, squared = rows.row_gradients(input_gradient(target, inputs), batch)
            observed |= self._gradient_arrays(batch, maps, squared)
        return observed

    def _dense(
        self, batch: Batch, inputs: Tensor, logits: Tensor, turn: ProbeTurn, wants_gradient: bool
    ) -> dict[str, np.ndarray]:
        masks = Masks.of(batch, self._device)
        at_mask = dense.pixel_logits(logits, batch, self._settings.num_classes)
        if turn.recount is not None:
            return recount_pixels(at_mask, masks, turn.recount)
        observed: dict[str, np.ndarray] = {}
        if wants_gradient:
            target = dense.gradient_target(at_mask, masks, str(self._settings.gradient))
            gradient = input_gradient(target, inputs)
            rects = owned_input_rects(batch, (gradient.shape[2], gradient.shape[3]))
            squared = [
                one[:, y0:y1, x0:x1].double().square().sum()
                for one, (y0, x0, y1, x1) in zip(gradient, rects, strict=True)
            ]
            observed |= self._gradient_arrays(batch, channel_mean(gradient), torch.stack(squared))
        temperature = self._settings.temperature if turn.is_final else None
        scratch = at_mask.detach()
        return observed | dense.observe_pixels(scratch, masks, batch, temperature)

    def _gradient_arrays(
        self, batch: Batch, maps: Tensor, squared: Tensor
    ) -> dict[str, np.ndarray]:
        arrays: dict[str, np.ndarray] = dict(update_moments(batch.arrays, maps))
        if self._settings.gradient == "loss":
            arrays["grad_sqnorm"] = squared.cpu().numpy()
        return arrays


def _append(arrays: dict[str, np.ndarray], name: str, values: np.ndarray) -> None:
    """Put `values` into `arrays`: as a new last column of a trajectory, or as a whole state."""
    if name not in TRAJECTORIES:
        arrays[name] = values
        return
    column = values[..., None]
    key = f"trajectory/{name}"
    arrays[key] = np.concatenate([arrays[key], column], axis=-1) if key in arrays else column


def without_payload(batch: Batch) -> Batch:
    """The batch after its last checkpoint: pixels and targets dropped, VoG reduced to sums."""
    arrays = dict(batch.arrays)
    if "vog/count" in arrays:
        if batch.task == "dense":
            size, num_classes = arrays["vog/mean"].shape[1:], len(arrays["trajectory/confusion"])
            rects = owned_input_rects(batch, (size[0], size[1]))
            arrays |= finish_moments(arrays, rects, arrays["targets"], num_classes)
        else:
            arrays |= finish_moments(arrays, None)
    dropped = {"inputs", "targets", *TILE_ARRAYS, "vog/mean", "vog/m2"}
    return batch.with_arrays({k: v for k, v in arrays.items() if k not in dropped})
