"""Damaged and hostile files are left out of a copy, and named; the rest is written."""

import gzip
import io
import tarfile
import time
import zipfile

import numpy as np
import pyarrow.parquet as pq
import pytest

from ray_audit.config import AuditConfig
from ray_audit.corrections.write_labels import write_labels
from ray_audit.errors import LabelError
from ray_audit.formats.label_changes import FrameChange, LabelChanges
from ray_audit.sample_ids import Owner
from ray_audit.sources import list_dataset
from ray_audit.training.inject import inject
from tests.support.label_sets import all_labels
from tests.support.media import cut, dataset, noise, png, write_parquet, write_tar

ARRAYS = {"arrays": "{key}_label"}
PNGS = [png(noise(4, 5, seed)) for seed in range(4)]
MIB = 2**20


def injected(config, to, rate=0.5):
    specification = {
        "dataset": config.model_dump(exclude_unset=True),
        "model": {"factory": "a.b:c"},
        "checkpoints": "ck/*.pt",
        "output": "out",
    }
    return inject(AuditConfig.model_validate(specification), str(to), rate, seed=1)


def good_npz(path, key="v"):
    labels = np.repeat([0, 1, 2, 0], 5)
    np.savez(path, **{key: np.zeros((20, 2), np.float32), f"{key}_label": labels})
    return path


