"""The review's server: decisions that are never lost, answers in bounded time, bad requests."""

import http.client
import json
import threading
from contextlib import ExitStack, contextmanager

import pytest

from ray_audit import storage
from ray_audit.engine.backends.local import LocalBackend
from ray_audit.errors import RunError, StorageError
from ray_audit.findings.decisions import saved_rows, standing
from ray_audit.report.serve import Review, ReviewServer

TIME = "2026-01-01T00:00:00Z"


@contextmanager
def served(tables, reviewer="root", limit_s=20.0):
    review = Review(tables, LocalBackend(), reviewer, limit_s=limit_s)
    with ReviewServer(review) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def ask(server, method, path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    kind = {"Content-Type": "application/json"} if body is not None else {}
    connection.request(method, f"/{server.token}/{path}", body, kind | headers)
    answer = connection.getresponse()
    content = answer.read().decode()
    connection.close()
    return answer.status, content


def findings_of(tables):
    return tables.findings()["finding_id"].to_pylist()


def decide(server, finding_id, decision="reject", time=TIME):
    values = {"finding_id": finding_id, "decision": decision, "label": None, "time": time}
    return ask(server, "POST", "decisions", json.dumps(values))


def mine_on(server):
    _, page = ask(server, "GET", "")
    start = page.index('id="document">') + len('id="document">')
    return json.loads(page[start : page.index("</script>", start)])["mine"]


def test_two_servers_of_one_name_lose_no_decision(images):
    tables = images[1]
    ids = findings_of(tables)[:3]
    assert len(ids) == 3
    with ExitStack() as stack:
        a, b = (stack.enter_context(served(tables)) for _ in range(2))
        assert [decide(a, ids[0])[0], decide(a, ids[1])[0], decide(b, ids[2])[0]] == [200] * 3
        assert {decision.finding_id for decision in standing(saved_rows(tables.run_uri))} == set(
            ids
        )
        assert set(mine_on(a)) == set(mine_on(b)) == set(ids)
        # What one server saved another may withdraw, and the first may say it again.
        assert decide(b, ids[0], "withdraw", "2026-01-01T00:00:01Z")[0] == 200
        assert set(mine_on(a)) == set(ids[1:])
        assert decide(a, ids[1], "withdraw")[0] == 200
        assert {decision.finding_id for decision in standing(saved_rows(tables.run_uri))} == {
            ids[2]
        }
    with served(tables) as later:
        assert set(mine_on(later)) == {ids[2]}


def test_a_withdrawal_without_a_time_holds(images):
    tables = images[1]
    (first, *_) = findings_of(tables)
    with served(tables) as server:
        assert decide(server, first, time="2099-01-01T00:00:00Z")[0] == 200
        values = {"finding_id": first, "decision": "withdraw", "label": None}
        assert ask(server, "POST", "decisions", json.dumps(values))[0] == 200
        assert mine_on(server) == {}


def test_a_store_that_hangs_is_an_error_in_bounded_time(images, monkeypatch):
    tables = images[1]
    ids, back = findings_of(tables), threading.Event()
    with served(tables, limit_s=0.3) as server:
        listed, written = storage.list_prefix, storage.write_bytes
        with monkeypatch.context() as patched:
            patched.setattr(storage, "list_prefix", lambda uri: back.wait(60) and listed(uri))
            patched.setattr(storage, "write_bytes", lambda *args: back.wait(60) and written(*args))
            code, said = decide(server, ids[0])
            assert (code, "not saved yet" in said) == (503, True)
            assert ask(server, "GET", "")[0] == 503
            back.set()
        server.review._saver._limit_s = 30
        assert decide(server, ids[1])[0] == 200
    assert {decision.finding_id for decision in standing(saved_rows(tables.run_uri))} == set(
        ids[:2]
    )


def test_a_store_that_answers_badly_is_told(images, monkeypatch):
    tables = images[1]

    def fail(*arguments):
        raise StorageError("cannot write: 503 Slow Down", may_pass=True)

    with served(tables) as server:
        monkeypatch.setattr(storage, "write_bytes", fail)
        code, said = decide(server, findings_of(tables)[0])
        assert (code, "503 Slow Down" in said) == (503, True)


DEEP = "[" * 20_000
BODIES = [
    "",
    "null",
    "3",
    '"x"',
    "[]",
    "{}",
    '{"finding_id": []}',
    '{"finding_id": {}, "decision": "accept"}',
    '{"finding_id": null}',
    DEEP,
    f'{{"finding_id": {DEEP}',
    '{"finding_id": "\\ud800"}',
    "\xff",
]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: ascii(body)[:30])
def test_a_body_that_is_no_decision_is_400(images, body, capfd):
    with served(images[1]) as server:
        assert ask(server, "POST", "decisions", body.encode("latin-1"))[0] == 400
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("stated", ["abc", "-1", "1e3", "", "0x10", "99999999999"])
def test_a_length_that_is_none_is_400(images, stated, capfd):
    with served(images[1]) as server:
        assert ask(server, "POST", "decisions", None, Content_Length=stated)[0] == 400
        headers = {"Content-Type": "application/json", "Content-Length": stated}
        assert ask(server, "POST", "decisions", None, **headers)[0] == 400
    assert "Traceback" not in capfd.readouterr().err


def test_a_decision_of_odd_values_is_400(images):
    with served(images[1]) as server:
        (first, *_) = findings_of(images[1])
        for changes in ({"time": []}, {"time": "0001-01-01"}, {"label": {}}, {"decision": []}):
            values = {"finding_id": first, "decision": "accept", "label": "a", "time": TIME}
            assert ask(server, "POST", "decisions", json.dumps(values | changes))[0] == 400


def test_a_taken_port_is_a_sentence(images):
    review = Review(images[1], LocalBackend(), "ann")
    with ReviewServer(review) as server, pytest.raises(RunError, match=str(server.server_port)):
        ReviewServer(review, server.server_port)
