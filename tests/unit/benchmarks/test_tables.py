import re

import pytest

from benchmarks import harness, tables
from benchmarks.gpu_session import steps
from benchmarks.harness import Figure, Report


def test_a_table_stands_in_its_place_with_median_and_spread():
    report = Report("speed", [Figure("ours", "s", (3.0, 1.0, 2.0))], ["checked"])
    measured = {"date": "2026-01-31", "machine": "2 cores"}
    prose = "Before.\n\n{{ speed }}\n\nAfter {{ speed }}.\n"
    written = tables.page(prose, {"speed": (report, measured)})
    assert "Before.\n\n| what | median | spread | runs |" in written
    assert "| ours | 2 s | 1 - 3 | 3 |" in written
    assert "- checked\n\nMeasured 2026-01-31 on 2 cores.\n\nAfter {{ speed }}." in written


def test_what_was_not_measured_is_said():
    assert "Not yet measured: no `benchmarks/results/speed.json`" in tables.page("{{ speed }}", {})


def test_a_published_report_reads_back_equal(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    report = Report("speed", [Figure("ours", "s", (3.0, 1.0))], ["checked"])
    report.publish(is_kept=False)
    assert not list(tmp_path.iterdir())
    report.publish()
    again, measured = harness.read_report("speed")
    assert again == report
    assert measured["machine"] == harness.machine()


def test_every_benchmark_of_the_makefile_has_its_place():
    ours = {"today", "relay", "vog", "columns", "confident", "hops", "payload", "decode"}
    ours |= {"scaling", "memory", "slices", "prefix", "adaptive", "planner", "locality", "gpu"}
    ours |= {"crates", "device", "overlap", "planning", "last_checkpoint"}
    shown = tables.subjects(tables.PROSE.read_text(encoding="utf-8"))
    assert {name.partition("-")[0] for name in shown} == ours
    makefile = (tables.PAGE.parents[1] / "Makefile").read_text(encoding="utf-8")
    run = set(re.findall(r"-m benchmarks\.(\w+)", makefile))
    assert "gpu_session" in run
    run |= {
        argument.rpartition(".")[2] for step in steps("cuda", False) for argument in step.command
    }
    assert ours <= run


def test_the_page_is_made_of_the_results_that_are_kept():
    prose = tables.PROSE.read_text(encoding="utf-8")
    there = [s for s in tables.subjects(prose) if (harness.RESULTS / f"{s}.json").exists()]
    expected = tables.page(prose, {subject: harness.read_report(subject) for subject in there})
    assert tables.PAGE.read_text(encoding="utf-8") == expected


def test_all_that_the_page_shows_was_measured():
    subjects = tables.subjects(tables.PROSE.read_text(encoding="utf-8"))
    missing = [s for s in subjects if not (harness.RESULTS / f"{s}.json").exists()]
    assert not missing


@pytest.mark.parametrize(
    ("options", "repeats"),
    [([], 3), (["--quick"], 1), (["--quick", "--repeats", "4"], 4), (["--repeats", "2"], 2)],
)
def test_a_quick_benchmark_measures_once_unless_told_otherwise(options, repeats):
    assert harness.parser("doc", repeats=3).parse_args(options).repeats == repeats
