"""One night: an audit for a logical date, once, and what changed since the night before.

OUTPUT/nights/lease.json             who works on this output now
OUTPUT/nights/<date>/diff.parquet    what changed since the night before
OUTPUT/nights/<date>/night.json      the result, written last
"""

import contextlib
import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any, Protocol, Self
from zoneinfo import ZoneInfo

from ray_audit import storage
from ray_audit.config import AuditConfig
from ray_audit.engine.run.conclusion import recheck_complete
from ray_audit.engine.run.outcome_metrics import tell_outcome, untold
from ray_audit.errors import SpecificationError
from ray_audit.metrics import RunResult
from ray_audit.nightly.lease import Lease, LeaseState
from ray_audit.tables.diff import Diff, diff_runs
from ray_audit.tables.manifest import MANIFEST, Manifest

_NIGHT = "night.json"
_CLOCK_SKEW = timedelta(minutes=5)
# KubeRay 1.7 names the cluster of a RayCronJob <name>-<minutes from 1970 to the tick>-<5 letters>.
_SCHEDULED = re.compile(r"-(\d{8})-[a-z0-9]{5}$")
_OLDEST_MISSED = timedelta(days=100)


class Audited(Protocol):
    """What a night must know of the run that is its result."""

    @property
    def run_id(self) -> str:
        """Its name."""
        ...

    @property
    def uri(self) -> str:
        """Its folder."""
        ...

    @property
    def manifest(self) -> Manifest:
        """All the rest."""
        ...

    @property
    def breached_gates(self) -> Sequence[str]:
        """Gates of the specification that this call had, a sentence each."""
        ...


@dataclass(frozen=True)
class Night:
    """The result of one logical date.

    Attributes:
        date: `YYYY-MM-DD`.
        run_id: the run that is its result.
        compared_with: the night before that it was compared with, or None.
        changes: findings by change; empty where nothing was compared.
        changed_settings: why nothing was compared, a sentence each.
        breached_gates: a sentence each.
        notes: what a reader should know.
    """

    date: str
    run_id: str
    compared_with: str | None
    changes: dict[str, int]
    changed_settings: list[str]
    breached_gates: list[str]
    notes: list[str]

    @classmethod
    def read(cls, output: str, logical_date: str) -> Self | None:
        """The result of a date; None where it has none, or its run is gone."""
        uri = storage.join(output, "nights", logical_date, _NIGHT)
        if not storage.exists(uri):
            return None
        with contextlib.suppress(ValueError, TypeError):
            night = cls(**json.loads(storage.read_bytes(uri)))
            manifest = storage.join(output, "runs", night.run_id, MANIFEST)
            if night.date == logical_date and storage.exists(manifest):
                return night
        return None

    def write(self, output: str) -> None:
        """Make it the result of its date."""
        content = json.dumps(asdict(self), indent=2, sort_keys=True).encode()
        storage.write_bytes(storage.join(output, "nights", self.date, _NIGHT), content)


def time_zone(name: str) -> ZoneInfo:
    """A time zone by its name.

    Raises:
        SpecificationError: it is unknown.
    """
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:
        raise SpecificationError(
            f"--time-zone {name}: unknown; expected a name such as Europe/Berlin"
        ) from error


def resolve_date(given: str | None, zone: tzinfo = UTC, now: datetime | None = None) -> str:
    """The logical date: the given one, else today in `zone`.

    Raises:
        SpecificationError: it is no day, or in the future.
    """
    today = ((now or datetime.now(UTC)) + _CLOCK_SKEW).astimezone(zone).date()
    if given is None:
        return today.isoformat()
    try:
        day = date.fromisoformat(given)
    except ValueError as error:
        raise SpecificationError(f"--date {given}: expected YYYY-MM-DD ({error})") from error
    if day > today:
        raise SpecificationError(
            f"--date {given} is in the future: today is {today} ({zone}). A night is audited when "
            "its data is there"
        )
    return day.isoformat()


def scheduled_date(
    cluster_name: str, zone: tzinfo = UTC, now: datetime | None = None
) -> str | None:
    """The date for which a RayCronJob started this cluster, by the cluster's name.

    Missed nights are released at once, all on one day: only the name says which night each is.

    Args:
        cluster_name: `RAY_CLUSTER_NAME` in KubeRay's pods.
        zone: of the schedule.
        now: replaced in tests.

    Returns:
        `YYYY-MM-DD`; None where the name holds no time of the last 100 days.
    """
    found = _SCHEDULED.search(cluster_name)
    if found is None:
        return None
    scheduled, latest = datetime.fromtimestamp(60 * int(found[1]), UTC), now or datetime.now(UTC)
    if not latest - _OLDEST_MISSED <= scheduled <= latest + _CLOCK_SKEW:
        return None
    return scheduled.astimezone(zone).date().isoformat()


def night_dates(output: str) -> list[str]:
    """Dates that have a result, oldest first."""
    folder = storage.join(output, "nights")
    above = storage.path_of(folder) + "/"
    paths = (storage.path_of(item.uri).removeprefix(above) for item in storage.list_prefix(folder))
    found = (path.partition("/") for path in paths)
    # A copy that somebody made beside them (`backup`) is no night, and none comes after it.
    return sorted(date_ for date_, _, name in found if name == _NIGHT and _is_date(date_))


