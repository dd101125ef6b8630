"""An API server of RayJobs that speaks HTTP, keeps what it gets, and misbehaves when told to."""

import contextlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAMESPACE = "ray-audit"
JOBS = f"/apis/ray.io/v1/namespaces/{NAMESPACE}/rayjobs"


def status_of(code, reason, message, **details):
    """The `Status` object that the API server sends with an error."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": message,
        "reason": reason,
        "details": details,
        "code": code,
    }


def not_found(name):
    message = f'rayjobs.ray.io "{name}" not found'
    return status_of(404, "NotFound", message, name=name, group="ray.io", kind="rayjobs")


class ApiDouble:
    """The server.

    Attributes:
        jobs: RayJobs by name.
        faults: of the next requests, one each; None answers as it should.
        created: names, in the order in which they were.
        seen: method and path of every request.
        before: called before each request, e.g. as the operator that writes status.
    """

    def __init__(self):
        self.jobs, self.faults, self.created, self.seen = {}, [], [], []
        self.tokens, self.before = [], lambda double: None
        self.lock = threading.Lock()

    def has(self, name, deployment="", job="", reason="", message="", owner="phases", **metadata):
        """Put a RayJob there, or write the status of one that is."""
        made = {
            "kind": "RayJob",
            "apiVersion": "ray.io/v1",
            "metadata": {"name": name, "labels": {"app.kubernetes.io/instance": owner}, **metadata},
        }
        self.jobs.setdefault(name, made)["status"] = {
            "jobDeploymentStatus": deployment,
            "jobStatus": job,
            "reason": reason,
            "message": message,
        }

    def answer(self, method, path, body):
        """(code, object) as a server without faults gives them."""
        base, _, name = path.rpartition("/")
        if method == "POST" and path == JOBS:
            name = body["metadata"]["name"]
            if name in self.jobs:
                message = f'rayjobs.ray.io "{name}" already exists'
                return 409, status_of(409, "AlreadyExists", message, name=name, kind="rayjobs")
            self.jobs[name] = body
            self.created.append(name)
            return 201, body
        if method == "GET" and base == JOBS:
            return (200, self.jobs[name]) if name in self.jobs else (404, not_found(name))
        return 403, status_of(403, "Forbidden", f"rayjobs.ray.io is forbidden: cannot {method}")


def _handler(double):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self):
            length = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(length)) if length else None
            with double.lock:
                double.seen.append((self.command, self.path))
                double.tokens.append(self.headers.get("Authorization"))
                double.before(double)
                fault = double.faults.pop(0) if double.faults else None
                if fault is not None and not getattr(fault, "is_after", False):
                    code, value = 0, {}
                else:
                    code, value = double.answer(self.command, self.path, body)
            self.close_connection = True
            if fault is None:
                self.send(code, json.dumps(value).encode())
            else:
                with contextlib.suppress(OSError):
                    fault(self)

        def __getattr__(self, name):
            if name.startswith("do_"):
                return self.handle_one
            raise AttributeError(name)

        def send(self, code, content, length=None, **headers):
            self.send_response(code)
            self.send_header("Content-Length", str(len(content) if length is None else length))
            self.send_header("Connection", "close")
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    return Handler


@contextlib.contextmanager
def served():
    """The double and its address."""
    double = ApiDouble()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(double))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield double, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def says(code, content=b"", **headers):
    """A fault: an answer of this code, with this body."""
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return lambda handler: handler.send(code, text, **headers)


def closes(handler):
    """The connection is closed without an answer."""
    handler.connection.close()


def hangs(handler):
    """Nothing comes, for longer than anybody waits here."""
    time.sleep(1.5)


def drips(handler):
    """A byte now and then: no single read is slow, the whole never ends."""
    handler.send(200, b"{", length=10_000)
    for _ in range(12):
        time.sleep(0.1)
        handler.wfile.write(b" ")
        handler.wfile.flush()


def breaks_off(handler):
    """Half of the body."""
    handler.send(200, b'{"kind": "RayJob", "metadata"', length=500)


def breaks_off_whole(handler):
    """A body that reads as JSON, and is shorter than the server said."""
    handler.send(200, b'{"kind": "RayJob", "metadata": {}}', length=500)


def loses_the_answer(handler):
    """The request is carried out, and its answer never comes."""
    handler.connection.close()


loses_the_answer.is_after = True

# Every way in which a server, or a proxy before it, gives no object although it may soon.
PASSING = {
    "closes": closes,
    "hangs": hangs,
    "drips": drips,
    "breaks off": breaks_off,
    "breaks off after a whole object": breaks_off_whole,
    "an HTML page": says(200, b"<html>sign in</html>"),
    "an empty body": says(200),
    "a list": says(200, []),
    "no object": says(200, {}),
    "another object": says(200, {"kind": "Status", "metadata": {}, "status": "Success"}),
    "deep JSON": says(200, b"[" * 200_000),
    "bytes": says(200, b"\xff\xfe\x00"),
    "a redirect": says(302, b"", Location="http://127.0.0.1:9/"),
    "401": says(401, status_of(401, "Unauthorized", "Unauthorized")),
    "408": says(408),
    "409 of a quota": says(
        409, status_of(409, "Conflict", "cannot be fulfilled on resourcequotas")
    ),
    "429": says(429, status_of(429, "TooManyRequests", "slow down"), Retry_After="1"),
    "429 without a body": says(429),
    "500": says(500, status_of(500, "InternalError", "etcdserver: request timed out")),
    "502": says(502, b"bad gateway"),
    "503": says(503, status_of(503, "ServiceUnavailable", "apiserver is shutting down")),
    "504": says(504, status_of(504, "Timeout", "request did not complete")),
    "no such kind yet": says(404, b"404 page not found"),
    "no such resource yet": says(404, status_of(404, "NotFound", "could not find the resource")),
}
