"""Connecting to a Ray cluster, or starting one on this machine."""

import contextlib
import logging
import os
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path

import ray
from ray.job_config import JobConfig

import ray_audit
from ray_audit.checkpoints.model_identity import WORKING_DIRECTORY
from ray_audit.errors import RunError
from ray_audit.interrupts import handlers_kept
from ray_audit.processes import few_arenas_in_children, working_directory

_CONNECT_TIMEOUT_S = 10.0
_NUM_STARTS = 3
_TOO_SLOW = "timed out during startup"


def connect(address: str | None) -> bool:
    """Connect to a Ray cluster, or start one in this machine; True if it was started here.

    A Ray that this process is connected to already is used as it is.

    Raises:
        RunError: nothing answers at the address, or Ray refuses.
    """
    if ray.is_initialized():
        return False
    _check_reachable(address)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    # Ray Data's own actors make Ray's core print an error about arguments that they do keep.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    for num_left in reversed(range(_NUM_STARTS)):
        try:
            _init(address)
            break
        except Exception as error:  # Ray raises bare ones too
            ray.shutdown()
            # It gives its own start half a minute, which a busy machine may not keep.
            if num_left and _TOO_SLOW in str(error):
                continue
            where = f"Ray at {address}" if address else "Ray on this machine"
            raise RunError(f"{where} could not be used: {cause(error)}") from error
    return address is None


def _init(address: str | None) -> None:
    own = few_arenas_in_children() if address is None else contextlib.nullcontext()
    with own, _silent_stderr(), handlers_kept():
        ray.init(
            # None would join a cluster that was started on this machine, even a dead one.
            address=address or "local",
            include_dashboard=False if address is None else None,
            logging_level=logging.ERROR,
            log_to_driver=False,
            job_config=None if address else _job_config(),
        )


def _job_config() -> JobConfig | None:
    """The job of a Ray that is started here; None, Ray's own, where this package is not installed.

    Ray puts the driver's working directory first on the path of every worker, where a file under
    the name of a standard module would be run. A worker puts it last, by this variable.
    """
    folder = working_directory()
    os.environ[WORKING_DIRECTORY] = folder
    if Path(ray_audit.__file__).parents[1] == Path(folder):
        return None
    config = JobConfig()
    config._py_driver_sys_path = _FixedPath()
    return config


class _FixedPath(list[str]):
    """The folders that Ray puts first on a worker's path: none, whatever it means to add."""

    def extend(self, folders: Iterable[str], /) -> None:
        """Leave them out."""


def _check_reachable(address: str | None) -> None:
    """Fail at once where nothing listens: Ray itself would try for many minutes, in silence."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise RunError(
            f"no Ray cluster answers at {address} ({error}): check --address or RAY_ADDRESS, or "
            "leave it out to use a Ray on this machine"
        ) from error


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Ray's core writes to the file descriptor past every logger; errors still are exceptions."""
    kept = os.dup(2)
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def disconnect() -> None:
    """Stop the Ray that `connect` started."""
    ray.shutdown()


def cause(error: BaseException) -> str:
    """The line of an error of Ray that says what happened, at most 500 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # Ray puts advice of its own after the traceback: what we raised ourselves says more.
    ours = [line for line in lines if line.startswith("ray_audit.errors.")]
    return f"{type(error).__name__}: {(ours or lines or [''])[-1]}"[:500]
