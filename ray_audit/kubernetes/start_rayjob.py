"""Create the RayJob of a date and wait for its end: what the CronJob's pod runs.

    python -m ray_audit.kubernetes.start_rayjob rayjob.yaml [--time-zone Europe/Berlin] [--date D]

The name of a RayJob is a function of the date and the number of the attempt, so that a second start
finds the first one. It needs the pod's own service account, with `create` and `get` on rayjobs.

This is the one place that tries a night again: the RayJob has no `backoffLimit`, and the CronJob's
Job ends where this program ends with a code of its own.
"""

import argparse
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from os import environ
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import yaml

from ray_audit.errors import RayAuditError, RunError, SpecificationError
from ray_audit.kubernetes import api_server
from ray_audit.kubernetes.api_server import (
    ApiServer,
    ConflictError,
    NotThereError,
    RefusedError,
    ServerAwayError,
)
from ray_audit.kubernetes.rayjob import (
    GATE_BREACHED,
    SUSPENDED,
    WRONG_USAGE,
    JobState,
    Outcome,
    owner_of,
)
from ray_audit.printable import printable

Value = TypeVar("Value")
MAX_ATTEMPTS = 3
MAX_ATTEMPTS_BY_HAND = 9
POLL_S = 20.0
START_S = 1800.0  # how long the server may be away before a night has started
WAIT_S = 46000.0  # below the Job's own deadline, so that the reason is said
_MAX_PAUSE_S = 30.0
_CLOCK_SKEW = timedelta(minutes=5)
_OLDEST_TICK = timedelta(days=100)
# A CronJob names its Job <name>-<minutes from 1970 to the tick>; a pod has 5 letters more.
_TICK = re.compile(r"-(\d{8})(?:-[a-z0-9]{5})?$")

_SENTENCES = {
    Outcome.SUCCEEDED: "succeeded",
    Outcome.FAILED: "failed",
    Outcome.STOPPED: "was stopped by somebody: what it committed is kept",
    Outcome.INVALID: "is not accepted by KubeRay: mend the manifest, it is not tried again",
    Outcome.DELETED: "was deleted: it is not created again",
    Outcome.SUSPENDED: "is suspended still: this pod waits no longer. Where it is resumed, it runs",
    Outcome.UNFINISHED: "has not ended: this pod waits no longer, and the job runs on",
}


def say(line: str) -> None:
    """A line of the pod's log."""
    print(printable(line, keep="\n"), flush=True)


