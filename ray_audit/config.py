"""The specification of an audit: frozen data, read from YAML, with no side effects."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from ray_audit.errors import SpecificationError, redacted
from ray_audit.plain_yaml import apply_overrides, explain, read_mapping

ScoreFamily = Literal["csl", "vog", "softmin"]
Auto = Literal["auto"]
Count = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


def _user_info(uri: str) -> bool:
    try:
        parts = urlsplit(uri)
    except ValueError:  # a glob such as s3://[ab]/x is no URL, and may hold anything
        return "@" in uri.partition("://")[2].partition("/")[0]
    return bool(parts.scheme) and "@" in parts.netloc


def _without_credentials(uri: str) -> str:
    if _user_info(uri) or redacted(uri) != uri:
        raise ValueError(
            "credentials must not stand in a URI: leave them to the environment "
            "(AWS_ACCESS_KEY_ID, a profile, or a role)"
        )
    return uri


Uri = Annotated[str, Field(min_length=1), AfterValidator(_without_credentials)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LabelColumns(_Section):
    """Names of the columns of a label table."""

    video: str = "video"
    frame: str = "frame"
    image: str = "image"
    label: str = "label"
    start_frame: str = "start_frame"
    end_frame: str = "end_frame"
    start_s: str = "start_s"
    end_s: str = "end_s"


class LabelsConfig(_Section):
    """Where the labels are: exactly one of the forms."""

    frames: Uri | None = None
    segments: Uri | None = None
    videos: Uri | None = None
    masks: Uri | None = None
    images: Uri | None = None
    folder: bool = False
    column: str | None = None
    image_column: str = "image"
    key_column: str | None = None
    arrays: str | None = None
    frame_arrays: str | None = None
    columns: LabelColumns = LabelColumns()

    @property
    def form(self) -> str:
        """The one form that is given, e.g. `frames` or `masks`."""
        return self._forms()[0]

    def _forms(self) -> list[str]:
        forms = ("frames", "segments", "videos", "masks", "images", "folder", "column", "arrays")
        return [form for form in forms if getattr(self, form)]

    @model_validator(mode="after")
    def _exactly_one_form(self) -> Self:
        forms = self._forms()
        if len(forms) != 1:
            got = ", ".join(forms) or "none"
            raise ValueError(
                "give exactly one of frames, segments, videos, masks, images, folder, column, "
                f"arrays; got {got}"
            )
        return self


class ClipConfig(_Section):
    """How a video or a sequence is cut: lengths in sampled frames.

    `frames: null` gives the whole sequence to the model as one unpadded clip. `slice_frames`
    changes no number: into how long parts a long video is cut, which are decoded side by side.
    """

    frames: Count | None = 32
    stride: Count | None = None
    every: Count = 1
    slice_frames: Auto | Count | None = "auto"

    @property
    def step(self) -> int:
        """Sampled frames between clip starts; half a clip where `stride` is absent."""
        if self.stride is not None:
            return self.stride
        return max(1, (self.frames or 2) // 2)

    @model_validator(mode="after")
    def _stride_leaves_no_gap(self) -> Self:
        if self.frames is not None and self.step > self.frames:
            raise ValueError(
                f"stride {self.step} is larger than frames {self.frames}: frames between clips "
                "would be lost; use `every` to sample"
            )
        return self


class TileConfig(_Section):
    """How a large image is cut: side and overlap of square tiles, in pixels."""

    size: Count
    overlap: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _overlap_below_size(self) -> Self:
        if self.overlap >= self.size:
            raise ValueError(f"overlap {self.overlap} must be smaller than size {self.size}")
        return self


class FoldConfig(_Section):
    """Part of a dataset, for models that never saw a sample: see `ray_audit.sources.folds`."""

    num: Annotated[int, Field(ge=2)]
    index: Annotated[int, Field(ge=0)]
    part: Literal["held_out", "rest"] = "held_out"
    seed: int = 0
    group: str | None = None

    @model_validator(mode="after")
    def _index_below_num(self) -> Self:
        if self.index >= self.num:
            raise ValueError(f"fold {self.index} of {self.num}: folds count from 0")
        return self


class DatasetConfig(_Section):
    """What is audited."""

    kind: Literal["video", "images", "sequences"]
    uri: Uri | list[Uri]
    labels: LabelsConfig
    classes: Annotated[list[str], Field(min_length=1)]
    void: list[int | str] = []
    clip: ClipConfig = ClipConfig()
    tile: TileConfig | None = None
    max_px: Annotated[float, Field(gt=0)] = 3.0e8
    orientation: Literal["stored", "display"] = "stored"
    fps: Annotated[float, Field(gt=0)] | None = None
    fold: FoldConfig | None = None

    @property
    def frame_s(self) -> float:
        """Seconds a frame of a sequence; 1 where it has no clock, and nothing is in seconds."""
        return 1.0 if self.fps is None else 1.0 / self.fps

    @model_validator(mode="after")
    def _clock_fits_the_kind(self) -> Self:
        if self.fps is not None and self.kind != "sequences":
            raise ValueError(
                f"fps goes with kind sequences, whose arrays have no clock; of kind {self.kind} "
                "it is not needed (the clock of labels is labels.fps)"
            )
        if self.orientation != "stored" and self.kind != "video":
            raise ValueError(f"orientation goes with kind video, not with {self.kind}")
        return self

    @model_validator(mode="after")
    def _labels_fit_the_kind(self) -> Self:
        allowed = {
            "video": ("frames", "segments", "videos"),
            "images": ("masks", "images", "folder", "column"),
            "sequences": ("arrays", "frames", "segments"),
        }[self.kind]
        if self.labels.form not in allowed:
            hint = " (masks on video frames are not supported)" if self.labels.masks else ""
            raise ValueError(
                f"labels.{self.labels.form} does not go with kind {self.kind}{hint}; "
                f"expected one of {', '.join(allowed)}"
            )
        twice = sorted({name for name in self.classes if self.classes.count(name) > 1})
        if twice:
            raise ValueError(f"classes: names must be unique, and {twice[0]!r} is there twice")
        if self.tile is not None and self.labels.form != "masks":
            raise ValueError("tile goes with labels.masks only: a tile has no label of its own")
        return self


class InputConfig(_Section):
    """How pixels become the model's input: resized to [height, width], then (x - mean) / std."""

    size: tuple[Count, Count] | None = None
    mean: list[float] | None = None
    std: list[Annotated[float, Field(gt=0)]] | None = None

    @model_validator(mode="after")
    def _same_channels(self) -> Self:
        if self.mean and self.std and len(self.mean) != len(self.std):
            raise ValueError(f"mean has {len(self.mean)} channels, std has {len(self.std)}")
        return self


