"""Videos through whole audits: notes that every night says, plans, and exports by the clock."""

import json
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ray_audit.engine.run.audit import run_audit
from ray_audit.engine.run.dry_run import dry_run
from ray_audit.exports.content import VideoFacts
from ray_audit.exports.export import export
from ray_audit.tables.manifest import Manifest
from ray_audit.tables.run_tables import RunTables
from tests.support import small_sets
from tests.support.media import write_groups
from tests.unit.formats.test_orientation import turned_video


def audited(small, date, **changes):
    outcome = run_audit(small.config(**changes), local=True, logical_date=date)
    return outcome, Manifest.read(outcome.run_uri)


@pytest.mark.parametrize("orientation", ["stored", "display"])
def test_a_display_matrix_is_named_by_the_plan_and_by_every_night(orientation, tmp_path):
    small = small_sets.labelled_videos(tmp_path)
    turned_video(tmp_path / "data/v1.mp4", (0, 1, -1, 0))
    small.values["dataset"]["orientation"] = orientation
    small.values["failures"] = {"max_fraction": 1.0}
    plan = dry_run(small.config(), None, True, None, "2026-01-31", False)
    (planned,) = (note for note in plan.inputs.listing.notes if "display matrix" in note)
    assert "v1.mp4" in planned
    assert f"dataset.orientation is {orientation}" in planned
    for date in ("2026-01-31", "2026-02-01"):  # the second night reuses all records
        _, manifest = audited(small, date)
        (note,) = (note for note in manifest.notes if "display matrix" in note)
        assert note.startswith("1 video(s)")
        assert note.endswith(": v1.mp4")
        assert {"stored": "as stored", "display": "as shown"}[orientation] in note


def test_videos_without_a_clock_are_named(tmp_path):
    small = small_sets.labelled_videos(tmp_path)
    avi = write_groups(tmp_path / "v1.avi", "mpeg4", {}, num_frames=12, size=(32, 32))
    (tmp_path / "data/v1.mp4").write_bytes(avi.read_bytes())
    _, manifest = audited(small, "2026-01-31")
    (note,) = (note for note in manifest.notes if "no times that rise" in note)
    assert note.endswith(": v1.mp4")


def variable_video(path, times_ms, labels):
    """A colour a class, shown at any times."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25, options={"x264-params": "log-level=none"})
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for label, time_ms in zip(labels, times_ms, strict=True):
            pixels = np.full((32, 32, 3), 30, np.uint8)
            pixels[..., label] = 220
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())


def test_label_studio_s_ranges_lie_over_the_frames_of_a_finding(tmp_path):
    """It counts frames by the clock: at a variable rate not those that are decoded."""
    small = small_sets.labelled_videos(tmp_path)
    true = [0] * 20 + [1] * 40 + [2] * 20
    regular = [40 * k for k in range(80)]
    variable = [40 * k if k < 20 else 800 + 120 * (k - 20) for k in range(80)]
    rows = []
    for index in range(6):
        given = list(true)
        if index == 2:
            given[40:55] = [0] * 15  # wrong
        times = variable if index == 2 else regular
        variable_video(tmp_path / f"data/v{index}.mp4", times, true)
        rows += [
            {"video": f"v{index}.mp4", "frame": k, "label": "abc"[label]}
            for k, label in enumerate(given)
        ]
    small_sets.table(tmp_path / "data/frames.csv", rows)
    small.values["dataset"]["labels"] = {"frames": str(tmp_path / "data/frames.csv")}
    for epoch, path in enumerate(sorted((tmp_path / "checkpoints").iterdir())):
        weights = load_file(path)
        weights["head.weight"] = 6.0 * (epoch + 1) * torch.eye(3)
        weights["head.bias"] = torch.zeros(3)
        save_file(weights, path)
    outcome, _ = audited(small, "2026-01-31", scores=["csl"])
    tables = RunTables.open(str(small.out), Manifest.read(outcome.run_uri).run_id)
    finding = tables.findings().sort_by("rank").to_pylist()[0]
    export(tables, "labelstudio", str(tmp_path / "ls"))
    tasks = json.loads((tmp_path / "ls/tasks.json").read_text())
    (task,) = (task for task in tasks if task["data"]["key"] == finding["shard"] == "v2.mp4")
    start, end = finding["start_frame"], finding["end_frame"]
    assert (start, end) == (40, 55)
    rate = task["data"]["frames_per_s"]
    (span,) = task["predictions"][0]["result"][0]["value"]["ranges"]
    assert (span["start"] - 1) / rate == pytest.approx(variable[start] / 1000, abs=0.6 / rate)
    assert span["end"] / rate == pytest.approx(variable[end] / 1000, abs=0.6 / rate)


def test_times_between_and_beyond_known_frames():
    facts = VideoFacts(20, 10.0, times=((2, 0.2), (4, 0.8), (10, 2.0)))
    assert facts.time_s(2) == 0.2
    assert facts.time_s(3) == pytest.approx(0.5)
    assert facts.time_s(7) == pytest.approx(1.4)
    assert facts.time_s(0) == pytest.approx(0.0)
    assert facts.time_s(12) == pytest.approx(2.2)