@dataclass
class Starter:
    """One pod's work.

    Attributes:
        server: the API server.
        jobs: path of the namespace's RayJobs.
        manifest: of a RayJob; its name and entrypoint get the date.
        date: logical date, `YYYY-MM-DD`.
        again: number on after attempts that ended badly; it was asked for by hand.
        wait_s: how long to wait for the end, in seconds.
        clock_s, sleep: replaced in tests.
    """

    server: ApiServer
    jobs: str
    manifest: dict[str, Any]
    date: str
    again: bool = False
    wait_s: float = WAIT_S
    clock_s: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _start_s: float = field(init=False, default=0.0)

    def run(self) -> int:
        """Give the date its job and wait for its end; the exit code of the pod."""
        self._start_s = self.clock_s()
        known = self._known()
        attempt, is_new = self._chosen(known)
        while True:
            if is_new:
                is_new = self._create(attempt)
            elif attempt in known:
                say(f"{self.name_of(attempt)}: is there already, {known[attempt]}")
            state, outcome = self._wait(attempt)
            said = "" if state is None or outcome is Outcome.SUCCEEDED else f" ({state})"
            say(f"{self.name_of(attempt)}: {_SENTENCES[outcome]}{said}")
            if state is None or self._is_late() or not self._goes_on(attempt, state):
                return _exit_code(outcome, state)
            attempt, is_new = attempt + 1, True

    def name_of(self, attempt: int) -> str:
        """Name of an attempt's RayJob."""
        suffix = "" if attempt == 1 else f"-{attempt}"
        return f"{self.manifest['metadata']['name']}-{self.date}{suffix}"

    def job_of(self, attempt: int) -> dict[str, Any]:
        """The RayJob of an attempt."""
        metadata, spec = self.manifest["metadata"], self.manifest["spec"]
        entrypoint = f"{spec['entrypoint']} --date {self.date}"
        return {
            **self.manifest,
            "metadata": {**metadata, "name": self.name_of(attempt)},
            "spec": {**spec, "entrypoint": entrypoint},
        }

    def _known(self) -> dict[int, JobState]:
        """The attempts of this date that are there.

        All are asked for by name: without the object of the first one, which may be deleted, the
        second may be at work still. (`list` is not among this account's rights.)
        """
        found = {}
        for attempt in range(1, MAX_ATTEMPTS_BY_HAND + 1):
            state = self._state_of(attempt)
            if state is not None:
                found[attempt] = state
        return found

    def _state_of(self, attempt: int) -> JobState | None:
        name = self.name_of(attempt)
        try:
            state = self._tried(lambda: self._read(name))
        except NotThereError:
            return None
        mine = owner_of(self.manifest["metadata"])
        if mine and state.owner != mine:
            raise RunError(
                f"RayJob {name} is there and belongs to {state.owner or 'no audit'}, not to "
                f"{mine}: delete it, or give one of the two audits another name"
            )
        return state

    def _chosen(self, known: dict[int, JobState]) -> tuple[int, bool]:
        """The attempt to wait for, and whether it must be created first."""
        alive = {n: state for n, state in known.items() if not state.is_deleting}
        for attempt in sorted(alive, reverse=True):
            if alive[attempt].outcome in (None, Outcome.SUCCEEDED):
                return attempt, False
        last = max(known, default=0)
        if last == 0:
            return 1, True
        if not (self.again or known[last].is_deleting or self._goes_on(last, known[last])):
            return last, False
        if last == MAX_ATTEMPTS_BY_HAND:
            raise RunError(f"{last} jobs of {self.date} are there: delete them first")
        return last + 1, True

    def _goes_on(self, attempt: int, state: JobState) -> bool:
        """Whether another attempt follows by itself."""
        return not self.again and attempt < MAX_ATTEMPTS and state.may_be_tried_again

    def _create(self, attempt: int) -> bool:
        """Create the job; False, for it is not new any more."""
        say(f"{self.name_of(attempt)}: {self._tried(lambda: self._created(attempt))}")
        return False

    def _created(self, attempt: int) -> str:
        try:
            self._ask("POST", self.jobs, self.name_of(attempt), self.job_of(attempt))
            return "created"
        except ConflictError as error:
            # Of an earlier try whose answer was lost, or of another pod for the same date.
            if self._state_of(attempt) is None:
                raise ServerAwayError(f"{error}, and does not have it") from error
            return "was created already"

    def _read(self, name: str) -> JobState:
        return self._ask("GET", f"{self.jobs}/{name}", name, None)

    def _ask(self, method: str, path: str, name: str, body: dict[str, Any] | None) -> JobState:
        answer = self.server.request(method, path, body)
        try:
            return JobState.of(answer, name)
        except ValueError as error:
            raise ServerAwayError(f"the API server answers with something else: {error}") from error

    def _tried(self, ask: Callable[[], Value]) -> Value:
        """Ask, and ask again while the server is away. A lost answer is safe: names are fixed."""
        start_s, pause_s, is_reported = self.clock_s(), 1.0, False
        while True:
            try:
                return ask()
            except ServerAwayError as error:
                if self.clock_s() - start_s >= START_S:
                    raise
                if not is_reported:
                    say(f"{error}; trying again")
                is_reported = True
                self.sleep(max(pause_s, min(error.retry_after_s, START_S / 3)))
                pause_s = min(2 * pause_s, _MAX_PAUSE_S)

    def _wait(self, attempt: int) -> tuple[JobState | None, Outcome]:
        """Wait for the end of a job; an API server that is away is waited for too."""
        name, shown, is_away = self.name_of(attempt), "", False
        last: JobState | None = None
        while True:
            try:
                state = self._read(name)
                if is_away:
                    say("the API server answers again")
                last, is_away = state, False
                if str(state) != shown:
                    shown = str(state)
                    say(f"{name}: {shown}")
                if state.outcome is not None:
                    return state, state.outcome
            except NotThereError:
                return None, Outcome.DELETED
            except (ServerAwayError, RefusedError) as error:
                if not is_away:
                    say(f"{error}; waiting")
                is_away = True
            if self._is_late():
                is_suspended = last is not None and last.deployment in SUSPENDED
                return last, Outcome.SUSPENDED if is_suspended else Outcome.UNFINISHED
            self.sleep(POLL_S)

    def _is_late(self) -> bool:
        return self.clock_s() - self._start_s >= self.wait_s


