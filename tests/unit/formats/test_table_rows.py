import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ray_audit.config import LabelColumns
from ray_audit.errors import LabelError
from ray_audit.formats.labels import json_rows, tables
from ray_audit.formats.labels.classes import ClassNames
from ray_audit.formats.labels.clocks import LabelClock
from ray_audit.formats.labels.table_rows import layout_of, read_rows
from ray_audit.samples import IGNORE

ROWS = [("v", 0, "a"), ("v", 1, "1"), ("w", 7, "c"), ("w", 8, "255")]
CLASSES = ClassNames(["a", "b", "c"], [255])


def write(folder, form):
    path = folder / f"t.{form}"
    records = [{"extra": 1, "video": v, "frame": f, "label": k} for v, f, k in ROWS]
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(records), path)
    elif form == "json":
        path.write_text(json.dumps(records, indent=2))
    elif form in ("jsonl", "ndjson"):
        path.write_text("\n".join(map(json.dumps, records)))
    else:
        comma = "\t" if form == "tsv" else ","
        lines = [["extra", "video", "frame", "label"], *([1, *row] for row in ROWS)]
        path.write_text("\n".join(comma.join(map(str, line)) for line in lines))
    return str(path)


def parsed(uri, form="frames", with_name=True, **columns):
    layout = layout_of(uri, form, LabelColumns(**columns), with_name)
    rows = []
    for chunk in read_rows(uri, layout, CLASSES):
        names = [chunk.names[code] for code in chunk.name_codes] if chunk.names else []
        numbers = np.stack(list(chunk.numbers.values())).T.tolist() if chunk.numbers else []
        rows += zip(names, numbers, chunk.labels.tolist(), strict=True) if names else numbers
    return rows


@pytest.mark.parametrize("form", ["csv", "tsv", "json", "jsonl", "ndjson", "parquet"])
@pytest.mark.parametrize("chunk", [2, 50_000])
def test_each_format_gives_the_same_rows(tmp_path, form, chunk, monkeypatch):
    monkeypatch.setattr(tables, "_CHUNK_ROWS", chunk)
    monkeypatch.setattr(json_rows, "_READ_CHARS", 16)
    expected = [("v", [0], 0), ("v", [1], 1), ("w", [7], 2), ("w", [8], IGNORE)]
    assert parsed(write(tmp_path, form)) == expected


def test_typed_parquet_columns(tmp_path):
    path = tmp_path / "t.parquet"
    columns = {
        "video": pa.array(["v", "v"]).dictionary_encode(),
        "frame": pa.array([0.0, 1.0]),
        "label": pa.array([2, 0], pa.int8()),
    }
    pq.write_table(pa.table(columns), path)
    assert parsed(str(path)) == [("v", [0], 2), ("v", [1], 0)]


def test_columns_are_renamed_and_blanks_trimmed(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes("\ufeffclip, n,phase\r\nv , 3 , a \r\n".replace(", n", ",n").encode())
    assert parsed(str(path), video="clip", frame="n", label="phase") == [("v", [3], 0)]


def test_a_column_of_indices_may_hold_a_name_far_down(tmp_path):
    path = tmp_path / "t.csv"
    rows = [f"v,{i},{i % 3}" for i in range(200_000)] + ["v,200000,b"]
    path.write_text("\n".join(["video,frame,label", *rows]))
    assert parsed(str(path))[-1] == ("v", [200_000], 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("video,frame,label\nv,0,a\nv,1,bb\n", r"t\.csv, row 2: label 'bb' .*did you mean 'b'"),
        ("video,frame,label\nv,0,3\n", r"row 1: label '3' is none of the 3 classes"),
        ("video,frame,label\nv,0,\n", r"row 1: the label is empty"),
        ("video,frame,label\nv,x,a\n", r"row 1: frame is 'x', expected a number"),
        ("video,frame,label\nv,,a\n", r"row 1: frame is '', expected a number"),
        ("video,frame,label\nv,-1,a\n", r"row 1: frame is -1, expected a whole number"),
        ("video,frame,label\nv,0.5,a\n", r"row 1: frame is 0.5, expected a whole number"),
        ("video,frame,phase\nv,0,a\n", r"no column 'label'; the table has 'video', 'frame'"),
        ("", r"no column .*; the table has none"),
        ("video,frame,label\nv,0\n", r"cannot be read"),
    ],
)
def test_a_bad_frame_table_is_named(tmp_path, text, message):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(LabelError, match=message):
        parsed(str(path))


