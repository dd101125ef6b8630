"""What cannot be listed or read to its end: labelled samples are scored or fail, none vanishes."""

import gzip
import io
import json
import tarfile
import unicodedata
import zipfile

import h5py
import numpy as np
import pyarrow as pa
import pytest

from ray_audit import storage
from ray_audit.errors import LabelError, StorageError
from ray_audit.formats import contents
from tests.support.media import cut, dataset, listed, noise, png, write_parquet, write_tar

PNGS = [png(noise(4, 5, seed)) for seed in range(6)]
TABLES = {"bare names": "{i}", "full names": "b{ext}#{i}"}


def labelled_by_table(folder, ext, names, num=6):
    rows = [f"{names.format(i=i, ext=ext)},{i % 3}\n" for i in range(num)]
    (folder / "t.csv").write_text("image,label\n" + "".join(rows))
    return {"images": str(folder / "t.csv")}


def tar_of(path, keys, labels=True):
    with_labels = [
        ((f"{k}.png", PNGS[i]), (f"{k}.cls", b"%d" % (i % 3))) for i, k in enumerate(keys)
    ]
    return write_tar(path, [m for pair in with_labels for m in pair[: 1 + labels]])


def cut_off(path, num_bytes):
    path.write_bytes(path.read_bytes()[:num_bytes])
    return path


def num_accounted(result):
    return len(result.rows) + sum(failure.num_samples for failure in result.failures)


@pytest.mark.parametrize("names", TABLES.values(), ids=TABLES)
@pytest.mark.parametrize("num_bytes", [100, 1024, 1500, 2048, 3000, 4096, 5000])
def test_every_label_of_a_table_is_scored_or_failed_where_a_tar_breaks_off(
    tmp_path, names, num_bytes
):
    cut_off(tar_of(tmp_path / "b.tar", range(6), labels=False), num_bytes)
    write_tar(tmp_path / "a.tar", [(f"x{i}.png", PNGS[i]) for i in range(2)])
    labels = labelled_by_table(tmp_path, ".tar", names)
    with open(labels["images"], "a") as table:
        table.write("x0,a\nx1,a\n")
    result = cut(dataset("images", tmp_path / "*.tar", labels), tmp_path)
    assert num_accounted(result) == 8
    assert {"a.tar#x0", "a.tar#x1"} <= set(result.ids)
    assert result.filtered == {}
    assert [f.stage for f in result.failures] == ["read"]


@pytest.mark.parametrize("names", TABLES.values(), ids=TABLES)
@pytest.mark.parametrize("fold", [None, 0, 1])
def test_every_label_of_a_table_fails_with_a_damaged_parquet_file(tmp_path, names, fold):
    images = {"image": PNGS, "key": [str(i) for i in range(6)]}
    cut_off(write_parquet(tmp_path / "b.parquet", **images), 300)
    write_parquet(tmp_path / "a.parquet", image=PNGS[:1], key=["x"])
    labels = labelled_by_table(tmp_path, ".parquet", names) | {"key_column": "key"}
    with open(labels["images"], "a") as table:
        table.write("x,a\n")
    settings = {} if fold is None else {"fold": {"num": 2, "index": fold, "part": "held_out"}}
    config = dataset("images", tmp_path / "*.parquet", labels, **settings)
    if fold is None:
        assert num_accounted(cut(config, tmp_path)) == 7
        return
    other = dataset(
        "images",
        tmp_path / "*.parquet",
        labels,
        fold={"num": 2, "index": 1 - fold, "part": "held_out"},
    )
    (tmp_path / "other").mkdir()
    (tmp_path / "one").mkdir()
    both = num_accounted(cut(config, tmp_path / "one")) + num_accounted(
        cut(other, tmp_path / "other")
    )
    assert both == 7


