"""Videos that players turn: numbers, report, exports and corrections are of one picture.

What goes to the model is the same in all of these sets, so that a plain set without a display
matrix says what must come out.
"""

import base64
import io
from xml.etree import ElementTree

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ray_audit.engine.backends.local import LocalBackend
from ray_audit.exports.export import export
from ray_audit.report.write_report import write_report
from ray_audit.tables.run_tables import RunTables
from tests.functional.engine.test_masked_videos import document_of
from tests.support.audits import ALL_MAY_FAIL, audit
from tests.support.corrected import corrected
from tests.support.knowing import SIDE, TRUE_FRAMES, coloured, given_frames, knows, save, true_mask
from tests.support.masked_videos import exact_video, mask_of, widened
from tests.support.small_sets import CLASSES, SmallSet, table
from tests.support.tables import assert_identical, rows_of
from tests.support.turned import MATRICES, put_matrix

NUM_FRAMES, WIDTH, WRONG = 4, 30, ((1,),)
INVERSE = {"quarter turn clockwise": "quarter turn anticlockwise"}


def shown_frames():
    """What the model is to see."""
    return [coloured(widened(true_mask(t), WIDTH)) for t in range(NUM_FRAMES)]


def turned_set(folder, kind="identity", orientation="stored"):
    """A video whose frames are, read by `orientation`, those above, with masks on them."""
    matrix, _ = MATRICES[kind]
    undo = MATRICES[INVERSE.get(kind, kind) if orientation == "display" else "identity"][1]
    stored = [np.ascontiguousarray(undo(pixels)) for pixels in shown_frames()]
    path = exact_video(folder / "data/videos/v0.mov", stored, "rgb24", "png")
    put_matrix(path, matrix, stored[0].shape[:2])
    for t in range(NUM_FRAMES):
        save(mask_of(0, t, WRONG, WIDTH), folder / f"data/masks/v0/{t:05}.png")
    dataset = {
        "kind": "video",
        "uri": str(folder / "data/videos/*.mov"),
        "labels": {"masks": str(folder / "data/masks/{stem}/*.png")},
        "void": [255],
        "orientation": orientation,
    }
    return knows(SmallSet(folder, dataset, "PixelModel"), 6.0, 6.0, 6.0)


def seen_of(small):
    """Everything that people get of a set: outcome, pictures, exported rows, corrected masks."""
    outcome = audit(small)
    tables = RunTables.open(str(small.out))
    write_report(tables, LocalBackend(), str(small.folder / "report.html"))
    export(tables, "parquet", str(small.folder / "exported"))
    exported = pq.read_table(small.folder / "exported/findings.parquet").to_pylist()
    corrected(small)
    masks = sorted((small.folder / "to/labels").rglob("*.png"))
    bundles = list(document_of(small.folder / "report.html")["bundles"].values())
    return outcome, bundles, exported, [np.asarray(Image.open(path)) for path in masks]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return seen_of(turned_set(tmp_path_factory.mktemp("plain")))


def of_finding(rows):
    return [
        {k: row[k] for k in ("sample_id", "box", "given", "suggested", "mask_rle")} for row in rows
    ]


def test_a_plain_video_says_what_must_come_out(plain):
    outcome, bundles, exported, masks = plain
    (row,) = [r for r in rows_of(outcome, "findings").to_pylist() if r["given"] != "void"]
    rows, columns = np.nonzero(true_mask(1) == 1)
    assert row["box"] == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert row["box"] in [item["box"] for item in exported]
    for t, mask in enumerate(masks):
        np.testing.assert_array_equal(mask, mask_of(0, t, ((),), WIDTH))
    picture = next(b["pictures"]["image"] for b in bundles if b["pictures"].get("image"))
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2]))))
    assert pixels.shape == (SIDE, WIDTH, 3)
    near, turned = (
        min(np.abs(pixels.astype(int) - frame[:, ::way]).mean() for frame in shown_frames())
        for way in (1, -1)
    )
    assert near < 20 < turned


@pytest.mark.parametrize("orientation", ["stored", "display"])
@pytest.mark.parametrize("kind", ["quarter turn clockwise", "mirrored left to right"])
def test_a_turned_video_gives_what_its_pictures_give_without_a_turn(
    tmp_path, plain, kind, orientation
):
    outcome, bundles, exported, masks = seen_of(turned_set(tmp_path, kind, orientation))
    assert_identical(outcome, plain[0])
    assert of_finding(rows_of(outcome, "findings").to_pylist()) == of_finding(
        rows_of(plain[0], "findings").to_pylist()
    )
    assert bundles == plain[1]
    assert of_finding(exported) == of_finding(plain[2])
    np.testing.assert_array_equal(masks, plain[3])


def test_masks_of_the_shown_pictures_on_stored_ones_name_the_key(tmp_path):
    small = turned_set(tmp_path, "quarter turn clockwise", "display")
    small.values["dataset"]["orientation"] = "stored"
    outcome = audit(small, **ALL_MAY_FAIL)
    rows = rows_of(outcome, "errors").to_pylist()
    assert {row["error_class"] for row in rows} == {"mask_size"}
    assert "dataset.orientation says" in rows[0]["message"]


def test_a_mask_video_that_is_turned_itself_is_refused_where_pictures_are_turned(tmp_path):
    small = turned_set(tmp_path, "mirrored left to right", "display")
    given = [mask_of(0, t, WRONG, WIDTH) for t in range(NUM_FRAMES)]
    path = exact_video(tmp_path / "data/masks/v0.mov", given, "gray", "png")
    put_matrix(path, MATRICES["mirrored left to right"][0], (SIDE, WIDTH))
    small.values["dataset"]["labels"]["masks"] = str(tmp_path / "data/masks/{stem}.mov")
    rows = rows_of(audit(small, **ALL_MAY_FAIL), "errors").to_pylist()
    assert {row["error_class"] for row in rows} == {"mask_format"}
    assert "has a display matrix of its own" in rows[0]["message"]


@pytest.mark.parametrize(("orientation", "size"), [("stored", (64, 32)), ("display", (32, 64))])
def test_documents_of_segments_have_the_size_that_the_report_shows(tmp_path, orientation, size):
    """A quarter turn; width and height of the boxes that stand for whole frames."""
    frames = [np.array(np.broadcast_to(coloured(k, 1), (32, 64, 3))) for k in TRUE_FRAMES]
    rows = []
    for index in range(4):
        path = exact_video(tmp_path / f"v{index}.mov", frames, "rgb24", "png")
        put_matrix(path, MATRICES["quarter turn clockwise"][0], (32, 64))
        given = enumerate(given_frames(index, (1,)))
        rows += [{"video": path.name, "frame": t, "label": CLASSES[k]} for t, k in given]
    dataset = {
        "kind": "video",
        "uri": str(tmp_path / "*.mov"),
        "labels": {"frames": str(table(tmp_path / "f.csv", rows))},
        "clip": {"frames": None},
        "orientation": orientation,
    }
    small = knows(SmallSet(tmp_path, dataset, "FrameModel"), 6.0, 6.0)
    audit(small)
    export(RunTables.open(str(small.out)), "cvat", str(tmp_path / "cvat"))
    (document,) = (tmp_path / "cvat").rglob("*.xml")
    (box, *_) = ElementTree.parse(document).getroot().iter("box")
    assert (float(box.get("xbr")), float(box.get("ybr"))) == size
