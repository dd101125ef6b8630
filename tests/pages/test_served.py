"""The review server: decisions saved as they are made, by several people."""

import urllib.parse

from ray_audit.findings.decisions import merge, saved_rows, standing
from tests.pages.conftest import reviewing, text_of


def wait_until(page, tables, num):
    """Saving follows a key press: until that many decisions are there."""
    for _ in range(100):
        saved = standing(saved_rows(tables.run_uri))
        if len(saved) == num:
            return saved
        page.wait_for_timeout(100)
    raise AssertionError(f"{len(saved)} decisions are saved, and not {num}")


def test_decisions_are_saved_withdrawn_and_there_again(visit, images):
    _, tables = images
    with reviewing(tables, "ann") as address:
        page = visit(address)
        page.wait_for_selector("#detail .picture")
        page.keyboard.press("a")
        page.keyboard.press("r")
        saved = wait_until(page, tables, 2)
        assert {(item.decision, item.reviewer) for item in saved} == {
            ("accept", "ann"),
            ("reject", "ann"),
        }
        page.keyboard.press("u")
        wait_until(page, tables, 1)
        page.reload()
        assert "1 of 2 decided" in text_of(page, "#progress")
        assert page.input_value("#reviewer") == "ann"
    # Of a browser that knows nothing yet: the server's word counts.
    with reviewing(tables, "ann") as address:
        assert "1 of 2 decided" in text_of(visit(address), "#progress")


def test_two_reviewers_who_disagree_see_it(visit, images):
    _, tables = images
    with reviewing(tables, "ann") as anns, reviewing(tables, "bob") as bobs:
        ann, bob = visit(anns), visit(bobs)
        ann.keyboard.press("a")
        wait_until(ann, tables, 1)
        bob.reload()
        assert "ann: accepted" in text_of(bob, "#detail .others")
        bob.keyboard.press("r")
        wait_until(bob, tables, 2)
        bob.keyboard.press("k")
        assert "Reviewers disagree" in text_of(bob, "#detail .others")
        bob.select_option("#filter-state", "disputed")
        bob.locator("#list-count", has_text="1 of 2").wait_for()
        assert len(merge(standing(saved_rows(tables.run_uri))).disputed) == 1
        bob.keyboard.press("a")
        for _ in range(100):
            if not merge(standing(saved_rows(tables.run_uri))).disputed:
                break
            bob.wait_for_timeout(100)
        assert len(merge(standing(saved_rows(tables.run_uri))).agreed) == 1


def test_what_could_not_be_sent_is_kept_and_sent_later(visit, images):
    _, tables = images
    with reviewing(tables, "ann") as address:
        page = visit(address)
        page.route("**/decisions", lambda route: route.fulfill(status=503))
        page.keyboard.press("a")
        page.locator("#progress", has_text="Not saved yet").wait_for()
        assert standing(saved_rows(tables.run_uri)) == []
        page.unroute("**/decisions")
        page.keyboard.press("r")
        wait_until(page, tables, 2)
        page.locator("#progress", has_text="2 of 2 decided").wait_for()
        assert "503" in visit.wrong.pop()


def test_the_page_runs_its_own_script_alone(visit, images):
    _, tables = images
    with reviewing(tables, "ann") as address:
        page = visit(address)
        page.evaluate(
            "() => document.body.append(Object.assign(document.createElement('script'),"
            " {textContent: 'window.hacked = 1'}))"
        )
        assert page.evaluate("window.hacked") is None
        assert "Content Security Policy" in visit.wrong.pop()
        other = urllib.parse.urlsplit(address)._replace(path="/guess/").geturl()
        assert page.request.get(other).status == 403
