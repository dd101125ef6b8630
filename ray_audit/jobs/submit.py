"""Submits a command as a job to a Ray cluster, once, and follows its logs.

The same command, specification, options and code give the same submission id: a job that runs is
followed rather than started again, one that succeeded is left alone, one that failed or was stopped
is tried again under the next number. An audit or a night without `--date` is one of today.
"""

import argparse
import asyncio
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from ray_audit.errors import RunError, SpecificationError
from ray_audit.printable import printable

COMMANDS = ("run", "night", "train", "correct")
DATED = ("run", "night")
MAX_BYTES = 10 * 2**20
_GIT_S = 60.0
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_ENDED_BADLY = ("FAILED", "STOPPED")


@dataclass(frozen=True)
class Job:
    """What is submitted.

    Attributes:
        command: of `ray-audit`, one of `COMMANDS`.
        subject: a local specification; for `correct` the output of an audit.
        options: of the command.
        code: files and folders that are sent with it, e.g. the model's package.
    """

    command: str
    subject: str
    options: tuple[str, ...] = ()
    code: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        if self.command not in COMMANDS:
            raise SpecificationError(
                f"--job {self.command}: unknown; expected one of {', '.join(COMMANDS)}"
            )
        if self.spec is not None and not self.spec.is_file():
            raise SpecificationError(f"there is no specification {self.spec} on this machine")
        for path in self.code:
            if not path.exists():
                raise SpecificationError(f"--code {path}: there is no such file or folder")
        object.__setattr__(self, "options", self._completed())

    @property
    def spec(self) -> Path | None:
        """The specification, where the command has one."""
        return None if self.command == "correct" else Path(self.subject)

    def _completed(self) -> tuple[str, ...]:
        """The options, with a date, and with a breached gate that does not fail the job."""
        options = dated(self.command, self.options)
        # A failed job is run again by whoever watches it, and would breach the gate again.
        if self.command == "run" and "--gate-fails" not in options:
            options = (*options, "--gate-passes")
        return options

    def submission_id(self, attempt: int) -> str:
        """Name of one attempt; a function of what is submitted."""
        text = self.subject if self.spec is None else self.spec.read_text()
        content = hashlib.sha256("\0".join([self.command, text, *self.options]).encode())
        for file, name in sorted(_files(self.code), key=lambda pair: pair[1]):
            content.update(f"\0{name}\0".encode() + file.read_bytes())
        name = re.sub(r"[^a-z0-9]+", "-", Path(self.subject).stem.lower()).strip("-")
        return f"{self.command}-{name}-{content.hexdigest()[:12]}-{attempt}"

    @property
    def entrypoint(self) -> str:
        """The command line on the cluster, started in the folder that was sent.

        By `-m`, so that the folder and the user's code in it can be imported.
        """
        subject = self.subject if self.spec is None else "spec.yaml"
        return shlex.join(["python", "-m", "ray_audit", self.command, subject, *self.options])


@dataclass(frozen=True)
class Submitted:
    """A job on the cluster.

    Attributes:
        job_id: its submission id.
        is_new: whether this call submitted it.
        state: in Ray's words, e.g. RUNNING or SUCCEEDED.
        message: Ray's sentence on the state.
    """

    job_id: str
    is_new: bool
    state: str
    message: str

    @property
    def failed(self) -> bool:
        """Whether it ended without success."""
        return self.state in _ENDED_BADLY


def dated(command: str, options: Sequence[str]) -> tuple[str, ...]:
    """The options, with today's date where a command that has one was given none.

    Without it tomorrow's night would have the id of today's, and be left alone.

    Raises:
        SpecificationError: the time zone is unknown.
    """
    has_date = any(option == "--date" or option.startswith("--date=") for option in options)
    if command not in DATED or has_date:
        return tuple(options)
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--time-zone", default="UTC")
    zone = parser.parse_known_args(list(options))[0].time_zone
    try:
        return (*options, "--date", datetime.now(ZoneInfo(zone)).date().isoformat())
    except (ValueError, OSError, KeyError) as error:
        raise SpecificationError(f"--time-zone {zone}: unknown") from error


def _files(code: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Each file that is sent, with its place in the working directory.

    What git ignores stays here, and so do hidden files and folders: keys and histories (`.env`,
    `.git`, `.aws`) are no code. A file that is named itself is sent.
    """
    for path in code:
        if not path.is_dir():
            yield path, path.name
            continue
        ignored = _ignored_by_git(path)
        for file in path.rglob("*"):
            inner = file.relative_to(path)
            is_hidden = any(part.startswith(".") or part == "__pycache__" for part in inner.parts)
            # A link may lead out of the folder, to what was not meant to be sent.
            is_inside = file.resolve().is_relative_to(path.resolve())
            if file.is_file() and not is_hidden and is_inside and inner not in ignored:
                yield file, str(file.relative_to(path.parent))


def _ignored_by_git(folder: Path) -> set[Path]:
    """Files below a folder that git ignores, relative to it; none where there is no git."""
    command = ["git", "-C", str(folder), "ls-files", "-z", "--others", "--ignored"]
    try:
        done = subprocess.run(
            [*command, "--exclude-standard"], capture_output=True, timeout=_GIT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return set()
    return {Path(os.fsdecode(name)) for name in done.stdout.split(b"\0") if name}


def fill_working_dir(target: Path, job: Job) -> None:
    """Fill a folder with the specification and the user's own code, if it is small.

    Raises:
        SpecificationError: it is not.
    """
    if job.spec is not None:
        shutil.copy(job.spec, target / "spec.yaml")
    for file, name in _files(job.code):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target / name)
    num_bytes = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
    if num_bytes > MAX_BYTES:
        raise SpecificationError(
            f"{num_bytes / 2**20:.0f} MiB would be sent with every job, {MAX_BYTES >> 20} MiB is "
            "the limit: give --code the model's own package alone, or build it into the image. "
            "Data and checkpoints are read from storage"
        )


def connect(address: str) -> Any:
    """A client of the job server.

    Raises:
        RunError: nothing answers, or it asks for a token.
    """
    from ray.job_submission import JobSubmissionClient

    try:
        client = JobSubmissionClient(address)
        client.list_jobs()
    except Exception as error:  # requests, Ray and its authentication raise their own
        raise RunError(_explained(address, error)) from error
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
        # Ray colours its own lines; all else that a terminal acts on came from files and models.
        sys.stdout.write(printable(_COLOURS.sub("", lines), keep="\n\t"))
        sys.stdout.flush()


def submit(
    job: Job,
    address: str,
    say: Callable[[str], None],
    *,
    again: bool = False,
    wait: bool = True,
) -> Submitted:
    """Submit or find the job, and follow its logs.

    Args:
        job: what to submit.
        address: of the job server.
        say: told what goes on.
        again: whether one that succeeded is tried again too.
        wait: follow it to its end.

    Raises:
        RunError: the job server does not answer.
        SpecificationError: what would be sent is too large.
    """
    client = connect(address)
    job_id, state = choose(client, job.submission_id, again)
    if state is None:
        with tempfile.TemporaryDirectory() as folder:
            fill_working_dir(Path(folder), job)
            client.submit_job(
                entrypoint=job.entrypoint,
                submission_id=job_id,
                runtime_env={"working_dir": folder},
            )
    say(f"{job_id}: {'submitted' if state is None else state}")
    if wait:
        asyncio.run(_follow(client, job_id))
    info = client.get_job_info(job_id)
    say(f"{job_id}: {info.status.value}: {info.message}")
    return Submitted(job_id, state is None, str(info.status.value), str(info.message))
