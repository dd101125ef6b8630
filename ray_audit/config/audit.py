"""A whole specification."""

from os import PathLike, fspath
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from ray_audit import storage
from ray_audit.config.cutting import ClipConfig
from ray_audit.config.dataset import DatasetConfig
from ray_audit.config.engine import EngineConfig, FailuresConfig, GatesConfig, MetricsConfig
from ray_audit.config.model import FRAMES_ALONE, ModelConfig
from ray_audit.config.scoring import AdaptiveConfig, ScoreFamily, SoftminConfig, VogConfig
from ray_audit.config.section import Section, Uri
from ray_audit.config.training import TrainingConfig
from ray_audit.errors import SpecificationError
from ray_audit.spec_yaml import apply_overrides, explain, read_mapping
from ray_audit.task import Task

_DEFAULT_NAME = "audit"


class AuditConfig(Section):
    """The specification of an audit.

    Read it with `AuditConfig.load("audit.yaml")`, or build it in Python with the same names.

    Raises:
        SpecificationError: a key is unknown, missing or wrong; the message names the key and, for
            an unknown one, the nearest known.
    """

    name: Annotated[str, Field(min_length=1)] = _DEFAULT_NAME
    """Of the audit, in metrics and on a cluster."""
    dataset: DatasetConfig
    """What is audited."""
    model: ModelConfig
    """The model that the checkpoints belong to."""
    checkpoints: Uri | Annotated[list[Uri], Field(min_length=1)]
    """A glob, taken in natural order, or a list, taken as given, of files or folders of
    weights."""
    protocol: Literal["training", "held_out"] = "training"
    """Whether the checkpoints were trained on the audited labels; named in every output."""
    scores: Annotated[list[ScoreFamily], Field(min_length=1)] = ["csl", "vog", "softmin"]
    """Families of scores; vog needs a backward pass. All cheap columns of a family are written."""
    vog: VogConfig = VogConfig()
    """Variance of Gradients."""
    softmin: SoftminConfig = SoftminConfig()
    """The soft minimum over the pixels of a mask."""
    confident: Literal["histogram", "exact"] = "histogram"
    """exact gives `clc` as cleanlab has it, by a second pass of the last checkpoint (masks only).
    """
    adaptive: AdaptiveConfig | None = None
    """Samples that are certain after a few checkpoints leave early; all pass all where absent."""
    engine: EngineConfig = EngineConfig()
    """How the audit is spread over the cluster."""
    training: TrainingConfig = TrainingConfig()
    """How `ray-audit train` trains a reference model."""
    failures: FailuresConfig = FailuresConfig()
    """How many failed samples a run survives."""
    gates: GatesConfig = GatesConfig()
    """Limits on the outcome."""
    metrics: MetricsConfig = MetricsConfig()
    """Where outcome metrics go."""
    output: Uri
    """Folder for records, runs and tables; local, `s3://`, or any fsspec URI."""

    @model_validator(mode="after")
    def _vog_fits(self) -> Self:
        if self.vog.at == "features" and self.engine.compile:
            raise ValueError(
                "vog.at: features does not go with engine.compile: a compiled model does not show "
                "its last layer; leave one of them out"
            )
        return self

    @model_validator(mode="after")
    def _pathways_are_of_clips(self) -> Self:
        task = self.dataset.task
        has_time = task in (Task.FRAMES, Task.CLIPS) or self._is_of_masked_clips
        if self.model.input.pathways is None or has_time:
            return self
        raise ValueError(
            "model.input.pathways takes clips apart along time, and here each image goes to the "
            "model alone" + ("; give dataset.clip.frames" if task.is_dense else "")
        )

    @model_validator(mode="before")
    @classmethod
    def _frames_alone_need_no_overlap(cls, values: Any) -> Any:
        """Clips overlap so that each frame sees its neighbours, of which such a model sees none."""
        try:
            is_alone = values["model"]["input"]["layout"] in FRAMES_ALONE.values()
            dataset, clip = values["dataset"], dict(values["dataset"].get("clip") or {})
            has_masks = "masks" in dataset["labels"]  # which are images by themselves
        except (KeyError, TypeError, AttributeError, ValueError):
            return values
        frames = clip.get("frames", ClipConfig.model_fields["frames"].default)
        if not is_alone or has_masks or frames is None or clip.get("stride") is not None:
            return values
        return values | {"dataset": dataset | {"clip": clip | {"stride": frames}}}

    @model_validator(mode="after")
    def _frames_go_alone_where_they_have_labels(self) -> Self:
        layout, dataset = self.model.input.layout, self.dataset
        if layout == "ND" or (layout == "NCHW" and dataset.kind != "images"):
            self._check_frames_alone(layout)
        return self

    def _check_frames_alone(self, layout: str) -> None:
        dataset, begin = self.dataset, f"model.input.layout {layout} gives the model "
        if self.model.input.pathways is not None:
            raise ValueError(f"{begin}single frames, and pathways are of clips: leave one out")
        if (layout == "ND") != (dataset.kind == "sequences"):
            fitting = FRAMES_ALONE.get(dataset.kind)
            what = "features" if layout == "ND" else "pixels"
            raise ValueError(
                f"{begin}single frames of {what}, and dataset.kind is {dataset.kind}"
                + (f": give {fitting}" if fitting else "")
            )
        if self._is_of_masked_clips:
            raise ValueError(f"{begin}single frames: give dataset.clip.frames: 1, and no layout")
        if dataset.task is Task.CLIPS:
            raise ValueError(
                f"{begin}single frames, and a label of a whole video needs one answer to all of "
                "them: let the factory return a module that takes a clip and puts them together"
            )

    @model_validator(mode="after")
    def _adaptive_fits(self) -> Self:
        vog = self.vog
        if self.adaptive is not None and (vog.keep_moments or vog.window != "all"):
            raise ValueError(
                "adaptive goes with vog.window: all and without vog.keep_moments: a sample that "
                "left early has gradients of some checkpoints only"
            )
        if self.adaptive is not None and self._is_of_masked_clips:
            raise ValueError(
                "adaptive does not go with clips of masks: give dataset.clip.frames: 1, or leave "
                "adaptive out"
            )
        return self

    @property
    def _is_of_masked_clips(self) -> bool:
        return self.dataset.task.is_dense and not self.dataset.is_by_frame

    @property
    def audit_label(self) -> str:
        """What monitoring and a cluster call this audit: its name.

        Audits that were given none are told apart by their output.
        """
        if self.name != _DEFAULT_NAME:
            return self.name
        return f"{self.name}-{storage.digest(self.output.rstrip('/'))[:8]}"

    @classmethod
    def load(cls, path: str | PathLike[str], overrides: list[str] | None = None) -> Self:
        """Read a YAML specification, with `dotted.key=value` overrides applied on top.

        Args:
            path: a local file, or one in any store.
            overrides: of its values.

        Raises:
            SpecificationError: the file cannot be read, is no YAML mapping, or breaks a rule;
                the message names the key and, for an unknown key, the nearest known one.
        """
        values = read_mapping(fspath(path))
        return cls.parse(apply_overrides(values, overrides or []), source=fspath(path))

    @classmethod
    def parse(cls, values: dict[str, Any], source: str = "specification") -> Self:
        """Build a configuration from plain values; errors name the key in `source`."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise SpecificationError(explain(cls, error, source)) from error