def _exit_code(outcome: Outcome, state: JobState | None) -> int:
    if outcome is Outcome.SUCCEEDED:
        return 0
    if outcome is Outcome.INVALID:
        return WRONG_USAGE
    code = None if state is None else state.exit_code
    return code if outcome is Outcome.FAILED and code in (WRONG_USAGE, GATE_BREACHED) else 1


def tick_of(name: str, now: datetime) -> datetime | None:
    """The tick for which a CronJob made a Job, by the name of the Job or of its pod.

    Returns:
        None where the name holds no time of the last 100 days: the Job was made by hand.
    """
    found = _TICK.search(name)
    if found is None:
        return None
    tick = datetime.fromtimestamp(60 * int(found[1]), UTC)
    return tick if now - _OLDEST_TICK <= tick <= now + _CLOCK_SKEW else None


def date_of(name: str, zone: tzinfo, now: datetime) -> str:
    """The logical date: the tick's, else today; a pod may start long after its tick.

    A clock that is late at midnight must not give the day before once more.
    """
    tick = tick_of(name, now)
    return (tick or now + _CLOCK_SKEW).astimezone(zone).date().isoformat()


def _manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = yaml.safe_load(path.read_text(encoding="utf-8"))
        named, started = manifest["metadata"]["name"], manifest["spec"]["entrypoint"]
    except (OSError, ValueError, yaml.YAMLError, TypeError, KeyError) as error:
        raise SpecificationError(
            f"{path}: expected a RayJob with a name and an entrypoint ({error!r})"
        ) from error
    if not (isinstance(named, str) and isinstance(started, str)):
        raise SpecificationError(f"{path}: metadata.name and spec.entrypoint must be text")
    return dict(manifest)


def _starter(options: argparse.Namespace) -> Starter:
    account: Path = options.account
    try:
        zone = ZoneInfo(options.time_zone)
    except (ValueError, OSError, KeyError) as error:
        raise SpecificationError(f"--time-zone {options.time_zone}: unknown") from error
    try:
        namespace = options.namespace or (account / "namespace").read_text().strip()
        (account / "token").read_text()
    except OSError as error:
        raise SpecificationError(
            f"no service account in {account} ({error.strerror}): this runs in a pod whose "
            "account may create and get rayjobs"
        ) from error
    name, now = environ.get("JOB_NAME") or environ.get("POD_NAME") or "", datetime.now(UTC)
    by_hand = bool(name) and options.date is None and tick_of(name, now) is None
    return Starter(
        server=ApiServer(options.server, account),
        jobs=f"/apis/ray.io/v1/namespaces/{namespace}/rayjobs",
        manifest=_manifest(options.manifest),
        date=options.date or date_of(name, zone, now),
        again=options.again or by_hand,
        wait_s=options.wait_s,
    )


def _arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("manifest", type=Path, help="of the RayJob")
    parser.add_argument("--time-zone", default="Etc/UTC", help="of the schedule")
    parser.add_argument("--date", help="YYYY-MM-DD; default: of the tick in $JOB_NAME, else today")
    parser.add_argument(
        "--again",
        action="store_true",
        help="another attempt after failed ones; the default where $JOB_NAME was made by hand",
    )
    parser.add_argument("--wait-s", type=float, default=WAIT_S, help="for the end of the job")
    parser.add_argument("--server", default=api_server.URL, help="the API server")
    parser.add_argument("--namespace", help="default: the pod's")
    parser.add_argument("--account", type=Path, default=api_server.ACCOUNT, help="of the pod")
    return parser.parse_args(given)


def _ended(number: int, frame: object) -> None:
    """A pod that is stopped says so; the RayJob runs on, and the next pod finds it."""
    say("this pod was told to end: the RayJob runs on")
    raise SystemExit(128 + number)


def main(given: Sequence[str]) -> int:
    """The exit code of the pod: 0 succeeded, 1 failed, 2 a wrong manifest, 3 a breached gate."""
    # As the first process of a container it would be told nothing without a handler.
    signal.signal(signal.SIGTERM, _ended)
    try:
        return _starter(_arguments(given)).run()
    except RayAuditError as error:
        say(f"error {error}")
        is_wrong = isinstance(error, SpecificationError)
        is_wrong |= isinstance(error, RefusedError) and error.status in (400, 422)
        return WRONG_USAGE if is_wrong else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
