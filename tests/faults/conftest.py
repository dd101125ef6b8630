"""An S3 server behind a proxy that injects faults; the tests' own environment stays as it is."""

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.faults.drivers import REPOSITORY
from tests.faults.nodes import free_port


class FaultyStore:
    """A bucket. Audits see it through `env`, faults and all; the tests see it as it is."""

    def __init__(self, port, proxy_port):
        import s3fs

        self.port, self.proxy_port = port, proxy_port
        self.env = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy_port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            # A client that waits a second for an answer, so that timeouts cost no minutes.
            "FSSPEC_S3": json.dumps({"config_kwargs": {"read_timeout": 1}}),
        }
        self._fs = s3fs.S3FileSystem(
            endpoint_url=f"http://127.0.0.1:{port}",
            key="test",
            secret="test",
            use_listings_cache=False,
            skip_instance_cache=True,
        )
        self.name = f"audit-{os.urandom(4).hex()}"
        self._fs.mkdir(self.name)

    def put(self, folder):
        """Copy a folder's content to the bucket; its URI."""
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file():
                key = f"{self.name}/{path.relative_to(folder).as_posix()}"
                self._fs.pipe_file(key, path.read_bytes())
        return f"s3://{self.name}"

    def get(self, prefix, folder):
        """Copy what lies below a prefix to a folder."""
        for name in self._fs.find(f"{self.name}/{prefix}"):
            target = Path(folder) / name.removeprefix(f"{self.name}/{prefix}/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(self._fs.cat_file(name))

    def counts(self):
        """What the proxy saw and did."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.proxy_port}/-/counts") as answer:
            return json.load(answer)


@contextlib.contextmanager
def faulty_store(fraction, seed=0, faults=()):
    """Server, proxy and bucket."""
    port, proxy_port = free_port(), free_port()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": REPOSITORY}
    server = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    proxy = [sys.executable, "-m", "tests.faults.proxy", "--port", str(proxy_port)]
    proxy += ["--upstream-port", str(port), "--fraction", str(fraction), "--seed", str(seed)]
    proxy += ["--faults", *faults] if faults else []
    started = [subprocess.Popen(command, **quiet) for command in (server, proxy)]
    try:
        _wait_for(f"http://127.0.0.1:{port}/moto-api/")
        _wait_for(f"http://127.0.0.1:{proxy_port}/-/counts")
        yield FaultyStore(port, proxy_port)
    finally:
        for process in started:
            process.kill()
            process.wait()


def _wait_for(url, limit_s=60):
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(f"{url} did not answer within {limit_s} s")


@pytest.fixture(scope="module")
def store():
    with faulty_store(fraction=0.1) as faulty:
        yield faulty
