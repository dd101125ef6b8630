"""The section `model`: what is loaded, and what goes into it."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from ray_audit.config.section import Count, Section, Uri

FRAMES_ALONE = {"video": "NCHW", "sequences": "ND"}
"""Kind of dataset -> the layout in which each of its frames goes to the model alone."""


class InputConfig(Section):
    """How pixels become the model's input: resized to [height, width], then (x - mean) / std."""

    size: tuple[Count, Count] | None = None
    """Height and width, bilinear without antialias; the native size (of a tile) where absent."""
    mean: list[float] | None = None
    """Of each channel, subtracted after the division by 255 (16 bits: 65535)."""
    std: list[Annotated[float, Field(gt=0)]] | None = None
    """Of each channel, by which is divided."""

    channels: Literal["rgb", "bgr", "grey"] | None = None
    """What the model takes: grey images are given three equal channels, colour ones become grey.
    Where absent, images go in as they are; grey ones get three channels where the model takes no
    other."""
    scale: Literal[1, 255] = 1
    """Greatest value of a pixel: 1, or 255 where the model was trained without the division; mean
    and std are in its units."""
    layout: Literal["NTCHW", "NCTHW", "NHWC", "NDT", "NCHW", "ND"] | None = None
    """Order of the axes that the model takes, where it is not N(T)CHW, or NTD of sequences. NCHW
    of videos, and ND of sequences: each frame goes to the model alone."""
    pathways: Annotated[list[Count], Field(min_length=1)] | None = None
    """Where the model takes a list of clips that are one clip at several rates: for each of them,
    one frame of how many goes into it, spread from the first to the last; `[4, 1]` for SlowFast
    (slow, fast), `[1]` for a list of one. One of them is 1: `clip.every` thins the whole clip."""

    @model_validator(mode="after")
    def _mean_in_units_of_scale(self) -> Self:
        highest = max(self.mean or [0.0])
        if highest > self.scale:
            raise ValueError(
                f"mean {highest:g} is above {self.scale}, the greatest value of a pixel: give "
                "scale: 255, or mean and std divided by 255"
            )
        widest = max(self.std or [0.0])
        if widest > self.scale:
            raise ValueError(
                f"std {widest:g} is above {self.scale}, the greatest value of a pixel: give "
                "scale: 255, or mean and std divided by 255"
            )
        if self.scale == 255 and 0 < highest <= 1 and 0 < widest < 1:
            raise ValueError(
                f"scale is 255, and mean {highest:g} and std {widest:g} are in units of 0 to 1: "
                "leave scale out, or give both times 255"
            )
        return self

    @model_validator(mode="after")
    def _a_pathway_sees_every_frame(self) -> Self:
        if self.pathways is not None and min(self.pathways) != 1:
            finest = min(self.pathways)
            raise ValueError(
                f"pathways {self.pathways}: none of them is 1, so that frames of the clip would be "
                f"labelled and seen by no pathway; give dataset.clip.every: {finest}, and pathways "
                f"counted in its frames"
            )
        return self

    @model_validator(mode="after")
    def _same_channels(self) -> Self:
        if self.mean and self.std and len(self.mean) != len(self.std):
            raise ValueError(f"mean has {len(self.mean)} channels, std has {len(self.std)}")
        return self


class WeightsConfig(Section):
    """Where the weights lie in a checkpoint file, and how its names become the model's."""

    key: str | None = None
    """Dotted path of the mapping that holds them, such as `state_dict_ema`; found where absent."""
    strip: str = ""
    """Taken off the beginning of each name; where neither this nor `add` is given, the one prefix
    that makes all names fit."""
    add: str = ""
    """Put before each name."""
    ignore: list[str] = []
    """Names in the file that are left out; patterns such as `*.total_ops` too."""
    base: Uri | None = None
    """A checkpoint that holds what these files leave out: a frozen backbone, say."""


class ModelConfig(Section):
    """The model: a factory that returns a `torch.nn.Module` giving logits."""

    factory: Annotated[str, Field(pattern=r"^[\w.]+:[\w.]+$")]
    """`package.module:function`, which returns a `torch.nn.Module` giving logits."""
    kwargs: dict[str, Any] = {}
    """Arguments of the factory."""
    input: InputConfig = InputConfig()
    """How pixels become the model's input; sequences go in as they are."""
    weights: WeightsConfig = WeightsConfig()
    """Where the weights lie in the files."""
    output: str | int | None = None
    """Where in the answer the logits lie: a key, an attribute, a dotted path of both, or an index
    (-1: the last stage); the answer itself where absent."""
    answers: Literal["logits", "probabilities", "log_probabilities", "sigmoid"] = "logits"
    """What the numbers are; sigmoid: logits of one class against the rest each. One number for two
    classes is the second one's."""