@pytest.mark.parametrize("names", ["{}", "b.npz#{}"], ids=TABLES)
def test_every_label_of_a_table_fails_with_a_damaged_npz(tmp_path, names):
    np.savez(tmp_path / "a.npz", u=np.zeros((3, 2), np.float32))
    np.savez(tmp_path / "b.npz", v=np.zeros((4, 2), np.float32), w=np.zeros((5, 2), np.float32))
    cut_off(tmp_path / "b.npz", 300)
    rows = [f"u,{i},a\n" for i in range(3)]
    rows += [f"{names.format('v')},{i},b\n" for i in range(4)]
    rows += [f"{names.format('w')},{i},c\n" for i in range(5)]
    (tmp_path / "t.csv").write_text("video,frame,label\n" + "".join(rows))
    config = dataset("sequences", tmp_path / "*.npz", {"frames": str(tmp_path / "t.csv")})
    result = cut(config, tmp_path)
    assert result.failed == [("b.npz", "decode", 9)]
    assert len(result.rows) == 3
    assert "which cannot be read to the end" in listed(config, tmp_path / "again").notes[0]


@pytest.mark.parametrize("mark", [b"HEAP", b"SNOD", b"TREE", b"\x89HDF"])
def test_every_label_of_a_table_fails_with_a_damaged_hdf5_file(tmp_path, mark):
    for name in ("a", "b"):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file[f"{name}/v"] = np.zeros((4, 2), np.float32)
            file[f"{name}/w"] = np.zeros((5, 2), np.float32)
    content = (tmp_path / "b.h5").read_bytes()
    assert mark in content
    (tmp_path / "b.h5").write_bytes(content.replace(mark, b"0000"))
    rows = [f"{n}/v,{i},a\n{n}/w,{i},b\n" for n in "ab" for i in range(4)]
    (tmp_path / "t.csv").write_text("video,frame,label\n" + "".join(rows))
    config = dataset("sequences", tmp_path / "*.h5", {"frames": str(tmp_path / "t.csv")})
    result = cut(config, tmp_path)
    assert num_accounted(result) == 16
    assert len(result.rows) == 8
    assert {failure.shard.partition("#")[0] for failure in result.failures} == {"b.h5"}


def test_every_label_of_a_table_fails_with_a_zip_whose_directory_is_damaged(tmp_path):
    for name in ("a", "b"):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as file:
            for index in range(3):
                file.writestr(f"{name}{index}.png", PNGS[index])
    content = (tmp_path / "b.zip").read_bytes()
    first = content.index(b"PK\x01\x02") + 28  # the length of a name, in the directory
    (tmp_path / "b.zip").write_bytes(content[:first] + b"\0\0" + content[first + 2 :])
    rows = [f"{n}{i}.png,a\n" for n in "ab" for i in range(3)]
    (tmp_path / "t.csv").write_text("image,label\n" + "".join(rows))
    config = dataset("images", tmp_path / "*.zip", {"images": str(tmp_path / "t.csv")})
    result = cut(config, tmp_path)
    assert len(result.rows) == 3
    assert sum(failure.num_samples for failure in result.failures) == 3


def break_reads(monkeypatch, name, num):
    """Reads of a file fail in the middle, the first times."""
    opened, left = storage.open_read, [num]

    class Broken(io.BytesIO):
        def read(self, *_):
            raise OSError(16, "Please reduce your request rate.")

    def open_read(uri, *arguments, **options):
        if uri.endswith(name) and left[0]:
            left[0] -= 1
            return Broken()
        return opened(uri, *arguments, **options)

    monkeypatch.setattr(storage, "open_read", open_read)
    monkeypatch.setattr(contents, "_PAUSES_S", (0.0, 0.0, None))


def test_names_are_listed_again_where_the_store_failed_in_between(tmp_path, monkeypatch):
    tar_of(tmp_path / "b.tar", range(6), labels=False)
    labels = labelled_by_table(tmp_path, ".tar", "{i}")
    break_reads(monkeypatch, "b.tar", 2)
    result = listed(dataset("images", tmp_path / "b.tar", labels), tmp_path)
    assert [shard.num_labelled for shard in result.shards] == [6]
    assert result.notes == ()


def test_a_store_that_goes_on_failing_while_names_are_listed_ends_the_run(tmp_path, monkeypatch):
    tar_of(tmp_path / "b.tar", range(6), labels=False)
    labels = labelled_by_table(tmp_path, ".tar", "{i}")
    break_reads(monkeypatch, "b.tar", 3)
    with pytest.raises(StorageError, match=r"cannot list the names in .*b\.tar.*request rate"):
        listed(dataset("images", tmp_path / "b.tar", labels), tmp_path)


