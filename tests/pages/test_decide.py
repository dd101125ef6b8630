"""From a report to changed labels, by keyboard and by mouse."""

import json

import pytest
from typer.testing import CliRunner

from ray_audit.cli import app
from tests.pages.conftest import audited, text_of, written
from tests.support import knowing


def download(page, path):
    with page.expect_download() as found:
        page.click("#download")
    found.value.save_as(path)
    page.click("#next-dialog button")
    return json.loads(path.read_text(encoding="utf-8"))["decisions"]


def corrected(small, decisions, *options):
    command = ["correct", str(small.out), "--to", str(small.folder / "to"), "--local", "--json"]
    command += ["--rule", "decisions", "--decisions", str(decisions), *options]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def labels_in(path):
    return {row["image"]: row["label"] for row in knowing.read_csv(path)}


def test_what_is_accepted_by_key_stands_in_the_corrected_file(visit, images, tmp_path):
    small, tables = images
    page = visit(written(tables, tmp_path))
    assert "2 findings" in text_of(page, "#list-count")
    wrong = {row["sample_id"]: row for row in tables.findings().to_pylist()}
    first = text_of(page, "#detail h2 >> nth=0")
    page.keyboard.press("a")
    second = text_of(page, "#detail h2 >> nth=0")
    assert {first, second} == set(wrong)
    page.keyboard.press("r")
    (accepted, rejected) = sorted(
        download(page, tmp_path / "d.json"), key=lambda item: item["decision"]
    )
    assert (accepted["decision"], accepted["label"]) == ("accept", wrong[first]["suggested"])
    assert (rejected["decision"], rejected["label"]) == ("reject", None)
    done = corrected(small, tmp_path / "d.json")
    assert (done["num_changed"], done["outcomes"]) == (1, {"changed": 1, "rejected": 1})
    before = labels_in(small.folder / "labels.csv")
    (after,) = (small.folder / "to").rglob("labels.csv")
    assert labels_in(after) == before | {first: wrong[first]["suggested"]}


def test_another_label_undo_and_back(visit, images, tmp_path):
    small, tables = images
    page = visit(written(tables, tmp_path))
    row = next(r for r in tables.findings().to_pylist() if r["rank"] == 1)
    (third,) = set("abc") - {row["given"], row["suggested"]}
    page.keyboard.press("o")
    assert page.evaluate("document.activeElement.id") == "other"
    page.select_option("#other", third)
    assert "1 of 2 decided" in text_of(page, "#progress")
    page.focus("#list")
    page.keyboard.press("j")
    page.keyboard.press("a")
    page.keyboard.press("u")
    page.keyboard.press("k")
    assert page.input_value("#other") == third
    (result,) = download(page, tmp_path / "d.json")
    assert (result["decision"], result["label"]) == ("relabel", third)
    assert corrected(small, tmp_path / "d.json")["pairs"] == [
        {"given": row["given"], "corrected": third, "num": 1}
    ]


def test_decisions_outlive_the_page_and_carry_a_name(visit, images, tmp_path):
    page = visit(written(images[1], tmp_path))
    page.fill("#reviewer", "Ann Ö.")
    page.click("#accept")
    page.wait_for_timeout(300)  # the browser stores in its own time
    page.reload()
    assert "1 of 2 decided" in text_of(page, "#progress")
    assert page.locator(".row .badge.accept").count() == 1
    (result,) = download(page, tmp_path / "d.json")
    assert result["reviewer"] == "Ann Ö."


def test_filters_and_search_leave_what_was_asked_for(visit, tmp_path):
    small, *_ = knowing.images(tmp_path, "folder", wrong=(3, 4, 8))
    tables = audited(small)
    page = visit(written(tables, tmp_path))
    rows = tables.findings().to_pylist()
    result = rows[0]
    page.select_option("#filter-folder", f"{result['given']}/")
    found = [row for row in rows if row["shard"].startswith(f"{result['given']}/")]
    assert text_of(page, "#list-count") == f"{len(found)} of {len(rows)} findings"
    page.select_option("#filter-folder", "")
    page.fill("#search", result["sample_id"])
    page.locator("#list-count", has_text="1 of 3").wait_for()
    assert result["sample_id"] in text_of(page, ".row")
    page.fill("#search", "")
    page.fill("#filter-score", "1")
    page.locator("#list-count", has_text="0 of 3").wait_for()
    assert "No finding passes the filters" in text_of(page, "#detail")
    page.fill("#filter-score", "0")
    page.locator("#list-count", has_text="3 findings").wait_for()
    page.keyboard.press("Escape")
    page.keyboard.press("a")
    page.select_option("#filter-state", "open")
    page.locator("#list-count", has_text="2 of 3").wait_for()


def test_a_decision_on_a_finding_that_has_gone_is_kept_and_said(visit, images, tmp_path):
    small, tables = images
    page = visit(written(tables, tmp_path))
    gone = {"finding_id": "gone", "decision": "accept", "label": "a", "reviewer": "ann"}
    stored = json.dumps({"gone": gone | {"time": "2026-01-01T00:00:00Z"}})
    key = f"ray-audit:{tables.manifest.run_id}"
    page.add_init_script(f"localStorage.setItem({key!r}, {stored!r})")
    page.reload()
    assert "1 that are no findings of this page" in text_of(page, "#progress")
    (result,) = download(page, tmp_path / "d.json")
    assert result["finding_id"] == "gone"
    done = corrected(small, tmp_path / "d.json")
    assert (done["num_changed"], done["ignored_decisions"]) == (0, ["gone"])


@pytest.mark.parametrize("make", [knowing.masks, knowing.videos])
def test_masks_and_videos_too(visit, tmp_path, make):
    small = make(tmp_path)
    tables = audited(small)
    page = visit(written(tables, tmp_path))
    for _ in range(tables.findings().num_rows):
        page.keyboard.press("a")
    download(page, tmp_path / "d.json")
    done = corrected(small, tmp_path / "d.json")
    wrong_and_right = ("a", "b") if make is knowing.masks else ("c", "a")
    assert wrong_and_right in [(pair["given"], pair["corrected"]) for pair in done["pairs"]]
    assert set(done["outcomes"]) == {"changed"}
