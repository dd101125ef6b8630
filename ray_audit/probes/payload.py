"""What is left of a batch after its last checkpoint."""

from ray_audit.measures.gradients import MOMENTS
from ray_audit.probes.gradients import finish_moments
from ray_audit.probes.mask_clips import is_clips, owned_frames
from ray_audit.probes.masks import TILE_ARRAYS, owned_input_rects
from ray_audit.samples import Batch


def without_payload(batch: Batch) -> Batch:
    """The batch after its last checkpoint: pixels and targets dropped, VoG reduced to sums."""
    arrays = dict(batch.arrays)
    if "vog/count" in arrays:
        if batch.task.is_dense:
            batch = owned_frames(batch) if is_clips(batch) else batch
            num_classes = arrays["trajectory/confusion"].shape[1]
            size = arrays["vog/mean"].shape[1:]
            rects = owned_input_rects(batch, (size[0], size[1]))
            arrays |= finish_moments(arrays, rects, batch.arrays["targets"], num_classes)
        else:
            arrays |= finish_moments(arrays, None)
    dropped = {"inputs", "targets", *TILE_ARRAYS, *MOMENTS}
    return batch.with_arrays({k: v for k, v in arrays.items() if k not in dropped})
