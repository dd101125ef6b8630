"""The plan of an audit: frozen data made before anything starts, which the engines execute."""

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path

from ray_audit import storage
from ray_audit.checkpoints.catalog import Checkpoint, read_catalog
from ray_audit.checkpoints.model_identity import identity_of
from ray_audit.config import AuditConfig
from ray_audit.cuts.batching import AUTO_BATCH_BYTES, batch_size_of
from ray_audit.cuts.slices import Sliced, slice_videos
from ray_audit.engine.ledger import record_sets
from ray_audit.engine.ledger.adaptive import LeavingRule
from ray_audit.engine.ledger.crates import SetFiles
from ray_audit.engine.ledger.moments import BYTES_PER_PX, KeptMoments
from ray_audit.engine.ledger.record_sets import RecordSet, RequiredRecords
from ray_audit.engine.planning.batches import why_batches, with_kept_batches
from ray_audit.engine.planning.crate_size import FULL_BYTES, crate_bytes, decoded_bytes
from ray_audit.engine.planning.layout import ClusterResources, Layout, plan_layout
from ray_audit.engine.planning.numeric import numeric_settings
from ray_audit.engine.planning.pace import BatchTimes, fastest_layout
from ray_audit.engine.planning.seen import Seen
from ray_audit.errors import SpecificationError, StorageError
from ray_audit.formats.labels.classes import with_values
from ray_audit.measures import Kind, measures
from ray_audit.samples import WorkUnit
from ray_audit.sources import Listing, list_dataset
from ray_audit.sources.destinations import check_destination
from ray_audit.sources.units import group_units
from ray_audit.store_errors import NO_ROOM
from ray_audit.tables.manifest import Manifest, complete_runs

Committed = dict[str, dict[str, SetFiles]]
"""Committed files by unit and set of checkpoints."""
_RGB = 3


@dataclass(frozen=True)
class Inputs:
    """What an audit reads: listed and digested, not yet read.

    Attributes:
        config: the specification.
        listing: shards and their label digests.
        checkpoints: in training order.
        units: work units in sorted order.
        required: what every unit must have in the end.
        run_id: logical date and digest of all of it.
    """

    config: AuditConfig
    listing: Listing
    checkpoints: tuple[Checkpoint, ...]
    units: tuple[WorkUnit, ...]
    required: RequiredRecords
    run_id: str

    @property
    def run_uri(self) -> str:
        """Folder of the run."""
        return storage.join(self.config.output, "runs", self.run_id)