@pytest.mark.parametrize("at", [0, 3, 5])
def test_a_damaged_header_in_a_tar_is_not_its_end(tmp_path, at):
    path = tar_of(tmp_path / "x.tar", range(6))
    content = bytearray(path.read_bytes())
    with tarfile.open(path) as file:
        offset = file.getmember(f"{at}.png").offset
    content[offset + 148 : offset + 156] = b"7777777\0"
    path.write_bytes(content)
    result = cut(dataset("images", path, {"column": "cls"}), tmp_path)
    assert result.ids == [f"x.tar#{i}" for i in range(at)]
    assert [(f.shard, f.stage) for f in result.failures] == [("x.tar", "read")]
    assert result.filtered == {}


@pytest.mark.parametrize("num_blocks", range(2, 24))
def test_a_tar_cut_between_members_is_a_failure_too(tmp_path, num_blocks):
    path = cut_off(tar_of(tmp_path / "x.tar", range(6)), 512 * num_blocks)
    result = cut(dataset("images", path, {"column": "cls"}), tmp_path)
    assert result.filtered == {}
    assert [f.stage for f in result.failures] == ["read"]


def test_dots_in_member_names_belong_to_the_key(tmp_path):
    keys = ["2024.01.05_cam", "img.0001", "img.0002", "plain"]
    tar_of(tmp_path / "x.tar", keys)
    result = cut(dataset("images", tmp_path / "x.tar", {"column": "cls"}), tmp_path)
    assert result.labels == {f"x.tar#{key}": i % 3 for i, key in enumerate(keys)}
    assert result.failures == []


def test_a_label_table_names_members_with_dots(tmp_path):
    tar_of(tmp_path / "b.tar", ["img.0", "img.1", "img.2"], labels=False)
    labels = labelled_by_table(tmp_path, ".tar", "img.{i}", num=3)
    result = cut(dataset("images", tmp_path / "b.tar", labels), tmp_path)
    assert result.labels == {"b.tar#img.0": 0, "b.tar#img.1": 1, "b.tar#img.2": 2}


def test_further_images_of_a_sample_are_no_samples(tmp_path):
    members = [("0.cls", b"1"), ("0.depth.png", PNGS[1]), ("0.png", PNGS[0])]
    members += [("1.left.png", PNGS[2]), ("1.png", PNGS[3]), ("2.left.png", PNGS[4])]
    write_tar(tmp_path / "x.tar", members)
    result = cut(dataset("images", tmp_path / "x.tar", {"column": "cls"}), tmp_path)
    assert result.labels == {"x.tar#0": 1}
    assert result.filtered == dict.fromkeys(("x.tar#1", "x.tar#2.left"), "unlabelled")
    assert result.failures == []


@pytest.mark.parametrize("labels_first", [False, True])
def test_a_tar_sorted_by_kind_is_read_and_one_of_gzip_refused_with_the_remedy(
    tmp_path, labels_first
):
    images = [(f"{i}.png", PNGS[i]) for i in range(4)]
    texts = [(f"{i}.cls", f"{i % 3}".encode()) for i in range(4)]
    whole = [("whole.png", PNGS[0]), ("whole.cls", b"2")]
    apart = [*texts, *images] if labels_first else [*images, *texts]
    write_tar(tmp_path / "x.tar", [*whole, *apart])
    result = cut(dataset("images", tmp_path / "x.tar", {"column": "cls"}), tmp_path)
    assert result.labels == {"x.tar#whole": 2} | {f"x.tar#{i}": i % 3 for i in range(4)}
    assert result.failures == []
    assert result.filtered == {}
    (tmp_path / "x.tgz").write_bytes(gzip.compress((tmp_path / "x.tar").read_bytes()))
    result = cut(dataset("images", tmp_path / "x.tgz", {"column": "cls"}), tmp_path)
    assert result.labels == {"x.tgz#whole": 2}
    assert result.failed == [("x.tgz", "members_apart", 4)]
    assert "sorted by kind" in result.failures[0].message
    assert "tar --sort=name" in result.failures[0].message
    assert result.filtered == {}


