"""Labels in seconds of containers whose clock begins anywhere: planted, found, exported, mended."""

import json

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

from ray_audit.config import AuditConfig
from ray_audit.corrections.correct import correct
from ray_audit.corrections.options import CorrectionOptions
from ray_audit.engine.backends.local import LocalBackend
from ray_audit.engine.run.audit import run_audit
from ray_audit.exports.export import export
from ray_audit.tables.run_tables import RunTables
from ray_audit.training.inject import inject
from tests.support import knowing
from tests.support.corrected import corrected, labels_at, labels_of, rows_at
from tests.support.small_sets import CLASSES, SmallSet, table

X264 = {"x264-params": "keyint=8:bframes=2:log-level=none"}
CONTAINERS = {
    "ts": ("libx264", X264, {"output_ts_offset": "95382"}),
    "mpg": ("mpeg2video", {}, {}),
    "webm": ("libvpx", {}, {"output_ts_offset": "7.5"}),
    "avi": ("libx264", X264, {}),
}
SEGMENT_S = 8 / 25


def recorded(path, codec, options, container):
    """A colour for each third, of eight frames."""
    with av.open(str(path), "w", options=container) as file:
        stream = file.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        if codec.startswith("mpeg"):
            stream.codec_context.gop_size, stream.codec_context.max_b_frames = 8, 2
        for k in knowing.TRUE_FRAMES.tolist():
            frame = av.VideoFrame.from_ndarray(knowing.coloured(k, 32), format="rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode())


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("mpg", "webm")]


@pytest.fixture(params=["ts", "avi", *SLOW])
def videos(request, tmp_path):
    """Four of a kind, with right labels."""
    (tmp_path / "data").mkdir()
    rows = []
    for index in range(4):
        name = f"v{index}.{request.param}"
        recorded(tmp_path / "data" / name, *CONTAINERS[request.param])
        for k, label in enumerate(CLASSES):
            edges = {"start_s": round(k * SEGMENT_S, 3), "end_s": round((k + 1) * SEGMENT_S, 3)}
            rows.append({"video": name, **edges, "label": label})
    dataset = {
        "kind": "video",
        "uri": str(tmp_path / f"data/*.{request.param}"),
        "labels": {"segments": str(table(tmp_path / "segments.csv", rows))},
        "clip": {"frames": None},
    }
    return knowing.knows(SmallSet(tmp_path, dataset, "FrameModel"), 6.0, 6.0)


# The fourth seed gives a last segment the class of its neighbour, the seventh a first one.
@pytest.mark.parametrize("seed", [3, 4, pytest.param(7, marks=pytest.mark.slow)])
def test_what_is_planted_in_seconds_is_found_exported_and_mended(videos, tmp_path, seed):
    planted = inject(videos.config(), str(tmp_path / "planted"), 0.25, ["mislabel"], seed=seed)
    truth = {row["sample_id"]: row for row in pq.read_table(planted.truth).to_pylist()}
    assert planted.num_errors == 8
    done = run_audit(AuditConfig.load(planted.spec), local=True, logical_date="2026-01-31")
    assert done.counts["scored"] == done.counts["entered"] == 96
    tables = RunTables.open(planted.output)
    for row in done.manifest.table(done.run_uri, "scores").to_pylist():
        is_right = row["label"] == truth[row["sample_id"]]["true_label"]
        assert is_right == (not truth[row["sample_id"]]["is_error"]), row
    (finding,) = tables.findings().to_pylist()
    wrong = [int(name.rpartition("#")[2]) for name, row in truth.items() if row["is_error"]]
    assert (finding["start_frame"], finding["end_frame"]) == (min(wrong), max(wrong) + 1)
    export(tables, "labelstudio", str(tmp_path / "ls"))
    (task,) = json.loads((tmp_path / "ls/tasks.json").read_text())
    (span,) = task["predictions"][0]["result"][0]["value"]["ranges"]
    assert (span["start"], span["end"]) == (min(wrong) + 1, max(wrong) + 1)
    options = CorrectionOptions(rule="findings")
    mended = correct(tables, LocalBackend, str(tmp_path / "mended"), options)
    assert sum(pair["num"] for pair in mended.pairs) == 8
    (corrected,) = (tmp_path / "mended").rglob("segments.csv")
    before, after = (knowing.read_csv(path) for path in (tmp_path / "segments.csv", corrected))
    assert [row["label"] for row in after] == [row["label"] for row in before]
    np.testing.assert_allclose(
        [[float(row[name]) for name in ("start_s", "end_s")] for row in after],
        [[float(row[name]) for name in ("start_s", "end_s")] for row in before],
        atol=1e-3,
    )


def labelled_by_the_second(folder):
    """Sequences of 8 frames a second, whose labels count seconds."""
    (folder / "data").mkdir()
    rows = []
    for index in range(4):
        true = knowing.TRUE_FRAMES.copy()
        true[8:11] = 0 if index == 1 else 1  # 3 frames of the second label
        true[16:24] = 0 if index == 2 else 2  # all of the third
        np.save(folder / f"data/s{index}.npy", np.eye(3, dtype=np.float32)[true])
        rows += [
            {"video": f"s{index}", "frame": at, "label": name} for at, name in enumerate(CLASSES)
        ]
    dataset = {
        "kind": "sequences",
        "uri": str(folder / "data/*.npy"),
        "labels": {"frames": str(table(folder / "f.csv", rows)), "fps": 1},
        "clip": {"frames": None},
        "fps": 8,
    }
    return knowing.knows(SmallSet(folder, dataset, "FrameModel", {"in_features": 3}), 6.0, 6.0)


def test_of_labels_on_their_own_clock_those_count_as_changed_that_are_written(tmp_path):
    small = labelled_by_the_second(tmp_path)
    dry = corrected(small, rule="flagged", flagged_fraction=11.5 / 96, dry_run=True)
    assert (dry.num_changed, dry.outcomes) == (8, {"changed": 8, "kept": 3})
    done = corrected(small, rule="flagged", flagged_fraction=11.5 / 96)
    before, after = labels_of(small), labels_at(done)
    changed = {key for key in before if before[key] != after[key]}
    assert changed == {f"s2.npy#{frame}" for frame in range(16, 24)}
    assert (done.num_changed, done.outcomes) == (8, {"changed": 8, "kept": 3})
    kept = [row for row in rows_at(done) if row["outcome"] == "kept"]
    assert {row["sample_id"] for row in kept} == {"s1.npy#8", "s1.npy#9", "s1.npy#10"}
    assert not any(row["num_changed"] for row in kept)
    assert all("half of the frames that one stored label" in row["evidence"] for row in kept)