@dataclass(frozen=True)
class UnitWork:
    """A work unit with the checkpoints that it still needs.

    Attributes:
        unit: what is read.
        positions: of the checkpoints to run.
        kept: moments of VoG that they continue, or None.
        begins_small: whether its first crate holds a batch alone, see `crated`.
    """

    unit: WorkUnit
    positions: tuple[int, ...]
    kept: KeptMoments | None = None
    begins_small: bool = False


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Attributes:
        inputs: what is read.
        work: units with something left to do.
        layout: pools and resources; None where nothing is left to do.
        payload_bytes: expected size of a batch.
        num_reused: unit-checkpoint pairs that are committed already.
        num_new: unit-checkpoint pairs to run.
        expected_s: duration by the pace of an earlier run here, or None.
        seen: what a look at a few samples has shown, where one was taken.
        num_again: of `num_new`, pairs that are committed and run again for VoG's sake.
        crate_bytes: most bytes of batches that travel and are committed together.
    """

    inputs: Inputs
    work: tuple[UnitWork, ...]
    layout: Layout | None
    payload_bytes: int
    num_reused: int
    num_new: int
    expected_s: float | None = None
    num_again: int = 0
    seen: Seen | None = None
    crate_bytes: int = FULL_BYTES

    def __repr__(self) -> str:
        return (
            f"Plan({self.inputs.run_id!r}, {len(self.inputs.units)} work units, "
            f"{len(self.inputs.checkpoints)} checkpoints, {self.num_new} pairs to run, "
            f"{self.num_reused} reused)"
        )

    def set_of(self, work: UnitWork) -> RecordSet:
        """What the relay computes for a unit."""
        return self.inputs.required.set_for(work.positions, work.kept is not None)

    @property
    def in_flight_bytes(self) -> int:
        """Most object store that crates under way can take."""
        if self.layout is None:
            return 0
        return self.layout.in_flight_bytes(max(self.crate_bytes, self.payload_bytes))

    @property
    def moments_bytes(self) -> int | None:
        """About how much the kept moments of VoG take; None where only reading tells."""
        dataset, size = self.inputs.config.dataset, self.inputs.config.model.input.size
        one_row_a_sample = dataset.tile is None and dataset.labels.form != "videos"
        at_inputs = self.inputs.config.vog.at == "inputs"
        if size is None or self.num_expected is None or not (one_row_a_sample and at_inputs):
            return None
        num_rows = self.num_expected
        if dataset.kind == "video":
            num_rows //= dataset.clip.every
        return num_rows * math.prod(size) * BYTES_PER_PX

    @property
    def num_expected(self) -> int | None:
        """Labelled samples of the units to run; None where only reading the shards tells."""
        known = [shard.num_labelled for work in self.work for shard in work.unit.shards]
        return None if None in known else sum(num for num in known if num is not None)

    @property
    def bytes_to_read(self) -> int:
        """Bytes of the shards that are read; the slices of one share it."""
        sizes = {shard.key: shard.size_bytes for work in self.work for shard in work.unit.shards}
        return sum(sizes.values())

    @property
    def num_slices(self) -> int:
        """Units to run that are slices of long videos."""
        return sum(work.unit.part is not None for work in self.work)

    @property
    def num_lead_in(self) -> int:
        """Frames that slices decode and do not own: lead-in to their key frames, and halo."""
        return sum(work.unit.part.num_lead_in for work in self.work if work.unit.part)


def read_inputs(
    config: AuditConfig, index_dir: Path, limit: int | None, logical_date: str
) -> Inputs:
    """List shards, labels and checkpoints, and name the run.

    Raises:
        SpecificationError: the specification does not fit what it points to.
    """
    _check_date(logical_date)
    check_destination(config, config.output, "output", use="output")
    config = with_values(with_kept_batches(config))
    catalog = read_catalog(config.checkpoints)
    identity = identity_of(config.model)
    checkpoints = catalog.checkpoints
    try:
        listing = list_dataset(config.dataset, index_dir, limit)
    except StorageError as error:
        raise error.named("dataset") from error
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise StorageError(
            f"cannot write the label index to {index_dir}: {NO_ROOM[error.errno]}. Make room, or "
            "set TMPDIR to another folder"
        ) from error
    sliced = _sliced(config, listing, index_dir)
    notes = (*_trial_notes(listing), *listing.notes, *catalog.notes, *identity.notes)
    notes = (*notes, *_slice_notes(sliced))
    listing = replace(listing, notes=notes)
    salt = storage.digest(numeric_settings(config), *identity.parts)
    batch_size = 1 if config.engine.batch_size == "auto" else config.engine.batch_size
    weight = partial(decoded_bytes, config)
    units = tuple(group_units(listing.shards, salt, sliced.parts, batch_size, weight))
    if not units:
        raise SpecificationError("the dataset has no shards")
    target = config.vog.gradient if "vog" in config.scores else None
    required = RequiredRecords.of(checkpoints, target, config.vog.window, config.vog.keep_moments)
    if config.adaptive is not None:
        required = replace(required, rule=LeavingRule.of(config.adaptive, len(checkpoints)))
    inputs_digest = storage.digest(
        [unit.unit_id for unit in units],
        [checkpoint.digest for checkpoint in checkpoints],
        required.vog,
        sorted(config.scores),
        config.protocol,
        config.confident,
        # Of the same shards, but another answer: it says nothing of the whole dataset.
        *(["trial"] if listing.num_left_out else []),
        measures().score_identity(Kind.of(config)),
    )
    run_id = f"{logical_date}-{inputs_digest[:8]}"
    return Inputs(config, listing, checkpoints, units, required, run_id)


def _trial_notes(listing: Listing) -> tuple[str, ...]:
    num, num_left_out = len(listing.shards), listing.num_left_out
    if not num_left_out:
        return ()
    return (
        f"a trial (--limit) of the first {num} of {num + num_left_out} shards: no whole run is "
        "compared with it, and no Pushgateway is told",
    )


def _sliced(config: AuditConfig, listing: Listing, index_dir: Path) -> Sliced:
    model_input, max_batch = config.model.input, batch_size_of(config.engine)
    return slice_videos(listing.shards, config.dataset, model_input, max_batch, str(index_dir))


def _slice_notes(sliced: Sliced) -> tuple[str, ...]:
    slices = [part for parts in sliced.parts.values() for part, _ in parts]
    if not slices:
        return sliced.notes
    num_own = sum(part.own_stop - part.own_start for part in slices)
    share = sum(part.num_lead_in for part in slices) / num_own
    note = (
        f"{len(sliced.parts)} long video(s) are cut into {len(slices)} slices, which decode "
        f"{share:.1%} of the frames once more (lead-in to key frames, and halo)"
    )
    return (note, *sliced.notes)


def _check_date(logical_date: str) -> None:
    """It names the run's folder, and must sort by time."""
    try:
        is_date = date.fromisoformat(logical_date).isoformat() == logical_date
    except ValueError:
        is_date = False
    if not is_date:
        raise SpecificationError(f"--date {logical_date}: expected YYYY-MM-DD, a day that exists")


def committed(inputs: Inputs) -> Committed:
    """What of these units has been through a checkpoint of these settings, by unit and set."""
    unit_ids = [unit.unit_id for unit in inputs.units]
    return record_sets.completed(inputs.config.output, False, unit_ids)


