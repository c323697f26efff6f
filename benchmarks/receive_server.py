"""The server of :mod:`benchmarks.receive`, a process of its own: ``python -m
benchmarks.receive_server``, with ``tls`` for TLS. It prints its address and authority as JSON.

It serves one connection after another. What a client wants stands in its address, see
:func:`order`; everything is framed, and sealed in a TLS record of its own for each message,
before the client is told so by a message, and nothing is sent before the client has answered.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import time
from contextlib import suppress
from functools import cache

from benchmarks.machine import pin
from benchmarks.payloads import frames_of
from benchmarks.server_line import Line, framed
from farm.testing.tls import make_certificates
from farm.types import Exchange, Market

__all__ = ["HOST", "READY", "messages_of", "order", "source"]

HOST = "127.0.0.1"
READY = b"ready"

SLACK = 150_000
"""Nanoseconds before a message is due at which the server stops sleeping and watches the clock."""

DIFFERENT = 1_000
"""Messages before they are repeated."""


def order(count: int, rate: int) -> str:
    """The path by which `count` messages are asked for: `rate` of them a second, each sent by
    itself, or as fast as they are taken where it is 0."""
    return f"/stream?streams={count}/{rate}"


@cache
def _different() -> tuple[list[bytes], str]:
    return frames_of(Exchange.BINANCE, Market.SPOT, b"trade", DIFFERENT)


def source() -> str:
    """Where the messages come from."""
    return _different()[1]


@cache
def messages_of(count: int) -> list[bytes]:
    """The messages that are sent where so many are asked for."""
    texts = _different()[0]
    return (texts * (count // len(texts) + 1))[:count]


def _serve(line: Line) -> None:
    while not line.streams:
        line.read()
        if not line.open:
            return
    count, rate = map(int, line.streams)
    frames = list(map(framed, messages_of(count)))
    ready = line.seal(framed(READY))
    flood = b"" if rate else b"".join(map(line.seal, frames))
    line.sock.sendall(ready)
    line.held = True  # what is sealed goes out first
    while len(line.streams) == 2 and line.open:
        line.read()
    if rate:
        _pace(line, frames, rate)
    else:
        line.sock.sendall(flood)
    while line.open:
        line.read()


def _pace(line: Line, frames: list[bytes], rate: int) -> None:
    start = time.monotonic_ns()
    for number, frame in enumerate(frames):
        due = start + number * 1_000_000_000 // rate
        while (early := due - time.monotonic_ns()) > 0:
            if early > SLACK:
                time.sleep((early - SLACK) / 1e9)
        line.sock.sendall(line.seal(frame))


def main() -> None:
    pin(1)
    context: ssl.SSLContext | None = None
    authority = None
    if "tls" in sys.argv[1:]:
        made = make_certificates(HOST)
        context, authority = made.server, made.authority.decode()
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
        print(json.dumps({"port": port, "authority": authority}), flush=True)
        while True:
            line = Line.accept(listener.accept()[0], lambda _path: b"{}", context)
            with suppress(ConnectionError, ssl.SSLError):
                _serve(line)
            line.close()


if __name__ == "__main__":
    main()
