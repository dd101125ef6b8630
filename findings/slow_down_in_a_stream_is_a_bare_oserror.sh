#!/usr/bin/env bash
# s3fs: a store that is too busy looks, in the middle of a file, like a disk or file that is damaged.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset PYTHONPATH
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check \
  s3fs==2026.9.0 aiobotocore==3.10.0 botocore==1.43.117
cat > "$work/show.py" <<'PYTHON'
import errno
import http.server
import platform
import threading
from importlib.metadata import version

import s3fs

SIZE, BUSY_FROM = 1 << 20, 1 << 19
BUSY = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
refused = []


class Store(http.server.BaseHTTPRequestHandler):
    """An object store of one object of zeros, which is too busy to give its second half."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self._answer(200, SIZE, b"")

    def do_GET(self):
        first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
        if first >= BUSY_FROM:
            refused.append(first)
            self._answer(503, len(BUSY), BUSY)
        else:
            body = bytes(min(last, SIZE - 1) - first + 1)
            self._answer(206, len(body), body, f"bytes {first}-{first + len(body) - 1}/{SIZE}")

    def _answer(self, status, length, body, content_range=None):
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.send_header("ETag", '"one"')
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        if content_range:
            self.send_header("Content-Range", content_range)
        self.end_headers()
        self.wfile.write(body)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Store)
threading.Thread(target=server.serve_forever, daemon=True).start()
store = s3fs.S3FileSystem(
    key="any",
    secret="any",
    endpoint_url=f"http://127.0.0.1:{server.server_port}",
    config_kwargs={"retries": {"max_attempts": 1}},
)
raised = None
with store.open("bucket/object", "rb", block_size=1 << 16) as stream:
    assert stream.read(100) == bytes(100)
    stream.seek(BUSY_FROM)
    try:
        stream.read(100)
    except Exception as error:
        raised = error
server.shutdown()

print(f"Python {platform.python_version()}, s3fs {version('s3fs')}, ", end="")
print(f"aiobotocore {version('aiobotocore')}, botocore {version('botocore')}")
print("input: an S3 object; the store answers 503 SlowDown to reads of its second half")
print("guess: an error of s3fs, botocore or the network: one that names the store, or SlowDown")
print(f"seen:  after {len(refused)} tries: {raised!r}")
print(f"       its class is {type(raised).__name__} itself, its number {raised.errno} is")
print(f"       {errno.errorcode[raised.errno]} ('device or resource busy'); 'SlowDown' is in its")
print(f"       cause alone, a {type(raised.__cause__).__name__}. Readers of images and archives")
print("       raise OSError without a number for a damaged file: `except OSError` takes both")
assert type(raised) is OSError, f"another class now: {type(raised)}"
assert raised.errno == errno.EBUSY and "SlowDown" not in str(raised), "another number or text now"
assert "SlowDown" in str(raised.__cause__), "another cause now"
print("unchanged: what has a number is the store's or the disk's, and may pass")
PYTHON
"$work/venv/bin/python" "$work/show.py"
