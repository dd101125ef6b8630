"""A Ray cluster of several nodes on this machine, each with ports and folders of its own."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.drivers import REPOSITORY
from tests.faults.processes import below, kill, kill_tree

# A node that falls silent is given up after 3 s, so that the tests need not wait for a minute.
_FAST_DEATH = {
    "RAY_health_check_initial_delay_ms": "3000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}
_NUM_STARTS = 3


def free_port(host="127.0.0.1"):
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


class Nodes:
    """A head and workers; the processes that connect need `env` for the token."""

    def __init__(self, host="127.0.0.1", env=None):
        self.folder = Path(tempfile.mkdtemp(prefix="rf-", dir="/tmp"))  # sockets need short paths
        self.env = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "PYTHONPATH": str(REPOSITORY),
            **_FAST_DEATH,
            **(env or {}),
        }
        self.address = f"{host}:{free_port(host)}"
        self._started = []
        self._host = host

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for node in self._started:
            kill_tree(node.pid)
            node.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def head(self, num_cpus):
        port = self.address.rpartition(":")[2]
        options = ["--head", f"--port={port}", "--include-dashboard=false"]
        options += [f"--ray-client-server-port={free_port(self._host)}"]
        return self._start(num_cpus, options, self._host)

    def worker(self, num_cpus, host=None, inside=()):
        """Start a worker node; `inside` is put before the command."""
        return self._start(num_cpus, [f"--address={self.address}"], host or self._host, inside)

    def _start(self, num_cpus, options, host, inside=()):
        """Ray itself gives up a node that is not up within half a minute: then once more."""
        for _ in range(_NUM_STARTS):
            node, log = self._spawn(num_cpus, options, host, inside)
            if self._is_up(node, log):
                return node
        raise AssertionError(log.read_text(errors="replace"))

    def _spawn(self, num_cpus, options, host, inside):
        name = f"n{len(self._started)}"
        command = [
            *inside,
            str(Path(sys.executable).parent / "ray"),
            "start",
            "--block",
            *options,
            f"--node-ip-address={host}",
            f"--num-cpus={num_cpus}",
            "--object-store-memory=200000000",
            "--min-worker-port=0",
            "--max-worker-port=0",
            f"--dashboard-agent-listen-port={free_port()}",
            f"--temp-dir={self.folder / name}",
            "--disable-usage-stats",
        ]
        with (self.folder / f"{name}.log").open("wb") as log:
            node = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                env=os.environ | self.env,
                start_new_session=True,
            )
        self._started.append(node)
        return node, self.folder / f"{name}.log"

    @staticmethod
    def _is_up(node, log, limit_s=90):
        """Wait for a node; False where it ended."""
        deadline = time.monotonic() + limit_s
        while "Ray runtime started" not in log.read_text(errors="replace"):
            if node.poll() is not None:
                return False
            assert time.monotonic() < deadline, log.read_text(errors="replace")
            time.sleep(0.1)
        return True


class Netns:
    """A network namespace with a cable to this machine, which can be cut."""

    def __init__(self):
        number = secrets.randbelow(250) + 1
        self.name = f"rf{os.getpid()}"
        self._outer, self._inner = f"rfo{os.getpid()}", f"rfi{os.getpid()}"
        self.outer_host, self.inner_host = f"10.213.{number}.1", f"10.213.{number}.2"

    def __enter__(self):
        """Raises CalledProcessError or FileNotFoundError where this is not allowed."""
        _ip("netns", "add", self.name)
        try:
            _ip("link", "add", self._outer, "type", "veth", "peer", self._inner, "netns", self.name)
            _ip("addr", "add", f"{self.outer_host}/24", "dev", self._outer)
            _ip("link", "set", self._outer, "up")
            _ip("-n", self.name, "addr", "add", f"{self.inner_host}/24", "dev", self._inner)
            _ip("-n", self.name, "link", "set", self._inner, "up")
            _ip("-n", self.name, "link", "set", "lo", "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        _ip("netns", "delete", self.name)  # which takes both ends of the cable with it

    @property
    def inside(self):
        """What to put before a command."""
        return ("ip", "netns", "exec", self.name)

    def cut(self):
        """Nothing passes any more, and nobody is told."""
        _ip("-n", self.name, "link", "set", self._inner, "down")


def _ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def kill_node(node):
    """SIGKILL everything of a node at once: what a machine does that loses its power.

    First the process that started it, which else would end the rest in order.
    """
    tree = below(node.pid)
    os.kill(node.pid, signal.SIGKILL)
    for pid in tree:
        kill(pid)
    node.wait()
