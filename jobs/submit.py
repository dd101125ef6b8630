"""Submit a job to a Ray cluster and follow its logs.

    python jobs/submit.py nightly SPEC --address http://127.0.0.1:8265 -- --date 2026-08-01

`correct` takes the output of an audit in the place of SPEC. The same job, specification, options
and code give the same submission id: a job that runs is followed rather than started again, one
that succeeded is left alone, one that failed or was stopped is tried again under the next number.
An audit or a night without `--date` is one of today.
"""

import argparse
import asyncio
import hashlib
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

JOBS = Path(__file__).parent
KINDS = ("audit", "nightly", "train", "correct")
DATED = ("audit", "nightly")
MOST_BYTES = 10 * 2**20
_ENDED_BADLY = ("FAILED", "STOPPED")


class SubmitError(Exception):
    """The job could not be submitted; the message says what to do."""


def dated(kind: str, options: Sequence[str]) -> list[str]:
    """The options, with today's date where a job that has one was given none.

    Without it tomorrow's night would have the id of today's, and be left alone.
    """
    has_date = any(one == "--date" or one.startswith("--date=") for one in options)
    if kind not in DATED or has_date:
        return list(options)
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--time-zone", default="UTC")
    zone = parser.parse_known_args(list(options))[0].time_zone
    try:
        return [*options, "--date", datetime.now(ZoneInfo(zone)).date().isoformat()]
    except (ValueError, OSError, KeyError) as error:
        raise SubmitError(f"--time-zone {zone}: unknown") from error


def submission_id(
    kind: str, subject: str, options: Sequence[str], attempt: int, code: Sequence[Path] = ()
) -> str:
    """Name of one attempt; a function of what is submitted."""
    text = subject if kind == "correct" else Path(subject).read_text()
    content = hashlib.sha256("\0".join([kind, text, *options]).encode())
    for file, name in sorted(_files(code), key=lambda pair: pair[1]):
        content.update(f"\0{name}\0".encode() + file.read_bytes())
    name = re.sub(r"[^a-z0-9]+", "-", Path(subject).stem.lower()).strip("-")
    return f"{kind}-{name}-{content.hexdigest()[:12]}-{attempt}"


def _files(code: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Each file that is sent, with its place in the working directory."""
    for path in code:
        for file in path.rglob("*") if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                yield file, str(file.relative_to(path.parent))


def working_dir(target: Path, spec: Path | None, code: Sequence[Path]) -> None:
    """Fill a folder with the jobs, the specification and the user's own code, if it is small.

    Raises:
        SubmitError: it is not.
    """
    for kind in KINDS:
        shutil.copy(JOBS / f"{kind}.py", target)
    if spec is not None:
        shutil.copy(spec, target / "spec.yaml")
    for file, name in _files(code):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target / name)
    num_bytes = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
    if num_bytes > MOST_BYTES:
        raise SubmitError(
            f"{num_bytes / 2**20:.0f} MiB would be sent with every job, {MOST_BYTES >> 20} MiB is "
            "the limit: give --code the model's own package alone, or build it into the image. "
            "Data and checkpoints are read from storage"
        )


def connect(address: str) -> Any:
    """A client of the job server.

    Raises:
        SubmitError: nothing answers, or it asks for a token.
    """
    from ray.job_submission import JobSubmissionClient

    try:
        client = JobSubmissionClient(address)
        client.list_jobs()
    except Exception as error:  # requests, Ray and its authentication raise their own
        raise SubmitError(_explained(address, error)) from error
    return client


def _explained(address: str, error: Exception) -> str:
    text = f"{type(error).__name__} {error}".lower()
    if any(word in text for word in ("authentication", "401", "403", "token")):
        return (
            f"the job server at {address} asks for a token: set RAY_AUTH_MODE=token and "
            "RAY_AUTH_TOKEN, or put the head's token into ~/.ray/auth_token"
        )
    return (
        f"no job server answers at {address}: give --address the dashboard of the head, usually "
        "http://<head>:8265 (in Kubernetes: kubectl port-forward svc/<cluster>-head-svc 8265)"
    )


def choose(client: Any, ids: Callable[[int], str], again: bool = False) -> tuple[str, str | None]:
    """The attempt to follow or to start, and the state that it is in, None where it is new.

    Args:
        client: of the job server.
        ids: the submission id of an attempt.
        again: whether one that succeeded is tried again too.
    """
    known = {job.submission_id: str(job.status.value) for job in client.list_jobs()}
    passed = (*_ENDED_BADLY, "SUCCEEDED") if again else _ENDED_BADLY
    attempt = 1
    while known.get(ids(attempt)) in passed:
        attempt += 1
    return ids(attempt), known.get(ids(attempt))


async def _follow(client: Any, job_id: str) -> None:
    async for lines in client.tail_job_logs(job_id):
        sys.stdout.write(lines)
        sys.stdout.flush()


def submit(options: argparse.Namespace) -> int:
    """Submit or find the job and follow it; 0 where it succeeded."""
    kind, subject = options.kind, options.subject
    spec = None if kind == "correct" else Path(subject)
    if spec is not None and not spec.is_file():
        raise SubmitError(f"there is no specification {spec}")
    for path in options.code:
        if not path.exists():
            raise SubmitError(f"there is no code {path}")
    rest, code = dated(kind, options.rest), options.code
    client = connect(options.address)
    job_id, state = choose(
        client, lambda attempt: submission_id(kind, subject, rest, attempt, code), options.again
    )
    if state is None:
        what = subject if spec is None else "spec.yaml"
        entrypoint = shlex.join(["python", f"{kind}.py", what, *rest])
        with tempfile.TemporaryDirectory() as folder:
            working_dir(Path(folder), spec, code)
            client.submit_job(
                entrypoint=entrypoint,
                submission_id=job_id,
                runtime_env={"working_dir": folder},
            )
    sys.stderr.write(f"{job_id}: {'submitted' if state is None else state}\n")
    if not options.no_wait:
        asyncio.run(_follow(client, job_id))
    info = client.get_job_info(job_id)
    sys.stderr.write(f"{job_id}: {info.status.value}: {info.message}\n")
    return 1 if info.status.value in _ENDED_BADLY else 0


def main(given: Sequence[str]) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("subject", metavar="SPEC", help="specification (correct: an output)")
    default = os.environ.get("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:8265")
    parser.add_argument("--address", default=default, help="of the job server")
    parser.add_argument("--code", type=Path, action="append", default=[], help="sent with the job")
    parser.add_argument("--again", action="store_true", help="also where it succeeded already")
    parser.add_argument("--no-wait", action="store_true", help="submit and leave")
    parser.epilog = "What comes after -- are options of the job."
    ours = list(given)
    rest = ours[ours.index("--") + 1 :] if "--" in ours else []
    options = parser.parse_args(ours[: ours.index("--")] if "--" in ours else ours)
    options.rest = rest
    try:
        return submit(options)
    except SubmitError as error:
        sys.stderr.write(f"error {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
