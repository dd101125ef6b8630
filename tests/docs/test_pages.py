"""Pages say what the code says, and what was measured."""

import json
import re
from pathlib import Path

import pytest

from benchmarks import tables
from benchmarks.harness import RESULTS, read_report
from ray_audit.measures import page as measures_page
from ray_audit.measures.registry import collected

ROOT = Path(__file__).parents[2]
DOCS, ROOT_PAGES = ROOT / "docs", [ROOT / "README.md", *ROOT.glob("C*.md")]
PAGES = sorted([*ROOT_PAGES, *DOCS.rglob("*.md")])
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


def headings(path):
    """The anchors of a page, as forges make them of its headings."""
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    names = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", name.lower()).replace(" ", "-") for name in names}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = _CODE.sub("", page.read_text(encoding="utf-8"))
    targets = [first or other for first, other in _LINK.findall(text)]
    for target in (t for t in targets if "://" not in t and not t.startswith("mailto:")):
        file, _, anchor = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        assert path.exists(), target
        # The site takes in these pages of the root, and nothing else from outside.
        is_on_site = DOCS in path.parents or path in ROOT_PAGES
        assert is_on_site or DOCS not in page.parents, f"{target}: name it, without a link"
        if anchor and path.suffix == ".md":
            assert anchor in headings(path), target


# What the site makes of other files: of README.md, CONTRIBUTING.md, CHANGELOG.md, docstrings.
SITE_ALONE = {"index.md", "contributing.md", "changelog.md", "api.md"}


def test_every_page_can_be_reached_from_the_readme():
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        text = _CODE.sub("", page.read_text(encoding="utf-8"))
        files = [(first or other).partition("#")[0] for first, other in _LINK.findall(text)]
        found = [(page.parent / f).resolve() for f in files if f.endswith(".md") and "://" not in f]
        waiting += [path for path in found if path.exists()]
    pages = {p for p in PAGES if "decisions" not in p.parts and p.name not in SITE_ALONE}
    assert sorted(str(p.relative_to(ROOT)) for p in pages - reached) == []


def test_every_page_stands_in_the_contents_of_the_site():
    text = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    contents = "\n".join(re.findall(r"```{toctree}\n(.*?)```", text, re.DOTALL))
    named = re.findall(r"^(?:.*<)?([\w/-]+)>?$", contents, re.MULTILINE)
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")} - {"index"}
    assert sorted(pages - {name.partition("/")[0] for name in named}) == []


def test_the_page_on_speed_shows_every_committed_result():
    prose = tables.PROSE.read_text(encoding="utf-8")
    there = [name for name in tables.subjects(prose) if (RESULTS / f"{name}.json").exists()]
    written = tables.page(prose, {name: read_report(name) for name in there})
    assert written == tables.PAGE.read_text(encoding="utf-8"), "python -m benchmarks.tables"


def test_every_committed_result_of_a_benchmark_of_speed_is_on_a_page():
    pages = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md"))
    prose = tables.PROSE.read_text(encoding="utf-8")
    for path in sorted(RESULTS.glob("*.json")):
        values = json.loads(path.read_text(encoding="utf-8"))
        if path.stem in tables.subjects(prose) or not isinstance(values, dict):
            continue
        assert path.stem.split("-")[0].split("_")[0] in pages, path.name


def test_the_list_of_columns_is_what_is_declared():
    page = (ROOT / "docs/scores.md").read_text(encoding="utf-8")
    assert measures_page.filled(page) == page, "python -m ray_audit.measures.page docs/scores.md"


def test_directions_told_beside_a_score_are_the_declared_ones():
    page = (ROOT / "docs/scores.md").read_text(encoding="utf-8")
    declared = {
        column.name: column.direction
        for _, family in collected().families
        for score in family.scores
        for column in score.columns
        if score.target != "logit"
    }
    reported = re.findall(r"^\| `(\w+)` \| .*? \| (higher|lower|none) \|", page, re.MULTILINE)
    assert len(reported) > len(declared) / 2
    assert [pair for pair in reported if declared.get(pair[0], pair[1]) != pair[1]] == []
