"""The sections of the scores: what is computed beyond the default."""

from typing import Annotated, Literal

from pydantic import Field

from ray_audit.config.section import Section

ScoreFamily = Literal["csl", "vog", "softmin"]


class VogConfig(Section):
    """Options of Variance of Gradients (VoG)."""

    target: Literal["loss", "logit"] = "loss"
    """loss finds wrong labels; logit is the published definition and measures difficulty."""
    at: Literal["inputs", "features"] = "inputs"
    """inputs is the published definition, and costs a pass back through the network; features are
    what the last layer is given: next to nothing more than a forward pass."""
    window: Literal["all", "early", "late"] = "all"
    """Over which checkpoints the spread is taken."""
    keep_moments: bool = False
    """Keep 8 bytes a pixel a sample beside the records, so that a later checkpoint runs alone."""

    @property
    def gradient(self) -> str:
        """Which gradient it is, as records name it: its target, and where if not at the inputs."""
        return self.target if self.at == "inputs" else f"{self.target} at {self.at}"


class AdaptiveConfig(Section):
    """Adaptive audits: samples that are certain after a few checkpoints leave the relay."""

    budget: Annotated[float, Field(gt=0, lt=1)]
    """The largest share of all forward passes."""
    first: Annotated[float, Field(gt=0, lt=1)] = 0.25
    """The share of the checkpoints that every sample passes before the certain ones leave."""


class SoftminConfig(Section):
    """Options of the soft minimum."""

    temperature: Annotated[float, Field(gt=0)] = 0.1
    """Of the soft minimum; nearer to 0 is nearer to the minimum."""
