"""The section `training`: how `ray-audit train` trains a reference model."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from ray_audit.config.section import Auto, Count, Fraction, Section


class CorrectionConfig(Section):
    """How labels are corrected while a model is trained on them."""

    method: Literal["none", "adele", "refurbish"] = "none"
    """adele corrects masks, class by class; refurbish all labels, from a sample's own losses."""
    confidence: Fraction | None = None
    """A new class must be more probable; 0.5 where absent, refurbish 0.6 of masks, else 0.8."""
    max_changed_fraction: Fraction | None = None
    """A correction that changes more of a sample is refused; 0.5 where absent, refurbish 1."""
    background: Annotated[int, Field(ge=0)] | str | None = None
    """Name or index of the class that must not take over an image; the first where absent,
    refurbish none."""
    consistency: Annotated[float, Field(ge=0)] = 1.0
    """Weight of ADELE's loss over scales 0.7, 1 and 1.5; 0 is plain cross-entropy. Against the
    mean of the cross-entropies: 1/3 is the weight of the released code, which adds them."""
    prediction_decay: Annotated[float, Field(ge=0, lt=1)] = 0.8
    """ADELE corrects by a running mean of each image's predictions, of which this share stays in
    each epoch; 0 takes the epoch's own. Kept while training, in float16: 2 bytes per class and
    pixel of each image, in the temporary folder."""
    flag_by: Literal["loss", "vog"] = "loss"
    """Which samples refurbish flags: the most suspicious by their mean loss so far, or by vog of
    the training's own gradients."""
    flagged_fraction: Fraction | Auto = "auto"
    """The share of samples that refurbish flags; auto takes those whose losses form a group of
    their own, and none where there is none."""
    first_epoch: Count | Auto = "auto"
    """The epoch after which refurbish flags; auto is a quarter of the epochs, by vog half of them.
    """
    window_epochs: Annotated[int, Field(ge=2)] | None = None
    """VoG begins anew after as many epochs; never where absent."""


class TrainingConfig(Section):
    """How `ray-audit train` trains a reference model; an audit does not read it."""

    epochs: Count = 10
    """Passes over the data."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """Of AdamW; the largest of the cycle."""
    schedule: Literal["one_cycle", "constant"] = "one_cycle"
    """one_cycle rises over 3/10 of the epochs, then falls to 0, one rate an epoch."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """Of AdamW."""
    batch_size: Count = 8
    """Images, tiles, clips or sequences of one shape, per worker."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of weights, order, what the model draws, and folds."""
    precision: Literal["float32", "bf16", "fp16"] = "float32"
    """float32, or mixed: bf16, fp16 (GPU only)."""
    loss: Annotated[str, Field(pattern=r"^[\w.]+:[\w.]+$")] | None = None
    """`module:function` that returns your loss; cross-entropy over labelled elements where absent.
    """
    loss_kwargs: dict[str, Any] = {}
    """Arguments of that function."""
    class_weights: list[Annotated[float, Field(ge=0)]] | None = None
    """Of the cross-entropy, one a class; equal where absent."""
    folds: Annotated[int, Field(ge=2)] | None = None
    """Train as many models, each on all folds but one."""
    fold_group: str | None = None
    """A regular expression: samples whose names match alike stay in one fold."""
    correction: CorrectionConfig = CorrectionConfig()
    """Correction of labels during training."""
    records: bool = False
    """Keep each sample's loss in each epoch."""
    workers: Count = 1
    """Processes that train together, each with a share of the files."""
    num_gpus: Annotated[float, Field(ge=0, le=1)] | Auto = "auto"
    """Of each worker; auto is 1 where there are enough."""
    threads_per_worker: Count = 1
    """Of torch on a CPU; part of the numbers."""
    cache_mib: Annotated[int, Field(ge=0)] = 512
    """Decoded data kept in memory, per worker; units beyond it are decoded each epoch."""
    shuffle_mib: Count = 256
    """Decoded data among which the next sample is drawn, per worker; part of the numbers."""

    @model_validator(mode="after")
    def _one_loss(self) -> Self:
        if self.loss is not None and self.class_weights is not None:
            raise ValueError("give loss or class_weights, not both")
        if self.correction.method != "none" and self.workers > 1:
            raise ValueError(
                "correction needs workers: 1, because it looks at all samples of an epoch"
            )
        return self
