"""From a work unit to batches: decode, clips and tiles."""

from ray_audit.cuts.unit import cut_unit

__all__ = ["cut_unit"]
