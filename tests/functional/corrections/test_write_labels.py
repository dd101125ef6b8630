import io
import json
import tarfile

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ray_audit.config import FoldConfig
from ray_audit.corrections.write_labels import write_labels
from ray_audit.errors import LabelError, SpecificationError
from ray_audit.formats.label_changes import FrameChange, LabelChanges
from ray_audit.formats.places import below
from ray_audit.sample_ids import Owner
from tests.support import label_sets
from tests.support.label_sets import all_labels, files_of, listed


def written(config, to, changes=None, limit=None):
    listing, given = listed(config, limit)
    if changes is None:
        changes = LabelChanges(times=given.times)
    return write_labels(config, listing, changes, str(to))


def equal(first, other):
    return first.keys() == other.keys() and all(np.array_equal(first[k], other[k]) for k in first)


@pytest.mark.parametrize("form", label_sets.FORMS)
def test_unchanged_labels_come_back_as_they_were(tmp_path, form):
    data = tmp_path / "data"
    data.mkdir()
    config = label_sets.FORMS[form](data)
    before = files_of(data)
    copy = written(config, tmp_path / "to").dataset
    assert files_of(data) == before
    assert equal(all_labels(copy), all_labels(config))
    # What is one object in both places has the same bytes; Parquet tables are written anew.
    by_name = {name.rsplit("/", 1)[-1]: content for name, content in before.items()}
    for name, content in files_of(tmp_path / "to").items():
        if form != "frames.parquet" and form != "segments.parquet" and form != "folders":
            assert content == by_name[name.rsplit("/", 1)[-1]], name
    if form == "folders":
        assert [*files_of(tmp_path / "to/data").values()] == [*files_of(data / "images").values()]


def one_frame(owner, frame, label):
    return LabelChanges(frames={owner: FrameChange(np.array([frame]), np.array([label]))})


def changed_lines(first, other):
    first, other = first.split(b"\n"), other.split(b"\n")
    assert len(first) == len(other)
    return [(a, b) for a, b in zip(first, other, strict=True) if a != b]


@pytest.mark.parametrize(
    ("suffix", "frame", "old", "new"),
    [
        (".csv", 1, b',"=1+1', b',"=1+1'),
        (".json", 1, b'"label": "a"', b'"label": "b"'),
        (".jsonl", 4, b'"label": "1"', b'"label": "0"'),
    ],
)
def test_one_new_label_changes_one_cell_and_no_other_byte(tmp_path, suffix, frame, old, new):
    config = label_sets.frame_table(tmp_path, suffix)
    label = 1 if frame == 1 else 0
    changes = one_frame(Owner("v 0%20.mp4"), frame, label)
    written(config, tmp_path / "to", changes)
    name = f"frames{suffix}"
    pairs = changed_lines(
        (tmp_path / name).read_bytes(), (tmp_path / "to/labels" / name).read_bytes()
    )
    assert len(pairs) == 1
    before, after = pairs[0]
    if suffix == ".csv":
        assert after == before.replace(b",a,", b",b,")
        assert after.startswith(b'"=1+1, ""x""",v 0%20.mp4,1,b,1.5')
    else:
        assert old in before
        assert after == before.replace(old, new)


def test_parquet_tables_keep_types_groups_codecs_and_metadata(tmp_path):
    config = label_sets.frame_table(tmp_path, ".parquet")
    written(config, tmp_path / "to", one_frame(Owner("v#1.mp4"), 0, 2))
    old, new = (pq.ParquetFile(p / "frames.parquet") for p in (tmp_path, tmp_path / "to/labels"))
    assert new.schema_arrow.equals(old.schema_arrow, check_metadata=True)
    assert [new.metadata.row_group(i).num_rows for i in range(new.num_row_groups)] == [
        old.metadata.row_group(i).num_rows for i in range(old.num_row_groups)
    ]
    assert new.metadata.row_group(0).column(1).compression == "ZSTD"
    before, after = old.read().to_pylist(), new.read().to_pylist()
    (differs,) = [i for i, rows in enumerate(zip(before, after, strict=True)) if rows[0] != rows[1]]
    assert after[differs] == before[differs] | {"label": "c"}


