import http.client
import json
import socket
import threading

import pytest

from ray_audit.engine.backends.local import LocalBackend
from ray_audit.findings.decisions import saved_rows, standing
from ray_audit.report.serve import Review, ReviewServer


@pytest.fixture
def server(images):
    _, tables = images
    with ReviewServer(Review(tables, LocalBackend(), "ann")) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(server, method, path, body=None, token=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    kind = {"Content-Type": "application/json"} if body is not None else {}
    connection.request(method, f"/{token or server.token}/{path}", body, kind | headers)
    answer = connection.getresponse()
    content = answer.read().decode()
    connection.close()
    return answer, content


def document_of(page):
    start = page.index('id="document">') + len('id="document">')
    return json.loads(page[start : page.index("</script>", start)])


def test_the_page_holds_the_findings_and_may_load_nothing_from_elsewhere(server):
    answer, page = ask(server, "GET", "")
    assert answer.status == 200
    assert "default-src 'none'" in answer.getheader("Content-Security-Policy")
    assert document_of(page)["findings"]["id"]


def test_pictures_come_on_demand(server):
    _, page = ask(server, "GET", "")
    name = document_of(page)["findings"]["bundle"][0]
    answer, text = ask(server, "GET", f"bundle?name={name}")
    assert answer.status == 200
    assert json.loads(text)["pictures"]["image"].startswith("data:image/jpeg;base64,")
    assert ask(server, "GET", "bundle?name=other")[0].status == 404


def decide(server, **changes):
    finding_id = document_of(ask(server, "GET", "")[1])["findings"]["id"][0]
    values = {
        "finding_id": finding_id,
        "decision": "relabel",
        "label": "b",
        "reviewer": "somebody else",
        "time": "2026-01-01T00:00:00Z",
    } | changes
    return ask(server, "POST", "decisions", json.dumps(values))


def test_decisions_are_saved_under_the_reviewers_own_name(server, images):
    answer, _ = decide(server)
    assert answer.status == 200
    (saved,) = standing(saved_rows(images[1].run_uri))
    assert (saved.decision, saved.label, saved.reviewer) == ("relabel", "b", "ann")
    assert document_of(ask(server, "GET", "")[1])["mine"] != {}
    decide(server, decision="withdraw")
    assert standing(saved_rows(images[1].run_uri)) == []


@pytest.mark.parametrize(
    "changes", [{"finding_id": "x"}, {"decision": "burn"}, {"label": "no class"}, {"time": 3}]
)
def test_what_is_no_decision_is_refused_and_saves_nothing(server, images, changes):
    answer, _ = decide(server, **changes)
    assert answer.status == 400
    assert standing(saved_rows(images[1].run_uri)) == []


@pytest.mark.parametrize("body", ["", "no json", "[]", "x" * 100_000])
def test_bodies_that_are_no_decision_are_refused(server, body):
    assert ask(server, "POST", "decisions", body)[0].status == 400


def test_without_the_token_there_is_nothing(server):
    assert ask(server, "GET", "", token="guess")[0].status == 403
    assert ask(server, "POST", "decisions", "{}", token="guess")[0].status == 403


def test_what_follows_a_refused_request_in_the_same_bytes_is_not_answered(server):
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=30) as connection:
        inner = f"GET /{server.token}/ HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n\r\n"
        head = f"POST /guess/ HTTP/1.1\r\nHost: x\r\nContent-Length: {len(inner)}\r\n\r\n"
        connection.sendall((head + inner).encode())
        connection.shutdown(socket.SHUT_WR)
        answered = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answered.startswith(b"HTTP/1.1 403")
    assert answered.count(b"HTTP/1.1 ") == 1


def test_another_host_name_is_refused(server):
    assert ask(server, "GET", "", Host="evil.example")[0].status == 403


def test_only_this_machine_is_served(server):
    assert server.server_address[0] == "127.0.0.1"
