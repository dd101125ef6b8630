"""The specification of an audit: frozen data, read from YAML, with no side effects.

One file per section; each key's docstring is its description in the schema and in
`docs/specification.md`.
"""

from ray_audit.config.audit import AuditConfig
from ray_audit.config.cutting import (
    ClipConfig,
    EpisodesConfig,
    FoldConfig,
    TileConfig,
    VolumeConfig,
)
from ray_audit.config.dataset import DatasetConfig
from ray_audit.config.engine import EngineConfig, FailuresConfig, GatesConfig, MetricsConfig
from ray_audit.config.labels import LabelColumns, LabelsConfig, Overlap
from ray_audit.config.model import InputConfig, ModelConfig, WeightsConfig
from ray_audit.config.scoring import AdaptiveConfig, SoftminConfig, VogConfig
from ray_audit.config.training import CorrectionConfig, TrainingConfig

__all__ = [
    "AdaptiveConfig",
    "AuditConfig",
    "ClipConfig",
    "CorrectionConfig",
    "DatasetConfig",
    "EngineConfig",
    "EpisodesConfig",
    "FailuresConfig",
    "FoldConfig",
    "GatesConfig",
    "InputConfig",
    "LabelColumns",
    "LabelsConfig",
    "MetricsConfig",
    "ModelConfig",
    "Overlap",
    "SoftminConfig",
    "TileConfig",
    "TrainingConfig",
    "VogConfig",
    "VolumeConfig",
    "WeightsConfig",
]
