"""The section `model`: what is loaded, and what goes into it."""

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from ray_audit.config.section import Count, Section


class InputConfig(Section):
    """How pixels become the model's input: resized to [height, width], then (x - mean) / std."""

    size: tuple[Count, Count] | None = None
    """Height and width, bilinear without antialias; the native size (of a tile) where absent."""
    mean: list[float] | None = None
    """Of each channel, subtracted after the division by 255 (16 bits: 65535)."""
    std: list[Annotated[float, Field(gt=0)]] | None = None
    """Of each channel, by which is divided."""

    @model_validator(mode="after")
    def _same_channels(self) -> Self:
        if self.mean and self.std and len(self.mean) != len(self.std):
            raise ValueError(f"mean has {len(self.mean)} channels, std has {len(self.std)}")
        return self


class ModelConfig(Section):
    """The model: a factory that returns a `torch.nn.Module` giving logits."""

    factory: Annotated[str, Field(pattern=r"^[\w.]+:[\w.]+$")]
    """`package.module:function`, which returns a `torch.nn.Module` giving logits."""
    kwargs: dict[str, Any] = {}
    """Arguments of the factory."""
    input: InputConfig = InputConfig()
    """How pixels become the model's input; sequences go in as they are."""
    output: str | int | None = None
    """Entry of a dict or tuple that holds the logits; the answer itself where absent."""
