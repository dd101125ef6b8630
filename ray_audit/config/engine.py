"""The sections of a run: how it is spread, what it survives, and what it tells."""

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from ray_audit.config.section import Auto, Count, Fraction, Section, Uri


class EngineConfig(Section):
    """How the audit is spread over the cluster; `auto` leaves the choice to the planner."""

    checkpoints_per_actor: Count | Auto = "auto"
    """How many checkpoints an actor holds; 1 is the strict relay, one checkpoint per pool."""
    actors_per_pool: Count | Auto = "auto"
    """Actors that hold the same checkpoints."""
    num_gpus: Annotated[float, Field(ge=0)] | Auto = "auto"
    """GPUs of each actor; parts of one may be given."""
    batch_size: Count | Auto = "auto"
    """Clips, tiles, images or sequences that are probed at once; part of the numbers."""
    batch_bytes: Count | Auto = "auto"
    """Of an automatic batch: bytes of network input as float32. `auto` is 2 MiB; on GPUs 4 to 64
    MiB by the memory of an actor's share, which later runs to the same output keep; part of the
    numbers."""
    threads_per_actor: Count = 1
    """Of torch on a CPU; part of the numbers."""
    precision: Literal["float32", "bf16", "fp16", "auto"] = "auto"
    """Of the forward pass; auto is float32; part of the numbers."""
    compile: bool = False
    """Models through `torch.compile`, a program for each shape of batch; part of the numbers;
    shares no layers between checkpoints."""
    calibrate: bool = False
    """Time a batch at each checkpoint first, and lay the pools out by it; changes no number."""
    start_timeout_s: Annotated[float, Field(gt=0)] = 600
    """Longest silence before the first batch, in seconds."""
    stall_timeout_s: Annotated[float, Field(gt=0)] = 1800
    """Longest silence after the first batch, in seconds; on Ray a fifth of it for one batch at one
    checkpoint. In one process and in training: longest time of a step, such as a batch."""
    cluster_max: dict[str, float] | None = None
    """What an autoscaler can add up to, such as `{CPU: 64, GPU: 8}`; the live nodes where absent.
    """


class FailuresConfig(Section):
    """The budget of failed samples: at most one of the two."""

    max_fraction: Fraction | None = None
    """Of all samples that entered; 0.01 where neither is given."""
    max_count: Annotated[int, Field(ge=0)] | None = None
    """In place of `max_fraction`: how many samples."""

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


class GatesConfig(Section):
    """Limits on the outcome; a breached gate ends a run with exit code 3."""

    max_failed_fraction: Fraction | None = None
    """Largest share of samples that may fail; no gate where absent."""
    max_findings_fraction: Fraction | None = None
    """Largest share of scored samples that may lie in a finding; no gate where absent."""


class MetricsConfig(Section):
    """Where outcome metrics go, besides the run's `metrics.prom`."""

    pushgateway: Uri | None = None
    """`http://host:port` of a Prometheus Pushgateway; one that does not answer is a note, not a
    failure."""

    @model_validator(mode="after")
    def _is_http(self) -> Self:
        if self.pushgateway and urlsplit(self.pushgateway).scheme not in ("http", "https"):
            raise ValueError("pushgateway: expected http://host:port or https://...")
        return self
