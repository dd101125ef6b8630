import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ray_audit.errors import LabelError, SpecificationError
from ray_audit.formats.arrays import feature_names
from ray_audit.formats.labels import index
from ray_audit.formats.labels.names import OwnerNames
from ray_audit.formats.tar_members import MemberNames
from ray_audit.sample_ids import Owner
from ray_audit.samples import IGNORE
from ray_audit.sources import list_dataset, read_index
from tests.support.label_sets import all_labels
from tests.support.media import dataset, listed, png, write_parquet

GREY = png(np.zeros((2, 2), np.uint8))


def touch(folder, *names, content=b"x"):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def table(folder, text):
    (folder / "t.csv").write_text(text)
    return str(folder / "t.csv")


def frames(folder, text, uri="v/*.mp4", **settings):
    labels = {"frames": table(folder, "video,frame,label\n" + text)}
    return dataset("video", folder / uri, labels, **settings)


def test_shards_are_sorted_and_keep_their_folder(tmp_path):
    touch(tmp_path, "v/or2/x.mp4", "v/or1/x.mp4", "v/or1/a.mp4")
    result = listed(frames(tmp_path, "or1/x.mp4,0,a\n", "v/*/*.mp4"), tmp_path)
    assert [s.key for s in result.shards] == ["or1/a.mp4", "or1/x.mp4", "or2/x.mp4"]
    assert [s.num_labelled for s in result.shards] == [0, 1, 0]
    assert all(s.size_bytes == 1 and s.etag for s in result.shards)


def test_notes_say_what_does_not_match(tmp_path):
    touch(tmp_path, "v/a.mp4", "v/b.mp4", "v/c.mp4")
    rows = "".join(f"{name},0,a\n" for name in ("a", "p", "q", "r", "s"))
    result = listed(frames(tmp_path, rows), tmp_path)
    assert result.notes == (
        "labels of 4 videos match no shard: p, q, r, ...",
        "2 shards without labels: b.mp4, c.mp4",
    )


def test_limit_keeps_the_first_and_labels_of_the_rest_are_no_news(tmp_path):
    touch(tmp_path, "v/a.mp4", "v/b.mp4")
    config = frames(tmp_path, "a,0,a\nb,0,b\n")
    result = list_dataset(config, tmp_path / "index", limit=1)
    assert [s.key for s in result.shards] == ["a.mp4"]
    assert result.notes == ()


def test_a_changed_label_changes_its_own_shard_only(tmp_path):
    touch(tmp_path, "v/a.mp4", "v/b.mp4")
    result = listed(frames(tmp_path, "a,0,a\na,1,b\nb,0,b\n"), tmp_path)
    shuffled = listed(frames(tmp_path, "b,0,b\na,1,b\na,0,a\n"), tmp_path)
    changed = listed(frames(tmp_path, "a,0,a\na,1,b\nb,0,c\n"), tmp_path)
    digests = [[s.label_digest for s in actual.shards] for actual in (result, shuffled, changed)]
    assert digests[0] == digests[1]
    assert digests[0][0] == digests[2][0]
    assert digests[0][1] != digests[2][1]
    assert result.labels_digest == shuffled.labels_digest != changed.labels_digest


@pytest.mark.parametrize("spill_rows", [3, 16_384])
def test_index_gives_each_shard_its_sorted_rows(tmp_path, monkeypatch, spill_rows):
    monkeypatch.setattr(index, "_SPILL_ROWS", spill_rows)
    monkeypatch.setattr(index, "_ROW_GROUP_ROWS", 4)
    names = [f"v{i:03d}" for i in range(150)]
    touch(tmp_path, *(f"v/{name}.mp4" for name in names))
    rng = np.random.default_rng(0)
    rows = [(n, f, int(rng.integers(4))) for n in names for f in range(int(rng.integers(1, 9)))]
    order = rng.permutation(len(rows))
    text = "".join("{},{},{}\n".format(*rows[i]) for i in order)
    actual = listed(frames(tmp_path, text, void=[3]), tmp_path)
    for shard, name in zip(actual.shards, names, strict=True):
        found = read_index(str(tmp_path / "index"), shard.key)
        expected = [(f, IGNORE if k == 3 else k) for n, f, k in rows if n == name]
        assert list(zip(*(found[c].to_pylist() for c in ("frame", "label")), strict=True)) == (
            expected
        )
        assert shard.num_labelled == sum(k != IGNORE for _, k in expected)
    files = sorted(p.name for p in (tmp_path / "index").iterdir())
    assert all(re.fullmatch(r"labels_\d\d\.parquet", name) for name in files)
    assert len(files) <= 64


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a,1,a\na,0,a\na.mp4,1,b\n", "rows 1 and 3: frame 1 of a.mp4 is labelled twice"),
        ("z,0,a\n", "no row names one of the 2 files; the table names z, the files are a.mp4"),
        ("", "no row names one of the 2 files"),
        ("a,0,a\nb,0,zzz\n", "row 2: label 'zzz'"),
    ],
)
def test_bad_frame_labels_stop_the_listing(tmp_path, rows, message):
    touch(tmp_path, "v/a.mp4", "v/b.mp4")
    with pytest.raises(LabelError, match=message):
        listed(frames(tmp_path, rows), tmp_path)


