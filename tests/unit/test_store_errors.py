import asyncio
import errno
import io
from typing import ClassVar

import fsspec
import pytest
from fsspec.asyn import AsyncFileSystem

from ray_audit import storage, store_errors, store_writes
from ray_audit.errors import StorageError
from tests.support.stores import put


class SilentStore(AsyncFileSystem):
    """Takes nothing at the first `num_silent` times."""

    protocol = "silent"
    cachable = False
    kept: ClassVar[dict[str, bytes]] = {}
    num_silent = 0

    async def _pipe_file(self, path, value, **_):
        if type(self).num_silent:
            type(self).num_silent -= 1
            await asyncio.Event().wait()
        self.kept[path] = value


@pytest.fixture
def silent(monkeypatch):
    monkeypatch.setattr(store_writes, "_PUT_LIMIT_S", 0.05)
    fsspec.register_implementation("silent", SilentStore, clobber=True)
    SilentStore.kept.clear()
    return SilentStore


def test_a_store_that_falls_silent_is_asked_again(silent):
    silent.num_silent = 2
    storage.write_bytes("silent://a", b"content")
    assert silent.kept == {"a": b"content"}


def test_a_store_that_stays_silent_is_no_reason_to_wait_for_ever(silent):
    silent.num_silent = 3
    with pytest.raises(StorageError, match=r"cannot write silent://a: FSTimeoutError"):
        storage.write_bytes("silent://a", b"content")
    assert silent.kept == {}


class NoCredentialsError(Exception):
    """What a cloud library raises."""


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (NoCredentialsError("Unable to locate credentials"), "Set AWS_ACCESS_KEY_ID"),
        (PermissionError("Forbidden"), "permission denied"),
        (TimeoutError("slow"), "TimeoutError: slow"),
    ],
)
def test_what_a_library_raises_is_explained(raised, said):
    with (
        pytest.raises(StorageError, match=rf"cannot list s3://b/x: .*{said}"),
        storage.explained("list", "s3://b/x"),
    ):
        raise raised


@pytest.fixture
def pauses(monkeypatch):
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)
    return slept


class Flaky:
    """A store that does not answer the first few times."""

    def __init__(self, fs, num_failures, error):
        self._fs, self.num_left, self._error = fs, num_failures, error

    def __getattr__(self, name):
        def call(*args, **kwargs):
            self.num_left -= 1
            if self.num_left >= 0:
                raise self._error
            return getattr(self._fs, name)(*args, **kwargs)

        return (
            call
            if name in ("cat_file", "pipe_file", "exists", "find", "glob", "put_file", "cp_file")
            else getattr(self._fs, name)
        )


@pytest.fixture
def flaky(memory, monkeypatch):
    def make(num_failures, error=None):
        put(memory, "a")
        fs = Flaky(fsspec.filesystem("memory"), num_failures, error or TimeoutError("slow"))
        monkeypatch.setattr(storage, "filesystem", lambda uri: (fs, uri.removeprefix("memory:/")))
        return f"{memory}/a"

    return make


CALLS = {
    "read_bytes": lambda uri: storage.read_bytes(uri) == b"x",
    "read_range": lambda uri: storage.read_range(uri, 0, 1) == b"x",
    "write_bytes": lambda uri: storage.write_bytes(uri, b"x") is None,
    "exists": storage.exists,
    "list_prefix": storage.list_prefix,
    "list_objects": lambda uri: storage.list_objects(f"{uri}*"),
    "open_write": lambda uri: streamed(uri),
    "copy": lambda uri: storage.copy(uri, f"{uri}/b") is None,
}


def streamed(uri):
    with storage.open_write(uri) as stream:
        stream.write(b"x")
    return True


@pytest.mark.parametrize("name", CALLS)
def test_a_store_that_answers_at_the_third_try_is_enough(name, flaky, pauses):
    assert CALLS[name](flaky(2))
    assert len(pauses) == 2


def test_what_was_tried_in_vain_is_counted(flaky, pauses):
    with pytest.raises(StorageError, match="slow") as error:
        storage.read_bytes(flaky(3))
    assert error.value.attempts == 3
    assert len(pauses) == 2


@pytest.mark.parametrize("error", [FileNotFoundError("gone"), PermissionError("no")])
def test_what_another_try_cannot_mend_is_tried_once(error, flaky, pauses):
    with pytest.raises(StorageError) as raised:
        storage.read_bytes(flaky(9, error))
    assert (raised.value.attempts, pauses) == (1, [])


def test_a_full_disk_says_what_to_do(tmp_path, monkeypatch, pauses):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(
        StorageError, match=r"the disk is full .No space left.*choose another `output`"
    ):
        storage.write_bytes(str(tmp_path / "a"), b"x")
    assert list(tmp_path.iterdir()) == []
    assert pauses == []


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EREMOTEIO, errno.EIO])
def test_an_error_in_the_middle_of_a_stream_names_the_object(tmp_path, number):
    class Broken(io.BytesIO):
        def read(self, size=-1):
            raise OSError(number, "Please reduce your request rate.")

    stream = store_errors.explained_stream(Broken(), "read", "s3://bucket/v.mp4")
    with pytest.raises(StorageError, match=r"cannot read s3://bucket/v.mp4.*reduce") as caught:
        stream.read(10)
    assert caught.value.may_pass


def test_a_disk_that_is_full_in_the_middle_of_a_stream_is_a_sentence(tmp_path, monkeypatch):
    class Full(io.BytesIO):
        def write(self, content):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("builtins.open", lambda *_: Full())
    with (
        pytest.raises(StorageError, match=rf"cannot write {tmp_path}/a.tar: the disk is full"),
        storage.open_write(f"{tmp_path}/a.tar") as stream,
    ):
        stream.write(b"x")