def test_each_image_of_a_tar_sorted_by_kind_has_its_own_pixels_and_mask(tmp_path):
    keys = {"b": 1, "a.1": 0, "c": 2}
    masks = [(f"{key}.mask.png", png(np.full((4, 5), at, np.uint8))) for key, at in keys.items()]
    images = [
        (f"{key}.png", png(np.full((4, 5, 3), 100 * at, np.uint8))) for key, at in keys.items()
    ]
    write_tar(tmp_path / "x.tar", [*masks, *reversed(images)])
    result = cut(dataset("images", tmp_path / "x.tar", {"masks": "{key}.mask.png"}), tmp_path)
    assert result.failures == []
    found = [
        (row["sample_id"], np.unique(target).tolist(), float(image.max()))
        for batch in result.batches
        for row, target, image in zip(
            batch.samples.to_pylist(),
            batch.arrays["targets"],
            batch.arrays["inputs"],
            strict=True,
        )
    ]
    assert [(key, mask) for key, mask, _ in sorted(found)] == [
        ("x.tar#a.1", [0]),
        ("x.tar#b", [1]),
        ("x.tar#c", [2]),
    ]
    assert [value for _, _, value in sorted(found)] == sorted({value for _, _, value in found})


def test_members_apart_that_make_no_sample_are_counted_one_by_one(tmp_path):
    members = [("a.png", PNGS[0]), ("b.png", PNGS[1]), ("c.cls", b"0"), ("d.png", PNGS[2])]
    members += [("a.cls", b"1"), ("b.png", PNGS[1]), ("c.cls", b"0"), ("a.json", b"{}")]
    write_tar(tmp_path / "x.tar", members)
    result = cut(dataset("images", tmp_path / "x.tar", {"column": "cls"}), tmp_path)
    assert result.labels == {"x.tar#a": 1}
    assert result.filtered == {"x.tar#d": "unlabelled"}
    assert sorted(result.failed) == [
        ("x.tar#b", "duplicate_key", 1),
        ("x.tar#c", "duplicate_key", 1),
    ]


def test_members_apart_of_a_tar_that_breaks_off_are_a_failure(tmp_path):
    members = [(f"{i}.png", PNGS[i]) for i in range(3)] + [(f"{i}.cls", b"1") for i in range(3)]
    write_tar(tmp_path / "x.tar", [("w.png", PNGS[0]), ("w.cls", b"0"), *members])
    content = (tmp_path / "x.tar").read_bytes()
    (tmp_path / "x.tar").write_bytes(content[: content.rindex(b"2.cls")])
    result = cut(dataset("images", tmp_path / "x.tar", {"column": "cls"}), tmp_path)
    assert result.labels == {"x.tar#w": 0}
    assert ("x.tar", "members_apart", 2) in result.failed


@pytest.mark.parametrize("linked", ["1.png", "1.cls"])
def test_a_sample_with_a_hard_link_fails_once(tmp_path, linked):
    link = tarfile.TarInfo(linked)
    link.type, link.linkname = tarfile.LNKTYPE, linked.replace("1", "0")
    own = [("1.png", PNGS[1]), ("1.cls", b"1")]
    members = [link if name == linked else (name, content) for name, content in own]
    write_tar(tmp_path / "x.tar", [("0.png", PNGS[0]), ("0.cls", b"0"), *members])
    result = cut(dataset("images", tmp_path / "x.tar", {"column": "cls"}), tmp_path)
    assert result.labels == {"x.tar#0": 0}
    assert result.failed == [("x.tar#1", "tar_member", 1)]
    assert "--hard-dereference" in result.failures[0].message


