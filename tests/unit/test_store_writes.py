import errno
import os
import shutil
import subprocess
from typing import ClassVar

import pytest

from ray_audit import storage, store_writes
from ray_audit.errors import AlreadyThereError, StorageError
from ray_audit.processes import own_name
from tests.support.stores import names, put


def test_only_the_first_creates_an_object(base):
    storage.create_bytes(f"{base}/a", b"first")
    with pytest.raises(AlreadyThereError, match="it is there already"):
        storage.create_bytes(f"{base}/a", b"second")
    assert storage.read_bytes(f"{base}/a") == b"first"
    assert names(storage.list_prefix(base), base) == ["a"]


def test_a_file_system_without_hard_links_creates_too(tmp_path, monkeypatch):
    def refuse(*args):
        raise PermissionError("hard links are not supported")

    monkeypatch.setattr("os.link", refuse)
    test_only_the_first_creates_an_object(str(tmp_path))


def test_a_refused_conditional_put_is_understood_in_every_dialect():
    class RefusedError(Exception):
        response: ClassVar = {"Error": {"Code": "PreconditionFailed"}}

    wrapped = OSError("At least one of the pre-conditions you specified did not hold")
    wrapped.__cause__ = RefusedError()
    assert store_writes.says_there(wrapped)
    assert not store_writes.says_there(OSError("other"))


@pytest.fixture
def removed_working_directory(tmp_path, monkeypatch):
    """As Ray leaves a job's on a machine of several nodes, and people their shells'."""
    (tmp_path / "was").mkdir()
    monkeypatch.chdir(tmp_path / "was")
    (tmp_path / "was").rmdir()


# findings/fsspec_rm_asks_for_the_working_directory.sh shows why.
def test_a_folder_is_removed_whatever_became_of_the_working_directory(
    tmp_path, removed_working_directory
):
    put(tmp_path / "out/a/b", b"")
    storage.remove_prefix(str(tmp_path / "out/a"))
    assert os.listdir(tmp_path / "out") == []
    storage.remove_prefix(str(tmp_path / "out/a"))


@pytest.mark.parametrize(
    ("code", "is_removed"), [(errno.ENOENT, True), (errno.ENOTEMPTY, True), (errno.EACCES, False)]
)
def test_a_folder_in_which_others_write_and_remove_is_removed(
    tmp_path, monkeypatch, code, is_removed
):
    put(tmp_path / "out/a", b"")
    calls, rmtree = [], shutil.rmtree

    def meets_another(path):
        calls.append(path)
        if len(calls) == 1:
            raise OSError(code, os.strerror(code))
        rmtree(path)

    monkeypatch.setattr(shutil, "rmtree", meets_another)
    if is_removed:
        storage.remove_prefix(str(tmp_path / "out"))
    else:
        with pytest.raises(StorageError, match="permission denied"):
            storage.remove_prefix(str(tmp_path / "out"))
    assert (tmp_path / "out").exists() is not is_removed


def test_a_folder_that_fills_again_and_again_is_an_error(tmp_path, monkeypatch):
    def fills(path):
        raise OSError(errno.ENOTEMPTY, "Directory not empty")

    put(tmp_path / "out/a", b"")
    monkeypatch.setattr(shutil, "rmtree", fills)
    with pytest.raises(StorageError, match="not empty"):
        storage.remove_prefix(str(tmp_path / "out"))


def test_what_is_removed_is_gone_and_may_be_removed_again(base):
    put(base, "a", "b")
    storage.remove(f"{base}/a")
    storage.remove(f"{base}/a")
    assert names(storage.list_prefix(base), base) == ["b"]


@pytest.fixture
def refusing(monkeypatch):
    """A store that refuses conditional writes with 501, as s3fs tells it."""
    put = store_writes.put

    def refuse(fs, path, content, mode="overwrite"):
        if mode == "create":
            raise OSError(errno.ENOSYS, "A header you provided implies functionality")
        put(fs, path, content)

    monkeypatch.setattr(store_writes, "put", refuse)
    monkeypatch.setattr(storage, "_SETTLE_S", 0.0)
    return f"memory://refusing-{os.urandom(4).hex()}"


def test_without_conditional_writes_an_object_is_created_by_looking(refusing):
    storage.create_bytes(f"{refusing}/a.json", b"mine")
    assert storage.read_bytes(f"{refusing}/a.json") == b"mine"
    with pytest.raises(AlreadyThereError):
        storage.create_bytes(f"{refusing}/a.json", b"other")
    assert storage.read_bytes(f"{refusing}/a.json") == b"mine"


def test_of_two_that_look_at_once_one_is_told_that_it_lost(refusing, monkeypatch):
    def another_writes(_):
        storage.write_bytes(f"{refusing}/a.json", b"theirs")

    monkeypatch.setattr(storage.time, "sleep", another_writes)
    with pytest.raises(AlreadyThereError):
        storage.create_bytes(f"{refusing}/a.json", b"mine")


def test_a_creation_whose_answer_got_lost_is_no_failure(tmp_path):
    storage.create_bytes(f"{tmp_path}/a.json", b"mine")
    storage.create_bytes(f"{tmp_path}/a.json", b"mine")


def test_a_store_that_refuses_conditions_is_found_by_trying(refusing):
    assert not storage.knows_conditions(refusing)
    assert storage.list_prefix(refusing) == []


def test_a_store_that_knows_conditions_is_found_by_trying(base):
    assert storage.knows_conditions(base)
    assert storage.list_prefix(base) == []


def test_a_store_that_ignores_conditions_is_found_by_trying(monkeypatch):
    put = store_writes.put
    monkeypatch.setattr(store_writes, "put", lambda fs, path, content, mode: put(fs, path, content))
    assert not storage.knows_conditions(f"memory://ignoring-{os.urandom(4).hex()}")


def test_what_a_killed_process_had_not_written_whole_is_removed_and_nothing_else(tmp_path):
    ended = subprocess.Popen(["true"])
    ended.wait()
    here = own_name().partition("-")[0]
    names = {
        "dead": f".a.parquet.{here}-{ended.pid}.0123abcd.tmp",
        "living": f".a.parquet.{own_name()}.0123abcd.tmp",
        "of another machine": f".a.parquet.ffffffff-{ended.pid}.0123abcd.tmp",
        "theirs": ".a.parquet.1.tmp",
        "whole": "a.parquet",
    }
    for name in names.values():
        (tmp_path / "units").mkdir(exist_ok=True)
        (tmp_path / "units" / name).touch()
    storage.remove_unfinished(str(tmp_path))
    left = {path.name for path in (tmp_path / "units").iterdir()}
    assert set(names.values()) - left == {names["dead"]}