def make_plan(inputs: Inputs, cluster: ClusterResources, done: Committed | None = None) -> Plan:
    """Compare what is wanted with what is committed, and lay out the rest.

    What the user left open is chosen from sizes alone; `paced` chooses by time.

    Args:
        inputs: of the run.
        cluster: what there is to run on.
        done: what is committed, where it was listed already.

    Raises:
        PlanError: it cannot fit the cluster.
    """
    output = inputs.config.output
    sets = record_sets.read_sets(output)
    done = committed(inputs) if done is None else done
    work, num_again = [], 0
    for unit in inputs.units:
        files = done.get(unit.unit_id, {})
        have = usable_sets(sets, files)
        kept = [
            record_set
            for record_set in have
            if record_set.moments and files[record_set.set_id].moments is not None
        ]
        base = inputs.required.base_of(have, kept)
        positions = inputs.required.missing_from(have, base)
        if positions:
            work.append(UnitWork(unit, positions, _kept(base, files)))
            known = {digest for record_set in have for digest in record_set.digests}
            num_again += sum(inputs.checkpoints[p].digest in known for p in positions)
    num_new = sum(len(unit_work.positions) for unit_work in work)
    num_all = len(inputs.units) * len(inputs.checkpoints)
    payload = payload_bytes(inputs.config)
    layout = None
    if work:
        needed = {p for unit_work in work for p in unit_work.positions}
        union = tuple(p for p in inputs.required.order if p in needed)
        model_bytes = max(c.size_bytes for c in inputs.checkpoints)
        layout = plan_layout(union, model_bytes, payload, cluster, inputs.config.engine)
        reasons = (*layout.reasons, *why_batches(inputs.config, cluster))
        layout = replace(layout, reasons=reasons)
    expected_s = _expected_s(output, num_new)
    plan = Plan(
        inputs, tuple(work), layout, payload, num_all - num_new, num_new, expected_s, num_again
    )
    return crated(plan, cluster)


def crated(plan: Plan, cluster: ClusterResources) -> Plan:
    """The plan with the size of its crates, which follows from its layout.

    What each decoder begins with is a batch: the models wait for no more, and what is wrong with
    all samples shows, before a whole crate has passed all checkpoints.
    """
    layout = plan.layout
    if layout is None:
        return plan
    units = [work.unit for work in plan.work]
    config = plan.inputs.config
    max_bytes, why = crate_bytes(units, config, plan.payload_bytes, layout, cluster)
    layout = replace(layout, reasons=(*layout.reasons, why))
    num = layout.num_decoders
    first = [replace(work, begins_small=True) for work in plan.work[:num]]
    return replace(plan, work=(*first, *plan.work[num:]), layout=layout, crate_bytes=max_bytes)


def paced(plan: Plan, seen: BatchTimes, cluster: ClusterResources) -> Plan:
    """The plan with the layout that is fastest by a calibration.

    Raises:
        PlanError: none fits the cluster.
    """
    if plan.layout is None:
        return plan
    num_batches = None
    if plan.num_expected is not None:
        num_batches = math.ceil(plan.num_expected / seen.num_rows)
    positions = tuple(position for hop in plan.layout.hops for position in hop)
    engine = plan.inputs.config.engine
    layout, expected_s = fastest_layout(positions, seen, num_batches, cluster, engine)
    known_s = None if num_batches is None else expected_s
    plan = replace(plan, layout=layout, payload_bytes=seen.payload_bytes, expected_s=known_s)
    return crated(plan, cluster)


def _kept(base: RecordSet | None, files: Mapping[str, SetFiles]) -> KeptMoments | None:
    if base is None or base.vog is None:
        return None
    return KeptMoments(len(base.vog) - 1, files[base.set_id].moments or ())


def _expected_s(output: str, num_new: int) -> float | None:
    """Start-up and pace of the latest run here that ran anything."""
    for run_id in complete_runs(output):
        run_uri = storage.join(output, "runs", run_id)
        # Only an estimate: a manifest of another version must not stand in the way.
        with contextlib.suppress(StorageError, KeyError):
            earlier = Manifest.read(run_uri)
            num_run, timing = earlier.plan.get("num_new", 0), earlier.timing
            if num_run:
                running_s = timing["relay_s"] - timing["start_up_s"]
                return float(timing["start_up_s"] + running_s * num_new / num_run)
    return None


def usable_sets(sets: Mapping[str, RecordSet], files: Mapping[str, SetFiles]) -> list[RecordSet]:
    """The committed sets of a unit whose meaning is known."""
    return [sets[set_id] for set_id in sorted(files) if set_id in sets]


def payload_bytes(config: AuditConfig) -> int:
    """Expected bytes of a batch, from the specification alone.

    Where the native size of the input is not known beforehand, the automatic batch size keeps
    its float32 form near what is asked for.
    """
    chosen = batch_size_of(config.engine)
    auto_bytes = AUTO_BATCH_BYTES if isinstance(chosen, int) else chosen.input_bytes
    size = config.model.input.size
    if size is None and config.dataset.tile is not None:
        size = (config.dataset.tile.size, config.dataset.tile.size)
    if size is None:
        return auto_bytes
    frames = 1
    if config.dataset.kind == "video":
        frames = config.dataset.clip.frames or 1
    sample_bytes = 4 * _RGB * math.prod(size) * frames
    num = chosen if isinstance(chosen, int) else max(1, auto_bytes // sample_bytes)
    return num * sample_bytes
