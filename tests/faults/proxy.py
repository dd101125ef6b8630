"""A proxy before an S3 server that does to some requests what networks and busy stores do.

    python -m tests.faults.proxy --port 9001 --upstream-port 9000 --fraction 0.1 --seed 0

`slow_down`    answers 503 SlowDown; the server never sees the request
`timeout`      answers nothing for seconds, then closes the connection
`reset`        resets the connection before the server sees the request
`lost_answer`  lets the server do it, then resets the connection
`cut_short`    sends the head, with the full Content-Length, and half of the body

Head and body pass unchanged but for `Connection: close`, so that signatures stay valid. `GET
/-/counts` tells what was asked and what was done to it.
"""

import argparse
import asyncio
import json
import random
import re
import socket
import struct
from collections import Counter

FAULTS = ("slow_down", "timeout", "reset", "lost_answer", "cut_short")
_SLOW_DOWN = (
    b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)
_HOLD_S = 3.0  # longer than the tests' clients wait
_EXPECT = re.compile(rb"\r\nexpect:[^\r]*", re.I)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.I)
_CONNECTION = re.compile(rb"\r\nconnection:[^\r]*", re.I)
_BLOCK_BYTES = 2**16


class Proxy:
    """Forwards requests; the seed decides which of them, in order of arrival, go wrong and how."""

    def __init__(self, upstream_port, fraction, seed, faults=FAULTS):
        self._upstream_port = upstream_port
        self._fraction = fraction
        self._faults = faults
        self._random = random.Random(seed)
        self.requests, self.injected = Counter(), Counter()

    async def serve(self, reader, writer):
        """One connection, one request."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            await self._answer(head, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client went away
        finally:
            writer.close()

    async def _answer(self, head, reader, writer):
        method, path = head.split(b" ", 2)[:2]
        if path == b"/-/counts":
            await _send(writer, b"200 OK", json.dumps(self.counts()).encode())
            return
        self.requests[f"{method.decode()} {path.decode().partition('?')[0]}"] += 1
        fault = self._fault()
        if fault == "timeout":
            await asyncio.sleep(_HOLD_S)
        elif fault == "reset":
            _reset(writer)
        elif fault == "slow_down":
            if not _EXPECT.search(head):  # else the body waits for our word
                await reader.readexactly(_length(head))
            await _send(writer, b"503 Slow Down", b"" if method == b"HEAD" else _SLOW_DOWN)
        else:
            await self._forward(head, reader, writer, fault)

    def counts(self):
        """Requests by method and path, faults by kind."""
        return {"requests": self.requests, "injected": self.injected}

    def _fault(self):
        if self._random.random() >= self._fraction:
            return None
        fault = self._random.choice(self._faults)
        self.injected[fault] += 1
        return fault

    async def _forward(self, head, reader, writer, fault):
        there, server = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        try:
            if _EXPECT.search(head):
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                head = _EXPECT.sub(b"", head)
            server.write(_closing(head))
            await _copy(reader, server, _length(head))
            answer = await there.readuntil(b"\r\n\r\n")
            num_bytes = 0 if head.startswith(b"HEAD ") else _length(answer)
            if fault == "lost_answer" or (fault == "cut_short" and num_bytes < 2):
                await there.read()
                _reset(writer)
                return
            writer.write(_closing(answer))
            await _copy(there, writer, num_bytes // 2 if fault == "cut_short" else num_bytes)
        finally:
            server.close()


def _closing(head):
    return _CONNECTION.sub(b"", head)[:-2] + b"Connection: close\r\n\r\n"


def _length(head):
    found = _LENGTH.search(head)
    return int(found[1]) if found else 0


async def _copy(reader, writer, num_bytes):
    while num_bytes:
        block = await reader.read(min(_BLOCK_BYTES, num_bytes))
        if not block:
            break
        num_bytes -= len(block)
        writer.write(block)
        await writer.drain()


async def _send(writer, status, body):
    head = b"HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(body))
    writer.write(head + body)
    await writer.drain()


def _reset(writer):
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream-port", type=int, required=True)
    parser.add_argument("--fraction", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", nargs="*", default=FAULTS, choices=FAULTS)
    options = parser.parse_args()
    proxy = Proxy(options.upstream_port, options.fraction, options.seed, options.faults)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", options.port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main())
