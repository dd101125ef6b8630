"""The report's page on 127.0.0.1, with pictures made on demand and decisions saved."""

import json
import secrets
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ray_audit.engine.backends.base import Mapper
from ray_audit.errors import LabelError, RayAuditError, RunError
from ray_audit.findings.decisions import (
    Decision,
    later_than,
    save_decisions,
    saved_rows,
    standing,
)
from ray_audit.findings.kept_decisions import kept_decisions
from ray_audit.report.document import ShownFindings, make_document
from ray_audit.report.finding_pictures import Pictures
from ray_audit.report.html_page import policy, render_page
from ray_audit.report.layers import Bundle
from ray_audit.report.saving import LIMIT_S, Saver, answered
from ray_audit.tables.run_tables import RunTables

NUM_FINDINGS = 100_000
_MAX_BODY_BYTES = 64 * 1024
_NUM_CACHED = 64
_TIMES_FOR_PICTURES = 3  # a model on a CPU takes a while
_HEADERS = {
    "Content-Security-Policy": f"{policy()}; connect-src 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Review:
    """What the server knows: a run, its findings, and one reviewer's decisions.

    Args:
        tables: of the run.
        mapper: makes pictures.
        reviewer: whose decisions are saved.
        num_findings: the first findings that are listed.
        limit_s: how long an answer may wait for the store, in seconds.
    """

    def __init__(
        self,
        tables: RunTables,
        mapper: Mapper,
        reviewer: str,
        num_findings: int = NUM_FINDINGS,
        limit_s: float = LIMIT_S,
    ) -> None:
        self._tables = tables
        self.reviewer = reviewer
        self._shown = ShownFindings.of(tables, num_findings)
        self._by_bundle = self._shown.by_bundle()
        self._known = set(self._shown.rows["finding_id"].to_pylist())
        self._classes = set(tables.config.dataset.classes)
        self._deciding, self._drawing = threading.Lock(), threading.Lock()
        self._cached: OrderedDict[str, Bundle] = OrderedDict()
        self._session = secrets.token_hex(4)
        self._decided: dict[str, Decision] = {}
        kept = kept_decisions(tables)
        self._of_others = kept.others
        self._latest = {
            decision.finding_id: decision
            for decision in standing(kept.rows)
            if decision.reviewer == reviewer
        }
        self._saver = Saver(self._write, limit_s)
        self._limit_s = limit_s
        self._document = make_document(tables, self._shown, "server")
        self._pictures = Pictures(tables, self._shown, mapper)
        self._document["run"]["notes"] += [*self._pictures.notes, *kept.notes]

    def page(self) -> str:
        """The page with all reviewers' decisions as they stand."""
        saved = answered(self._limit_s, "decisions", lambda: saved_rows(self._tables.run_uri))
        with self._deciding:
            known = standing([*self._of_others, *saved, *self._decided.values()])
        mine, others = {}, dict[str, list[dict[str, Any]]]()
        for decision in known:
            if decision.reviewer == self.reviewer:
                mine[decision.finding_id] = asdict(decision)
            else:
                others.setdefault(decision.finding_id, []).append(asdict(decision))
        reviewed = {"reviewer": self.reviewer, "mine": mine, "others": others}
        return render_page(self._document | reviewed)

    def bundle(self, name: str) -> Bundle | None:
        """Pictures of one image or video; None for a name that is none of the page's."""
        if name not in self._by_bundle:
            return None
        # What comes too late for this answer is there for the next.
        limit_s = _TIMES_FOR_PICTURES * self._limit_s
        return answered(limit_s, "pictures", lambda: self._drawn(name))

    def _drawn(self, name: str) -> Bundle | None:
        # One at a time: the mapper may be this process, and a model is no small thing.
        with self._drawing:
            if name not in self._cached:
                by_bundle = {name: self._by_bundle[name]}
                self._cached.update(self._pictures.bundles(by_bundle, with_losses=True))
                while len(self._cached) > _NUM_CACHED:
                    self._cached.popitem(last=False)
            return self._cached.get(name)

    def decide(self, values: Any) -> None:
        """Take one decision from the page, and save all of this session.

        Raises:
            LabelError: it is none, or of a finding or class that the run does not have.
            RunError: it could not be saved yet.
        """
        finding_id = values.get("finding_id") if isinstance(values, dict) else None
        if not (isinstance(finding_id, str) and finding_id in self._known):
            raise LabelError("no such finding in this run")
        now = {"time": datetime.now(UTC).isoformat()}
        decision = Decision.parse({**now, **values, "reviewer": self.reviewer})
        if decision.label is not None and decision.label not in self._classes:
            raise LabelError(f"{decision.label!r} is no class of this dataset")
        with self._deciding:
            decision = later_than(decision, self._latest.get(finding_id))
            self._latest[finding_id] = self._decided[finding_id] = decision
        self._saver.save()

    def _write(self) -> None:
        """A file of this session alone: a second server with this name writes another."""
        with self._deciding:
            decided = list(self._decided.values())
        save_decisions(self._tables.run_uri, self.reviewer, decided, self._session)


class ReviewServer(ThreadingHTTPServer):
    """Serves one review on this machine only, to whoever knows the address with its token."""

    daemon_threads = True

    def __init__(self, review: Review, port: int = 0) -> None:
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except (OSError, OverflowError) as error:
            raise RunError(
                f"cannot serve at port {port} of 127.0.0.1: {error}. Choose another with --port, "
                "or leave it out to be given a free one"
            ) from error
        self.review = review
        self.token = secrets.token_urlsafe(24)

    @property
    def reviewer(self) -> str:
        """Whose decisions are saved."""
        return self.review.reviewer

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.server_port}/{self.token}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Quiet where the browser went away before its answer came: it looks at something else."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: ReviewServer
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        """The page, or a bundle."""
        with self._said():
            path = self._path()
            if path == "":
                self._answer(HTTPStatus.OK, self.server.review.page(), "text/html; charset=utf-8")
            elif path == "bundle":
                self._bundle()
            elif path is not None:
                self._answer(HTTPStatus.NOT_FOUND, "not found")

    def do_POST(self) -> None:
        """A decision."""
        with self._said():
            path = self._path()
            if path is None:
                return
            stated = self.headers.get("Content-Length", "")
            length = int(stated) if stated.isascii() and stated.isdigit() else 0
            is_json = self.headers.get("Content-Type", "").startswith("application/json")
            if path != "decisions" or not is_json or not 0 < length <= _MAX_BODY_BYTES:
                self.close_connection = True
                self._answer(HTTPStatus.BAD_REQUEST, "expected a decision as JSON")
                return
            self.server.review.decide(json.loads(self.rfile.read(length)))
            self._answer(HTTPStatus.OK, "{}", "application/json")

    @contextmanager
    def _said(self) -> Iterator[None]:
        """Answer what went wrong: 400 for what was asked, 503 for the store, 500 for the rest."""
        try:
            yield
        except ConnectionError:
            raise
        except (LabelError, ValueError, RecursionError) as error:
            self._answer(HTTPStatus.BAD_REQUEST, f"{type(error).__name__}: {error}"[:1000])
        except RayAuditError as error:
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        except Exception as error:
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, f"{type(error).__name__}: {error}")

    def _bundle(self) -> None:
        names = parse_qs(urlsplit(self.path).query).get("name", [])
        bundle = self.server.review.bundle(names[0]) if names else None
        if bundle is None:
            self._answer(HTTPStatus.NOT_FOUND, "no such bundle")
        else:
            self._answer(HTTPStatus.OK, json.dumps(bundle), "application/json")

    def _path(self) -> str | None:
        """What is asked for below the token; None where the request is refused.

        The host is checked, so that a page elsewhere cannot reach in under a name of its own.
        """
        host = self.headers.get("Host", "")
        allowed = {f"127.0.0.1:{self.server.server_port}", f"localhost:{self.server.server_port}"}
        _, _, rest = urlsplit(self.path).path.partition("/")
        token, _, path = rest.partition("/")
        if host not in allowed or not secrets.compare_digest(
            token.encode(), self.server.token.encode()
        ):
            self.close_connection = True  # a body that is not read is no next request
            self._answer(HTTPStatus.FORBIDDEN, "forbidden: use the address that review printed")
            return None
        return path

    def _answer(self, status: HTTPStatus, text: str, kind: str = "text/plain") -> None:
        body = text.encode()
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: the address holds the token."""
