import tarfile

import numpy as np
import pyarrow as pa
import pytest

from tests.support.media import cut, dataset, noise, png, write_parquet, write_tar

PNGS = [png(noise(4, 5, seed)) for seed in range(6)]


def planes(seed):
    return noise(4, 5, seed).transpose(2, 0, 1)


def test_folder_per_class(tmp_path):
    for name, seed in (("a/x", 0), ("b/x", 1), ("other/x", 2)):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir()
        path.write_bytes(PNGS[seed])
    config = dataset("images", tmp_path / "*/*.png", {"folder": True}, void=["other"])
    result = cut(config, tmp_path)
    assert result.labels == {"a/x.png": 0, "b/x.png": 1}
    assert result.filtered == {"other/x.png": "void"}
    (batch,) = result.batches
    assert batch.task == "class"
    assert np.array_equal(batch.arrays["inputs"], np.stack([planes(0), planes(1)]))
    assert batch.arrays["targets"].tolist() == [0, 1]


def test_label_table_by_key_name_or_stem(tmp_path):
    for seed, name in enumerate("wxyz"):
        (tmp_path / f"{name}.png").write_bytes(PNGS[seed])
    (tmp_path / "t.csv").write_text("image,label\nw,a\nx.png,b\ny,-9\n")
    config = dataset("images", tmp_path / "*.png", {"images": str(tmp_path / "t.csv")}, void=[-9])
    result = cut(config, tmp_path)
    assert result.labels == {"w.png": 0, "x.png": 1}
    assert result.filtered == {"y.png": "void", "z.png": "unlabelled"}
    assert result.tails[0].num_decoded == 2


def test_a_bad_image_does_not_stop_the_others(tmp_path):
    for seed, name in enumerate("xyz"):
        (tmp_path / f"{name}.png").write_bytes(b"bad" if name == "y" else PNGS[seed])
    (tmp_path / "t.csv").write_text("image,label\nx,a\ny,a\nz,b\n")
    config = dataset("images", tmp_path / "*.png", {"images": str(tmp_path / "t.csv")})
    result = cut(config, tmp_path)
    assert result.ids == ["x.png", "z.png"]
    assert result.failed == [("y.png", "decode", 1)]


@pytest.mark.parametrize("struct", [False, True])
def test_parquet_rows(tmp_path, struct):
    cells = [*PNGS[:3], None, b"bad", PNGS[5], None, b"bad"]
    images = [{"bytes": c, "path": "p"} for c in cells] if struct else cells
    labels = [0, 1, 2, None, 255, 7, 0, 0]
    write_parquet(tmp_path / "x.parquet", image=images, label=labels)
    config = dataset("images", tmp_path / "x.parquet", {"column": "label"}, void=[255])
    result = cut(config, tmp_path)
    assert result.labels == {"x.parquet#0": 0, "x.parquet#1": 1, "x.parquet#2": 2}
    assert result.filtered == {"x.parquet#3": "unlabelled", "x.parquet#4": "void"}
    assert result.failed == [
        ("x.parquet#5", "label_outside", 1),
        ("x.parquet#6", "image_format", 1),
        ("x.parquet#7", "decode", 1),
    ]
    assert np.array_equal(result.batches[0].arrays["inputs"][1], planes(1))


def test_parquet_keys_name_samples_and_must_be_unique(tmp_path):
    write_parquet(tmp_path / "x.parquet", image=PNGS[:3], label=["a", "b", "c"], id=["p", "q", "p"])
    config = dataset("images", tmp_path / "x.parquet", {"column": "label", "key_column": "id"})
    result = cut(config, tmp_path)
    assert result.labels == {"x.parquet#p": 0, "x.parquet#q": 1}
    # Under a name of its own: a failure of the first name would take the good sample with it.
    assert result.failed == [("x.parquet#p (duplicate at 2)", "duplicate_key", 1)]


def test_parquet_with_a_label_table_and_with_a_mask_column(tmp_path):
    masks = [png(np.full((4, 5), k, np.uint8)) for k in (0, 2)] + [None]
    write_parquet(tmp_path / "x.parquet", image=PNGS[:3], seg=masks, id=["p", "q", "r"])
    (tmp_path / "t.csv").write_text("image,label\nq,b\nx.parquet#r,c\n")
    table = {"images": str(tmp_path / "t.csv"), "key_column": "id"}
    result = cut(dataset("images", tmp_path / "x.parquet", table), tmp_path)
    assert result.labels == {"x.parquet#q": 1, "x.parquet#r": 2}
    assert result.filtered == {"x.parquet#p": "unlabelled"}
    dense = cut(dataset("images", tmp_path / "x.parquet", {"masks": "seg"}), tmp_path)
    assert dense.ids == ["x.parquet#0", "x.parquet#1"]
    assert dense.filtered == {"x.parquet#2": "unlabelled"}
    assert dense.batches[0].arrays["targets"][1].tolist() == [[2] * 5] * 4


def test_a_broken_parquet_file_is_one_failure(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"PAR1 not really")
    result = cut(dataset("images", tmp_path / "x.parquet", {"column": "label"}), tmp_path)
    assert [(f.shard, f.num_samples) for f in result.failures] == [("x.parquet", 1)]


