"""Label tables with a column for each class, of which one is 1 in each row."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ray_audit.errors import LabelError
from ray_audit.formats.label_changes import LabelChanges
from ray_audit.formats.labels.writing import write_tables
from ray_audit.sample_ids import Owner
from tests.support.label_sets import all_labels, listed
from tests.support.layouts import specified, written
from tests.support.small_sets import picture

CLASSES = ["MEL", "NV", "BCC"]
TABLES = {
    "t.csv": "image,MEL,NV,BCC,age\na,0.0,1.0,0.0,7\nb,1.0,0.0,0.0,8\nc,0.0,0.0,1.0,9\n",
    "t.tsv": "BCC\timage\tNV\tMEL\n0\ta\t1\t\n\tb\t0\t1\n1\tc\t0\t0\n",
    "t.jsonl": '{"image": "a", "NV": true, "MEL": false, "BCC": false}\n'
    '{"image": "b", "MEL": true, "NV": false, "BCC": false}\n'
    '{"image": "c", "BCC": true, "NV": false, "MEL": false}\n',
}
FOUND = {"a.png": 1, "b.png": 0, "c.png": 2}


def images(folder, name, text, more=None):
    for at, key in enumerate("abc"):
        picture(folder / f"images/{key}.png", at)
    written(folder / name, text)
    labels = {"images": name, "columns": {"label": CLASSES}}
    return specified(folder, "images", "images/*.png", labels, CLASSES, **(more or {}))


def corrected(config, to):
    shards = listed(config)[0].shards
    changes = LabelChanges(classes={Owner("a.png"): 2, Owner("b.png"): 0})
    return write_tables(config, shards, changes, str(to), lambda *_: None)


@pytest.mark.parametrize("name", TABLES)
def test_the_column_that_is_1_is_the_label_and_is_written_back(tmp_path, name):
    config = images(tmp_path, name, TABLES[name])
    assert all_labels(config) == FOUND
    assert all_labels(corrected(config, tmp_path / "to")) == FOUND | {"a.png": 2}
    before, after = ((tmp_path / place / name).read_text().splitlines() for place in (".", "to"))
    assert [old == new for old, new in zip(before, after, strict=True)].count(False) == 1


def test_a_one_hot_table_of_parquet_keeps_its_types(tmp_path):
    config = images(tmp_path, "t.parquet", "")
    rows = {"image": ["a", "b", "c"], "MEL": [None, 1, 0], "NV": [1, 0, 0], "BCC": [0, 0, 1]}
    table = pa.table(rows).cast(
        pa.schema({"image": pa.string(), "MEL": pa.int8(), "NV": pa.int8(), "BCC": pa.float32()})
    )
    pq.write_table(table, tmp_path / "t.parquet")
    assert all_labels(config) == FOUND
    assert all_labels(corrected(config, tmp_path / "to")) == FOUND | {"a.png": 2}
    assert pq.read_table(tmp_path / "to/t.parquet").schema.equals(table.schema)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("b,1,0,1", "t.csv, row 2: MEL, BCC are all 1, and one label a sample is audited"),
        ("b,0,-1,1", "t.csv, row 2: NV is '-1', expected 0 or 1"),
        ("b,0,nan,1", "t.csv, row 2: NV is 'nan', expected 0 or 1"),
        ("b,0,0,0", "t.csv, row 2: the label is empty"),
    ],
)
def test_a_row_without_exactly_one_1_is_an_error_that_names_it(tmp_path, row, message):
    config = images(tmp_path, "t.csv", f"image,MEL,NV,BCC\na,0,1,0\n{row}\n")
    with pytest.raises(LabelError, match=message):
        listed(config)


def test_a_row_without_a_1_is_void_where_the_empty_label_is(tmp_path):
    text = "image,MEL,NV,BCC\na,0,1,0\nb,0,0,0\nc,1,0,0\n"
    config = images(tmp_path, "t.csv", text, {"void": [""]})
    listing, _ = listed(config)
    assert {shard.key: shard.num_labelled for shard in listing.shards} == {
        "a.png": 1,
        "b.png": 0,
        "c.png": 1,
    }


def test_a_missing_column_of_a_class_is_named(tmp_path):
    config = images(tmp_path, "t.csv", "image,MEL,NV\na,0,1\n")
    with pytest.raises(LabelError, match="no column 'BCC'"):
        listed(config)
