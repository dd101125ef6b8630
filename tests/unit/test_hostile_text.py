"""Text made to do harm, and text at random: specifications, label tables, final tables, secrets."""

import contextlib
import json
import math
import pickle

import pyarrow as pa
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ray_audit import storage
from ray_audit.config import AuditConfig, LabelColumns
from ray_audit.errors import (
    LabelError,
    RayAuditError,
    SampleError,
    SpecificationError,
    StorageError,
    redacted,
)
from ray_audit.formats.labels.classes import ClassNames
from ray_audit.formats.labels.table_rows import layout_of, read_rows
from ray_audit.tables.store import read_table, write_table
from tests.support.media import cut, dataset, write_video
from tests.support.specifications import SPEC

SECRET = "wJalrXUtnFEMI"
MANY = settings(
    deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
SECRET_URIS = [
    f"https://me:{SECRET}@host/a.csv",
    f"https://{SECRET}@host/a.csv",
    f"https://h/a.csv?X-Amz-Signature={SECRET}",
    f"https://h/a.csv?x=1&X-Amz-Security-Token={SECRET}&y=2",
    f"https://h/a.csv?X-Amz-Credential={SECRET}/20260131/s3",
    f"s3://b/a.csv?AccessKeyId={SECRET}",
    f"https://h/a.csv?AWSAccessKeyId=x&Signature={SECRET}",
    f"s3://b/a.csv?secret_access_key={SECRET}",
    f"https://acc.blob.core/a?sv=2020&sig={SECRET}",
    f"https://h/a.csv?access_token={SECRET}",
]
PLAIN_URIS = [
    "s3://bucket/v?deo_*/x.mp4",
    "s3://bucket/team@home/design=1/*.mp4",
    "/data/sig=3/token=4/*.png",
    "s3://bucket/[ab]/?.mp4",
]


@pytest.mark.parametrize("uri", SECRET_URIS)
@pytest.mark.parametrize("key", ["output", "checkpoints", "dataset"])
def test_a_uri_with_a_credential_is_refused_and_not_repeated(key, uri):
    value = SPEC["dataset"] | {"uri": uri} if key == "dataset" else uri
    with pytest.raises(SpecificationError, match="credentials must not stand in a URI") as error:
        AuditConfig.parse(SPEC | {key: value})
    assert SECRET not in str(error.value)


@pytest.mark.parametrize("uri", PLAIN_URIS)
def test_a_uri_that_only_looks_alike_is_taken(uri):
    assert AuditConfig.parse(SPEC | {"output": uri}).output == uri
    assert redacted(uri) == uri


@pytest.mark.parametrize("uri", SECRET_URIS)
@pytest.mark.parametrize("kind", [StorageError, LabelError, SpecificationError])
def test_no_error_repeats_a_credential(uri, kind):
    error = kind(f"cannot read {uri}: HTTP 403 for {uri!r}")
    assert SECRET not in str(error)
    assert str(error).count("***") in (2, 4)
    assert SECRET not in str(pickle.loads(pickle.dumps(error)))
    assert SECRET not in str(SampleError("read", f"GET {uri}"))


def test_what_a_store_library_writes_is_redacted():
    with pytest.raises(StorageError) as error, storage.explained("read", "s3://b/x"):
        raise OSError(f"403, url='{SECRET_URIS[2]}'")
    assert SECRET not in str(error.value)


@pytest.mark.parametrize("uri", SECRET_URIS)
def test_no_command_takes_a_credential_in_a_uri(uri):
    for use in (storage.list_prefix, storage.read_bytes, lambda uri: storage.write_bytes(uri, b"")):
        with pytest.raises(StorageError, match="credentials must not stand in a URI") as error:
            use(uri)
        assert SECRET not in str(error.value)


def test_a_redacted_text_keeps_the_rest():
    text = f"GET {SECRET_URIS[3]} (status 403) and team@home"
    assert redacted(text) == (
        "GET https://h/a.csv?x=1&X-Amz-Security-Token=***&y=2 (status 403) and team@home"
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from([*AuditConfig.model_fields, "classes", "uri", "labels"])


@MANY
@given(st.dictionaries(KEYS | st.text(), JSON))
def test_any_values_are_a_specification_or_an_error(values):
    for given_values in (values, SPEC | values, SPEC | {"dataset": SPEC["dataset"] | values}):
        with contextlib.suppress(SpecificationError):
            config = AuditConfig.parse(given_values)
            assert AuditConfig.parse(config.model_dump()) == config


@MANY
@given(st.binary() | st.text().map(str.encode))
@example(b"a: &a [*a, *a]")
@example(b"\xff\xfe")
@example(b"{? [a]: 1}")
@example(b"- " * 5000)
@example(b"[" * 5000)
@example(b"a: 2001-99-99")
@example(b"0x: 1\n? {}\n: 2")
@example(b"a: !!binary x")
@example(b"a: 1" + b"0" * 5000)
def test_any_bytes_are_a_specification_or_an_error(tmp_path, content):
    path = tmp_path / "audit.yaml"
    path.write_bytes(content)
    with pytest.raises(SpecificationError):
        AuditConfig.load(path)


@MANY
@given(st.lists(st.text()))
def test_any_overrides_are_applied_or_refused(tmp_path, overrides):
    path = tmp_path / "audit.yaml"
    path.write_text(yaml.safe_dump(SPEC))
    try:
        config = AuditConfig.load(path, overrides)
    except SpecificationError:
        return
    assert isinstance(config, AuditConfig)


CELLS = st.text(max_size=8) | st.sampled_from(["v.mp4", "a", "0", "1.5", "nan", "1e400", '"'])
ROWS = st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=5)


def as_csv(rows):
    lines = [",".join(row) for row in [("video", "frame", "label"), *rows]]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def as_json(rows):
    names = ("video", "frame", "label")
    return json.dumps([dict(zip(names, row, strict=True)) for row in rows]).encode()


@MANY
@pytest.mark.parametrize("form", ["frames", "segments"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".json", ".jsonl", ".parquet"])
@given(content=st.binary() | ROWS.map(as_csv) | ROWS.map(as_json))
@example(content=b"\xef\xbb\xbfvideo,frame,label\nv,\x00,a")
@example(content=b'{"video": "v", "frame": "1", "label": "\\ud800"}')
@example(content=b'{"video": "v", "frame": [], "label": {}}')
@example(content=b"[" * 100_000)
@example(content=b'{"a":' * 100_000)
@example(content=b'{"video": 1' + b"0" * 5000 + b"}")
@example(content=b"video,frame,label,label\nv,1,a,b\n")
@example(content=b"\xff\xfevideo")
def test_any_bytes_are_labels_or_an_error(tmp_path, form, suffix, content):
    path = tmp_path / f"labels{suffix}"
    path.write_bytes(content)
    with contextlib.suppress(RayAuditError):
        layout = layout_of(str(path), form, LabelColumns(), with_name=True)
        for rows in read_rows(str(path), layout, ClassNames(["a", "b"], [255])):
            assert len(rows.labels) == len(rows.name_codes)


HARMFUL = [
    "<script>alert(1)</script>",
    "=cmd|'/c calc'!A1",
    "@SUM(1)",
    "../../etc",
    "a\tb",
    "%s{0}",
]


def test_harmful_class_names_are_only_names(tmp_path):
    write_video(tmp_path / "one.mp4", len(HARMFUL))
    table = pa.table(
        {"video": ["one"] * len(HARMFUL), "frame": range(len(HARMFUL)), "label": HARMFUL}
    )
    pa.parquet.write_table(table, tmp_path / "frames.parquet")
    labels = {"frames": str(tmp_path / "frames.parquet")}
    config = dataset("video", tmp_path / "one.mp4", labels).model_copy(update={"classes": HARMFUL})
    result = cut(config, tmp_path)
    assert list(result.labels.values()) == list(range(len(HARMFUL)))


VALUES = {
    "sample_id": st.text(),
    "frame_index": st.none() | st.integers(-(2**63), 2**63 - 1),
    "csl": st.none() | st.floats(width=32),
    "label": st.none() | st.integers(-(2**31), 2**31 - 1),
    "loss": st.lists(st.none() | st.floats(width=32), min_size=2, max_size=2),
    "box": st.none() | st.lists(st.integers(-(2**31), 2**31 - 1), max_size=2),
}
SCHEMA = pa.schema(
    [
        pa.field("sample_id", pa.string(), metadata={b"unit": b"x"}),
        ("frame_index", pa.int64()),
        ("csl", pa.float32()),
        ("label", pa.int32()),
        ("loss", pa.list_(pa.field("element", pa.float32()), 2)),
        ("box", pa.list_(pa.field("element", pa.int32()))),
    ],
    metadata={b"run": b"r"},
)


def same(first, other):
    if isinstance(first, float) and isinstance(other, float):
        return math.copysign(1, first) == math.copysign(1, other) and (
            first == other or (math.isnan(first) and math.isnan(other))
        )
    if isinstance(first, list) and isinstance(other, list):
        return len(first) == len(other) and all(map(same, first, other))
    return first == other


@MANY
@given(st.lists(st.fixed_dictionaries(VALUES), max_size=6), st.integers(0, 6))
def test_a_table_that_is_written_is_read_as_it_was(tmp_path, rows, cut_at):
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    parts = (table[:cut_at], table[cut_at:])
    files = [write_table(str(tmp_path), "t", i, part) for i, part in enumerate(parts)]
    read = read_table(str(tmp_path), files)
    assert read.schema.equals(SCHEMA, check_metadata=True)
    assert [file.num_rows for file in files] == [part.num_rows for part in parts]
    for actual, expected in zip(read.to_pylist(), table.to_pylist(), strict=True):
        assert all(same(actual[name], expected[name]) for name in VALUES)


def test_aliases_that_stand_for_very_much_are_refused_at_once(tmp_path):
    levels = "".join(f"  l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]\n" for i in range(1, 9))
    path = tmp_path / "spec.yaml"
    path.write_text(f"model:\n  l0: &l0 [1]\n{levels}")
    with pytest.raises(SpecificationError, match="aliases") as error:
        AuditConfig.load(path)
    assert len(str(error.value)) < 500
