"""Planted label errors: wrong labels made on purpose, with the truth beside them.

Needs numpy and scipy only. Every function is a pure function of its arguments: the same seed
plants the same errors.
"""

from ray_audit.training.noise.class_noise import CLASS_KINDS, corrupt_classes
from ray_audit.training.noise.frame_noise import (
    FRAME_KINDS,
    corrupt_frames,
    frame_truth,
    plant_frames,
)
from ray_audit.training.noise.mask_noise import MASK_KINDS, MaskNoise, corrupt_masks, plant_masks
from ray_audit.training.noise.planted_truth import (
    REGION_SCHEMA,
    TRUTH_SCHEMA,
    TruthRow,
    check_kinds,
    num_wrong,
    region_rows,
    truth_table,
)

__all__ = [
    "CLASS_KINDS",
    "FRAME_KINDS",
    "MASK_KINDS",
    "REGION_SCHEMA",
    "TRUTH_SCHEMA",
    "MaskNoise",
    "TruthRow",
    "check_kinds",
    "corrupt_classes",
    "corrupt_frames",
    "corrupt_masks",
    "frame_truth",
    "num_wrong",
    "plant_frames",
    "plant_masks",
    "region_rows",
    "truth_table",
]