def test_a_parquet_column_keeps_all_other_columns(tmp_path):
    config = label_sets.parquet_column(tmp_path, pa.int16())
    changes = LabelChanges(classes={Owner("p1.parquet", "7"): 0})
    copy = written(config, tmp_path / "to", changes).dataset
    assert files_of(tmp_path / "to/data")["p0.parquet"] == (tmp_path / "p0.parquet").read_bytes()
    old, new = (pq.read_table(p / "p1.parquet") for p in (tmp_path, tmp_path / "to/data"))
    assert new.schema.equals(old.schema, check_metadata=True)
    assert new.drop_columns(["label"]).equals(old.drop_columns(["label"]))
    expected = old["label"].to_pylist()
    expected[7] = 0
    assert new["label"].to_pylist() == expected
    assert copy.uri == str(tmp_path / "to/data/*.parquet")


def test_npz_keeps_other_arrays_and_the_type_of_labels(tmp_path):
    config = label_sets.label_arrays(tmp_path)
    changes = one_frame(Owner("s.npz", "s1"), 9, 2)  # frames count 5, 7, 9
    written(config, tmp_path / "to", changes)
    old, new = (np.load(p / "s.npz") for p in (tmp_path, tmp_path / "to/data"))
    assert old.files == new.files
    for name in old.files:
        expected = old[name].copy()
        if name == "s1_label":
            expected[2] = 2
        assert new[name].dtype == old[name].dtype
        assert np.array_equal(new[name], expected)


def test_a_tar_keeps_its_other_members(tmp_path):
    config = label_sets.tar_column(tmp_path)
    changes = LabelChanges(classes={Owner("t.tar", "d/é3"): 2})
    written(config, tmp_path / "to", changes)
    with tarfile.open(tmp_path / "t.tar") as old, tarfile.open(tmp_path / "to/data/t.tar") as new:
        assert old.getnames() == new.getnames()
        for name in old.getnames():
            stored = old.extractfile(name).read()
            assert new.extractfile(name).read() == (b"2\n" if name == "d/é3.cls" else stored)


def test_a_moved_image_never_covers_another(tmp_path):
    config = label_sets.class_folders(tmp_path)
    changes = LabelChanges(classes={Owner("a/0.png"): 1, Owner("c/0.png"): 1})
    done = written(config, tmp_path / "to", changes)
    assert done.renamed == {"a/0.png": "b/0_from_a.png", "c/0.png": "b/0_from_c.png"}
    copies = files_of(tmp_path / "to/data")
    assert copies["b/0.png"] == (tmp_path / "images/b/0.png").read_bytes()
    assert copies["b/0_from_a.png"] == (tmp_path / "images/a/0.png").read_bytes()
    assert len(copies) == 9
    assert all_labels(done.dataset)["b/0_from_c.png"] == 1


@pytest.mark.parametrize("part", ["split", "fold"])
def test_a_moved_image_of_a_part_of_the_dataset_is_read_from_the_copy(tmp_path, part):
    (tmp_path / "split.txt").write_text("a/0.png\na/1.png\nb/0.png\nc/2.png\n")
    parts = {"split": str(tmp_path / "split.txt"), "fold": FoldConfig(num=2, index=0)}
    config = label_sets.class_folders(tmp_path).model_copy(update={part: parts[part]})
    before = all_labels(config)
    moved = {Owner(key): (label + 1) % 3 for key, label in before.items()}
    done = written(config, tmp_path / "to", LabelChanges(classes=moved))
    new = [(done.renamed[owner.key], label) for owner, label in moved.items()]
    assert all_labels(done.dataset) == dict(new)
    assert len(files_of(tmp_path / "to/data")) == len(before) < 9


def test_unchanged_label_files_keep_their_bytes(tmp_path):
    config = label_sets.frame_files(tmp_path)
    written(config, tmp_path / "to", one_frame(Owner("sub/v3.mp4"), 0, 2))
    before, after = files_of(tmp_path / "labels"), files_of(tmp_path / "to/labels")
    assert [name for name in before if before[name] != after[name]] == ["sub/v3.csv"]
    assert after["sub/v3.csv"] == before["sub/v3.csv"].replace(b"0,a\r\n", b"0,c\r\n", 1)


def test_a_change_that_meets_no_label_is_an_error(tmp_path):
    config = label_sets.frame_table(tmp_path, ".csv")
    with pytest.raises(LabelError, match="1 of 1 new labels"):
        written(config, tmp_path / "to", one_frame(Owner("v#1.mp4"), 99, 0))
    with pytest.raises(LabelError, match="1 of 1 new labels"):  # a void frame stays void
        written(config, tmp_path / "to2", one_frame(Owner("v#1.mp4"), 11, 0))