def test_ambiguous_video_is_named(tmp_path):
    touch(tmp_path, "v/1/a.mp4", "v/2/a.mp4")
    with pytest.raises(LabelError, match=r"row 2: video 'a' matches 2 .*1/a.mp4, 2/a.mp4"):
        listed(frames(tmp_path, "1/a,0,a\na,0,a\n", "v/*/*.mp4"), tmp_path)


@pytest.mark.parametrize("unit", ["frame", "s"])
def test_overlapping_segments_are_both_named(tmp_path, unit):
    touch(tmp_path, "v/a.mp4")
    uri = table(tmp_path, f"video,start_{unit},end_{unit},label\na,5,9,a\na,0,5.5,b\n")
    with pytest.raises(LabelError, match=r"rows 2 and 1: segments 0-5.5 and 5-9 of a.mp4 overlap"):
        listed(dataset("video", tmp_path / "v/*.mp4", {"segments": uri}), tmp_path)


def test_segments_count_their_frames(tmp_path):
    touch(tmp_path, "v/a.mp4")
    uri = table(tmp_path, "video,start_frame,end_frame,label\na,0,21.75,a\na,21.75,28.25,b\n")
    result = listed(dataset("video", tmp_path / "v/*.mp4", {"segments": uri}), tmp_path)
    assert result.shards[0].num_labelled == 28


def test_sequences_have_no_seconds(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((3, 2)))
    uri = table(tmp_path, "video,start_s,end_s,label\na,0,1,a\n")
    with pytest.raises(LabelError, match="no clock"):
        listed(dataset("sequences", tmp_path / "a.npy", {"segments": uri}), tmp_path)


def test_one_label_a_shard_needs_no_index(tmp_path):
    touch(tmp_path, "v/a.mp4", "v/b.mp4", "v/c.mp4")
    uri = table(tmp_path, "video,label\na,b\nb,void\n")
    config = dataset("video", tmp_path / "v/*.mp4", {"videos": uri}, void=["void"])
    result = listed(config, tmp_path)
    assert [(s.class_index, s.num_labelled) for s in result.shards] == [
        (1, 1),
        (IGNORE, 0),
        (None, 0),
    ]
    assert not (tmp_path / "index").exists()
    table(tmp_path, "video,label\na,b\na.mp4,b\n")
    with pytest.raises(LabelError, match=r"rows 1 and 2: a.mp4 is labelled twice"):
        listed(config, tmp_path)


def test_label_files_are_found_by_template(tmp_path):
    touch(tmp_path, "i/1/a.jpg", "i/2/a.jpg", "m/1/a.png", content=GREY)
    labels = {"masks": f"{tmp_path}/m/{{path}}.png"}
    result = listed(dataset("images", tmp_path / "i/*/*.jpg", labels), tmp_path)
    assert [s.label_uri for s in result.shards] == [str(tmp_path / "m/1/a.png"), None]
    assert result.notes == ("1 shard without labels: 2/a.jpg",)
    before = result.shards[0].label_digest
    touch(tmp_path, "m/1/a.png", content=GREY + b"1")
    after = listed(dataset("images", tmp_path / "i/*/*.jpg", labels), tmp_path)
    assert after.shards[0].label_digest != before


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("m/{stem}.png", "label file would be shared by several files"),
        ("other/{path}.png", "no label file found for any of 2 files"),
        ("m/mask.png", "names one file for all images"),
    ],
)
def test_bad_templates(tmp_path, template, message):
    touch(tmp_path, "i/1/a.jpg", "i/2/a.jpg", "m/1/a.png")
    labels = {"masks": f"{tmp_path}/{template}"}
    with pytest.raises(SpecificationError, match=message):
        listed(dataset("images", tmp_path / "i/*/*.jpg", labels), tmp_path)


