"""Which masks of a run have losses of their own: one look over the trajectories that it wrote."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ray_audit.engine.backends.base import Mapper
from ray_audit.engine.planning.plan import Inputs
from ray_audit.findings.mask_findings import WholeMaskContext
from ray_audit.scores.wrong_masks import sampling_step, wrong_masks
from ray_audit.tables.store import TableFile, read_table
from ray_audit.tables.trajectories import losses_of


def masks_context(
    mapper: Mapper,
    inputs: Inputs,
    tables: Mapping[str, Sequence[TableFile]],
    memorisation: Mapping[str, Any],
) -> WholeMaskContext | None:
    """What findings of whole masks need; None where no mask was scored.

    Args:
        mapper: the engine.
        inputs: of the run.
        tables: files of the run, of which `trajectories` are read.
        memorisation: as the manifest has it: early losses tell where masks were memorised.
    """
    files = [file for file in tables["trajectories"] if file.num_rows]
    if not files:
        return None
    step = sampling_step(sum(file.num_rows for file in files))
    sampled = list(mapper.map(partial(_losses, inputs.run_uri, step), files))
    wrong = wrong_masks(np.concatenate(sampled), memorised=memorisation.get("verdict") == "early")
    return WholeMaskContext(wrong, len(inputs.checkpoints))


def _losses(run_uri: str, step: int, file: TableFile) -> npt.NDArray[np.float64]:
    return losses_of(read_table(run_uri, [file], ["loss"]))[::step]