def test_what_cannot_be_written_is_refused_before_any_work(tmp_path):
    config = label_sets.masks(tmp_path, "png")
    (tmp_path / "masks").rename(tmp_path / "jpegs")
    for path in (tmp_path / "jpegs").iterdir():
        path.rename(path.with_suffix(".jpg"))
    labels = config.labels.model_copy(update={"masks": str(tmp_path / "jpegs/{stem}.jpg")})
    with pytest.raises(SpecificationError, match="would not come back"):
        written(config.model_copy(update={"labels": labels}), tmp_path / "to")
    folders = label_sets.class_folders(tmp_path)
    flat = folders.model_copy(update={"uri": str(tmp_path / "images/a/*.png")})
    with pytest.raises(SpecificationError, match="wildcard"):
        written(flat, tmp_path / "to")
    with pytest.raises(SpecificationError, match="is not empty"):
        written(folders, tmp_path / "images")
    for name in ("{x}", "a*", "[b]"):
        with pytest.raises(SpecificationError, match="without"):
            written(folders, tmp_path / name)
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "a//b", "", ".", "a\\..\\b"])
def test_names_never_leave_the_target(name):
    with pytest.raises(SpecificationError, match="plain relative path"):
        below("/target", name)


def test_a_label_that_reads_as_another_class_is_never_written(tmp_path):
    (tmp_path / "v.mp4").write_bytes(b"")
    (tmp_path / "f.csv").write_text("video,frame,label\nv,0,0\n")
    config = label_sets.dataset(
        "video", tmp_path / "*.mp4", {"frames": str(tmp_path / "f.csv")}
    ).model_copy(update={"classes": ["1", "2", "0x"]})
    # Index 1 would be read as the class named "1": the name is written.
    written(config, tmp_path / "to", one_frame(Owner("v.mp4"), 0, 1))
    assert (tmp_path / "to/labels/f.csv").read_text().splitlines()[1] == "v,0,2"


def test_a_json_array_may_lose_and_gain_rows(tmp_path):
    config = label_sets.segment_table(tmp_path, ".json")
    frames = np.array([0, 1, 2, 4])  # the first segment becomes b, the second is cut in three
    change = FrameChange(frames, np.array([1, 1, 1, 2]))
    written(config, tmp_path / "to", LabelChanges(frames={Owner("v#1.mp4"): change}))
    rows = json.loads((tmp_path / "to/labels/segments.json").read_text())
    found = [
        (row["id"], row["start_frame"], row["end_frame"], row["label"])
        for row in rows
        if row["video"] == "v#1.mp4"
    ]
    assert found == [
        ("=s1", 0, 4, "1"),
        ("=s1", 4, 5, "2"),
        ("=s1", 5, 6, "1"),
        ("=s2", 6, 9, "c"),
        ("=s3", 9, 12, "a"),
    ]


@pytest.mark.parametrize("in_seconds", [False, True])
def test_a_segment_that_is_cut_gets_a_duration(tmp_path, in_seconds):
    config = label_sets.duration_table(tmp_path, in_seconds)
    frames = np.array([0, 1, 2, 4])  # the first segment becomes b, the second is cut in three
    change = FrameChange(frames, np.array([1, 1, 1, 2]))
    owner = Owner("v#1.mp4")
    listing, given = listed(config)
    changes = LabelChanges(frames={owner: change}, times=given.times)
    copy = write_labels(config, listing, changes, str(tmp_path / "to")).dataset
    expected = all_labels(config)
    for frame, label in zip(frames, change.labels, strict=True):
        expected[owner.frame(frame)] = label
    assert equal(all_labels(copy), expected)
    lines = (tmp_path / "to/labels/durations.csv").read_text().splitlines()
    found = [line.split(",")[1:] for line in lines if line.startswith("v#1.mp4")]
    scale = 0.04 if in_seconds else 1
    edges = [(0, 4, "1"), (4, 1, "2"), (5, 1, "1"), (6, 3, "c"), (9, 3, "a")]
    for (start, length, label), (from_, frames_, name) in zip(found, edges, strict=True):
        assert (float(start), float(length)) == pytest.approx((from_ * scale, frames_ * scale))
        assert label.replace("c", "2") == name.replace("c", "2")