def _is_date(name: str) -> bool:
    try:
        return date.fromisoformat(name).isoformat() == name
    except ValueError:
        return False


def run_night(
    config: AuditConfig,
    logical_date: str,
    audit: Callable[[AuditConfig], Audited],
    say: Callable[[str], None],
    wait_s: float,
) -> Night:
    """Give a date its one result; a date that has one is left as it is.

    A trial, of which a limit left shards out, is not that result: only its run is kept.

    Args:
        config: the specification.
        logical_date: from `resolve_date`.
        audit: runs the audit for that date, with the specification that it is given.
        say: told what goes on.
        wait_s: how long to wait for another night on the same output.

    Raises:
        RayAuditError: the audit failed; the date has no result then, and can be tried again.
    """
    output = config.output
    done = Night.read(output, logical_date)
    if done is not None:
        say(f"{logical_date} has its result already: run {done.run_id}. Nothing to do.")
        return _rechecked(config, done, _is_latest(output, logical_date))
    lease = Lease(storage.join(output, "nights", "lease.json"), logical_date)
    if not lease.acquire(wait_s, lambda state: _tell_waiting(say, state)):
        say(f"waited {wait_s:g} s for another night; running beside it, which does no harm")
    with lease.kept():
        done = Night.read(output, logical_date)  # another may have given it meanwhile
        if done is not None:
            say(f"{logical_date} was given its result meanwhile: run {done.run_id}.")
            return _rechecked(config, done, _is_latest(output, logical_date))
        is_latest = _is_latest(output, logical_date)
        # Of an older date that is caught up with the Pushgateway is told nothing.
        run = audit(config if is_latest else untold(config))
        if run.manifest.is_trial:
            return _trial(logical_date, run)
        return _conclude(config, logical_date, run, is_latest, say)


def _is_latest(output: str, logical_date: str) -> bool:
    later = (other for other in night_dates(output) if other > logical_date)
    return not any(Night.read(output, other) for other in later)


def _rechecked(config: AuditConfig, done: Night, is_latest: bool) -> Night:
    """The result of a date, held against the budget and gates of this call."""
    run_uri = storage.join(config.output, "runs", done.run_id)
    config = config if is_latest else untold(config)
    breached, notes = recheck_complete(config, Manifest.read(run_uri), run_uri)
    notes = list(dict.fromkeys([*done.notes, *notes]))
    return replace(done, breached_gates=breached, notes=notes)


def _trial(logical_date: str, run: Audited) -> Night:
    """What is told of a trial; it is not written, so that the date has its night still."""
    return Night(
        date=logical_date,
        run_id=run.run_id,
        compared_with=None,
        changes={},
        changed_settings=[],
        breached_gates=list(run.breached_gates),
        notes=[f"a trial (--limit), which is not the result of {logical_date}"],
    )


def _tell_waiting(say: Callable[[str], None], state: LeaseState) -> None:
    say(f"the night of {state.purpose} is at work on this output: waiting for it")


def _conclude(
    config: AuditConfig,
    logical_date: str,
    run: Audited,
    is_latest: bool,
    say: Callable[[str], None],
) -> Night:
    output, dates = config.output, night_dates(config.output)
    before = _night_before(
        output, [earlier_date for earlier_date in dates if earlier_date < logical_date]
    )
    diff = diff_runs(output, before.run_id, run.run_id) if before else None
    if diff is not None:
        _keep_diff(diff, output, logical_date, say)
    notes = _tell(config, run, diff) if is_latest else []
    night = Night(
        date=logical_date,
        run_id=run.run_id,
        compared_with=before.date if before else None,
        changes=diff.totals() if diff and diff.is_comparable else {},
        changed_settings=list(diff.changed_settings) if diff else [],
        breached_gates=list(run.breached_gates),
        notes=notes,
    )
    night.write(output)
    return night


def _night_before(output: str, dates: list[str]) -> Night | None:
    """The last of the dates that has a result still."""
    for earlier_date in reversed(dates):
        night = Night.read(output, earlier_date)
        if night is not None:
            return night
    return None


def _keep_diff(diff: Diff, output: str, logical_date: str, say: Callable[[str], None]) -> None:
    if not diff.is_comparable:
        say(f"not compared with {diff.run_a}, whose settings were others:")
        for change in diff.changed_settings:
            say(f"  {change}")
        return
    diff.write(storage.join(output, "nights", logical_date, "diff.parquet"))
    counts = ", ".join(f"{number} {change}" for change, number in diff.totals().items())
    say(f"findings since {diff.run_a}: {counts}")


def _tell(config: AuditConfig, run: Audited, diff: Diff | None) -> list[str]:
    """Outcome metrics once more, now with the changes; of the latest night only."""
    manifest = run.manifest
    if diff is not None and diff.is_comparable:
        findings = diff.counts()
    else:
        by_kind: dict[str, Any] = manifest.findings["by_kind"]
        findings = {(kind, "uncompared"): number for kind, number in by_kind.items()}
    result = RunResult(
        duration_s=manifest.timing["total_s"],
        success_time_s=time.time(),
        counts=manifest.counts,
        findings=findings,
        breached=bool(run.breached_gates),
    )
    return tell_outcome(config, run.uri, result)
