"""Night to night, as a page."""

from typer.testing import CliRunner

from ray_audit.cli import app
from ray_audit.engine.run.audit import run_audit
from ray_audit.tables.run_tables import RunTables
from tests.pages.conftest import text_of, written
from tests.support import knowing


def two_nights(folder):
    """Of two wrong labels one is mended, and another spoilt, before the second night."""
    small, true, _ = knowing.images(folder, wrong=(3, 8))
    run_audit(small.config(), local=True, logical_date="2026-01-31")
    rows = knowing.read_csv(small.folder / "labels.csv")
    rows[3]["label"] = "abc"[true[3]]
    rows[5]["label"] = "abc"[(true[5] + 1) % 3]
    knowing.table(small.folder / "labels.csv", rows)
    run_audit(small.config(), local=True, logical_date="2026-02-01")
    return small, RunTables.open(str(small.out))


def test_new_fixed_and_recurring_findings_and_their_trend(visit, tmp_path):
    _, tables = two_nights(tmp_path)
    page = visit(written(tables, tmp_path))
    assert page.locator(".row .badge", has_text="new").count() == 1
    page.click("#tab-changes")
    facts = [
        text.split(":")[0].replace("\n", " ")
        for text in page.locator("#view-changes .fact").all_inner_texts()
    ]
    assert facts == ["1 new", "1 fixed", "1 recurring"]
    assert "=i 3%20é.png" in text_of(page, "#view-changes")
    trend = page.locator("#view-changes svg[role=img]")
    assert trend.get_attribute("aria-label") == "Findings of each kind, 2026-01-31 to 2026-02-01"
    page.get_by_text("Show the new findings").click()
    assert text_of(page, "#list-count") == "1 of 2 findings"
    assert "=i 5%20é.png" in text_of(page, "#detail h2 >> nth=0")


def test_diff_writes_the_page_of_two_runs(visit, tmp_path):
    small, tables = two_nights(tmp_path)
    first = next(path.name for path in small.out.glob("runs/2026-01-31-*"))
    path = tmp_path / "diff.html"
    command = ["diff", str(small.out), first, tables.manifest.run_id, "--html", str(path)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    page = visit(f"{path.as_uri()}#changes")
    assert page.is_visible("#view-changes")
    assert f"Since {first}" in text_of(page, "#view-changes")