class ModelConfig(_Section):
    """The model: a factory that returns a `torch.nn.Module` giving logits."""

    factory: Annotated[str, Field(pattern=r"^[\w.]+:[\w.]+$")]
    kwargs: dict[str, Any] = {}
    input: InputConfig = InputConfig()
    output: str | int | None = None


class VogConfig(_Section):
    """Variance of Gradients: see `ray_audit.scores.vog`."""

    target: Literal["loss", "logit"] = "loss"
    window: Literal["all", "early", "late"] = "all"
    keep_moments: bool = False


class AdaptiveConfig(_Section):
    """Adaptive audits: see `ray_audit.engine.adaptive`.

    `budget` is the largest share of all forward passes, `first` the share of the checkpoints that
    every sample passes before the certain ones leave.
    """

    budget: Annotated[float, Field(gt=0, lt=1)]
    first: Annotated[float, Field(gt=0, lt=1)] = 0.25


class SoftminConfig(_Section):
    """Soft minimum over pixels: see `ray_audit.scores.segmentation`."""

    temperature: Annotated[float, Field(gt=0)] = 0.1


class EngineConfig(_Section):
    """How the audit is spread over the cluster. `auto` leaves the choice to the planner."""

    checkpoints_per_actor: Count | Auto = "auto"
    actors_per_pool: Count | Auto = "auto"
    num_gpus: Annotated[float, Field(ge=0)] | Auto = "auto"
    batch_size: Count | Auto = "auto"
    threads_per_actor: Count = 1
    precision: Literal["float32", "bf16", "fp16", "auto"] = "auto"
    compile: bool = False
    calibrate: bool = False
    start_timeout_s: Annotated[float, Field(gt=0)] = 600
    stall_timeout_s: Annotated[float, Field(gt=0)] = 1800
    cluster_max: dict[str, float] | None = None


class CorrectionConfig(_Section):
    """Correction of labels during training: see `ray_audit.training.correction`."""

    method: Literal["none", "adele", "refurbish"] = "none"
    confidence: Fraction | None = None
    most_changed_fraction: Fraction | None = None
    background: Annotated[int, Field(ge=0)] | str | None = None
    consistency: Annotated[float, Field(ge=0)] = 1.0
    flag_by: Literal["loss", "vog"] = "loss"
    flagged_fraction: Fraction = 0.1
    first_epoch: Count = 5
    window_epochs: Annotated[int, Field(ge=2)] | None = None