@pytest.mark.parametrize("text", ['[{"video": "v"', "[1, 2]", '{"video": "v"} oops'])
def test_bad_json_is_named(tmp_path, text):
    path = tmp_path / "t.json"
    path.write_text(text)
    with pytest.raises(LabelError, match=r"t\.json"):
        parsed(str(path))


def test_segments_in_frames_or_seconds(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("video,start_frame,end_frame,label\nv,0,2.5,a\n")
    assert parsed(str(path), "segments") == [("v", [0, 2.5], 0)]
    path.write_text("video,start_s,end_s,label\nv,0,2.5,a\n")
    assert layout_of(str(path), "segments", LabelColumns(), True).in_seconds
    path.write_text("video,start_frame,end_frame,label\nv,0,2,a\nv,5,5,a\n")
    with pytest.raises(LabelError, match="row 2: the segment ends at 5, not after its start 5"):
        parsed(str(path), "segments")


def test_unknown_table_format(tmp_path):
    path = tmp_path / "t.xlsx"
    path.write_bytes(b"x")
    with pytest.raises(LabelError, match="not a label table"):
        parsed(str(path))


@pytest.mark.parametrize(
    ("value", "index"),
    [("a", 0), ("2", 2), ("2.0", 2), (1, 1), (1.0, 1), (np.int8(1), 1), ("255", IGNORE)],
)
def test_class_values(value, index):
    assert CLASSES.parse(value) == index


def test_names_come_before_indices_and_void_may_be_a_class():
    numbered = ClassNames(["1", "2", "3"], ["3", "gap"])
    assert [numbered.parse(v) for v in ("1", "2", "3", 3, "gap")] == [0, 1, IGNORE, IGNORE, IGNORE]
    with pytest.raises(ValueError, match="none of the 3 classes"):
        numbered.parse(1.5)


DURATIONS = {
    "onset,len\n0.1,0.2\n0.3,0.4\n": ({"start_s": "onset", "duration_s": "len"}, 1),
    "start_s,duration_s\n00:00:00.1,00:00:00.2\n0.3,0.4\n": ({}, 1),
    "start_ms,duration_ms\n100,200\n300,400\n": ({}, 1),
    "start_frame,duration_frames\n1,2\n3,4\n": ({}, 10),
}


@pytest.mark.parametrize("text", DURATIONS)
def test_a_duration_stands_in_place_of_an_end(tmp_path, text):
    columns, unit = DURATIONS[text]
    rows = [f"{line},{'label' if i == 0 else 'a'}" for i, line in enumerate(text.splitlines())]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(rows))
    found = np.array(parsed(str(path), "segments", with_name=False, **columns))
    np.testing.assert_allclose(found * (1 / unit), [[0.1, 0.3], [0.3, 0.7]], atol=1e-12)
    assert found[0, 1] == found[1, 0]  # and not 0.30000000000000004, which would overlap


def test_a_duration_that_is_named_wins_over_an_end(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("start_s,end_s,duration_s,length,label\n1,2,5,7,a\n")
    assert parsed(str(path), "segments", with_name=False) == [[1, 2]]
    assert parsed(str(path), "segments", with_name=False, duration_s="length") == [[1, 8]]


def test_a_duration_of_nothing_is_located_and_inclusive_ends_do_not_go_with_it(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("start_frame,duration_frames,label\n1,2,a\n3,0,a\n")
    with pytest.raises(LabelError, match="row 2: duration_frames is 0, expected a duration above"):
        parsed(str(path), "segments", with_name=False)
    clock = LabelClock(is_inclusive=True)
    with pytest.raises(LabelError, match=r"a duration, and no end: leave labels\.ends out"):
        layout_of(str(path), "segments", LabelColumns(), False, clock)


def test_a_segment_before_the_first_frame_is_named(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("video,start_frame,end_frame,label\nv,0,8,a\n")
    layout = layout_of(str(path), "segments", LabelColumns(), True, LabelClock(first_frame=1))
    with pytest.raises(LabelError, match=r"row 1: start_frame is 0, expected a number from 1"):
        list(read_rows(str(path), layout, ClassNames(["a"])))
