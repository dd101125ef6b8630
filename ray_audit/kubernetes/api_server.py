"""One request to the Kubernetes API server, as a pod's service account.

    ApiError
    ├── ServerAwayError       no usable answer; another try may do better
    └── RefusedError          the server said no
        ├── ConflictError     an object of that name is there
        └── NotThereError     no object of that name is there

`http.client` and no more: `urllib` would send the token to a proxy that the environment names, and
follow a redirect with it.
"""

import json
import ssl
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ray_audit.errors import RayAuditError
from ray_audit.printable import printable

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
URL = "https://kubernetes.default.svc"
_MAX_ANSWER_BYTES = 8 * 2**20  # etcd holds objects of up to 1.5 MiB
_BLOCK_BYTES = 2**16
# What a server says while it starts, is busy, or renews its keys.
_MAY_PASS = {401, 408, 425, 429}


class ApiError(RayAuditError):
    """The API server gave no object."""


class ServerAwayError(ApiError):
    """No usable answer.

    Attributes:
        retry_after_s: what the server asks to wait, 0 where it does not say.
    """

    def __init__(self, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RefusedError(ApiError):
    """The server said no; its own message is part of ours.

    Attributes:
        status: of HTTP.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class ConflictError(RefusedError):
    """An object of that name is there already."""


class NotThereError(RefusedError):
    """There is no object of that name."""


@dataclass(frozen=True)
class ApiServer:
    """Where it is, and who asks.

    Attributes:
        url: `https://host[:port]`; `http://` for a proxy on this machine.
        account: folder of `token`, `ca.crt` and `namespace`; read anew for each request, since
            tokens are renewed.
        timeout_s: of a whole request.
    """

    url: str = URL
    account: Path = ACCOUNT
    timeout_s: float = 30.0

    def request(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The object that the server answers with.

        Raises:
            ServerAwayError: there was no usable answer.
            RefusedError: the server said no.
        """
        try:
            status, headers, content = self._exchange(method, path, body)
        except (OSError, HTTPException, ValueError) as error:
            said = printable(str(error)) or "no answer"
            raise ServerAwayError(f"{method} {self.url}: {type(error).__name__}: {said}") from error
        value = _object_in(content)
        if 200 <= status < 300:
            if value is None:
                raise ServerAwayError(
                    f"{method} {self.url}: the answer is no object: {_begin(content)}"
                )
            return value
        raise _error_of(status, value or {}, content, headers, path)

    def _exchange(
        self, method: str, path: str, body: dict[str, Any] | None
    ) -> tuple[int, dict[str, str], bytes]:
        token = (self.account / "token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        data = None
        if body is not None:
            data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        connection = self._connection()
        try:
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            named = {name.lower(): value for name, value in response.getheaders()}
            return response.status, named, _read(response, self.timeout_s)
        finally:
            connection.close()

    def _connection(self) -> HTTPConnection:
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        if parts.scheme == "http":
            return HTTPConnection(host, parts.port, timeout=self.timeout_s)
        context = ssl.create_default_context(cafile=str(self.account / "ca.crt"))
        return HTTPSConnection(host, parts.port, timeout=self.timeout_s, context=context)


def _read(response: HTTPResponse, limit_s: float) -> bytes:
    """The whole body: of bounded size, within a bounded time, and not cut off."""
    start_s, blocks, num_bytes = time.monotonic(), list[bytes](), 0
    while block := response.read(_BLOCK_BYTES):
        blocks.append(block)
        num_bytes += len(block)
        if num_bytes > _MAX_ANSWER_BYTES:
            raise ValueError(f"an answer of more than {_MAX_ANSWER_BYTES >> 20} MiB")
        if time.monotonic() - start_s > limit_s:
            raise TimeoutError(f"the answer was not whole after {limit_s:g} s")
    if response.length:  # what `read` in blocks does not say
        raise ValueError(f"the answer was cut off, {response.length} bytes are missing")
    return b"".join(blocks)


def _object_in(content: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _error_of(
    status: int, value: dict[str, Any], content: bytes, headers: dict[str, str], path: str
) -> ApiError:
    message = value.get("message")
    said = printable(message) if isinstance(message, str) and message else _begin(content)
    text = f"the API server answers {status}: {said}"
    if status in _MAY_PASS or status >= 500 or status < 400:
        return ServerAwayError(text, _retry_after_s(headers.get("retry-after", "")))
    if status == 409:
        # Of a quota that another request changes at the same time there is a 409 too.
        is_there = value.get("reason") == "AlreadyExists"
        return ConflictError(text, status) if is_there else ServerAwayError(text)
    if status == 404:
        # A server that starts does not know custom resources yet, and says 404 for all of them.
        details = value.get("details")
        named = details.get("name") if isinstance(details, dict) else None
        if value.get("reason") == "NotFound" and named == path.rpartition("/")[2]:
            return NotThereError(text, status)
        return ServerAwayError(text)
    return RefusedError(text, status)


def _begin(content: bytes) -> str:
    return printable(content[:200].decode("utf-8", "replace")) or "nothing"


def _retry_after_s(text: str) -> float:
    """The header's seconds, or its date as seconds from now; 0 where it is neither."""
    if text.strip().isascii() and text.strip().isdigit():
        return float(text)
    try:
        then = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return 0.0
    known = then if then.tzinfo else then.replace(tzinfo=UTC)
    return max(0.0, (known - datetime.now(UTC)).total_seconds())
