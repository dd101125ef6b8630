"""The loss of a batch: cross-entropy, ADELE's over several scales, or the user's own."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ray_audit.checkpoints.factory import call_factory
from ray_audit.config import AuditConfig
from ray_audit.errors import SpecificationError
from ray_audit.probes.answers import AnswerForm
from ray_audit.probes.dense import pixel_logits
from ray_audit.samples import IGNORE, Batch
from ray_audit.training.consistency import MultiScale, logits_at_scales, multi_scale_loss
from ray_audit.training.cross_entropy import cross_entropy

Forward = Callable[[Tensor], object]
Loss = Callable[[Tensor, Tensor], Tensor]


class Objective:
    """From a model and a batch to a loss.

    Args:
        config: the specification.
        device: where class weights are kept.

    Raises:
        SpecificationError: the user's loss cannot be made, or the class weights are not K.
    """

    def __init__(self, config: AuditConfig, device: torch.device) -> None:
        training = config.training
        self._num_classes = len(config.dataset.classes)
        model, layout = config.model, config.model.input.layout
        self._form = AnswerForm(self._num_classes, model.output, model.answers, layout)
        self._scales: MultiScale | None = None
        if training.correction.method == "adele" and training.correction.consistency:
            self._scales = MultiScale(weight=training.correction.consistency)
        self._weights = _class_weights(training.class_weights, self._num_classes, device)
        self._loss: Loss | None = None
        if training.loss is not None:
            limit_s = config.engine.start_timeout_s
            self._loss = call_factory("training.loss", training.loss, training.loss_kwargs, limit_s)

    def __call__(
        self, model: Forward, inputs: Tensor, batch: Batch, labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Loss of a batch, and the logits at the size of its labels.

        Args:
            model: from inputs to logits, or an answer that holds them.
            inputs: as the model takes them.
            batch: where they are from.
            labels: (N,), (N, T) or (N, H, W) int64, `IGNORE` where unlabelled.

        Returns:
            A scalar, and logits (N, K), (N, T, K) or (N, K, H, W), float32.

        Raises:
            SpecificationError: the model's answer or the loss has another shape than expected.
        """

        def forward(given: Tensor) -> Tensor:
            return self.at_labels(model(given), batch, labels)

        if self._scales is not None:
            at_scales = logits_at_scales(forward, inputs, self._scales.scales, labels.shape[1:])
            loss = multi_scale_loss(at_scales, labels, self._scales)
            return loss, self._scales.fitted(at_scales)
        logits = forward(inputs)
        if self._loss is None:
            return cross_entropy(logits, labels, IGNORE, self._weights), logits
        loss = self._loss(logits, labels)
        if not torch.is_tensor(loss) or loss.ndim != 0:
            actual = f"shape {tuple(loss.shape)}" if torch.is_tensor(loss) else type(loss).__name__
            raise SpecificationError(
                f"training.loss gave {actual}, expected a tensor of one number"
            )
        return loss, logits

    def at_labels(self, answer: object, batch: Batch, labels: Tensor) -> Tensor:
        """The logits of a model's answer, at the size of the labels; see `__call__`."""
        try:
            num_frames = labels.shape[1] if batch.task.is_sequence else None
            logits = self._form.logits(answer, batch.task, num_frames)
            if batch.task.is_dense:
                shape = batch.arrays["targets"].shape
                if len(shape) != 3:
                    raise SpecificationError(
                        "dataset.clip: training takes frames with masks one by one; give "
                        "clip.frames: 1"
                    )
                return pixel_logits(logits, shape, self._num_classes)
        except ValueError as error:
            raise SpecificationError(f"training: {error}") from error
        if tuple(logits.shape) != (*labels.shape, self._num_classes):
            raise SpecificationError(
                f"training: the model gave logits {tuple(logits.shape)} for targets "
                f"{tuple(labels.shape)} of {self._num_classes} classes; expected "
                f"{(*labels.shape, self._num_classes)}"
            )
        return logits.float()


def _class_weights(
    weights: Sequence[float] | None, num_classes: int, device: torch.device
) -> Tensor | None:
    if weights is None:
        return None
    if len(weights) != num_classes:
        raise SpecificationError(
            f"training.class_weights has {len(weights)} numbers for {num_classes} classes"
        )
    return torch.tensor(weights, dtype=torch.float32, device=device)