def test_the_first_label_file_is_checked_before_anything_starts(tmp_path):
    touch(tmp_path, "v/a.mp4")
    (tmp_path / "a.csv").write_text("frame,phase\n0,a\n")
    labels = {"frames": f"{tmp_path}/{{stem}}.csv"}
    with pytest.raises(LabelError, match=r"a\.csv: no column 'label'"):
        listed(dataset("video", tmp_path / "v/*.mp4", labels), tmp_path)


def test_folder_that_is_no_class(tmp_path):
    touch(tmp_path, "i/a/x.png", "i/zebra/x.png")
    with pytest.raises(LabelError, match=r"zebra/x.png: its folder: label 'zebra'"):
        listed(dataset("images", tmp_path / "i/*/*.png", {"folder": True}), tmp_path)


@pytest.mark.parametrize(
    ("kind", "name", "labels"),
    [
        ("images", "scan.xyz", {"folder": True}),
        ("images", "scan.svs", {"folder": True}),
        ("video", "scan.xyz", {"videos": "t.csv"}),
        ("sequences", "x.pkl", {"arrays": "{key}_label"}),
        ("video", "x.png", {"videos": "t.csv"}),
        ("images", "x.mp4", {"folder": True}),
    ],
)
def test_formats_that_are_not_read_are_refused_by_name(tmp_path, kind, name, labels):
    touch(tmp_path, f"d/{name}")
    with pytest.raises(SpecificationError, match=f"{re.escape(name)} has a format .*supported: "):
        listed(dataset(kind, tmp_path / "d/*", labels), tmp_path)


@pytest.mark.parametrize(
    ("names", "labels", "message"),
    [
        (["x.png"], {"column": "label"}, "needs files of Parquet or tar"),
        (["x.tar"], {"folder": True}, "needs files of video or image files"),
        (["x.tar", "x.png"], {"images": "t.csv"}, "different formats"),
        (["x.tar"], {"masks": "m/{key}.png"}, "lie in the same files"),
    ],
)
def test_labels_that_do_not_fit_the_files(tmp_path, names, labels, message):
    touch(tmp_path, *(f"d/{name}" for name in names))
    with pytest.raises(SpecificationError, match=message):
        listed(dataset("images", tmp_path / "d/*", labels), tmp_path)


def test_missing_parquet_column_is_named(tmp_path):
    write_parquet(tmp_path / "x.parquet", img=[b""], label=[0])
    with pytest.raises(SpecificationError, match="no column 'image'; it has 'img', 'label'"):
        listed(dataset("images", tmp_path / "x.parquet", {"column": "label"}), tmp_path)


def test_names_are_found_from_the_most_exact_on():
    owners = [Owner("a.mp4"), Owner("b/a.mp4"), Owner("x.npz", "one"), Owner("y.npz", "one")]
    names = OwnerNames(owners, "video")
    assert names.find("a.mp4") == Owner("a.mp4")  # a key, though a file name twice
    assert names.find("b/a.mp4") == names.find("b/a") == Owner("b/a.mp4")
    assert names.find("x.npz#one") == Owner("x.npz", "one")
    assert names.find("none") is None
    with pytest.raises(LabelError, match="'one' matches 2"):
        names.find("one")


def test_npz_features_are_those_beside_which_labels_lie():
    config = dataset("sequences", "x.npz", {"arrays": "{key}_label", "frame_arrays": "{key}_f"})
    names = ["a", "a_f", "a_label", "b", "c_label"]
    assert feature_names(names, config.labels) == ["a", "b", "c_label"]


def test_tar_member_keys_split_at_the_first_dot_of_the_file_name():
    config = dataset("images", "x.tar", {"masks": "{key}.seg.png"})
    split = MemberNames(config.labels).split
    assert split("./d.x/000.seg.PNG") == ("d.x/000", "seg.png")
    assert split("plain") is None
    assert split("000.json") is None


def test_dots_before_an_extension_that_is_asked_for_belong_to_the_key():
    split = MemberNames(dataset("images", "x.tar", {"masks": "{key}.seg.png"}).labels).split
    assert split("2024.01.05_Cam.png") == ("2024.01.05_Cam", "png")
    assert split("img.0001.seg.png") == ("img.0001", "seg.png")


