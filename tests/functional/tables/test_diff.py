import io
import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from ray_audit import rle, storage
from ray_audit.cli import app
from ray_audit.errors import StorageError
from ray_audit.findings.finding import Finding, findings_table
from ray_audit.tables.diff import changed_settings, diff_runs, match_findings
from ray_audit.tables.manifest import Manifest
from ray_audit.tables.store import write_table

NIGHT_1, NIGHT_2 = "2026-01-01-aaaaaaaa", "2026-01-02-bbbbbbbb"


def segment(start, end, shard="v.mp4", given="cut", kind="mislabel"):
    return Finding(
        kind=kind,
        shard=shard,
        sample_id=f"{shard}#{start}",
        given=given,
        suggested="clip",
        suspicion=0.9,
        reason="because",
        anchor=f"{start}-{end}",
        start_frame=start,
        end_frame=end,
    )


def image(key, given="cat", box=None):
    return Finding(
        kind="mislabel" if box is None else "missing_region",
        shard=key,
        sample_id=key,
        given=given,
        suggested="dog",
        suspicion=0.5,
        reason="because",
        anchor="" if box is None else str(box),
        box=box,
    )


def rows(*findings):
    return findings_table(findings, {}).to_pylist()


def changes(before, after):
    return sorted(
        (m.change, (m.before or {}).get("sample_id"), (m.after or {}).get("sample_id"))
        for m in match_findings(rows(*before), rows(*after))
    )


def test_same_names_recur_and_the_rest_is_new_or_fixed():
    result = changes([image("a"), image("b")], [image("b"), image("c")])
    assert result == [("fixed", "a", None), ("new", None, "c"), ("recurring", "b", "b")]


def test_a_segment_whose_label_moved_a_little_recurs():
    (match,) = match_findings(rows(segment(10, 20)), rows(segment(12, 20)))
    assert (match.change, match.iou) == ("recurring", 0.8)


@pytest.mark.parametrize(
    "other",
    [
        segment(16, 26),
        segment(10, 21, shard="w.mp4"),
        segment(10, 21, given="hold"),
        segment(10, 21, kind="boundary"),
    ],
    ids=["little overlap", "another shard", "another label", "another kind"],
)
def test_what_is_something_else_does_not_recur(other):
    assert [change for change, *_ in changes([segment(10, 20)], [other])] == ["fixed", "new"]


def test_each_finding_is_matched_once_and_by_the_largest_overlap():
    result = changes([segment(10, 20)], [segment(10, 18), segment(10, 19)])
    found = match_findings(rows(segment(10, 20)), rows(segment(10, 18), segment(10, 19)))
    assert [change for change, *_ in result] == ["new", "recurring"]
    assert {m.iou for m in found} == {None, 0.9}


def test_boxes_of_one_image_match_by_overlap():
    before, after = image("a", box=(0, 0, 10, 10)), image("a", box=(0, 0, 10, 8))
    (match,) = match_findings(rows(before), rows(after))
    assert match.iou == 0.8


def test_masks_of_one_image_match_by_their_pixels():
    pixels = np.zeros((20, 20), bool)
    pixels[4:12, 4:14] = True
    before = replace(image("a", box=(4, 4, 14, 12)), mask_rle=rle.encode(pixels))
    pixels[4:6] = False
    after = replace(before, anchor="moved", mask_rle=rle.encode(pixels))
    found = [rows(replace(item, mask_size_px=(20, 20))) for item in (before, after)]
    (match,) = match_findings(*found)
    assert match.iou == 0.75
    resized = rows(replace(after, mask_size_px=(10, 40)))
    assert len(match_findings(found[0], resized)) == 2


def manifest(run_id, numeric=None, plan=None, **specification):
    empty = dict.fromkeys(Manifest.__dataclass_fields__)
    settings = {"protocol": "training", "scores": ["csl", "vog"], **specification}
    return Manifest(
        **empty
        | {"run_id": run_id, "specification": settings, "numeric": numeric or {"record_version": 2}}
        | {"notes": [], "breached_gates": [], "plan": plan or {}}
    )


