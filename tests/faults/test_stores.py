"""A store that fails now and then, and disks and memories that are full, change no table."""

import os
import subprocess
import sys

import pytest

from tests.faults.audits import assert_survived, slow_videos, undisturbed
from tests.faults.conftest import faulty_store
from tests.faults.drivers import DATE, REPOSITORY, Driver, committed, tables_of

pytestmark = pytest.mark.integration
# One process in every test run; Ray, which takes its time to start, among the slow tests.
BOTH_ENGINES = pytest.mark.parametrize(
    "options",
    [pytest.param(("--local",), id="local"), pytest.param((), id="ray", marks=pytest.mark.slow)],
)


def in_bucket(videos, store):
    """The specification with data, checkpoints and output in the bucket."""
    uri = store.put(videos.folder)
    dataset = videos.values["dataset"] | {
        "uri": f"{uri}/data/*.mp4",
        "labels": {"frames": f"{uri}/data/frames.csv"},
    }
    return {
        "dataset": dataset,
        "checkpoints": f"{uri}/checkpoints/*.safetensors",
        "output": f"{uri}/out",
    }


@BOTH_ENGINES
def test_a_tenth_of_all_requests_fails(tmp_path, store, options):
    videos = slow_videos(tmp_path, num=3, num_frames=12)
    name = f"{len(options)}/out"
    changes = in_bucket(videos, store) | {"output": f"s3://{store.name}/{name}"}
    before = sum(store.counts()["injected"].values())
    with Driver(videos.spec_file(**changes), *options, env=store.env) as driver:
        driver.completes(limit_s=200)
    assert sum(store.counts()["injected"].values()) >= before + 5
    store.get(name, tmp_path / "got")
    assert_survived(tmp_path / "got", undisturbed(videos))


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("options", [("--local",), ()], ids=["local", "ray"])
def test_with_a_third_of_all_requests_failing_runs_end_and_the_tables_are_the_same(
    tmp_path, options
):
    """One run may give up, or lose files to the store: those after it go on from there."""
    videos = slow_videos(tmp_path, num=3)
    expected = undisturbed(videos)
    with faulty_store(fraction=0.3, seed=3) as store:
        changes = in_bucket(videos, store)
        codes = []
        while codes[-1:] != [0] and len(codes) < 12:
            with Driver(videos.spec_file(**changes), *options, env=store.env) as driver:
                codes.append(driver.ended(limit_s=600))
                said = driver.text()
        assert codes[-1] == 0, (codes, said)
        assert sum(store.counts()["injected"].values()) >= 20
        store.get("out", tmp_path / "got")
    assert_survived(tmp_path / "got", expected)
    assert not list((tmp_path / "got").glob("attempts/*"))


def test_a_body_that_is_cut_short_is_never_taken_for_the_object(tmp_path):
    """Bodies of every length, half of them cut: each read gives all of it or an error."""
    script = (
        "import sys\n"
        "from ray_audit import storage\n"
        "storage._PAUSES_S = (0.0, 0.0)\n"
        "for size in (1, 2, 1000, 10**6):\n"
        "    for number in range(5):\n"
        "        uri = f'{sys.argv[1]}/{size}'\n"
        "        try:\n"
        "            read = [storage.read_bytes(uri), storage.read_range(uri, 0, size)]\n"
        "            with storage.open_read(uri, size) as stream:\n"
        "                read.append(stream.read())\n"
        "        except Exception:\n"
        "            continue\n"
        "        assert all(one == b'x' * size for one in read), (size, [len(o) for o in read])\n"
        "        print('whole')\n"
    )
    (tmp_path / "objects").mkdir()
    for size in (1, 2, 1000, 10**6):
        (tmp_path / f"objects/{size}").write_bytes(b"x" * size)
    with faulty_store(fraction=0.5, faults=["cut_short"]) as store:
        command = [sys.executable, "-c", script, store.put(tmp_path / "objects")]
        ended = subprocess.run(
            command,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)} | store.env,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert store.counts()["injected"]["cut_short"] > 18
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("whole") > 9


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 100 KiB, and a function that gives it more."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"mount is not allowed here: {done.stderr.strip()}")
    yield (
        folder,
        lambda: subprocess.run(["mount", "-o", "remount,size=10m", str(folder)], check=True),
    )
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@BOTH_ENGINES
def test_a_full_disk_is_an_error_and_a_larger_one_completes(tmp_path, small_disk, options):
    folder, enlarge = small_disk
    videos = slow_videos(tmp_path, num=4)
    output = folder / "out"
    spec = videos.spec_file(output=str(output))
    with Driver(spec, *options) as driver:
        assert driver.ended() == 1, driver.text()
    assert "No space left on device" in driver.text()
    assert "cannot write" in driver.text()
    assert not list(output.glob("runs/*/manifest.json"))
    assert 0 < committed(output) < 4 * 7
    enlarge()
    with Driver(spec, *options) as driver:
        driver.completes()
    tables = assert_survived(output, undisturbed(videos))
    assert tables.manifest.plan["num_reused"] > 0


SMALL_STORE = """
import sys, ray
from ray_audit.config import AuditConfig
from ray_audit.engine.run.audit import run_audit
ray.init(num_cpus=2, object_store_memory=80 * 2**20, include_dashboard=False)
run_audit(AuditConfig.load(sys.argv[1]), logical_date=sys.argv[2])
"""


@pytest.mark.slow
def test_a_small_object_store_is_enough_for_small_batches(tmp_path):
    videos = slow_videos(tmp_path, num=2)
    spec = videos.spec_file(engine={"batch_size": 2, "checkpoints_per_actor": 3})
    ended = subprocess.run(
        [sys.executable, "-c", SMALL_STORE, str(spec), DATE],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert ended.returncode == 0, ended.stderr
    assert tables_of(videos.out).counts["scored"] == 48


def test_two_runs_of_one_specification_at_once_make_one_table(tmp_path):
    videos = slow_videos(tmp_path, num=3)
    spec = videos.spec_file()
    with Driver(spec, "--local") as first, Driver(spec, "--local") as other:
        first.completes()
        other.completes()
    assert len(list(videos.out.glob("runs/*/manifest.json"))) == 1
    assert_survived(videos.out, undisturbed(videos))
