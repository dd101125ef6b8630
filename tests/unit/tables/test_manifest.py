from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from ray_audit import storage
from ray_audit.engine.run.status import read_status
from ray_audit.errors import StorageError
from ray_audit.tables.manifest import Manifest, latest_complete, run_ids
from ray_audit.tables.store import TableFile, write_table

ROWS = pa.table({"sample_id": ["a", "b"], "csl": [0.5, 1.0]})


def manifest(**changes):
    values = {
        "run_id": "2026-01-31-0123abcd",
        "state": "complete",
        "specification": {},
        "protocol": "training",
        "counts": {"entered": 2},
        "checkpoints": [{"name": "e0", "digest": "d0"}],
        "numeric": {"temperature": 0.1, "precision": "float32"},
        "plan": {},
        "tables": {},
        "timing": {},
        "versions": {},
        "top": [],
        "notes": [],
        "breached_gates": [],
    }
    known: dict = {"labels_digest": ""} | {
        name: {} for name in ("findings", "estimate", "memorisation", "order")
    }
    return Manifest(**(known | {"top_findings": []} | values | changes))


@pytest.fixture
def run_uri(tmp_path):
    return str(tmp_path / "runs/r")


def test_the_first_manifest_stays(run_uri):
    first, second = manifest(), manifest(timing={"total_s": 9.0})
    assert first.publish(run_uri) is first
    assert second.publish(run_uri) == first
    assert Manifest.read(run_uri) == first


@pytest.mark.parametrize(
    "beside",
    ["backup", "2026-01-31-0123abcd.bak", "2026-01-31-0123abcd copy", "old/2026-02-01-0123abcd"],
)
@pytest.mark.parametrize("content", ["copy", "{}"])
def test_a_folder_that_is_no_run_stands_in_the_way_of_none(tmp_path, beside, content):
    run_id = "2026-01-31-0123abcd"
    manifest(published_s=1.0).publish(str(tmp_path / "runs" / run_id))
    if content == "copy":
        manifest(published_s=2.0).publish(str(tmp_path / "runs" / beside))
    else:
        storage.write_bytes(str(tmp_path / "runs" / beside / "manifest.json"), content.encode())
    assert run_ids(str(tmp_path)) == [run_id]
    assert latest_complete(str(tmp_path)) == run_id
    (status,) = read_status(str(tmp_path)).runs
    assert (status.run_id, status.state) == (run_id, "complete")


def test_a_manifest_that_cannot_be_read_hides_no_other_run_from_status(tmp_path):
    manifest().publish(str(tmp_path / "runs/2026-01-31-0123abcd"))
    storage.write_bytes(str(tmp_path / "runs/2026-02-01-0123abcd/manifest.json"), b"{}")
    complete, other = read_status(str(tmp_path)).runs
    assert (complete.state, other.state) == ("complete", "unreadable")
    assert "no manifest of this version" in other.message


def test_a_manifest_whose_answer_was_lost_is_still_ones_own(run_uri):
    result = manifest()
    result.publish(run_uri)
    again = manifest()
    assert again.publish(run_uri) is again


@pytest.mark.parametrize(
    "changes",
    [
        {"run_id": "2026-01-31-ffffffff"},
        {"checkpoints": [{"name": "e0", "digest": "other"}]},
        {"numeric": {"temperature": 0.2, "precision": "float32"}},
    ],
    ids=str,
)
def test_the_manifest_of_another_run_is_an_error(changes, run_uri):
    manifest(**changes).publish(run_uri)
    with pytest.raises(StorageError, match=rf"of another run: its {next(iter(changes))} differs"):
        manifest().publish(run_uri)


@pytest.mark.parametrize("path", ["../other/a.parquet", "/etc/a.parquet", "scores//a.parquet"])
def test_a_manifest_that_lists_a_file_outside_of_its_run_is_refused(path, run_uri):
    listed = TableFile(path, num_rows=1, size_bytes=1, sha256="0")
    manifest(tables={"scores": [listed]}).publish(run_uri)
    with pytest.raises(StorageError, match="is no file below the run"):
        Manifest.read(run_uri)


@pytest.mark.parametrize("content", [b"[" * 200_000, b"[]", b'{"tables": {"scores": ["a"]}}', b"7"])
def test_what_is_no_manifest_is_an_error_with_its_name(content, run_uri):
    storage.write_bytes(f"{run_uri}/manifest.json", content)
    with pytest.raises(StorageError, match=r"manifest.json is no manifest of this version"):
        Manifest.read(run_uri)


def test_equal_tables_are_equal_files_and_others_have_other_names(run_uri):
    first, same = (write_table(run_uri, "scores", 0, ROWS) for _ in range(2))
    other = write_table(run_uri, "scores", 0, ROWS.slice(1))
    assert first == same
    assert first.path != other.path
    assert len(list(Path(run_uri).rglob("*.parquet"))) == 2


def test_a_table_that_was_changed_is_refused(run_uri):
    file = write_table(run_uri, "scores", 0, ROWS)
    listed = replace(manifest(), tables={"scores": [file]})
    assert listed.table(run_uri, "scores").equals(ROWS)
    path = Path(run_uri) / file.path
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StorageError, match=r"delete the run's manifest\.json and run again"):
        listed.table(run_uri, "scores")
