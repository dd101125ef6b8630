"""The report's page in headless Chromium: the system's, never one that is downloaded.

Skipped where there is none; `make page-test` installs Debian's and lets nothing be skipped.
"""

import os
import shutil
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from ray_audit.engine.backends.local import LocalBackend
from ray_audit.report.serve import Review, ReviewServer
from ray_audit.report.write_report import write_report
from ray_audit.tables.run_tables import RunTables
from tests.support import knowing
from tests.support.audits import audit

NAMES = ("chromium", "chromium-browser", "google-chrome")


def _missing(what):
    if os.environ.get("RAY_AUDIT_REQUIRE_CHROMIUM"):
        pytest.fail(f"{what}, and RAY_AUDIT_REQUIRE_CHROMIUM is set")
    pytest.skip(f"{what}; `make page-test` installs it and runs these tests")


# Of the package, not of the session: while Playwright is started, its event loop runs.
@pytest.fixture(scope="package")
def browser():
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        _missing("no chromium on the PATH")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("no playwright package")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser):
    """Opens a page in a browser of its own; what goes wrong within it fails the test."""
    contexts, wrong = [], []

    def visit(address, **options):
        options = {"viewport": {"width": 1280, "height": 800}} | options
        contexts.append(browser.new_context(**options))
        contexts[-1].set_default_timeout(20_000)
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.goto(address if "://" in str(address) else Path(address).as_uri())
        page.wait_for_selector("html[data-ready=true]")
        return page

    visit.wrong = wrong
    yield visit
    for context in contexts:
        context.close()
    assert wrong == []


def written(tables, folder, **options):
    """A report as one file."""
    path = Path(folder) / "report.html"
    write_report(tables, LocalBackend(), str(path), **options)
    return path


@contextmanager
def reviewing(tables, reviewer):
    """The address of a review server."""
    with ReviewServer(Review(tables, LocalBackend(), reviewer)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.address
        server.shutdown()
        thread.join()


def audited(small):
    audit(small)
    return RunTables.open(str(small.out))


@pytest.fixture
def images(tmp_path):
    """Twelve images, two with a wrong label, audited by models that know the truth."""
    small, *_ = knowing.images(tmp_path, "images")
    return small, audited(small)


def text_of(page, selector):
    return page.locator(selector).inner_text()
