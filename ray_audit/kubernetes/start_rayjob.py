"""Create the RayJob of a date and wait for its end: what the CronJob's pod runs.

    python -m ray_audit.kubernetes.start_rayjob rayjob.yaml [--time-zone ZONE] [--date YYYY-MM-DD]

The name of the RayJob is a function of the date: a second start finds the first one. Needs nothing
but the pod's own service account, with `create` and `get` on rayjobs.
"""

import argparse
import json
import ssl
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from zoneinfo import ZoneInfo

import yaml

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
API = "https://kubernetes.default.svc"
MOST_ATTEMPTS = 3
_CONFLICT, _GONE = 409, 404
_POLL_S = 20.0
_CLOCK_SKEW = timedelta(minutes=5)
Call = Callable[[str, str, dict[str, Any] | None], dict[str, Any]]


def api_call(method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
    """One request to the API server, as this pod."""
    token = (ACCOUNT / "token").read_text()
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(API + path, data, headers, method=method)
    context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    with urllib.request.urlopen(request, timeout=30, context=context) as answer:
        values: dict[str, Any] = json.load(answer)
        return values


def of_date(manifest: dict[str, Any], date: str, attempt: int) -> dict[str, Any]:
    """The RayJob of one date."""
    suffix = "" if attempt == 1 else f"-{attempt}"
    name = f"{manifest['metadata']['name']}-{date}{suffix}"
    entrypoint = f"{manifest['spec']['entrypoint']} --date {date}"
    return {
        **manifest,
        "metadata": {**manifest["metadata"], "name": name},
        "spec": {**manifest["spec"], "entrypoint": entrypoint},
    }


def start(call: Call, jobs: str, manifest: dict[str, Any], date: str) -> str:
    """Create the job of the date, or find it; the next attempt where it failed."""
    for attempt in range(1, MOST_ATTEMPTS + 1):
        job = of_date(manifest, date, attempt)
        name = job["metadata"]["name"]
        try:
            call("POST", jobs, job)
            print(f"{name}: created", flush=True)
            return str(name)
        except HTTPError as error:
            if error.code != _CONFLICT:
                raise
        state, reason = state_of(call("GET", f"{jobs}/{name}", None))
        print(f"{name}: is there already, {state or 'not started'} {reason}", flush=True)
        if state != "Failed":
            return str(name)
    raise SystemExit(f"{MOST_ATTEMPTS} jobs of {date} failed already: see their logs")


def state_of(job: dict[str, Any]) -> tuple[str, str]:
    """`Complete`, `Failed` or another state of the deployment, and why."""
    status = job.get("status", {})
    return status.get("jobDeploymentStatus", ""), status.get("message", "")


def wait(call: Call, path: str, sleep: Callable[[float], None]) -> int:
    """0 when the job has succeeded, 1 when it has not."""
    while True:
        try:
            state, reason = state_of(call("GET", path, None))
        except HTTPError as error:
            if error.code == _GONE:
                print("the job was deleted", flush=True)
                return 1
            state, reason = "", str(error)
        except URLError as error:  # the API server may be away for a while
            state, reason = "", str(error)
        if state in ("Complete", "Failed"):
            print(f"{path.rpartition('/')[2]}: {state} {reason}", flush=True)
            return 0 if state == "Complete" else 1
        sleep(_POLL_S)


def today(zone: ZoneInfo, now: datetime) -> str:
    """The date; a clock that is late at midnight must not give the day before once more."""
    return (now + _CLOCK_SKEW).astimezone(zone).date().isoformat()


def main(given: Sequence[str]) -> int:
    """The exit code of the pod."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--time-zone", default="Etc/UTC")
    parser.add_argument("--date")
    options = parser.parse_args(given)
    date = options.date or today(ZoneInfo(options.time_zone), datetime.now(UTC))
    namespace = (ACCOUNT / "namespace").read_text().strip()
    jobs = f"/apis/ray.io/v1/namespaces/{namespace}/rayjobs"
    manifest = yaml.safe_load(options.manifest.read_text())
    name = start(api_call, jobs, manifest, date)
    return wait(api_call, f"{jobs}/{name}", time.sleep)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