def test_webdataset_tar(tmp_path):
    members = [
        ("train/000.png", PNGS[0]),
        ("train/000.cls", b"2\n"),
        ("train/000.json", b"{}"),
        ("train/001.v.PNG", b"never read"),
        ("train/002.png", PNGS[2]),
        ("train/003.cls", b"a"),
        ("train/003.png", PNGS[3]),
    ]
    write_tar(tmp_path / "x.tar", members)
    result = cut(dataset("images", tmp_path / "x.tar", {"column": "cls"}), tmp_path)
    assert result.labels == {"x.tar#train/000": 2, "x.tar#train/003": 0}
    unlabelled = dict.fromkeys(("x.tar#train/001.v", "x.tar#train/002"), "unlabelled")
    assert result.filtered == unlabelled
    assert result.failures == []
    assert np.array_equal(result.batches[0].arrays["inputs"][0], planes(0))


def test_tar_with_masks(tmp_path):
    mask = np.full((4, 5), 1, np.uint8)
    members = [
        ("0.mask.png", png(mask)),
        ("0.png", PNGS[0]),
        ("1.png", PNGS[1]),
        ("2.mask.png", png(mask)),
    ]
    write_tar(tmp_path / "x.tar", members)
    result = cut(dataset("images", tmp_path / "x.tar", {"masks": "{key}.mask.png"}), tmp_path)
    assert result.ids == ["x.tar#0"]
    assert np.array_equal(result.batches[0].arrays["inputs"][0], planes(0))
    assert result.batches[0].arrays["targets"][0].tolist() == mask.tolist()
    assert result.filtered == {"x.tar#1": "unlabelled"}
    assert result.failed == [("x.tar#2", "no_image", 1)]


def test_tar_with_a_label_table(tmp_path):
    write_tar(tmp_path / "x.tar", [("d/0.jpg", PNGS[0]), ("d/1.jpg", PNGS[1])])
    (tmp_path / "t.csv").write_text("image,label\nd/1,b\n")
    config = dataset("images", tmp_path / "x.tar", {"images": str(tmp_path / "t.csv")})
    result = cut(config, tmp_path)
    assert result.labels == {"x.tar#d/1": 1}
    assert result.filtered == {"x.tar#d/0": "unlabelled"}


def test_chosen_image_extension_comes_first(tmp_path):
    members = [("0.left.png", PNGS[0]), ("0.png", PNGS[1]), ("0.cls", b"0")]
    write_tar(tmp_path / "x.tar", members)
    labels = {"column": "cls", "image_column": "left.png"}
    result = cut(dataset("images", tmp_path / "x.tar", labels), tmp_path)
    assert np.array_equal(result.batches[0].arrays["inputs"][0], planes(0))


def test_hostile_tar_members_are_refused(tmp_path):
    link = tarfile.TarInfo("evil.png")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    members = [
        ("../up.png", PNGS[0]),
        ("/root.png", PNGS[0]),
        ("a/../../b.cls", b"0"),
        link,
        ("good.png", PNGS[1]),
        ("good.cls", b"0"),
    ]
    write_tar(tmp_path / "x.tar", members)
    result = cut(dataset("images", tmp_path / "x.tar", {"column": "cls"}), tmp_path)
    assert result.ids == ["x.tar#good"]
    unsafe = [("x.tar", "tar_member", n) for n in (1, 1, 0)]
    assert result.failed == [*unsafe, ("x.tar#evil", "tar_member", 1)]
    assert "'../up.png'" in result.failures[0].message


def test_truncated_tar_keeps_what_came_before(tmp_path):
    path = write_tar(tmp_path / "x.tar", [("0.png", PNGS[0]), ("0.cls", b"0"), ("1.png", PNGS[1])])
    content = path.read_bytes()
    path.write_bytes(content[:2200])
    result = cut(dataset("images", path, {"column": "cls"}), tmp_path)
    assert result.ids == ["x.tar#0"]
    assert [(f.shard, f.stage, f.num_samples) for f in result.failures] == [("x.tar", "read", 1)]


def test_one_channel_and_colour_images_go_apart(tmp_path):
    grey = png(np.zeros((4, 5), np.uint8))
    write_parquet(tmp_path / "x.parquet", image=[PNGS[0], grey, PNGS[1]], label=[0, 1, 2])
    result = cut(dataset("images", tmp_path / "x.parquet", {"column": "label"}), tmp_path)
    assert [b.arrays["inputs"].shape for b in result.batches] == [(2, 3, 4, 5), (1, 1, 4, 5)]


def test_row_groups_are_read_in_order(tmp_path):
    images = pa.array([png(noise(2, 2, seed)) for seed in range(150)])
    write_parquet(tmp_path / "x.parquet", image=images, label=["a"] * 150)
    result = cut(
        dataset("images", tmp_path / "x.parquet", {"column": "label"}), tmp_path, max_batch=64
    )
    assert result.ids == [f"x.parquet#{i}" for i in range(150)]
    assert [len(b.arrays["inputs"]) for b in result.batches] == [64, 64, 22]
    last = result.batches[-1].arrays["inputs"][-1]
    assert np.array_equal(last, noise(2, 2, 149).transpose(2, 0, 1))
