"""The second pass of confident learning, where its exact form is asked for.

The first pass gives thresholds and the bins in which the cutoff lies. The second sends the
dataset through the same stages once more, past the last checkpoint alone, and keeps a few counts
and the values in those bins; two rounds over these records find the cutoff.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial, reduce

import numpy as np

from ray_audit import storage
from ray_audit.engine.backends.base import Mapper
from ray_audit.engine.backends.stages import recount_set
from ray_audit.engine.ledger import record_sets
from ray_audit.engine.ledger.crates import SetFiles
from ray_audit.engine.ledger.record_sets import RequiredRecords
from ray_audit.engine.ledger.records import decode_crate
from ray_audit.engine.planning.layout import ClusterResources, plan_layout
from ray_audit.engine.planning.plan import Inputs, Plan, UnitWork, crated, payload_bytes
from ray_audit.engine.reduce.load import UnitFiles, load_samples
from ray_audit.engine.reduce.unit_scores import split_non_finite
from ray_audit.errors import RunError
from ray_audit.scores.recount import (
    Counted,
    ExactCutoff,
    Recount,
    UpperHalves,
    cutoff,
    lower_halves,
    merge_tiles,
)


@dataclass(frozen=True)
class Recounted:
    """The second pass, finished.

    Attributes:
        cutoff: which pixels are flagged.
        files: records of each unit, by unit id.
    """

    cutoff: ExactCutoff
    files: Mapping[str, SetFiles]


def recount_plan(inputs: Inputs, cluster: ClusterResources, recount: Recount) -> Plan:
    """Units whose pixels were not yet counted against this first pass.

    Raises:
        PlanError: the last checkpoint alone does not fit the cluster.
    """
    config, last = inputs.config, inputs.checkpoints[-1]
    set_id = recount_set(recount, last).set_id
    done = record_sets.completed(config.output, accept_retries=False)
    work = tuple(
        UnitWork(unit, (last.index,))
        for unit in inputs.units
        if set_id not in done.get(unit.unit_id, {})
    )
    payload, layout = payload_bytes(config), None
    if work:
        layout = plan_layout((last.index,), last.size_bytes, payload, cluster, config.engine)
    plan = Plan(inputs, work, layout, payload, len(inputs.units) - len(work), len(work))
    return crated(plan, cluster)


def finish_recount(
    mapper: Mapper, inputs: Inputs, files: list[UnitFiles], recount: Recount
) -> Recounted:
    """Find the cutoff from the committed records of the second pass.

    Raises:
        RunError: a sample of the first pass was lost in the second.
    """
    set_id = recount_set(recount, inputs.checkpoints[-1]).set_id
    done = record_sets.completed(inputs.config.output, accept_retries=True)
    counted = {unit: sets[set_id] for unit, sets in done.items() if set_id in sets}
    lost = [file.unit_id for file in files if file.unit_id not in counted]
    if lost:
        raise RunError(
            f"the second pass of confident learning did not end for work unit {lost[0]} and "
            f"{len(lost) - 1} others: run again; what was committed is reused"
        )
    pairs = [(file, counted[file.unit_id]) for file in files]
    halves = reduce(UpperHalves.merge, mapper.map(partial(_upper, inputs.required), pairs))
    found, lower = halves.place(), Counter[int]()
    if found is not None:
        for counts in mapper.map(partial(_lower, inputs.required, found[0]), pairs):
            lower += counts
    return Recounted(cutoff(halves, lower), {file.unit_id: counted[file.unit_id] for file in files})


def flagged_pixels(sample_ids: Iterable[str], files: SetFiles, exact: ExactCutoff) -> np.ndarray:
    """Flagged pixels of each sample of a unit, (N,) float64.

    Raises:
        RunError: one of them was lost in the second pass.
    """
    counted = _counted(sample_ids, files)
    return np.array([exact.num_flagged(of_sample) for of_sample in counted], np.float64)


def _upper(required: RequiredRecords, pair: tuple[UnitFiles, SetFiles]) -> UpperHalves:
    return UpperHalves.of(_of_first_pass(required, pair))


def _lower(required: RequiredRecords, upper: int, pair: tuple[UnitFiles, SetFiles]) -> Counter[int]:
    return lower_halves(_of_first_pass(required, pair), upper)


def _of_first_pass(required: RequiredRecords, pair: tuple[UnitFiles, SetFiles]) -> list[Counted]:
    """Counts of the samples that the first pass scored: the thresholds know of no others."""
    files, recounted = pair
    samples = load_samples(files, required)
    if not samples.num_samples:
        return _counted((), recounted)
    finite, _ = split_non_finite(samples)
    return _counted(samples.identity["sample_id"].filter(finite).to_pylist(), recounted)


def _counted(sample_ids: Iterable[str], files: SetFiles) -> list[Counted]:
    tiles: dict[str, list[Counted]] = defaultdict(list)
    open_px: dict[str, int] = {}
    for uri in files.crates:
        rows = decode_crate(storage.read_bytes(uri), uri).rows
        if "recount/counts" not in rows.column_names:
            continue  # all of its batches failed, or it has none
        counts = rows["recount/counts"].to_pylist()
        values = [rows[f"recount/{name}"].combine_chunks() for name in ("wrong", "right")]
        own_px, all_px = (rows[n].to_pylist() for n in ("num_labelled", "sample_num_labelled"))
        for row, sample_id in enumerate(rows["sample_id"].to_pylist()):
            open_px[sample_id] = open_px.get(sample_id, all_px[row]) - own_px[row]
            wrong, right = (column[row].values.to_numpy() for column in values)
            num_issues, num_below, num_wrong_below = counts[row]
            tiles[sample_id].append(Counted(num_issues, num_below, num_wrong_below, wrong, right))
    # A sample of which a tile is lost is lost: what is left would count too few.
    missing = [sample_id for sample_id in sample_ids if open_px.get(sample_id) != 0]
    if missing:
        raise RunError(
            f"the second pass of confident learning lost sample {missing[0]} and "
            f"{len(missing) - 1} others of its unit: run again, or leave out `confident: exact`"
        )
    return [merge_tiles(tiles[sample_id]) for sample_id in sample_ids]
