"""What checkpoints compute of a batch: all of them, and each in its turn."""

from dataclasses import dataclass

from ray_audit.config import AuditConfig, InputConfig
from ray_audit.scores.recount import Recount


@dataclass(frozen=True)
class ProbeSettings:
    """What is computed, apart from the weights.

    Attributes:
        num_classes: K.
        input: resizing and normalisation.
        output: entry of the model's answer that holds the logits, or None.
        gradient: `loss` or `logit` for VoG, or None where no gradient is needed.
        gradient_at: where it is taken: `inputs` or `features`.
        temperature: of soft-min.
        precision: float32, bf16 or fp16 (autocast; losses are float32 always).
        compiles: whether models go through `torch.compile`.
        answers: what the model's numbers are, as `model.answers`.
    """

    num_classes: int
    input: InputConfig
    output: str | int | None
    gradient: str | None
    temperature: float
    precision: str
    compiles: bool = False
    answers: str = "logits"
    gradient_at: str = "inputs"

    @classmethod
    def of(
        cls, config: AuditConfig, gradient: str | None, precision: str, compiles: bool
    ) -> "ProbeSettings":
        """What a specification says of them, with what depends on the machine and the turn."""
        return cls(
            num_classes=len(config.dataset.classes),
            input=config.model.input,
            output=config.model.output,
            gradient=gradient,
            temperature=config.softmin.temperature,
            precision=precision,
            compiles=compiles,
            answers=config.model.answers,
            gradient_at=config.vog.at,
        )


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
