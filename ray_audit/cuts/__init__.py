"""From a work unit to batches: decode, clips and tiles."""
