"""Two processes that fill one place at once, and one that is killed while it does."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest
import s3fs

from ray_audit import open_run, storage
from tests.faults.drivers import REPOSITORY
from tests.support import knowing
from tests.support.audits import audit

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900)]

# Who has claimed a place waits, so that the other comes meanwhile; one that is killed is after
# so many files, and counts as dead after seconds instead of half a minute.
PROGRAM = """
    import functools, os, signal, sys, time
    from ray_audit import claims, cli, storage

    wait_s, num_files = float(sys.argv.pop(1)), int(sys.argv.pop(1))
    take, made = claims.Claim.take, claims.Claim.__init__

    def slowly(claim):
        take(claim)
        time.sleep(wait_s)

    def counted(write):
        @functools.wraps(write)
        def writes(uri, *rest):
            global num_files
            if "/.claim/" not in uri and "/to/" in uri:
                num_files -= 1
                if num_files == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return write(uri, *rest)
        return writes

    def soon(claim, *args, **kwargs):
        made(claim, *args, ttl_s=4.0, **kwargs)

    claims.Claim.take, claims.Claim.__init__ = slowly, soon
    for name in ("write_bytes", "create_bytes", "copy", "open_write"):
        setattr(storage, name, counted(getattr(storage, name)))
    cli.run(sys.argv[1:])
"""


class Started:
    """A command in a process of its own."""

    def __init__(self, folder, *command, wait_s=0.0, dies_after=-1):
        program = folder / "program.py"
        program.write_text(textwrap.dedent(PROGRAM))
        self.process = subprocess.Popen(
            [sys.executable, str(program), str(wait_s), str(dies_after), *map(str, command)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY), "XDG_STATE_HOME": str(folder / "s")},
        )

    def ended(self):
        said, _ = self.process.communicate(timeout=400)
        return self.process.returncode, said


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Images in folders with wrong labels, audited."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "s"))
    small = knowing.images(tmp_path)
    small = small[0] if isinstance(small, tuple) else small
    audit(small)
    small.values["training"] = {"epochs": 2, "num_gpus": 0}
    return small


def places(bucket, tmp_path):
    return {"disk": str(tmp_path / "to"), "store": f"{bucket.uri}/to"}


COMMANDS = {
    "correct": lambda small, to: [
        ["correct", small.out, "--to", to, "--local", "--confidence", share]
        for share in ("0.5", "0.9999999")
    ],
    "inject": lambda small, to: [
        ["inject", small.spec_file(), "--to", to, "--rate", "0.3", "--seed", seed]
        for seed in ("1", "2")
    ],
    "export": lambda small, to: [
        ["export", small.out, "--format", "csv", "--to", to, *more] for more in ([], ["--top", "1"])
    ],
    "train": lambda small, to: [
        ["train", small.spec_file(), "--to", to, "--local", "--set", f"training.seed={seed}"]
        for seed in (1, 2)
    ],
}


@pytest.mark.parametrize("where", ["disk", "store"])
@pytest.mark.parametrize("name", COMMANDS)
def test_of_two_that_fill_one_place_at_once_one_is_refused(tmp_path, made, bucket, name, where):
    commands = COMMANDS[name](made, places(bucket, tmp_path)[where])
    both = [Started(tmp_path, *command, wait_s=8.0) for command in commands]
    ends = sorted(item.ended() for item in both)
    codes = [code for code, _ in ends]
    assert codes[0] == 0, ends
    assert codes[1] in (1, 2), ends
    assert "Traceback" not in ends[1][1]
    assert any(
        words in ends[1][1]
        for words in (
            *("is being filled", "filled by another", "is there already"),
            "put back what it was trained with",  # where the first has ended by then
        )
    ), ends


@pytest.mark.parametrize("where", ["disk", "store"])
@pytest.mark.parametrize("name", ["correct", "inject", "train"])
def test_what_was_killed_while_it_filled_a_place_can_be_done_again(
    tmp_path, made, bucket, name, where
):
    to = places(bucket, tmp_path)[where]
    command = COMMANDS[name](made, to)[0]
    code, said = Started(tmp_path, *command, dies_after=1 if name == "correct" else 2).ended()
    assert code == -signal.SIGKILL, said
    code, said = Started(tmp_path, *command).ended()
    assert code == 0, said
    left = s3fs.S3FileSystem(use_listings_cache=False).find(to) if where == "store" else ()
    left = left or [str(path) for path in (tmp_path / "to").rglob("*")]
    assert not [path for path in left if ".claim" in path or path.endswith(".tmp")]
    assert any(path.endswith("spec.yaml") for path in left)


@pytest.mark.parametrize("where", ["disk", "store"])
def test_two_nights_of_one_date_at_once_give_one_result(tmp_path, made, bucket, where):
    output = places(bucket, tmp_path)[where]
    made.values["output"] = output
    command = ["night", made.spec_file(), "--local", "--date", "2026-01-01"]
    both = [Started(tmp_path, *command) for _ in range(2)]
    ends = [item.ended() for item in both]
    assert [code for code, _ in ends] == [0, 0], ends
    assert open_run(output).scores().num_rows == 12
    names = [item.uri.rpartition("/")[2] for item in storage.list_prefix(output)]
    assert (names.count("manifest.json"), names.count("night.json")) == (1, 1)