def bomb(path, array):
    """A label array of 300 million bytes in a file of 300 thousand."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, values in (("v", np.zeros((2, 2), np.float32)), ("v_label", array)):
            with file.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, values)


DAMAGED = {
    "no zip": lambda path: path.write_bytes(b"PK, but no more"),
    "cut off": lambda path: path.write_bytes(good_npz(path).read_bytes()[:400]),
    "a bomb": lambda path: bomb(path, np.zeros(300 * MIB, np.int8)),
}


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
def test_inject_leaves_out_an_npz_that_the_audit_would_refuse(tmp_path, damage):
    (tmp_path / "d").mkdir()
    for name in ("a.npz", "b.npz", "c.npz"):
        good_npz(tmp_path / "d" / name)
    damage(tmp_path / "d/b.npz")
    done = injected(dataset("sequences", tmp_path / "d/*.npz", ARRAYS), tmp_path / "to")
    assert any(note.startswith("Left out: b.npz:") for note in done.notes)
    assert done.num_samples == 40
    assert done.num_errors > 0
    copied = {path.name for path in (tmp_path / "to/data").iterdir()}
    assert copied == {"a.npz", "c.npz"}


def test_inject_leaves_out_an_array_of_objects_and_keeps_the_others_of_its_file(tmp_path):
    (tmp_path / "d").mkdir()
    good_npz(tmp_path / "d/a.npz")
    objects = np.array([{}, None], object)
    arrays = {"v": np.zeros((20, 2), np.float32), "v_label": np.repeat([0, 1], 10)}
    np.savez(tmp_path / "d/b.npz", **arrays, w=np.zeros((2, 2)), w_label=objects, allow_pickle=True)
    done = injected(dataset("sequences", tmp_path / "d/*.npz", ARRAYS), tmp_path / "to")
    assert any(note.startswith("Left out: b.npz#w: the array holds Python") for note in done.notes)
    assert done.num_samples == 40


@pytest.mark.parametrize("suffix", [".parquet", ".tar"])
def test_inject_leaves_out_a_container_that_breaks_off(tmp_path, suffix):
    (tmp_path / "d").mkdir()
    for name in ("a", "b", "c"):
        path = tmp_path / f"d/{name}{suffix}"
        if suffix == ".parquet":
            write_parquet(path, image=PNGS, label=[0, 1, 2, 0])
        else:
            pairs = [[(f"{i}.png", PNGS[i]), (f"{i}.cls", b"%d" % (i % 3))] for i in range(4)]
            write_tar(path, [member for pair in pairs for member in pair])
    whole = (tmp_path / f"d/b{suffix}").read_bytes()
    (tmp_path / f"d/b{suffix}").write_bytes(whole[:2100] if suffix == ".tar" else whole[:-50])
    column = "cls" if suffix == ".tar" else "label"
    config = dataset("images", tmp_path / f"d/*{suffix}", {"column": column})
    done = injected(config, tmp_path / "to")
    assert any(note.startswith(f"Left out: b{suffix}:") for note in done.notes)
    assert {
        row["sample_id"].partition("#")[0] for row in pq.read_table(done.truth).to_pylist()
    } == {
        f"a{suffix}",
        f"c{suffix}",
    }
    assert done.num_errors > 0


def tar_with(path, hostile, num=2):
    members = [m for i in range(num) for m in ((f"{i}.png", PNGS[i]), (f"{i}.cls", b"0"))]
    return write_tar(path, [*members[:2], *hostile, *members[2:]])


def hostile_members():
    found = [("../../evil.png", PNGS[0]), ("/abs.png", PNGS[0])]
    for name, kind, target in (
        ("link.png", tarfile.SYMTYPE, "/etc/passwd"),
        ("hard.png", tarfile.LNKTYPE, "0.png"),
        ("pipe", tarfile.FIFOTYPE, ""),
        ("device", tarfile.CHRTYPE, ""),
    ):
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        found.append(info)
    return found


def written(config, tmp_path, changes):
    listing = list_dataset(config, tmp_path / "index")
    return write_labels(config, listing, changes, str(tmp_path / "to"))


@pytest.mark.parametrize("changes", [{}, {Owner("x.tar", "0"): 1}], ids=["untouched", "changed"])
def test_members_that_an_audit_refuses_are_never_written_into_a_corrected_tar(tmp_path, changes):
    tar_with(tmp_path / "x.tar", hostile_members())
    config = dataset("images", tmp_path / "x.tar", {"column": "cls"})
    result = written(config, tmp_path, LabelChanges(classes=changes))
    with tarfile.open(tmp_path / "to/data/x.tar") as file:
        assert file.getnames() == ["0.png", "0.cls", "1.png", "1.cls"]
    assert set(result.left_out) == {
        f"x.tar#{n}"
        for n in ("../../evil.png", "/abs.png", "link.png", "hard.png", "pipe", "device")
    }
    assert len(result.notes) == 6
    assert cut(result.dataset, tmp_path).failures == []


def test_a_label_member_that_inflates_too_far_is_not_read_when_labels_are_written(tmp_path):
    path = tmp_path / "x.tar.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        plain = io.BytesIO()
        with tarfile.open(fileobj=plain, mode="w") as archive:
            for name, content in (("0.png", PNGS[0]), ("0.cls", b"0")):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        file.write(plain.getvalue()[: 4 * 512])
        info = tarfile.TarInfo("1.cls")
        info.size = 1500 * MIB
        file.write(info.tobuf())
        for _ in range(4):
            file.write(bytes(MIB))
    config = dataset("images", path, {"column": "cls"})
    begin_s = time.perf_counter()
    result = written(config, tmp_path, LabelChanges(classes={Owner("x.tar.gz", "0"): 1}))
    assert time.perf_counter() - begin_s < 10
    assert "would inflate to 1572864000 bytes" in result.left_out["x.tar.gz"]
    assert not (tmp_path / "to/data/x.tar.gz").exists()


def test_what_changed_in_a_file_that_is_left_out_does_not_count_as_missing(tmp_path):
    for name in ("a.tar", "b.tar"):
        tar_with(tmp_path / name, [])
    (tmp_path / "b.tar").write_bytes((tmp_path / "b.tar").read_bytes()[:2100])
    config = dataset("images", tmp_path / "*.tar", {"column": "cls"})
    changes = {Owner("a.tar", "0"): 2, Owner("b.tar", "0"): 2}
    result = written(config, tmp_path, LabelChanges(classes=changes))
    assert set(result.left_out) == {"b.tar"}
    assert all_labels(result.dataset) == {"a.tar#0": 2, "a.tar#1": 0}


def test_new_labels_are_bytes_where_the_old_ones_were(tmp_path):
    labels = np.array([b"a", b"b", b"a"])
    np.savez(tmp_path / "x.npz", v=np.zeros((3, 2), np.float32), v_label=labels)
    config = dataset("sequences", tmp_path / "x.npz", ARRAYS, classes=["a", "b", "longer"])
    change = FrameChange(np.array([1]), np.array([2]))
    written(config, tmp_path, LabelChanges(frames={Owner("x.npz", "v"): change}))
    with np.load(tmp_path / "to/data/x.npz") as file:
        assert file["v_label"].tolist() == [b"a", b"longer", b"a"]


def test_new_labels_of_parquet_rows_with_binary_keys_are_written(tmp_path):
    write_parquet(tmp_path / "x.parquet", image=PNGS[:2], label=[b"a", b"b"], name=[b"n0", b"n1"])
    labels = {"column": "label", "key_column": "name"}
    config = dataset("images", tmp_path / "x.parquet", labels)
    written(config, tmp_path, LabelChanges(classes={Owner("x.parquet", "n1"): 2}))
    assert pq.read_table(tmp_path / "to/data/x.parquet")["label"].to_pylist() == [b"a", b"c"]


@pytest.mark.parametrize("content", ["list", "text"])
def test_a_label_file_that_is_one_large_json_object_is_refused_in_time(tmp_path, content):
    (tmp_path / "d").mkdir()
    (tmp_path / "d/a.png").write_bytes(PNGS[0])
    row = f'["{"x" * 40}", 1.5]'
    value = f"[{f'{row}, ' * 800_000}{row}]" if content == "list" else f'"{"x" * 40_000_000}"'
    (tmp_path / "t.json").write_text(f'{{"values": {value}}}')
    config = dataset("images", tmp_path / "d/*.png", {"images": str(tmp_path / "t.json")})
    begin_s = time.process_time()
    with pytest.raises(LabelError, match="more than 16 MiB where one object a row was expected"):
        list_dataset(config, tmp_path / "index")
    assert time.process_time() - begin_s < 30
