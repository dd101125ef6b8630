import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from matplotlib.colors import to_hex
from sklearn.metrics import average_precision_score

from ray_audit.errors import LabelError, SpecificationError
from ray_audit.report import figures
from ray_audit.report.drawing import (
    DrawnRegion,
    DrawnSpan,
    draw_mask,
    draw_precision_recall,
    draw_timeline,
    draw_trajectory,
)
from ray_audit.report.mask_layers import mask_layers
from ray_audit.report.palette import class_colour, class_rgb
from ray_audit.tables.run_tables import RunTables
from tests.support import knowing
from tests.support.audits import audit

DOCS = Path(__file__).parents[3] / "docs"
COLOURS = Path(figures.__file__).parent / "page/colours.js"
HOSTILE = ["$\\frac{1}$", "_hidden", "<b>\x00\x1b</b>"]
WRONG_VIDEO = "v 1%20é.mp4"


def opened(small, **changes):
    outcome = audit(small, **changes)
    return RunTables.open(outcome.run_uri.rpartition("/runs/")[0])


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    return opened(knowing.videos(tmp_path_factory.mktemp("videos"), num=8))


@pytest.fixture(scope="module")
def masks(tmp_path_factory):
    return opened(knowing.masks(tmp_path_factory.mktemp("masks")))


def truth_of(tables, path):
    """The first segment of the wrong video."""
    rows = tables.whole("scores").select(["sample_id", "shard", "frame_index"]).to_pylist()
    wrong = [row["shard"] == WRONG_VIDEO and row["frame_index"] < 8 for row in rows]
    ids = [row["sample_id"] for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"sample_id": ids, "is_error": wrong}), path)
    return str(path), np.array(wrong)


def bars(axis, level):
    """(first frame, end, colour) of each bar of a band."""
    found = []
    for bar in axis.collections:
        box = bar.get_paths()[0].get_extents()
        if round((box.y0 + box.y1) / 2) == level:
            found.append((box.x0, box.x1, to_hex(bar.get_facecolor()[0])))
    return found


def test_the_colours_are_those_of_the_page():
    stated = re.findall(r"#[0-9a-f]{6}", COLOURS.read_text().split("okabeIto = ")[1].split("]")[0])
    assert [class_colour(index) for index in range(8)] == stated
    assert class_rgb(0) == (0, 114, 178)
    assert len({class_colour(index) for index in range(-1, 60)}) == 61


def test_a_timeline_shows_what_the_tables_say(videos):
    figure = figures.timeline(videos, WRONG_VIDEO)
    bands, csl, order = figure.axes
    red, green, blue = (class_colour(index) for index in range(3))
    assert bars(bands, 0) == [(0, 8, blue), (8, 16, green), (16, 24, blue)]
    assert bars(bands, 1) == [(0, 8, red), (8, 16, green), (16, 24, blue)]
    assert bars(bands, 2) == [(0, 8, red)]
    assert [bar[:2] for bar in bars(bands, 3)] == [(0, 8)]
    rows = videos.whole("scores").to_pylist()
    expected = [row["csl"] for row in rows if row["shard"] == WRONG_VIDEO]
    np.testing.assert_allclose(csl.lines[0].get_ydata(), expected)
    assert (csl.get_ylabel(), order.get_ylabel()) == ("CSL (nat)", "order score (nat)")
    assert order.get_xlabel() == "frame (in decoding order)"


def test_frames_that_are_missing_leave_a_gap():
    frames = np.array([0, 1, 2, 10, 11])
    figure = draw_timeline(frames, {"given": np.zeros(5, int)}, {"loss": np.ones(5)}, ["a"])
    bands, line = figure.axes
    assert [bar[:2] for bar in bars(bands, 0)] == [(0, 3), (10, 12)]
    assert np.isnan(line.lines[0].get_ydata()).sum() == 1


def test_a_trajectory_lies_among_its_class(videos):
    figure = figures.trajectory(videos, f"{WRONG_VIDEO}#0")
    (axis,) = figure.axes
    (loss,) = (line for line in axis.lines if line.get_label() == "this sample")
    rows = videos.whole("trajectories").to_pylist()
    (expected,) = (row["loss"] for row in rows if row["sample_id"] == f"{WRONG_VIDEO}#0")
    np.testing.assert_allclose(loss.get_ydata(), expected)
    assert "given c: middle 80%" in axis.get_legend_handles_labels()[1]
    assert (axis.get_xlabel(), axis.get_ylabel()) == (
        "checkpoint (in order)",
        "loss of the given label (nat)",
    )


def test_of_masks_a_trajectory_stands_alone(masks):
    (axis,) = figures.trajectory(masks, "i1.png").axes
    assert axis.get_legend_handles_labels()[1] == ["this sample"]


