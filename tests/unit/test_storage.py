import asyncio
import errno
import io
import os
import re
import subprocess
from pathlib import Path
from typing import ClassVar

import fsspec
import pytest
from fsspec.asyn import AsyncFileSystem
from hypothesis import given
from hypothesis import strategies as st

from ray_audit import storage, store_errors, store_writes
from ray_audit.errors import AlreadyThereError, StorageError
from ray_audit.processes import own_name


@pytest.fixture
def memory():
    """A store with a scheme, as S3 has one, without a network."""
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    yield "memory:///bucket"
    fs.store.clear()


@pytest.fixture(params=["local", "memory"])
def base(request, tmp_path):
    if request.param == "local":
        return str(tmp_path / "bucket")
    return request.getfixturevalue("memory")


def put(base, *names, content=b"x"):
    for name in names:
        storage.write_bytes(f"{base}/{name}", content)


def names(found, base):
    root = base.removeprefix("memory:///")
    return [re.sub(rf".*{re.escape(root)}/", "", one.uri) for one in found]


ODD_NAMES = ["a b.mp4", "100%.mp4", "take#2.mp4", "größe-π.mp4", "a+b&c=d.mp4", "it's.mp4"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_an_odd_name_is_listed_written_and_read(base, name):
    put(base, f"videos/{name}", content=b"content")
    (found,) = storage.list_objects(f"{base}/videos/*.mp4")
    assert found.uri.endswith(f"/videos/{name}")
    assert found.size_bytes == 7
    assert storage.read_bytes(found.uri) == b"content"
    assert storage.read_range(found.uri, 1, 4) == b"ont"
    with storage.open_read(found.uri, found.size_bytes) as stream:
        assert stream.read() == b"content"
    assert storage.exists(found.uri)
    assert storage.shard_keys(f"{base}/videos/*.mp4", [found.uri]) == [name]


def test_a_glob_is_sorted_and_holds_files_only(base):
    put(base, "b.png", "a.png", "folder.png/inside.png", "c.jpg")
    assert names(storage.list_objects(f"{base}/*.png"), base) == ["a.png", "b.png"]


def test_a_double_star_goes_through_folders(base):
    put(base, "x/a.png", "x/y/z/b.png", "c.png")
    found = storage.list_objects(f"{base}/**/*.png")
    assert {"x/a.png", "x/y/z/b.png"} <= set(names(found, base))


def test_a_list_keeps_its_order(base):
    put(base, "a.png", "b.png")
    found = storage.list_objects([f"{base}/b.png", f"{base}/a.png"])
    assert names(found, base) == ["b.png", "a.png"]


def test_a_file_named_twice_is_refused(base):
    put(base, "a.png")
    with pytest.raises(StorageError, match=r"named twice.*a\.png"):
        storage.list_objects([f"{base}/a.png", f"{base}/*.png"])


@pytest.mark.parametrize("pattern", ["*.png", "none.png", "none/*/x.png"])
def test_a_pattern_without_a_match_is_named(base, pattern):
    put(base, "a.jpg")
    with pytest.raises(StorageError, match="matches no file: check the path") as error:
        storage.list_objects(f"{base}/{pattern}")
    assert f"{base}/{pattern}" in str(error.value)


def test_a_folder_is_no_file(base):
    put(base, "folder/a.png")
    with pytest.raises(StorageError, match="matches no file"):
        storage.list_objects(f"{base}/folder")


def test_a_prefix_lists_all_below_and_nothing_where_there_is_none(base):
    put(base, "p/b/1", "p/a", "q/c")
    assert names(storage.list_prefix(f"{base}/p"), base) == ["p/a", "p/b/1"]
    assert storage.list_prefix(f"{base}/none") == []


def test_a_change_of_a_local_file_changes_its_etag(tmp_path):
    put(str(tmp_path), "a", content=b"one")
    (before,) = storage.list_objects(f"{tmp_path}/a")
    os.utime(tmp_path / "a", (1, 1))
    (after,) = storage.list_objects(f"{tmp_path}/a")
    assert before.etag != after.etag


@pytest.mark.parametrize(
    ("pattern", "files", "keys"),
    [
        ("{}/v/*.mp4", ["v/b.mp4", "v/a.mp4"], ["b.mp4", "a.mp4"]),
        ("{}/v/*/*.mp4", ["v/or1/x.mp4", "v/or2/x.mp4"], ["or1/x.mp4", "or2/x.mp4"]),
        ("{}/v/or*/x.mp4", ["v/or1/x.mp4"], ["or1/x.mp4"]),
        ("{}/**/*.mp4", ["v/w/x.mp4"], ["v/w/x.mp4"]),
        ("{}/v/x.mp4", ["v/x.mp4"], ["x.mp4"]),
    ],
)
@pytest.mark.parametrize("root", ["s3://bucket", "gs://other", "/data/here", "file:///data"])
def test_keys_are_the_same_wherever_the_files_lie(root, pattern, files, keys):
    uris = [f"{root}/{name}" for name in files]
    assert storage.shard_keys(pattern.format(root), uris) == keys


@pytest.mark.parametrize("root", ["s3://bucket", "/data/here"])
def test_keys_of_a_list_are_below_the_folder_that_all_share(root):
    uris = [f"{root}/v/or1/x.mp4", f"{root}/v/or2/x.mp4"]
    assert storage.shard_keys(uris, uris) == ["or1/x.mp4", "or2/x.mp4"]


def test_a_relative_path_gives_the_keys_of_the_absolute_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put("videos", "a.mp4")
    (found,) = storage.list_objects("videos/*.mp4")
    assert found.uri == str(tmp_path / "videos/a.mp4")
    assert storage.shard_keys("videos/*.mp4", [found.uri]) == ["a.mp4"]


def test_natural_order():
    shuffled = ["e10", "e2", "e1", "e", "f1", "e2b", "e02"]
    assert sorted(shuffled, key=storage.natural_key) == ["e", "e1", "e02", "e2", "e2b", "e10", "f1"]


@given(st.lists(st.text(alphabet="ae_-.059²", max_size=6)))
def test_any_names_have_a_natural_order(texts):
    ordered = sorted(texts, key=storage.natural_key)
    backwards = sorted(texts, key=storage.natural_key, reverse=True)
    assert [storage.natural_key(one) for one in ordered] == [
        storage.natural_key(one) for one in reversed(backwards)
    ]


def test_a_whole_object_is_replaced(base):
    put(base, "a", content=b"first, and longer")
    put(base, "a", content=b"second")
    assert storage.read_bytes(f"{base}/a") == b"second"


@pytest.mark.parametrize("step", ["os.replace", "os.fsync"])
def test_a_write_that_breaks_off_leaves_nothing(tmp_path, monkeypatch, step):
    def broken(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(step, broken)
    with pytest.raises(StorageError, match="No space left") as error:
        put(str(tmp_path), "folder/a.bin")
    assert str(tmp_path / "folder/a.bin") in str(error.value)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_write_that_is_interrupted_keeps_the_earlier_object(tmp_path, monkeypatch):
    put(str(tmp_path), "a", content=b"before")

    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        put(str(tmp_path), "a", content=b"after")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"a": b"before"}


def test_a_write_leaves_no_temporary_file(tmp_path):
    put(str(tmp_path), "a", "a", "b/c")
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")) == ["a", "b", "b/c"]


@pytest.mark.parametrize("read", [storage.read_bytes, storage.open_read])
def test_an_object_that_does_not_exist_is_named(base, read):
    with pytest.raises(StorageError, match=r"cannot read .*/none\.bin: it does not exist"):
        read(f"{base}/none.bin")
    assert not storage.exists(f"{base}/none.bin")


def test_an_unknown_scheme_is_named():
    with pytest.raises(StorageError, match=r"nosuch://b/x: no support for nosuch://"):
        storage.list_objects("nosuch://b/x")


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


@given(st.lists(st.text()), st.lists(st.text()))
def test_equal_parts_have_equal_digests(one, other):
    assert (storage.digest(*one) == storage.digest(*other)) == (
        "\x1f".join(one) == "\x1f".join(other)
    )


def test_the_digest_is_the_same_on_every_machine():
    assert storage.digest("a", 1, None) == "4d4c921084b03999dc84498d0cde9be4"
    assert len(storage.digest()) == 32


def test_a_folder_with_wildcards_in_its_name_can_be_escaped(tmp_path):
    folder = tmp_path / "run[1]"
    put(str(folder), "a.png")
    pattern = f"{storage.escape_glob(str(folder))}/*.png"
    assert [Path(one.uri).name for one in storage.list_objects(pattern)] == ["a.png"]


@pytest.mark.parametrize("to", ["{folder}/a/b.bin", "memory://copies/{name}/b.bin"])
def test_a_copy_has_the_same_bytes_in_any_store(tmp_path, to):
    (tmp_path / "x.bin").write_bytes(b"\x00\xff" * 1000)
    to = to.format(folder=tmp_path, name=tmp_path.name)
    storage.copy(str(tmp_path / "x.bin"), to)
    assert storage.read_bytes(to) == (tmp_path / "x.bin").read_bytes()
    storage.copy(to, to + ".again")  # within one store
    assert storage.read_bytes(to + ".again") == storage.read_bytes(to)


@pytest.mark.parametrize("to", ["{folder}/b.bin", "memory://broken/{name}/b.bin"])
def test_a_stream_that_breaks_off_leaves_nothing(tmp_path, to):
    to = to.format(folder=tmp_path, name=tmp_path.name)

    def break_off():
        with storage.open_write(to) as stream:
            stream.write(b"half")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        break_off()
    assert not storage.exists(to)
    assert list(tmp_path.iterdir()) == []


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
            call if name in ("cat_file", "pipe_file", "exists", "find") else getattr(self._fs, name)
        )


@pytest.fixture
def flaky(memory, monkeypatch):
    def make(num_failures, error=None):
        put(memory, "a")
        fs = Flaky(fsspec.filesystem("memory"), num_failures, error or TimeoutError("slow"))
        monkeypatch.setattr(storage, "filesystem", lambda uri: (fs, "/bucket/a"))
        return f"{memory}/a"

    return make


CALLS = {
    "read_bytes": lambda uri: storage.read_bytes(uri) == b"x",
    "read_range": lambda uri: storage.read_range(uri, 0, 1) == b"x",
    "write_bytes": lambda uri: storage.write_bytes(uri, b"x") is None,
    "exists": storage.exists,
    "list_prefix": storage.list_prefix,
}


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
