"""What each checkpoint says of each sample, as the `trajectories` table holds it."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def losses_of(trajectories: pa.Table) -> npt.NDArray[np.float64]:
    """Loss of each sample at each checkpoint, (N, E) nats, NaN where there is none.

    Args:
        trajectories: rows of the table, with `loss`.
    """
    return of_checkpoints(trajectories, "loss")


def of_checkpoints(trajectories: pa.Table, name: str) -> npt.NDArray[np.float64]:
    """One of the table's columns of lists, (N, E), NaN where there is nothing."""
    lists = trajectories[name].combine_chunks()
    values = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    return values.reshape(len(lists), -1) if len(lists) else np.empty((0, 0))
