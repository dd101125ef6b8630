"""Runs the checkpoints of one actor over a batch and lets the batch carry the results."""

import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ray_audit.measures import When, measures
from ray_audit.probes import dense, rows
from ray_audit.probes.answers import AnswerForm, logits_of
from ray_audit.probes.features import FeatureTap
from ray_audit.probes.frozen import lighten
from ray_audit.probes.gradients import Moments, channel_mean, input_gradient
from ray_audit.probes.look import Look
from ray_audit.probes.mask_clips import ClipFrames, is_clips, owned_frames
from ray_audit.probes.masks import Masks, owned_input_rects
from ray_audit.probes.memory_layout import allow_many_programs, compiled, lay_out
from ray_audit.probes.pathways import ModelInputs, as_taken, with_each
from ray_audit.probes.prefix import SharedChain
from ray_audit.probes.prepare import ModelInput
from ray_audit.probes.probe_settings import ProbeSettings as ProbeSettings
from ray_audit.probes.probe_settings import ProbeTurn as ProbeTurn
from ray_audit.probes.recount import recount_pixels
from ray_audit.probes.rows import Rows
from ray_audit.probes.targets import GivenTargets, Gradients, ReadyBatch
from ray_audit.probes.transfer import Observed, Stopwatch, download
from ray_audit.samples import Batch

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
_FP16_SCALE = 256.0  # of gradients: far from what a half can hold, and well above what it loses