def test_a_member_name_that_is_no_text_is_refused_by_name(tmp_path):
    info = tarfile.TarInfo("bad\udcff.png")
    info.size = len(PNGS[0])
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as file:
        file.addfile(info, io.BytesIO(PNGS[0]))
        for name, content in (("0.png", PNGS[0]), ("0.cls", b"0")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    result = cut(dataset("images", path, {"column": "cls"}), tmp_path)
    assert result.ids == ["x.tar#0"]
    assert result.failed == [("x.tar", "tar_member", 1)]
    assert r"bad\udcff.png" in result.failures[0].message


def test_a_file_name_that_is_no_text_is_refused_by_name(tmp_path):
    (tmp_path / "d").mkdir()
    for name in (b"a.png", b"b\xff.png"):
        with open(bytes(tmp_path / "d") + b"/" + name, "wb") as file:
            file.write(PNGS[0])
    (tmp_path / "t.csv").write_text("image,label\na.png,a\n")
    config = dataset("images", tmp_path / "d/*.png", {"images": str(tmp_path / "t.csv")})
    with pytest.raises(StorageError, match=r"b\\udcff\.png' is not UTF-8; rename it"):
        listed(config, tmp_path)


def test_names_that_differ_only_in_how_accents_are_composed_are_told_apart(tmp_path):
    (tmp_path / "d").mkdir()
    for name in ("é0.png", "é1.png"):
        (tmp_path / "d" / unicodedata.normalize("NFD", name)).write_bytes(PNGS[0])
    (tmp_path / "t.csv").write_text("image,label\né0.png,a\né1.png,a\n", encoding="utf-8")
    config = dataset("images", tmp_path / "d/*.png", {"images": str(tmp_path / "t.csv")})
    with pytest.raises(LabelError, match=r"2 of these names differ .* NFC and NFD"):
        listed(config, tmp_path)


def test_names_of_masks_that_differ_only_in_how_accents_are_composed_are_told(tmp_path):
    for folder, form in (("d", "NFD"), ("m", "NFC")):
        (tmp_path / folder).mkdir()
        for name in ("é0.png", "é1.png", "z.png"):
            (tmp_path / folder / unicodedata.normalize(form, name)).write_bytes(PNGS[0])
    config = dataset("images", tmp_path / "d/*.png", {"masks": str(tmp_path / "m/{stem}.png")})
    assert any("2 of the label files' names differ" in n for n in listed(config, tmp_path).notes)


def test_keys_and_labels_of_type_bytes_are_text(tmp_path):
    write_parquet(tmp_path / "x.parquet", image=PNGS[:2], label=[b"b", b" c "], name=[b"n0", b"n1"])
    labels = {"column": "label", "key_column": "name"}
    result = cut(dataset("images", tmp_path / "x.parquet", labels), tmp_path)
    assert result.labels == {"x.parquet#n0": 1, "x.parquet#n1": 2}


def test_a_label_that_is_no_number_is_no_label(tmp_path):
    write_parquet(tmp_path / "x.parquet", image=PNGS[:3], label=[1.0, float("nan"), None])
    result = cut(dataset("images", tmp_path / "x.parquet", {"column": "label"}), tmp_path)
    assert result.labels == {"x.parquet#0": 1}
    assert result.filtered == dict.fromkeys(("x.parquet#1", "x.parquet#2"), "unlabelled")


def test_an_array_of_bytes_holds_class_names(tmp_path):
    np.savez(tmp_path / "x.npz", v=np.zeros((2, 3), np.float32), v_label=np.array([b"c", b"a"]))
    config = dataset("sequences", tmp_path / "x.npz", {"arrays": "{key}_label"})
    assert [row["label"] for row in cut(config, tmp_path).rows] == [2, 0]


@pytest.mark.parametrize("suffix", ["parquet", "json", "jsonl"])
def test_a_label_that_is_nan_is_an_empty_one_in_tables_of_every_form(tmp_path, suffix):
    for i in range(4):
        (tmp_path / f"i{i}.png").write_bytes(png(noise(4, 5, i)))
    names, labels = [f"i{i}" for i in range(4)], [0.0, float("nan"), None, 2.0]
    table = tmp_path / f"t.{suffix}"
    if suffix == "parquet":
        write_parquet(table, image=names, label=pa.array(labels))
    else:
        rows = [{"image": n, "label": label} for n, label in zip(names, labels, strict=True)]
        lines = "\n".join(map(json.dumps, rows))
        table.write_text(json.dumps(rows) if suffix == "json" else lines)
    with pytest.raises(LabelError, match="row 2: the label is empty; "):
        listed(dataset("images", tmp_path / "*.png", {"images": str(table)}), tmp_path)


def test_of_two_labels_of_a_sample_side_by_side_in_a_tar_none_is_taken(tmp_path):
    members = [("0.png", PNGS[0]), ("0.cls", b"0"), ("0.CLS", b"1")]
    members += [("1.png", PNGS[1]), ("1.cls", b"0"), ("1.cls", b"1")]
    members += [("2.png", PNGS[2]), ("2.cls", b"1")]
    write_tar(tmp_path / "x.tar", members)
    result = cut(dataset("images", tmp_path / "x.tar", {"column": "cls"}), tmp_path)
    assert result.labels == {"x.tar#2": 1}
    assert sorted(result.failed) == [(f"x.tar#{n}", "duplicate_key", 1) for n in (0, 1)]
