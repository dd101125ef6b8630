"""Whatever process is killed, the run or the next one ends with the tables of a quiet one."""

import contextlib
import random
import subprocess

import pytest

from tests.faults.audits import assert_nothing_left, assert_survived, slow_videos, undisturbed
from tests.faults.drivers import Driver, committed
from tests.faults.nodes import Netns, Nodes, kill_node
from tests.faults.processes import kill, pool_actors

pytestmark = pytest.mark.integration
NUM_CRATES = 18


def short_videos(tmp_path, checkpoints_per_actor):
    """So short that each is one crate, but the first, which begins with a batch alone."""
    videos = slow_videos(tmp_path, num=NUM_CRATES, num_frames=8)
    videos.values["engine"]["checkpoints_per_actor"] = checkpoints_per_actor
    return videos


@pytest.mark.slow  # in every run actors die in tests/integration/test_crashes.py
def test_an_actor_of_each_pool_is_killed(tmp_path):
    videos = short_videos(tmp_path, checkpoints_per_actor=2)
    with Driver(videos.spec_file()) as driver:
        assert driver.wait_until(lambda: committed(videos.out) >= 2)
        first = pool_actors(driver.pid)
        assert len(first) == 2
        for number, pid in enumerate(first, start=2):
            kill(pid)
            assert driver.wait_until(lambda seen=number: committed(videos.out) >= 3 * seen)
        assert not set(first) & set(pool_actors(driver.pid))
        driver.completes()
    assert_survived(videos.out, undisturbed(videos))


@pytest.mark.parametrize("num_kills", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_the_driver_is_killed(tmp_path, num_kills):
    videos = short_videos(tmp_path, checkpoints_per_actor=3)
    for at in sorted(random.Random(num_kills).sample(range(1, NUM_CRATES - 3), num_kills)):
        with Driver(videos.spec_file()) as driver:
            assert driver.wait_until(lambda at=at: committed(videos.out) >= at)
        assert not list(videos.out.glob("runs/*/manifest.json"))
    with Driver(videos.spec_file()) as driver:
        driver.completes()
    again = assert_survived(videos.out, undisturbed(videos))
    assert again.manifest.plan["num_reused"] > 0
    assert_nothing_left(videos.out)


def three_actors(tmp_path):
    videos = slow_videos(tmp_path, num=8)
    videos.values["engine"] = {"batch_size": 2, "actors_per_pool": 3}
    return videos


@pytest.mark.slow
def test_a_worker_node_is_killed(tmp_path):
    videos = three_actors(tmp_path)
    with Nodes() as nodes:
        nodes.head(num_cpus=2)
        workers = [nodes.worker(num_cpus=2) for _ in range(2)]
        with Driver(videos.spec_file(), "--address", nodes.address, env=nodes.env) as driver:
            assert driver.wait_until(lambda: committed(videos.out) >= 5)
            kill_node(next(worker for worker in workers if pool_actors(worker.pid)))
            driver.completes(limit_s=180)
    assert_survived(videos.out, undisturbed(videos))


@pytest.fixture
def netns():
    with contextlib.ExitStack() as stack:
        try:
            namespace = stack.enter_context(Netns())
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no network namespaces here: {getattr(error, 'stderr', error)}")
        yield namespace


@pytest.mark.slow
def test_the_network_of_a_worker_node_is_cut(tmp_path, netns):
    videos = three_actors(tmp_path)
    with Nodes(host=netns.outer_host) as nodes:
        nodes.head(num_cpus=4)
        worker = nodes.worker(2, netns.inner_host, netns.inside)
        with Driver(videos.spec_file(), "--address", nodes.address, env=nodes.env) as driver:
            assert driver.wait_until(lambda: committed(videos.out) >= 3 and pool_actors(worker.pid))
            netns.cut()
            driver.completes(limit_s=240)
    assert_survived(videos.out, undisturbed(videos))