@pytest.mark.parametrize(("overlap", "expected"), [("first", 0), ("last", 1)])
@pytest.mark.parametrize(("form", "place"), [("frames", "1"), ("segments", "1,2")])
def test_of_rows_in_several_tables_the_first_is_that_of_the_first_table(
    form, place, overlap, expected, tmp_path
):
    np.save(tmp_path / "v.npy", np.zeros((4, 3), np.float32))
    header = "video,frame,label" if form == "frames" else "video,start_frame,end_frame,label"
    for name, rows in {"t1": [f"w,{place},c", f"v,{place},a"], "t2": [f"v,{place},b"]}.items():
        (tmp_path / f"{name}.csv").write_text("\n".join([header, *rows]) + "\n")
    labels = {form: str(tmp_path / "t*.csv"), "overlap": overlap}
    found = all_labels(dataset("sequences", tmp_path / "v.npy", labels))
    assert found == {"v.npy#1": expected}


def test_rows_of_two_tables_that_label_one_frame_are_named_with_their_tables(tmp_path):
    np.save(tmp_path / "v.npy", np.zeros((4, 3), np.float32))
    (tmp_path / "t1.csv").write_text("video,frame,label\nv,0,a\nv,1,a\n")
    (tmp_path / "t2.csv").write_text("video,frame,label\nv,2,b\nv,1,b\n")
    config = dataset("sequences", tmp_path / "v.npy", {"frames": str(tmp_path / "t*.csv")})
    with pytest.raises(LabelError, match=r"t1\.csv, row 2, and \S*t2\.csv, row 2: frame 1 of v"):
        listed(config, tmp_path)


@pytest.mark.parametrize("suffix", ["csv", "txt", "parquet"])
def test_a_needed_column_that_is_there_twice_is_refused(suffix, tmp_path):
    touch(tmp_path, "v/a.mp4")
    header, row = ["video", "frame", "label", "label"], ["a", "0", "a", "b"]
    if suffix == "parquet":
        columns = [pa.array([value]) for value in row]
        pq.write_table(pa.Table.from_arrays(columns, names=header), tmp_path / "t.parquet")
    else:
        mark = "," if suffix == "csv" else " "
        (tmp_path / f"t.{suffix}").write_text(f"{mark.join(header)}\n{mark.join(row)}\n")
    labels = {"frames": str(tmp_path / f"t.{suffix}")}
    with pytest.raises(LabelError, match="2 columns are called 'label'"):
        listed(dataset("video", tmp_path / "v/*.mp4", labels), tmp_path)


@pytest.mark.parametrize(
    ("form", "rows"),
    [
        ("frames", ["v,1,a", "v,1,b", "w,0,a", "w,0,a"]),
        ("segments", ["v,0,2,a", "v,0,2,b", "w,1,3,a", "w,1,3,b"]),
    ],
)
def test_overlaps_that_leave_no_label_are_named_as_what_leaves_none(form, rows, tmp_path):
    for name in "vw":
        np.save(tmp_path / f"{name}.npy", np.zeros((4, 3), np.float32))
    head = "video,frame,label" if form == "frames" else "video,start_frame,end_frame,label"
    labels = {form: table(tmp_path, "\n".join([head, *rows]) + "\n"), "overlap": "drop"}
    with pytest.raises(LabelError, match=r"overlap: drop leaves no label: each of 4 rows claims"):
        listed(dataset("sequences", tmp_path / "*.npy", labels), tmp_path)


def test_rows_that_overlaps_leave_out_are_counted(tmp_path):
    np.save(tmp_path / "v.npy", np.zeros((4, 3), np.float32))
    rows = "video,start_frame,end_frame,label\nv,0,1,a\nv,0,1,b\nv,0,3,c\n"
    labels = {"segments": table(tmp_path, rows), "overlap": "drop"}
    config = dataset("sequences", tmp_path / "*.npy", labels)
    assert listed(config, tmp_path).notes == ("labels.overlap: drop leaves 2 rows out",)
    assert all_labels(config) == {"v.npy#1": 2, "v.npy#2": 2}


def test_labels_of_other_files_than_the_split_names_are_named_so(tmp_path):
    for name in "vw":
        np.save(tmp_path / f"{name}.npy", np.zeros((4, 3), np.float32))
    (tmp_path / "split.txt").write_text("w\n")
    labels = {"frames": table(tmp_path, "video,frame,label\nv,0,a\n")}
    split = {"split": str(tmp_path / "split.txt")}
    with pytest.raises(LabelError, match=r"no row labels what dataset\.split names"):
        listed(dataset("sequences", tmp_path / "*.npy", labels, **split), tmp_path)
