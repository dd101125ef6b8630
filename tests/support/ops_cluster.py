"""A Ray cluster as `ray start` makes it, a Prometheus and a Pushgateway, in their own processes."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[2]
RAY = Path(sys.executable).parent / "ray"
_STARTED_WITHIN_S = 300.0
_JOB_LIMIT_S = 600.0
_MAX_STARTS = 3
WORKERS = ("worker-1", "worker-2")


def tell(text):
    """Shown by `make ops-test`."""
    print(f"    {text}", flush=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what, check, limit_s=_STARTED_WITHIN_S):
    """The first true answer of `check`."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, ValueError):
            answer = check()
            if answer:
                return answer
        time.sleep(0.5)
    raise TimeoutError(f"{what}: not within {limit_s:g} s")


def get(url, headers=None):
    request = urllib.request.Request(url, headers=headers or {})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read().decode()


class Processes(contextlib.ExitStack):
    """Processes that are ended, with their children, in the reverse order of their start."""

    def start(self, command, log, env=None):
        stream = self.enter_context(log.open("wb"))
        process = subprocess.Popen(
            [str(part) for part in command],
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=env,
            start_new_session=True,
        )
        self.callback(_end, process)
        return process


def _end(process):
    for number, limit_s in ((signal.SIGTERM, 20), (signal.SIGKILL, 10)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=limit_s)


class OpsCluster:
    """A head without work and two workers; a token is asked for."""

    def __init__(self, processes, folder):
        self.ports = {name: free_port() for name in ("gcs", "dashboard", "head", *WORKERS)}
        self.token = secrets.token_hex(32)
        self.env = os.environ | {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
            "RAY_USAGE_STATS_ENABLED": "0",
            "PYTHONPATH": str(ROOT),
            "PATH": f"{RAY.parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder),
        }
        self.env.pop("RAY_ADDRESS", None)
        self.api = f"http://127.0.0.1:{self.ports['dashboard']}"
        temporary = Path("/tmp") / f"ra{secrets.token_hex(3)}"  # sockets need a short path
        processes.callback(shutil.rmtree, temporary, ignore_errors=True)
        common = ["--block", "--disable-usage-stats", "--object-store-memory=200000000"]
        head = ["--head", f"--port={self.ports['gcs']}", "--num-cpus=0"]
        head += [f"--dashboard-port={self.ports['dashboard']}", f"--temp-dir={temporary}"]
        head += [f"--ray-client-server-port={free_port()}", *self._agent_ports("head")]
        head += ['--system-config={"metrics_report_interval_ms": 1000}']
        self._processes, self._folder = processes, folder
        self._start("head", [*head, *common], f"{self.api}/api/version")
        # One after the other: each has 30 s to start.
        for name in WORKERS:
            worker = [f"--address=127.0.0.1:{self.ports['gcs']}", "--num-cpus=1"]
            worker += self._agent_ports(name)
            answers = f"http://127.0.0.1:{self.ports[name]}/metrics"
            self._start(name, [*worker, *common], answers)
        tell(f"Ray: a head and {len(WORKERS)} workers, job server at {self.api}, with a token")

    @property
    def metrics_ports(self):
        """Of every node, for Prometheus."""
        return [self.ports[name] for name in ("head", *WORKERS)]

    def _agent_ports(self, node):
        return [
            f"--metrics-export-port={self.ports[node]}",
            f"--dashboard-agent-listen-port={free_port()}",
            f"--dashboard-agent-grpc-port={free_port()}",
        ]

    def _start(self, name, options, answers):
        """Ray gives up on a node that needs more than 30 s, as on a busy machine: try again."""
        log = self._folder / f"{name}.log"
        for attempt in range(_MAX_STARTS):
            process = self._processes.start([RAY, "start", *options], log, self.env)

            def check(process=process):
                if process.poll() is not None:
                    raise RuntimeError(f"{name} ended: {log.read_text()[-2000:]}")
                is_up = "Ray runtime started" in log.read_text()
                return is_up and get(answers, {"Authorization": f"Bearer {self.token}"})

            try:
                return wait_for(name, check)
            except RuntimeError:
                _end(process)
                if attempt == _MAX_STARTS - 1:
                    raise
        return None

    def submit(self, *arguments, env=None, wait=True):
        """`ray-audit submit`, as a person types it."""
        job, spec, *rest = (str(argument) for argument in arguments)
        command = [sys.executable, "-m", "ray_audit", "submit", spec, "--job", job]
        command += ["--address", self.api]
        command += [] if wait else ["--no-wait"]
        done = subprocess.run(
            [str(part) for part in [*command, "--", *rest]],
            env=env or self.env,
            capture_output=True,
            text=True,
            timeout=_JOB_LIMIT_S,
        )
        return done.returncode, done.stdout + done.stderr


class Monitoring:
    """A Pushgateway, and a Prometheus that scrapes it and a cluster's nodes every second.

    Nodes get the label `audit`, as the PodMonitors give it.
    """

    def __init__(self, processes, folder, metrics_ports, audit):
        self.gateway = f"http://127.0.0.1:{free_port()}"
        self.url = f"http://127.0.0.1:{free_port()}"
        self.started_s = time.time()
        listen = f"--web.listen-address={self.gateway.removeprefix('http://')}"
        # Debian's keeps what was pushed in a file of the machine: of tests before this one, too.
        kept = f"--persistence.file={folder / 'pushed'}"
        processes.start(["prometheus-pushgateway", listen, kept], folder / "gateway.log")
        nodes = [f"127.0.0.1:{port}" for port in metrics_ports]
        scrapes = {
            "global": {"scrape_interval": "1s"},
            "scrape_configs": [
                {
                    "job_name": "ray",
                    "static_configs": [{"targets": nodes, "labels": {"audit": audit}}],
                },
                {
                    "job_name": "pushgateway",
                    "honor_labels": True,
                    "static_configs": [{"targets": [self.gateway.removeprefix("http://")]}],
                },
            ],
        }
        (folder / "prometheus.json").write_text(json.dumps(scrapes))  # JSON is YAML
        processes.start(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.json'}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address={self.url.removeprefix('http://')}",
            ],
            folder / "prometheus.log",
        )
        wait_for("Prometheus", lambda: get(f"{self.url}/-/ready"))
        tell(f"Prometheus at {self.url}, Pushgateway at {self.gateway}")

    def query(self, expression):
        """Values now, by their labels that matter."""
        found = self._ask("query", query=expression)
        ours = ("audit", "outcome", "kind", "change", "pool")
        return {
            tuple(item["metric"][name] for name in ours if name in item["metric"]): float(
                item["value"][1]
            )
            for item in found
        }

    def seen(self, expression):
        """All values that an expression has had since the start."""
        end = time.time()
        found = self._ask("query_range", query=expression, start=self.started_s, end=end, step=1)
        return [float(value) for series in found for _, value in series["values"]]

    def series(self, selector):
        """The labels of all series since the start."""
        return self._get("series", {"match[]": selector, "start": self.started_s})

    def _ask(self, path, **parameters):
        return self._get(path, parameters)["result"]

    def _get(self, path, parameters):
        address = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        return json.loads(get(address))["data"]
