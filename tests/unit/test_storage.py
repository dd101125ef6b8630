import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_audit import storage
from ray_audit.errors import StorageError
from tests.support.stores import names, put

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


def test_natural_order():
    shuffled = ["e10", "e2", "e1", "e", "f1", "e2b", "e02"]
    assert sorted(shuffled, key=storage.natural_key) == ["e", "e1", "e02", "e2", "e2b", "e10", "f1"]


@given(st.lists(st.text(alphabet="ae_-.059²", max_size=6)))
def test_any_names_have_a_natural_order(texts):
    ordered = sorted(texts, key=storage.natural_key)
    backwards = sorted(texts, key=storage.natural_key, reverse=True)
    assert [storage.natural_key(item) for item in ordered] == [
        storage.natural_key(backward) for backward in reversed(backwards)
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


@given(st.lists(st.text()), st.lists(st.text()))
def test_equal_parts_have_equal_digests(first, other):
    assert (storage.digest(*first) == storage.digest(*other)) == (
        "\x1f".join(first) == "\x1f".join(other)
    )


def test_the_digest_is_the_same_on_every_machine():
    assert storage.digest("a", 1, None) == "4d4c921084b03999dc84498d0cde9be4"
    assert len(storage.digest()) == 32


def test_a_folder_with_wildcards_in_its_name_can_be_escaped(tmp_path):
    folder = tmp_path / "run[1]"
    put(str(folder), "a.png")
    pattern = f"{storage.escape_glob(str(folder))}/*.png"
    assert [Path(object_.uri).name for object_ in storage.list_objects(pattern)] == ["a.png"]


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


def test_folders_are_listed_with_the_time_of_their_last_change_on_a_disk_empty_ones_too(tmp_path):
    for name, time_s in (("a/b/1", 100.0), ("a/2", 300.0), ("a/3", 200.0)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time_s, time_s))
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    os.utime(tmp_path / "empty", (50.0, 50.0))
    assert storage.list_folders(f"{tmp_path}/") == {"a": 300.0, "empty": 50.0}
    assert storage.list_folders(str(tmp_path / "none")) == {}


def test_folders_of_a_store_are_those_that_hold_something():
    root = f"memory://folders-{os.urandom(4).hex()}"
    storage.write_bytes(f"{root}/attempts/call/unit/0", b"")
    storage.write_bytes(f"{root}/attempts/file", b"")
    assert list(storage.list_folders(f"{root}/attempts")) == ["call"]