def test_any_store_can_hold_the_copy(tmp_path):
    config = label_sets.masks(tmp_path)
    new = np.zeros((40, 48), np.uint8)
    changes = LabelChanges(mask=lambda owner: new if owner.shard_key == "i3.png" else None)
    to = f"memory://{tmp_path.name}/copy"
    listing, _ = listed(config)
    copy = write_labels(config, listing, changes, to).dataset
    assert copy.labels.masks == f"{to}/labels/{{stem}}.png"
    before, after = all_labels(config), all_labels(copy)
    assert [key for key in before if not np.array_equal(before[key], after[key])] == ["i3.png"]


def _mask_png(value):
    sink = io.BytesIO()
    Image.fromarray(np.full((4, 5), value, np.uint8)).save(sink, "PNG")
    return sink.getvalue()


NEW_MASK = np.eye(4, 5, dtype=np.uint8)


@pytest.mark.parametrize("in_struct", [False, True])
def test_a_mask_column_of_parquet_is_rewritten(tmp_path, in_struct):
    masks = [_mask_png(i % 3) for i in range(4)] + [None]
    cells = (
        [m and {"bytes": m, "path": f"{i}.png"} for i, m in enumerate(masks)]
        if in_struct
        else masks
    )
    pq.write_table(pa.table({"mask": cells, "image": [b"x"] * 5}), tmp_path / "p.parquet")
    config = label_sets.dataset("images", tmp_path / "*.parquet", {"masks": "mask"})
    changes = LabelChanges(mask=lambda owner: NEW_MASK if owner.member in ("2", "4") else None)
    written(config, tmp_path / "to", changes)
    new = pq.read_table(tmp_path / "to/data/p.parquet")["mask"].to_pylist()
    assert [i for i in range(5) if new[i] != cells[i]] == [2]  # the missing one stays missing
    content = new[2]["bytes"] if in_struct else new[2]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), NEW_MASK)


def test_mask_members_of_a_tar_are_rewritten(tmp_path):
    with tarfile.open(tmp_path / "t.tar", "w") as file:
        for i in range(3):
            for extension, content in (("jpg", b"image"), ("mask.png", _mask_png(i))):
                info = tarfile.TarInfo(f"{i}.{extension}")
                info.size = len(content)
                file.addfile(info, io.BytesIO(content))
    config = label_sets.dataset("images", tmp_path / "*.tar", {"masks": "{key}.mask.png"})
    changes = LabelChanges(mask=lambda owner: NEW_MASK if owner.member == "1" else None)
    written(config, tmp_path / "to", changes)
    with tarfile.open(tmp_path / "t.tar") as old, tarfile.open(tmp_path / "to/data/t.tar") as new:
        pairs = [(old.extractfile(n).read(), new.extractfile(n).read()) for n in old.getnames()]
    assert [i for i, (a, b) in enumerate(pairs) if a != b] == [3]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(pairs[3][1]))), NEW_MASK)


def test_a_label_table_of_images_in_parquet_leaves_the_images_alone(tmp_path):
    config = label_sets.parquet_column(tmp_path)
    rows = [{"image": f"p0.parquet#{i}", "label": "a"} for i in range(10)]
    labels = {"images": label_sets.write_rows(tmp_path / "labels.csv", rows)}
    config = label_sets.dataset("images", config.uri, labels)
    changes = LabelChanges(classes={Owner("p0.parquet", "4"): 2})
    copy = written(config, tmp_path / "to", changes).dataset
    assert copy.uri == config.uri
    before, after = all_labels(config), all_labels(copy)
    assert after == before | {"p0.parquet#4": 2}


def test_text_of_a_fixed_length_in_hdf5_is_corrected(tmp_path):
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["x"] = np.zeros((3, 8, 8), np.uint8)
        file["y"] = np.array([b"a", b"b", b"c"])
    labels = {"column": "y", "image_column": "x"}
    config = label_sets.dataset("images", tmp_path / "s.h5", labels)
    done = written(config, tmp_path / "to", LabelChanges(classes={Owner("s.h5", "0"): 1}))
    assert all_labels(done.dataset) == {"s.h5#0": 1, "s.h5#1": 1, "s.h5#2": 2}
