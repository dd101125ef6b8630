"""Samples of one unit, or of all slices of one video together: what reductions work on."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from ray_audit.engine.ledger.record_sets import RequiredRecords
from ray_audit.engine.reduce.kept import Kept
from ray_audit.engine.reduce.load import LoadedSet, Samples, UnitFiles, load_samples
from ray_audit.samples import Tail


def load_whole(
    slices: Sequence[UnitFiles], required: RequiredRecords, kept: Kept[LoadedSet] | None = None
) -> Samples:
    """Read the records of one unit, or of all slices of one video in their order.

    Segments and their order are those of the whole video, wherever it was cut.
    """
    loaded = [load_samples(files, required, kept) for files in slices]
    return loaded[0] if len(loaded) == 1 else _concatenated(loaded)


def _concatenated(loaded: list[Samples]) -> Samples:
    """Samples of the slices of one video, one after another; their labels are no masks."""
    filtered = pa.concat_tables(part.tails[0].filtered for part in loaded)
    full = [part for part in loaded if part.num_samples]
    return Samples(
        # Of no sample, a slice has a table without columns, and no predictions.
        identity=pa.concat_tables([o.identity for o in full] or [loaded[0].identity]),
        values={
            name: np.concatenate([part.values[name] for part in full])
            for name in set.intersection(*(set(part.values) for part in full))
        }
        if full
        else loaded[0].values,
        failures=tuple(failure for part in loaded for failure in part.failures),
        reached=_stacked([part.reached for part in full]),
        tails=(
            Tail(
                loaded[0].tails[0].unit_id,
                num_batches=0,
                filtered=filtered,
                remarks=tuple({r: None for part in loaded for r in part.tails[0].remarks}),
            ),
        ),
    )


def _stacked(parts: list[np.ndarray | None]) -> np.ndarray | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if known else None
