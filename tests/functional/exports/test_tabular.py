"""Findings as CSV and Parquet."""

import csv
import io
import json

import pyarrow.parquet as pq
import pytest

from ray_audit.exports.tabular import csv_documents, parquet_documents
from ray_audit.schemas import FINDINGS
from tests.support.export_contents import content, masks, row


def read_csv(documents):
    text = documents["findings.csv"].decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r", "\uff1d", " =", "'"])
def test_no_cell_of_a_csv_is_a_formula_and_each_comes_back(start):
    name = f'{start}HYPERLINK("http://x")'
    rows = [row(given=name, shard=name, reason=name)]
    (read,) = read_csv(csv_documents(content("images", rows)))
    for column in ("given", "shard", "reason"):
        assert read[column] == f"'{name}"
        assert read[column].removeprefix("'") == name


def test_a_csv_holds_every_column_and_the_place_of_the_media():
    contents, _ = masks()
    first, _ = read_csv(csv_documents(contents))
    names = {column.name for column in FINDINGS} - {"box", "mask_size_px"}
    assert names < set(first)
    assert first["media"] == "s3://bucket/../i 0.png"
    assert [int(first[f"box_{side}"]) for side in ("x0", "y0", "x1", "y1")] == contents.rows[0][
        "box"
    ]
    assert (first["mask_height_px"], first["mask_width_px"]) == ("40", "50")
    assert json.loads(first["evidence"]) == ["../i 0.png"]


@pytest.mark.parametrize("make", [csv_documents, parquet_documents])
def test_tables_without_findings_keep_their_columns(make):
    (document,) = make(content("images", [])).values()
    if make is csv_documents:
        assert document.startswith(b"run_id,finding_id,rank,kind,")
    else:
        assert pq.read_schema(io.BytesIO(document)).names == [*(c.name for c in FINDINGS), "media"]


def test_parquet_keeps_types_and_says_of_which_run():
    contents, _ = masks()
    table = pq.read_table(io.BytesIO(parquet_documents(contents)["findings.parquet"]))
    expected = [row | {"media": "s3://bucket/../i 0.png"} for row in contents.rows]
    assert table.to_pylist() == expected
    assert table.schema.metadata[b"run_id"] == contents.run_id.encode()
    assert table.schema.field("suspicion").metadata[b"direction"] == b"higher"
