"""One Ray cluster and one S3 server for all integration tests: what needs neither is functional."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("RAY_AUDIT_SHARED_DATA", Path(__file__).parents[3] / "shared/data"))


@pytest.fixture(scope="session")
def shared_data():
    if not SHARED.is_dir():
        pytest.skip(f"no shared data at {SHARED}; set RAY_AUDIT_SHARED_DATA")
    return SHARED


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def s3_server():
    """An S3 server in a process of its own; workers find it through the environment."""
    port = _free_port()
    endpoint = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    settings = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    previous = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        _wait_for(endpoint)
        yield endpoint
    finally:
        server.terminate()
        server.wait(timeout=20)
        for name, value in previous.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


def _wait_for(endpoint, limit_s=60):
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"{endpoint}/moto-api/", timeout=2)
            return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(f"the S3 server at {endpoint} did not answer within {limit_s} s")


@pytest.fixture(scope="session")
def cluster(s3_server):
    """A local Ray that every test shares; it inherits where the S3 server is."""
    import ray

    for left in reversed(range(3)):
        try:
            ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
            break
        except Exception:  # Ray gives up a node that is not up within half a minute
            ray.shutdown()
            if not left:
                raise
    yield ray
    ray.shutdown()


@pytest.fixture
def bucket(s3_server):
    """An empty bucket, and a function that puts files into it."""
    import s3fs

    fs = s3fs.S3FileSystem(use_listings_cache=False)
    name = f"audit-{os.urandom(4).hex()}"
    fs.mkdir(name)
    return Bucket(name, fs)


class Bucket:
    def __init__(self, name, fs):
        self.uri = f"s3://{name}"
        self._name = name
        self._fs = fs

    def put(self, path, key):
        self._fs.put(str(path), f"{self._name}/{key}", recursive=Path(path).is_dir())
        return f"{self.uri}/{key}"