def write_night(output, run_id, findings, **changed):
    run_uri = f"{output}/runs/{run_id}"
    file = write_table(run_uri, "findings", 0, findings_table(findings, {}))
    values = vars(manifest(run_id, **changed)) | {"tables": {"findings": [vars(file)]}}
    storage.write_bytes(f"{run_uri}/manifest.json", json.dumps(values).encode())


def test_the_order_of_score_families_is_no_change():
    assert not list(changed_settings(manifest("a"), manifest("b", scores=["vog", "csl"])))


def test_a_changed_setting_is_named_with_both_values():
    first = manifest("a", {"dataset": {"clip": {"every": 1}}})
    other = manifest("b", {"dataset": {"clip": {"every": 5}}}, protocol="held_out")
    assert list(changed_settings(first, other)) == [
        "dataset.clip.every was 1 and is 5",
        "protocol was 'training' and is 'held_out'",
    ]


def test_what_changes_no_finding_is_no_change():
    first = manifest("a", vog={"target": "loss", "keep_moments": False})
    other = manifest("b", scores=["csl"], vog={"target": "logit", "keep_moments": True})
    assert not list(changed_settings(first, other))
    (said,) = changed_settings(first, manifest("c", scores=["csl", "softmin"]))
    assert said == "scores was ['csl'] and is ['csl', 'softmin']"


def test_a_trial_is_compared_with_no_whole_run_and_with_trials_of_as_many_shards():
    whole = manifest("a", plan={"num_shards": 6, "num_left_out": 0})
    trials = [manifest("b", plan={"num_shards": n, "num_left_out": 6 - n}) for n in (2, 2, 3)]
    assert list(changed_settings(whole, trials[0])) == [
        "the earlier run audited all shards, the later one the first 2 alone (--limit)"
    ]
    assert not list(changed_settings(trials[0], trials[1]))
    assert len(list(changed_settings(trials[1], trials[2]))) == 1


def test_a_changed_specification_is_said_instead_of_changes(tmp_path):
    write_night(tmp_path, NIGHT_1, [image("a")])
    write_night(tmp_path, NIGHT_2, [image("b")], numeric={"record_version": 3})
    found = diff_runs(str(tmp_path), NIGHT_1, NIGHT_2)
    assert found.changed_settings == ("record_version was 2 and is 3",)
    assert found.matches == ()
    assert found.summary()["counts"] == {}


def test_a_run_that_is_not_there_is_an_error_that_lists_the_others(tmp_path):
    write_night(tmp_path, NIGHT_1, [])
    with pytest.raises(StorageError, match=f"no complete run 'x'.*{NIGHT_1}"):
        diff_runs(str(tmp_path), NIGHT_1, "x")


def test_the_command_prints_one_object_and_writes_a_table(tmp_path):
    write_night(tmp_path, NIGHT_1, [image("a"), image("b"), segment(10, 20)])
    write_night(tmp_path, NIGHT_2, [image("b"), image("c"), segment(12, 20)])
    table = tmp_path / "diff.parquet"
    command = ["diff", str(tmp_path), NIGHT_1, NIGHT_2, "--json", "--to", str(table)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0
    actual = json.loads(result.stdout)
    assert actual["counts"] == {"new": 1, "fixed": 1, "recurring": 2}
    assert actual["by_kind"] == {"mislabel": {"fixed": 1, "new": 1, "recurring": 2}}
    read = pq.read_table(io.BytesIO(table.read_bytes())).to_pylist()
    assert [row["change"] for row in read] == ["new", "fixed", "recurring", "recurring"]
    assert {(row["sample_id"], row["iou"]) for row in read[2:]} == {("v.mp4#12", 0.8), ("b", None)}


def test_the_command_says_what_changed(tmp_path):
    write_night(tmp_path, NIGHT_1, [image("a")])
    write_night(tmp_path, NIGHT_2, [image("c")])
    result = CliRunner().invoke(app, ["diff", str(tmp_path), NIGHT_1, NIGHT_2])
    assert "1 new, 1 fixed, 0 recurring" in result.stdout
    assert "mislabel: cat -> dog" in result.stdout
