"""What a page must bear: hostile names, nothing to show, too much to show, data that has gone."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from ray_audit import storage
from ray_audit.cli import app
from ray_audit.report.html_page import render_page
from tests.pages.conftest import audited, text_of, written
from tests.support import knowing, small_sets

SCRIPT = '<img src=x onerror="window.hacked=1"></script><script>window.hacked=1</script>'
QUOTES = 'it\'s "quoted" & `ticked` ${window.hacked=1}'
RIGHT_TO_LEFT = "חיתוך \u202egnp.tuc"
HOSTILE = [SCRIPT, QUOTES, RIGHT_TO_LEFT]


def test_names_with_markup_quotes_and_right_to_left_text_are_shown_as_they_are(visit, tmp_path):
    small = knowing.masks(tmp_path)
    small.values["dataset"]["classes"] = HOSTILE
    for path in sorted((tmp_path / "data").rglob("i1.png")):
        path.rename(path.with_name("<b onclick=alert(1)>'é\".png"))
    page = visit(written(audited(small), tmp_path))
    page.fill("#search", "<b onclick")
    page.locator("#list-count", has_text=" of ").wait_for()
    assert "<b onclick=alert(1)>'é\".png" in text_of(page, "#detail h2 >> nth=0")
    page.select_option("#filter-class", QUOTES)
    page.locator("#list-count", has_text="1 of ").wait_for()
    assert f"{SCRIPT}\n→\n{QUOTES}" in text_of(page, "#detail .change")
    options = page.locator("#filter-class option").all_text_contents()
    assert {SCRIPT, QUOTES} <= set(options)
    page.click("#tab-overview")
    headings = page.locator("#view-overview th").all_text_contents()
    assert {SCRIPT, QUOTES} <= set(headings)
    assert page.evaluate("window.hacked") is None
    assert page.locator("#detail b, #view-overview img").count() == 0
    # A name that runs from right to left must not turn its neighbours around.
    assert page.locator("#view-overview th bdi").count() > 0


def test_a_run_without_findings_opens_with_its_overview(visit, tmp_path):
    small, *_ = knowing.images(tmp_path, wrong=())
    page = visit(written(audited(small), tmp_path))
    assert page.is_visible("#view-overview")
    assert "12" in text_of(page, ".facts")
    page.click("#tab-findings")
    assert "nowhere do the checkpoints prefer another label" in text_of(page, "#detail")
    page.keyboard.press("a")
    page.keyboard.press("j")
    page.keyboard.press("u")
    assert text_of(page, "#progress") == ""


def test_a_run_in_which_nothing_was_scored_opens(visit, tmp_path):
    small = small_sets.masked_images(tmp_path, num=2)
    for path in (tmp_path / "data/masks").glob("*.png"):
        small_sets.mask(path, 0, value=255)
    page = visit(written(audited(small), tmp_path))
    assert "0 scored, 2 filtered" in text_of(page, ".facts")


def test_a_shard_that_has_gone_is_said_and_can_be_decided(visit, images, tmp_path):
    small, tables = images
    for row in tables.findings().to_pylist():
        (small.folder / "data" / row["shard"]).unlink()
    page = visit(written(tables, tmp_path))
    assert "has gone since the run" in text_of(page, "#detail .missing")
    page.keyboard.press("a")
    assert "1 of 2 decided" in text_of(page, "#progress")


def test_a_run_that_goes_on_has_no_report_yet(tmp_path):
    run_uri = storage.join(str(tmp_path), "runs", "2026-01-31-0123abcd")
    storage.write_bytes(storage.join(run_uri, "running.json"), b"{}")
    for command in ("report", "review"):
        for options in ([], ["--run", "2026-01-31-0123abcd"]):
            done = CliRunner().invoke(app, [command, str(tmp_path), *options])
            assert done.exit_code == 1
            assert "complete" in done.output
            assert "Traceback" not in done.output


def test_one_frame(visit, tmp_path, monkeypatch):
    monkeypatch.setattr(knowing, "TRUE_FRAMES", np.array([0]))
    tables = audited(knowing.videos(tmp_path))
    page = visit(written(tables, tmp_path))
    page.locator("canvas.timeline").wait_for()
    assert page.locator(".strip img").count() == 1
    label = page.get_attribute("canvas.timeline", "aria-label")
    assert "frames 0 to 0 given c, suggested a" in label
    page.locator("canvas.timeline").click()
    page.keyboard.press("a")
    assert "1 of 1 decided" in text_of(page, "#progress")


def document(num_classes=2, num_findings=3, num_checkpoints=4, **more):
    """A document as `make_document` makes it, of as many classes and findings as are asked for."""
    classes = [f"class {k}" for k in range(num_classes)]
    given = [i % num_classes for i in range(num_findings)]
    strings = [*classes, "mislabel", *(f"train/{i}.png" for i in range(num_findings))]
    iou = [[0.5] * num_classes] * num_checkpoints
    pairs = [
        {"given": classes[k], "predicted": classes[(k + 1) % num_classes], "num": k + 1}
        for k in range(num_classes)
    ]
    run = {
        "run_id": "2026-01-31-0123abcd",
        "name": "many",
        "output": "/audits",
        "dataset": ["/data/*.png"],
        "state": "complete",
        "protocol": "training",
        "kind": "images",
        "task": "class",
        "counts": {"entered": 9, "scored": 9, "filtered": 0, "failed": 0},
        "duration": "0:09",
        "checkpoints": [f"e{i}" for i in range(num_checkpoints)],
        "classes": classes,
        "estimate": {},
        "findings": {"total": num_findings},
        "notes": [],
        "errors": [],
    }
    columns = {
        "id": [f"f{i}" for i in range(num_findings)],
        "rank": list(range(1, num_findings + 1)),
        "sample": [f"train/{i}.png" for i in range(num_findings)],
        "start": [None] * num_findings,
        "end": [None] * num_findings,
        "box": [None] * num_findings,
        "reason": ["because"] * num_findings,
        "bundle": ["none"] * num_findings,
        "losses": [[1.0] * num_checkpoints] * num_findings,
        "kind": [num_classes] * num_findings,
        "shard": [num_classes + 1 + i for i in range(num_findings)],
        "given": given,
        "suggested": [(k + 1) % num_classes for k in given],
    } | {name: [0.5] * num_findings for name in ("suspicion", "loss", "p_given", "p_suggested")}
    return {
        "schema": 1,
        "mode": "file",
        "run": run,
        "histograms": {},
        "class_stats": {"iou": iou, "onset": [None] * num_classes},
        "class_pairs": pairs,
        "bands": {},
        "changes": None,
        "findings": columns,
        "strings": strings,
    } | more


def test_a_thousand_classes_are_usable(visit, tmp_path):
    path = tmp_path / "many.html"
    path.write_text(render_page(document(1000, 2000)), encoding="utf-8")
    page = visit(path)
    assert page.locator("#filter-class option").count() == 1001
    page.select_option("#other", "class 999")
    assert "1 of 2000 decided" in text_of(page, "#progress")
    page.click("#tab-overview")
    assert "of 1000 classes" in text_of(page, "#view-overview")
    # The pairs with most confusion are shown, not the first ones.
    assert "class 998" in page.locator("#view-overview th").all_text_contents()
    assert page.locator("#view-overview th").count() < 100
    assert page.locator("#view-overview svg").count() <= 60
    page.click("#tab-gallery")
    assert page.locator(".thumb").count() <= 200 * 48


def test_a_browser_without_storage_still_decides(visit, images, tmp_path):
    page = visit(written(images[1], tmp_path))
    page.evaluate("() => { Storage.prototype.setItem = () => { throw new Error('full'); }; }")
    page.keyboard.press("a")
    page.keyboard.press("u")
    page.keyboard.press("a")
    with page.expect_download() as found:
        page.click("#download")
    content = json.loads(found.value.path().read_text(encoding="utf-8"))
    assert len(content["decisions"]) == 1


@pytest.mark.parametrize("name", ["given", "suggested"])
def test_a_finding_without_that_label_is_shown(visit, tmp_path, name):
    damaged = document()
    damaged["findings"][name][0] = None
    path = tmp_path / "null.html"
    path.write_text(render_page(damaged), encoding="utf-8")
    page = visit(path)
    assert "?" in text_of(page, "#detail .change")
    assert page.is_disabled("#accept") == (name == "suggested")