@pytest.mark.parametrize("tile", [None, 16])
def test_layers_are_the_mask_and_what_the_checkpoint_sees(tmp_path, tile):
    tables = opened(knowing.masks(tmp_path, tile=tile))
    layers = mask_layers(tables, "i1.png", "i1.png")
    given = knowing.given_mask(1, wrong=(1,)).astype(int)
    np.testing.assert_array_equal(layers.given, np.where(given == 255, -1, given))
    np.testing.assert_array_equal(layers.predicted, knowing.true_mask(1))
    np.testing.assert_array_equal(layers.image, knowing.coloured(knowing.true_mask(1)))


def test_an_overlay_outlines_the_findings(masks):
    figure = figures.mask_overlay(masks, "i1.png")
    axes = figure.axes
    assert [axis.get_title() for axis in axes] == ["image", "given", "predicted"]
    rows = masks.findings().to_pylist()
    ranks = sorted(f"#{row['rank']}" for row in rows if row["sample_id"] == "i1.png")
    assert sorted(text.get_text() for text in axes[0].texts) == ranks != []
    assert all(len(axis.collections) == 2 * len(ranks) for axis in axes)


def test_precision_and_recall_are_of_the_score_in_its_direction(videos, tmp_path):
    truth, wrong = truth_of(videos, tmp_path / "truth.parquet")
    (axis,) = figures.precision_recall(videos, truth, ["csl", "aum"]).axes
    scores = videos.whole("scores")
    for line, values in zip(axis.lines, (scores["csl"], pc.negate(scores["aum"])), strict=False):
        recall, precision = line.get_xdata(), line.get_ydata()
        area = -np.sum(np.diff(recall) * precision[:-1])
        assert area == pytest.approx(average_precision_score(wrong, values.to_numpy()))
    assert axis.lines[-1].get_ydata()[0] == pytest.approx(wrong.mean())


def test_names_made_to_do_harm_are_drawn_as_they_are(tmp_path):
    labels = np.array([0, 1, 2, -1])
    spans = [DrawnSpan(0, 2, HOSTILE[0])]
    image = np.zeros((4, 4), np.uint8)
    square = np.tile(labels, (4, 1))
    region = DrawnRegion(square == 1, HOSTILE[0])
    for figure in (
        draw_timeline(np.arange(4), {HOSTILE[0]: labels}, {HOSTILE[1]: labels}, HOSTILE, spans),
        draw_trajectory(np.ones(2), np.ones((3, 2)), HOSTILE[0], HOSTILE[:2], HOSTILE[2]),
        draw_mask(image, square, square, HOSTILE, [region], HOSTILE[0]),
        draw_precision_recall({HOSTILE[1]: (np.ones(2), np.array([1, 0]))}, 0.1, HOSTILE[0]),
    ):
        figure.savefig(tmp_path / "figure.png")
        assert figure.legends or figure.axes[0].get_legend()


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda run, truth: figures.timeline(run, "v9.mp4"), "no shard 'v9.mp4'; one that it has"),
        (lambda run, truth: figures.trajectory(run, "x"), "no sample_id 'x'"),
        (lambda run, truth: figures.mask_overlay(run, "x"), "needs a run over masks"),
        (lambda run, truth: figures.precision_recall(run, truth, ["forgetting"]), "no score with"),
    ],
)
def test_what_a_run_lacks_is_an_error_that_says_what_it_has(videos, tmp_path, ask, said):
    truth, _ = truth_of(videos, tmp_path / "truth.parquet")
    with pytest.raises(SpecificationError, match=said):
        ask(videos, truth)


def test_a_truth_without_errors_has_no_curve(videos, tmp_path):
    path = tmp_path / "truth.csv"
    path.write_text(f"sample_id,is_error\n{WRONG_VIDEO}#0,false\n")
    with pytest.raises(SpecificationError, match="0 of 1 samples are wrong"):
        figures.precision_recall(videos, str(path))
    path.write_text("sample_id,is_error\nother,true\n")
    with pytest.raises(LabelError, match="no sample of the truth"):
        figures.precision_recall(videos, str(path))


def test_figures_are_imported_without_matplotlib_and_say_what_to_install():
    code = """
import sys
sys.modules["matplotlib.figure"] = None
from ray_audit.report import figures
from ray_audit.report.drawing import draw_trajectory
assert "matplotlib" not in sys.modules
try:
    draw_trajectory([1.0])
except figures.SpecificationError as error:
    assert "ray-audit[plots]" in str(error)
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_examples_of_the_documentation_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    demo = tmp_path / "ray-audit-demo"
    small = knowing.videos(tmp_path / "v", num=8)
    truth_of(opened(small, output=str(demo / "audits/videos")), demo / "videos/truth.parquet")
    opened(knowing.masks(tmp_path / "m"), output=str(demo / "audits/masks"))
    examples = re.findall(r"```python\n(.*?)```", (DOCS / "notebooks.md").read_text(), re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        exec(compile(example, "notebooks.md", "exec"), {})
    names = ("timeline", "trajectory", "precision", "mask")
    assert all((tmp_path / f"{name}.png").stat().st_size > 5000 for name in names)
