"""Audits of videos whose frames have masks: run, report, correct, inject and evaluate."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import ray_audit
from ray_audit.engine.backends.local import LocalBackend
from ray_audit.report.write_report import write_report
from ray_audit.tables.run_tables import RunTables
from tests.support.audits import assert_counts_add_up, audit, filtered
from tests.support.corrected import corrected, rows_at
from tests.support.label_sets import files_of
from tests.support.masked_videos import NUM_FRAMES, mask_of, masked_videos
from tests.support.media import decoded_video
from tests.support.tables import rows_of
from tests.support.volumes import read_volume

DENSE = ("csl", "softmin", "softmin_interior", "cil", "ccp", "tccp", "iou", "coco", "clc")


def test_each_frame_with_a_mask_is_a_sample_with_all_dense_scores(tmp_path):
    small = masked_videos(tmp_path, masked=range(0, NUM_FRAMES, 3), wrong=((3,), ()))
    outcome = audit(small)
    assert_counts_add_up(outcome)
    rows = {row["sample_id"]: row for row in rows_of(outcome, "scores").to_pylist()}
    assert sorted(rows) == [f"v{v}.mkv#{t}" for v in (0, 1) for t in (0, 3, 6)]
    for name, row in rows.items():
        assert all(row[column] is not None for column in DENSE), row
        frame = int(name.partition("#")[2])
        assert (row["frame_index"], row["shard"]) == (frame, name.partition("#")[0])
        assert row["pts_s"] == round(frame / 25, 3)
    assert set(filtered(outcome).values()) == {"unlabelled"}
    findings = rows_of(outcome, "findings").to_pylist()
    (finding,) = [row for row in findings if row["given"] != "void"]
    assert (finding["kind"], finding["given"], finding["suggested"]) == ("missing_region", "a", "b")
    assert (finding["sample_id"], finding["start_frame"], finding["end_frame"]) == (
        "v0.mkv#3",
        3,
        4,
    )
    assert finding["box"]


def test_lost_frames_of_a_mask_video_are_failures(tmp_path):
    small = masked_videos(tmp_path, form="ffv1")
    path = tmp_path / "data/masks/v0.mkv"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    outcome = audit(small, scores=["csl"], failures={"max_fraction": 1.0})
    assert_counts_add_up(outcome)
    num_failed = outcome.counts["failed"]
    assert 0 < num_failed < NUM_FRAMES
    assert outcome.counts["scored"] == 2 * NUM_FRAMES - num_failed
    assert {row["stage"] for row in rows_of(outcome, "errors").to_pylist()} == {"labels"}


def test_missing_regions_are_drawn_into_the_masks_of_the_frames(tmp_path):
    wrong = ((1, 4), ())
    small = masked_videos(tmp_path, wrong=wrong)
    originals = files_of(tmp_path / "data")
    done = corrected(small)
    assert files_of(tmp_path / "data") == originals
    changed = {row["sample_id"] for row in rows_at(done) if row["outcome"] == "changed"}
    assert changed == {"v0.mkv#1", "v0.mkv#4"}
    copies = sorted((tmp_path / "to/labels").rglob("*.png"))
    assert len(copies) == 2 * NUM_FRAMES
    for path in copies:
        video, frame = int(path.parent.name[1:]), int(path.stem)
        original = tmp_path / f"data/masks/v{video}/{path.name}"
        if frame not in wrong[video]:
            assert path.read_bytes() == original.read_bytes()
        with Image.open(path) as mask, Image.open(original) as before:
            assert (mask.mode, mask.getpalette()) == ("P", before.getpalette())
            np.testing.assert_array_equal(np.asarray(mask), mask_of(video, frame, ((), ())))


@pytest.mark.parametrize("form", ["npy", "mha", "nii.gz", "ffv1"])
def test_missing_regions_are_drawn_into_one_file_of_masks(tmp_path, form):
    small = masked_videos(tmp_path, wrong=((1, 4), ()), form=form, width=30)
    done = corrected(small)
    changed = {row["sample_id"] for row in rows_at(done) if row["outcome"] == "changed"}
    assert changed == {"v0.mkv#1", "v0.mkv#4"}
    for video in (0, 1):
        if form == "ffv1":
            masks = decoded_video(tmp_path / f"to/labels/v{video}.mkv")[:, 0]
        else:
            masks = read_volume(tmp_path / f"to/labels/v{video}.{form}")
        right = [mask_of(video, t, ((), ()), width=30) for t in range(NUM_FRAMES)]
        np.testing.assert_array_equal(masks, right)


def test_square_masks_in_nifti_could_lie_either_way_and_are_refused(tmp_path):
    outcome = audit(masked_videos(tmp_path, form="nii"), failures={"max_fraction": 1.0})
    rows = rows_of(outcome, "errors").to_pylist()
    assert {(row["stage"], row["error_class"]) for row in rows} == {("labels", "mask_format")}
    assert "save the masks as npy" in rows[0]["message"]


def test_planted_errors_in_masks_of_frames_are_found(tmp_path):
    small = masked_videos(tmp_path, num=3, wrong=((), (), ()))
    planted = ray_audit.inject(small.config(), tmp_path / "planted", 0.25, kinds=["drop"], seed=1)
    assert planted.num_errors == 6
    truth = pq.read_table(planted.truth).to_pylist()
    assert {row["sample_id"] for row in truth} == {
        f"v{v}.mkv#{t}" for v in range(3) for t in range(NUM_FRAMES)
    }
    found = ray_audit.audit(planted.spec, local=True).evaluate(planted.truth, ["softmin", "iou"])
    assert all(row.auroc == 1.0 for row in found.detections)


def test_the_report_draws_csl_and_softmin_along_the_frames_of_a_video(tmp_path):
    small = masked_videos(tmp_path, masked=range(0, NUM_FRAMES, 2))
    audit(small)
    tables = RunTables.open(str(small.out))
    write_report(tables, LocalBackend(), str(tmp_path / "report.html"))
    document = document_of(tmp_path / "report.html")
    rows = [row for row in tables.whole("scores").to_pylist() if row["shard"] == "v0.mkv"]
    bundles = [item for item in document["bundles"].values() if item["video"]["csl"]]
    assert all(bundle["pictures"]["given"] for bundle in bundles)
    (drawn,) = [
        bundle["video"] for bundle in bundles if bundle["video"]["csl"] == rounded(rows, "csl")
    ][:1]
    assert drawn["softmin"] == rounded(rows, "softmin")
    assert (drawn["first"], drawn["step"], drawn["given"]) == (0, 2, None)


def rounded(rows, name):
    return [round(row[name], 3) for row in rows]


def document_of(path):
    page = path.read_text(encoding="utf-8")
    start = page.index('id="document">') + len('id="document">')
    return json.loads(page[start : page.index("</script>", start)])
