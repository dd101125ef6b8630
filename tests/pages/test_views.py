"""Every view, wide and narrow, light and dark: reachable, named, within the window."""

import numpy as np
import pytest
from PIL import Image

from tests.pages.conftest import audited, text_of, written
from tests.support import knowing

UNNAMED = """() => [...document.querySelectorAll(
    "button, input, select, canvas, svg[role], [tabindex]")]
  .filter((one) => one.checkVisibility())
  .filter((one) => !(one.ariaLabel || one.labels?.length || one.innerText?.trim()
    || one.getAttribute("aria-labelledby") || one.getAttribute("aria-label")))
  .map((one) => one.outerHTML.slice(0, 200))"""
TOO_WIDE = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


def make_images(folder):
    return knowing.images(folder, "folder")[0]


@pytest.mark.parametrize("make", [make_images, knowing.masks, knowing.videos])
def test_views_fit_the_window_and_name_their_controls(visit, tmp_path, make):
    path = written(audited(make(tmp_path)), tmp_path)
    for width in (1280, 390):
        size = {"width": width, "height": 800}
        page = visit(path, viewport=size, color_scheme="dark" if width == 390 else "light")
        page.locator(".row").first.click()
        page.locator("#detail svg").wait_for()
        tabs = page.locator('[role="tab"]:not([hidden])').all()
        for tab in tabs:
            tab.click()
            assert page.evaluate(TOO_WIDE) <= 0, (width, tab.inner_text())
            assert page.evaluate(UNNAMED) == []
        assert len(tabs) == (3 if make is make_images else 2)


def test_a_click_on_the_timeline_shows_that_finding(visit, tmp_path):
    small = knowing.videos(tmp_path, wrong=())
    path = small.folder / "frames.csv"
    frames = knowing.read_csv(path)
    for row in frames:  # two wrong segments in one video
        if row["video"].startswith("v 1") and int(row["frame"]) in {0, 1, 2, 3, 20, 21, 22, 23}:
            row["label"] = "b"
    knowing.table(path, frames)
    page = visit(written(audited(small), tmp_path))
    assert page.locator(".row").count() == 2
    canvas = page.locator("canvas.timeline")
    box = canvas.bounding_box()
    texts = set()
    for part in (0.12, 0.95):
        canvas.click(position={"x": part * box["width"], "y": 60})
        texts.add(text_of(page, "#detail h2 >> nth=0"))
    assert {text.split()[-1] for text in texts} == {"0\u20133", "20\u201323"}
    assert "frames 0 to 3 given b, suggested a" in canvas.get_attribute("aria-label")
    assert page.locator(".strip .inside img").count() >= 1


def test_masks_have_layers_opacity_and_close_ups(visit, tmp_path, monkeypatch):
    monkeypatch.setattr(knowing, "SIDE", 120)
    page = visit(written(audited(knowing.masks(tmp_path, tile=64)), tmp_path))
    page.select_option("#filter-class", "b")  # not the void, which has no suspicion
    page.locator("#list-count", has_text=" of ").wait_for()
    large = page.locator(".canvas-wrap canvas")
    page.locator("#layer-doubt").wait_for()

    def seen():
        return large.evaluate("(canvas) => canvas.toDataURL()")

    looks = {seen()}
    for _ in range(3):
        page.keyboard.press("l")
        looks.add(seen())
    assert len(looks) == 4  # image, given, predicted, suspicion
    page.keyboard.press("l")
    before = seen()
    page.locator("#opacity").fill("1")
    assert seen() != before
    before = seen()
    page.keyboard.press("c")
    assert not page.is_checked("#close")
    assert seen() != before
    page.locator("#zoom").fill("3")
    assert large.bounding_box()["width"] > 1000


def test_the_gallery_leads_to_a_finding(visit, tmp_path):
    page = visit(written(audited(make_images(tmp_path)), tmp_path))
    page.click("#tab-gallery")
    page.locator(".thumb img").first.wait_for()
    assert page.locator(".thumb").count() == 2
    name = page.locator(".thumb").nth(1).get_attribute("aria-label")
    page.locator(".thumb").nth(1).click()
    assert name.startswith(text_of(page, "#detail h2 >> nth=0"))


def test_tabs_and_the_list_go_by_arrow_keys(visit, images, tmp_path):
    page = visit(written(images[1], tmp_path))
    page.focus("#tab-findings")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.id") == "tab-gallery"
    assert page.is_visible("#view-gallery")
    page.keyboard.press("ArrowLeft")
    page.focus("#list")
    page.keyboard.press("ArrowDown")
    current = page.get_attribute("#list", "aria-activedescendant")
    assert page.get_attribute(f"#{current}", "aria-selected") == "true"
    assert text_of(page, "#announced").startswith("Finding 2 of 2")
    page.keyboard.press("?")
    assert page.is_visible("#help-dialog")


def test_findings_of_one_mask_stand_together_in_the_list(visit, tmp_path, monkeypatch):
    monkeypatch.setattr(knowing, "SIDE", 60)
    small = knowing.masks(tmp_path, wrong=())
    for index, side in ((0, 14), (2, 12)):  # the larger an error, the higher its rank
        path = tmp_path / f"data/masks/i{index}.png"
        mask = np.asarray(Image.open(path)).copy()
        for number, block in enumerate((np.s_[2 : 2 + side, 2 : 2 + side], np.s_[-8:-2, 2:8])):
            mask[block] = (mask[block] + 1 + number) % 3
        Image.fromarray(mask).save(path)
    tables = audited(small)
    page = visit(written(tables, tmp_path))
    ranks = [(row["rank"], row["sample_id"]) for row in tables.findings().to_pylist()]
    names = [name for _, name in sorted(ranks)]
    listed = page.locator(".row .where").all_inner_texts()
    assert listed != names  # a finding of one image lies between two of another
    assert listed == [
        name for distinct in dict.fromkeys(names) for name in names if name == distinct
    ]
    num = f"{len(names)} findings in {len(set(names))} images"
    assert text_of(page, "#list-count") == num
    page.select_option("#sort", "rank")
    assert sorted(page.locator(".row .num.quiet").all_inner_texts(), key=int) == (
        page.locator(".row .num.quiet").all_inner_texts()
    )