class Prober:
    """The checkpoints of one actor, run over a batch one after another.

    The batch goes to the device once, and what all of them say of it comes back once.

    Args:
        models: frozen modules in eval mode on `device`, in the order in which they run.
        settings: what is computed.
        device: where the models are.
    """

    def __init__(
        self, models: Sequence[nn.Module], settings: ProbeSettings, device: torch.device
    ) -> None:
        # Convolutions are faster on this layout, on CPUs too (1.4 times for a small U-Net).
        self._models: list[Any] = list(models)
        for model in models:
            lay_out(model, torch.channels_last)
        if settings.compiles:
            self._models = [compiled(model) for model in self._models]
        else:
            for model in self._models:
                lighten(model, _AUTOCAST.get(settings.precision), device)
        self.chain = SharedChain(self._models, settings.output, shares=not settings.compiles)
        self._taps: list[FeatureTap] = []
        if settings.gradient is not None and settings.gradient_at == "features":
            self._taps = [FeatureTap(model, settings.num_classes) for model in self._models]
        self._settings = settings
        self._device = device
        # A batch that is made ready may be tried at a model, while another one is there.
        self._at_models = threading.Lock()
        self._input = ModelInput(settings.input, device)
        layout = settings.input.layout
        self._form = AnswerForm(settings.num_classes, settings.output, settings.answers, layout)
        is_cuda = device.type == "cuda"
        self._uploads = torch.cuda.Stream(device) if is_cuda else None  # type: ignore[no-untyped-call]

    def ready(self, batch: Batch) -> ReadyBatch:
        """Bring a batch to the device; another thread may do so while `observe` is at the last.

        On a GPU it goes by a stream of its own. Its memory is given back only after `observe`,
        which waits for the device at its end, so that nothing is reused too early.
        """
        if self._uploads is None:
            return ReadyBatch(self._given(batch))
        with torch.cuda.stream(self._uploads):
            given = self._given(batch)
            return ReadyBatch(given, self._uploads.record_event())

    def observe(
        self,
        batch: Batch,
        turns: Mapping[int, ProbeTurn],
        limited: Callable[[int | None], AbstractContextManager[None]] = lambda _: nullcontext(),
        ready: ReadyBatch | None = None,
    ) -> dict[str, np.ndarray]:
        """Run models over the batch; return the arrays that the batch carries afterwards.

        Args:
            batch: what they look at.
            turns: what each of them does, by its place in `models`.
            limited: entered around each model's turn, with its place in `models`, and around the
                wait for the device, with None.
            ready: the batch, where `ready` has brought it to the device before.

        Raises:
            ValueError: a model's answer has another shape than the task needs.
        """
        watch = Stopwatch(self._device)
        if ready is not None and ready.arrived is not None:
            torch.cuda.current_stream(self._device).wait_event(ready.arrived)
        given = self._given(batch) if ready is None else ready.given
        moments = Moments(batch.arrays, self._device)
        observed: list[Observed] = []
        with self._at_models:
            for index in sorted(turns):
                with limited(index):
                    observed.append(self._turn(index, given, turns[index], moments))
                    watch.mark()
        self.chain.begin()
        with limited(None):
            *each, last = download([*observed, moments.observed()])
        arrays = batch.arrays | last
        in_order = [turns[index] for index in sorted(turns)]
        for model, turn, lap_s in zip(each, in_order, watch.laps_s(), strict=True):
            model["probe_s"] = np.array([lap_s])
            measures().check_observed(model, batch.task, *self._taken(turn))
            for name, values in model.items():
                _append(arrays, name, values)
        return arrays

    def _taken(self, turn: ProbeTurn) -> Iterator[When]:
        """What a checkpoint is to observe in its turn."""
        yield "turn"
        if turn.recount is not None:
            yield "recount"
            return
        yield from ("each", "fixed")
        if turn.is_final:
            yield "last"
        if turn.in_window and self._settings.gradient == "loss":
            yield "window"

    @torch.inference_mode()
    def probabilities(self, batch: Batch) -> np.ndarray:
        """Softmax, the mean over the models.

        Returns:
            float32: (N, K, H, W) at the masks' size for dense labels, else (R, K), a row for
            each owned row of the batch.

        Raises:
            ValueError: a model's answer has another shape than the task needs.
        """
        given = self._given(batch)
        total: Tensor | None = None
        for index in range(len(self._models)):
            logits = self._at_labels(self._forward(index, given.inputs, given), given)
            p = torch.softmax(logits.float(), dim=1)
            total = p if total is None else total.add_(p)
        self.chain.begin()
        if total is None:
            raise ValueError("there is no model to ask for probabilities")
        (answer,) = download([{"p": total / len(self._models)}])
        return answer["p"]

    @torch.inference_mode()
    def look(self, batch: Batch) -> Look:
        """Run the first model over a batch, and say what went in and came out.

        Raises:
            ValueError: the model's answer has another shape than the task needs.
        """
        given = self._given(batch)
        inputs = as_taken(given.inputs, self._settings.input)
        answer = logits_of(self._answer(0, inputs), self._settings.output).float()
        logits = self._forward(0, given.inputs, given)
        self._at_labels(logits, given)
        self.chain.begin()
        return Look.of(inputs, answer, logits, 1 if batch.task.is_dense else -1)

    def _given(self, batch: Batch) -> GivenTargets:
        inputs = self._input(batch.arrays["inputs"], self._try)
        kind = Masks if batch.task.is_dense else Rows
        clips = ClipFrames.of(batch, self._device) if is_clips(batch) else None
        batch = batch if clips is None else owned_frames(batch)
        leaf = inputs.detach()
        if self._settings.gradient is not None:
            leaf = leaf.contiguous()  # sums over channels run in one order
        leaf.requires_grad_()
        return GivenTargets(batch, inputs, leaf, kind.of(batch, self._device), clips)

    def _turn(self, index: int, given: GivenTargets, turn: ProbeTurn, moments: Moments) -> Observed:
        wants_gradient = self._settings.gradient is not None and turn.in_window
        probe = self._dense if isinstance(given.owned, Masks) else self._rows
        if not wants_gradient:
            with torch.inference_mode():
                return probe(given, self._forward(index, given.inputs, given), turn, None)
        if not self._taps:
            logits = self._forward(index, given.leaf, given)
            return probe(given, logits, turn, Gradients(moments, self._input_gradient))
        tap = self._taps[index]
        with tap.watching():
            logits = self._forward(index, given.inputs, given)
        return probe(given, logits, turn, Gradients(moments, partial(self._at_features, tap)))

    def _at_labels(self, logits: Tensor, given: GivenTargets) -> Tensor:
        """Logits of what is labelled: (N, K, H, W) float32 at the masks' size, or (R, K)."""
        batch, num_classes = given.batch, self._settings.num_classes
        if isinstance(given.owned, Masks):
            logits = logits if given.clips is None else given.clips.owned(logits)
            return dense.pixel_logits(logits, tuple(given.owned.labels.shape), num_classes)
        return rows.row_logits(logits, batch, given.owned, num_classes)

    def _forward(self, index: int, inputs: Tensor, given: GivenTargets) -> Tensor:
        task = given.batch.task
        with self._autocast():
            answer = self._answer(index, as_taken(inputs, self._settings.input))
        is_timed = task.is_sequence or given.clips is not None
        return self._form.logits(answer, task, inputs.shape[1] if is_timed else None)

    def _try(self, inputs: Tensor) -> None:
        """Whether a model takes inputs: it raises where it does not."""
        taken = as_taken(inputs, self._settings.input)
        with self._at_models, self._autocast():
            self._models[0](with_each(taken, _plain_copy))

    def _answer(self, index: int, inputs: ModelInputs) -> Any:
        """The model's answer; one whose views need the plain layout is run in that.

        Batch by batch, so that the answer does not depend on what came before.
        """
        if self._settings.compiles:
            allow_many_programs()
        try:
            return self.chain.run(index, with_each(inputs, _fast_copy))
        except RuntimeError as error:
            if "view size is not compatible" not in str(error):
                raise
        model = self._models[index]
        lay_out(model, torch.contiguous_format)
        try:
            return model(with_each(inputs, _plain_copy))
        finally:
            lay_out(model, torch.channels_last)

    def _autocast(self) -> AbstractContextManager[Any]:
        dtype = _AUTOCAST.get(self._settings.precision)
        return torch.autocast(self._device.type, dtype) if dtype else nullcontext()

    def _at_features(
        self, tap: FeatureTap, target: Tensor, given: GivenTargets, num_summed: int
    ) -> Tensor:
        # Float32 from the logits on; what a half loses in the last layer it would lose anyway.
        is_timed = given.batch.task.is_sequence or given.clips is not None
        return tap.gradient(target, given.inputs.shape[1] if is_timed else None)

    def _input_gradient(self, target: Tensor, given: GivenTargets, num_summed: int) -> Tensor:
        scale = 1.0
        if self._settings.precision == "fp16":
            scale = _FP16_SCALE * 2.0 ** math.floor(math.log2(num_summed))
        return input_gradient(target, given.leaf, scale, keep=self.chain.shares)

    def _rows(
        self, given: GivenTargets, logits: Tensor, turn: ProbeTurn, gradients: Gradients | None
    ) -> Observed:
        settings, owned = self._settings, given.owned
        assert isinstance(owned, Rows)
        observed = rows.observe_rows(
            logits, given.batch, owned, settings.num_classes, turn.is_final
        )
        if gradients is not None:
            target = rows.gradient_target(logits, owned, str(settings.gradient))
            gradient = gradients.of(target, given, 1)
            maps, squared = rows.row_gradients(gradient, owned)
            observed |= self._gradient_observed(gradients.moments, maps, squared)
        return observed

    def _dense(
        self, given: GivenTargets, logits: Tensor, turn: ProbeTurn, gradients: Gradients | None
    ) -> Observed:
        masks, at_mask = given.owned, self._at_labels(logits, given)
        assert isinstance(masks, Masks)
        if turn.recount is not None:
            return dict(recount_pixels(at_mask, masks, turn.recount))
        observed: Observed = {}
        if gradients is not None:
            target = self._dense_target(at_mask, logits, given)
            gradient = gradients.of(target, given, masks.labels[0].numel())
            if given.clips is not None:
                gradient = gradient[given.clips.cuts, given.clips.positions]
            rects = owned_input_rects(given.batch, (gradient.shape[2], gradient.shape[3]))
            squared = [
                gradient_of_sample[:, y0:y1, x0:x1].double().square().sum()
                for gradient_of_sample, (y0, x0, y1, x1) in zip(gradient, rects, strict=True)
            ]
            maps = channel_mean(gradient)
            observed |= self._gradient_observed(gradients.moments, maps, torch.stack(squared))
        temperature = self._settings.temperature if turn.is_final else None
        scratch = at_mask.detach()
        return observed | dense.observe_pixels(scratch, masks, given.batch, temperature)

    def _dense_target(self, at_mask: Tensor, logits: Tensor, given: GivenTargets) -> Tensor:
        """What is differentiated; of clips it sums over all their labelled frames."""
        masks, kind = given.owned, str(self._settings.gradient)
        assert isinstance(masks, Masks)
        if given.clips is not None:
            masks = given.clips.every
            shape, num_classes = tuple(masks.labels.shape), self._settings.num_classes
            at_mask = dense.pixel_logits(logits, shape, num_classes)
        return dense.gradient_target(at_mask, masks, kind)

    def _gradient_observed(self, moments: Moments, maps: Tensor, squared: Tensor) -> Observed:
        moments.add(maps)
        return {"grad_sqnorm": squared} if self._settings.gradient == "loss" else {}


def _fast_copy(inputs: Tensor) -> Tensor:
    """A model may change its input in place, and others are to see it as well."""
    fast = inputs
    if inputs.ndim == 4:
        fast = inputs.contiguous(memory_format=torch.channels_last)
    return inputs.clone() if fast.data_ptr() == inputs.data_ptr() else fast


def _plain_copy(inputs: Tensor) -> Tensor:
    return inputs.clone(memory_format=torch.contiguous_format)


def _append(arrays: dict[str, np.ndarray], name: str, values: np.ndarray) -> None:
    """Put `values` into `arrays`: as a new last column of a trajectory, or as a whole state."""
    key = measures().quantities[name].key
    if not measures().quantities[name].is_trajectory:
        arrays[key] = values
        return
    column = values[..., None]
    arrays[key] = np.concatenate([arrays[key], column], axis=-1) if key in arrays else column