class TrainingConfig(_Section):
    """How `ray-audit train` trains a reference model."""

    epochs: Count = 10
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    schedule: Literal["one_cycle", "constant"] = "one_cycle"
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    batch_size: Count = 8
    seed: Annotated[int, Field(ge=0)] = 0
    precision: Literal["float32", "bf16", "fp16"] = "float32"
    loss: Annotated[str, Field(pattern=r"^[\w.]+:[\w.]+$")] | None = None
    loss_kwargs: dict[str, Any] = {}
    class_weights: list[Annotated[float, Field(ge=0)]] | None = None
    folds: Annotated[int, Field(ge=2)] | None = None
    fold_group: str | None = None
    correction: CorrectionConfig = CorrectionConfig()
    records: bool = False
    workers: Count = 1
    num_gpus: Annotated[float, Field(ge=0, le=1)] | Auto = "auto"
    threads_per_worker: Count = 1
    cache_mib: Annotated[int, Field(ge=0)] = 512
    shuffle_mib: Count = 256

    @model_validator(mode="after")
    def _one_loss(self) -> Self:
        if self.loss is not None and self.class_weights is not None:
            raise ValueError("give loss or class_weights, not both")
        if self.correction.method != "none" and self.workers > 1:
            raise ValueError(
                "correction needs workers: 1, because it looks at all samples of an epoch"
            )
        return self


class FailuresConfig(_Section):
    """How many failed samples a run survives."""

    max_fraction: Fraction | None = None
    max_count: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        if self.max_fraction is not None and self.max_count is not None:
            raise ValueError("give max_fraction or max_count, not both")
        return self

    def exceeded(self, failed: int, entered: int) -> bool:
        """Whether `failed` of `entered` samples is over the budget (default: 1 in 100)."""
        if self.max_count is not None:
            return failed > self.max_count
        allowed = 0.01 if self.max_fraction is None else self.max_fraction
        return failed > allowed * entered


class GatesConfig(_Section):
    """Limits on the outcome; a breached gate ends a run with exit code 3."""

    max_failed_fraction: Fraction | None = None
    max_findings_fraction: Fraction | None = None


class MetricsConfig(_Section):
    """Where outcome metrics go, besides the run's `metrics.prom`."""

    pushgateway: Uri | None = None

    @model_validator(mode="after")
    def _is_http(self) -> Self:
        if self.pushgateway and urlsplit(self.pushgateway).scheme not in ("http", "https"):
            raise ValueError("pushgateway: expected http://host:port or https://...")
        return self


class AuditConfig(_Section):
    """A whole specification.

    Read it with `AuditConfig.load("audit.yaml")`, or build it in Python with the same names.
    """

    name: Annotated[str, Field(min_length=1)] = "audit"
    dataset: DatasetConfig
    model: ModelConfig
    checkpoints: Uri | Annotated[list[Uri], Field(min_length=1)]
    protocol: Literal["training", "held_out"] = "training"
    scores: Annotated[list[ScoreFamily], Field(min_length=1)] = ["csl", "vog", "softmin"]
    vog: VogConfig = VogConfig()
    softmin: SoftminConfig = SoftminConfig()
    confident: Literal["histogram", "exact"] = "histogram"
    adaptive: AdaptiveConfig | None = None
    engine: EngineConfig = EngineConfig()
    training: TrainingConfig = TrainingConfig()
    failures: FailuresConfig = FailuresConfig()
    gates: GatesConfig = GatesConfig()
    metrics: MetricsConfig = MetricsConfig()
    output: Uri

    @model_validator(mode="after")
    def _adaptive_fits(self) -> Self:
        vog = self.vog
        if self.adaptive is not None and (vog.keep_moments or vog.window != "all"):
            raise ValueError(
                "adaptive goes with vog.window: all and without vog.keep_moments: a sample that "
                "left early has gradients of some checkpoints only"
            )
        return self

    @classmethod
    def load(cls, path: str | Path, overrides: list[str] | None = None) -> Self:
        """Read a YAML specification, with `dotted.key=value` overrides applied on top.

        Args:
            path: a local file, or one in any store.
            overrides: of its values.

        Raises:
            SpecificationError: the file cannot be read, is no YAML mapping, or breaks a rule;
                the message names the key and, for an unknown key, the nearest known one.
        """
        values = read_mapping(str(path))
        return cls.parse(apply_overrides(values, overrides or []), source=str(path))

    @classmethod
    def parse(cls, values: dict[str, Any], source: str = "specification") -> Self:
        """Build a configuration from plain values; errors name the key in `source`."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise SpecificationError(explain(cls, error, source)) from error
