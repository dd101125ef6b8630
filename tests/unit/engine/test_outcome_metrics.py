import contextlib
import socket
import threading
import time
from types import SimpleNamespace
from urllib.error import URLError

import pytest

from ray_audit.config import AuditConfig, MetricsConfig
from ray_audit.engine.run import outcome_metrics
from ray_audit.engine.run.outcome_metrics import tell_outcome
from ray_audit.errors import SpecificationError
from ray_audit.metrics import RunResult

_CONNECT = socket.socket.connect


@pytest.fixture
def _may_connect(monkeypatch):
    """To this machine alone."""

    def connect(self, address):
        assert address[0] == "127.0.0.1"
        return _CONNECT(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)


def config(url):
    return SimpleNamespace(audit_label="nightly", metrics=MetricsConfig(pushgateway=url))


def test_without_a_gateway_only_the_file_is_written(tmp_path):
    assert tell_outcome(config(None), str(tmp_path), RunResult(2.0)) == []
    assert b"ray_audit_run_duration_seconds 2.0" in (tmp_path / "metrics.prom").read_bytes()


def test_a_gateway_that_is_down_is_a_note(tmp_path, monkeypatch):
    def down(*args, **kwargs):
        raise URLError("connection refused")

    monkeypatch.setattr(outcome_metrics, "pushadd_to_gateway", down)
    (note,) = tell_outcome(config("http://gate:9091"), str(tmp_path), RunResult(2.0))
    assert "http://gate:9091" in note
    assert "connection refused" in note
    assert (tmp_path / "metrics.prom").exists()


@pytest.fixture
def answering(request):
    """A peer on this machine that gives every connection the same answer."""
    server = socket.create_server(("127.0.0.1", 0))

    def answer():
        while True:
            try:
                peer, _ = server.accept()
            except OSError:
                return
            with peer:
                peer.settimeout(5)
                received = b""
                while b"\r\n\r\n" not in received:
                    received += peer.recv(65536)
                peer.sendall(request.param)
                peer.shutdown(socket.SHUT_WR)
                with contextlib.suppress(OSError):  # a close with bytes unread is a reset
                    while peer.recv(65536):
                        pass

    threading.Thread(target=answer, daemon=True).start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}"
    server.close()


NO_GAUGE = b"ray_audit_findings is not a GAUGE"


@pytest.mark.usefixtures("_may_connect")
@pytest.mark.parametrize(
    ("answering", "said"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", "SSH-2.0"),
        (b"HTTP/1.1 " + b"x" * 70_000 + b"\r\n\r\n", "got more than"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n", "more than 100 headers"),
        (b"", "closed connection without response"),
        (b"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n", "500 Broken"),
        (
            b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n" % len(NO_GAUGE) + NO_GAUGE,
            "400 Bad Request: ray_audit_findings is not a GAUGE",
        ),
        (b"HTTP/1.1 400 Bad\r\nContent-Length: 99\r\n\r\na\x1b[2Jb", r"400 Bad: a\x1b[2Jb"),
    ],
    indirect=["answering"],
)
def test_whatever_a_gateway_answers_is_a_note(tmp_path, answering, said):
    (note,) = tell_outcome(config(answering), str(tmp_path), RunResult(2.0))
    assert said in note
    assert note.endswith("metrics.prom has the outcome")


def test_a_gateway_that_never_ends_its_answer_is_a_note(tmp_path, monkeypatch):
    monkeypatch.setattr(outcome_metrics, "_MAX_S", 0.1)
    monkeypatch.setattr(outcome_metrics, "pushadd_to_gateway", lambda *_, **__: time.sleep(3))
    (note,) = tell_outcome(config("http://gate:9091"), str(tmp_path), RunResult(2.0))
    assert "no answer within 0.1 s" in note


def test_metrics_that_cannot_be_written_are_a_note(tmp_path):
    (tmp_path / "file").write_text("")
    (note,) = tell_outcome(config(None), str(tmp_path / "file"), RunResult(2.0))
    assert "cannot write" in note


def test_what_is_pushed_is_grouped_by_the_audit(tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr(
        outcome_metrics,
        "pushadd_to_gateway",
        lambda gateway, **given: seen.update(given, to=gateway),
    )
    assert tell_outcome(config("http://gate:9091"), str(tmp_path), RunResult(2.0)) == []
    assert (seen["to"], seen["job"]) == ("http://gate:9091", "ray_audit")
    assert seen["grouping_key"] == {"audit": "nightly"}


@pytest.mark.parametrize("url", ["gate:9091", "ftp://gate", "http://user:secret@gate"])
def test_only_a_plain_http_gateway_is_accepted(url):
    values = {
        "dataset": {
            "kind": "images",
            "uri": "x/*.png",
            "labels": {"folder": True},
            "classes": ["a"],
        },
        "model": {"factory": "m:f"},
        "checkpoints": "c",
        "output": "o",
        "metrics": {"pushgateway": url},
    }
    with pytest.raises(SpecificationError) as error:
        AuditConfig.parse(values)
    assert "secret" not in str(error.value)
