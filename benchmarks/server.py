"""The server of the end-to-end benchmarks: Binance spot as far as a reader of streams sees it.

A process of its own, on a core of its own: ``python -m benchmarks.server LOAD TIMES``, the load as
JSON. It prints its address, waits until every stream of the load is subscribed and all is quiet,
sends what it made beforehand, writes to the file TIMES when it sent each message of a paced load
(int64 of ``time.monotonic_ns``, by id), prints what it did, and ends with its clients or its stdin.
"""

from __future__ import annotations

import json
import selectors
import socket
import ssl
import sys
import time
from array import array
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import attrs

from benchmarks.machine import pin
from benchmarks.server_line import Line, framed
from benchmarks.server_load import FIRST_ID, Load, greeting, messages, volume_of
from farm.testing.tls import make_certificates

__all__ = ["HOST", "Sent", "Server", "listed"]

HOST = "127.0.0.1"

QUIET = 0.3
"""Seconds without a word from the clients before the sending, whatever they do at their start."""

CHUNK = 1 << 18
"""Bytes that a flood offers a socket at once."""

SLACK = 150_000
"""Nanoseconds before a message is due at which the server stops sleeping and watches the clock."""

LOOK_EVERY = 32
"""Messages between two looks at what the clients say, where each message is sent by itself."""


@attrs.define
class Sent:
    """What was sent: messages, their bytes on TCP, seconds and CPU seconds it took, and the sum of
    the quantities of all trades."""

    messages: int
    nbytes: int
    seconds: float
    cpu: float
    volume: float


class Server:
    """A listening server. `ended` is what ends it before its time: a file that ends, as stdin."""

    def __init__(self, load: Load, ended: Any = sys.stdin) -> None:
        self.load = load
        self.times = array("q")
        self.authority: bytes | None = None
        self._context: ssl.SSLContext | None = None
        if load.tls != "plain":
            made = make_certificates(HOST)
            self._context, self.authority = made.server, made.authority
        self._listener = socket.create_server((HOST, 0), backlog=1024)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(ended, selectors.EVENT_READ, self._stop)
        self._lines: dict[Line, int] = {}  # and how many of its streams were greeted
        self._listing = json.dumps({"symbols": [listed(s) for s in load.symbols]}).encode()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def run(self) -> Sent:
        """Wait for the clients and send them everything; SystemExit where it is stopped before."""
        self._await_streams()
        lines = [line for line in self._lines if line.streams]
        for line in lines:
            line.held = True
        made = self._turns(lines) if self.load.rate else self._blobs(lines)
        cpu, start = time.process_time(), time.monotonic()
        nbytes = self._flood(made) if isinstance(made, dict) else self._pace(made)
        seconds, cpu = time.monotonic() - start, time.process_time() - cpu
        for line in lines:
            line.release()
        sent = self.load.of_each * sum(len(line.streams) for line in lines)
        return Sent(sent, nbytes, seconds, cpu, volume_of(self.load))

    def serve_on(self) -> None:
        """Answer until the last WebSocket is gone."""
        while any(line.is_websocket for line in self._lines):
            self._look(None)

    # --- the start -------------------------------------------------------------------------------

    def _await_streams(self) -> None:
        kinds, symbols = self.load.kinds, self.load.symbols
        wanted = {f"{symbol.lower()}@{kind}" for symbol in symbols for kind in kinds}
        while wanted.difference(chain.from_iterable(line.streams for line in self._lines)):
            self._look(None)
            self._greet()
        while self._look(QUIET):
            self._greet()

    def _greet(self) -> None:
        if not self.load.greet:
            return
        for line, greeted in self._lines.items():
            for stream in line.streams[greeted:]:
                hello = greeting(self.load, stream, raw=line.raw)
                line.sock.sendall(line.seal(framed(hello.payload)))
            self._lines[line] = len(line.streams)

    def _look(self, timeout: float | None) -> bool:
        """Hear what the clients say within so many seconds; whether they said anything."""
        ready = self._selector.select(timeout)
        for key, _ in ready:
            key.data()
        return bool(ready)

    def _accept(self) -> None:
        line = Line.accept(self._listener.accept()[0], self._answer, self._context)
        self._lines[line] = 0
        self._selector.register(line.sock, selectors.EVENT_READ, lambda: self._hear(line))

    def _hear(self, line: Line) -> None:
        sock = line.sock
        line.read()
        if not line.open:
            self._selector.unregister(sock)
            del self._lines[line]

    def _stop(self) -> None:
        raise SystemExit(1)

    def _answer(self, path: str) -> bytes:
        return self._listing if path.endswith("/exchangeInfo") else b"{}"

    # --- the sending -----------------------------------------------------------------------------

    def _blobs(self, lines: list[Line]) -> dict[Line, bytes]:
        """All that goes to each line, in one piece."""
        blobs = {}
        for line in lines:
            made = messages(self.load, line.streams, raw=line.raw)
            frames = (framed(message.payload) for message in made)
            if self.load.tls == "records":
                blobs[line] = b"".join(map(line.seal, frames))
            else:
                blobs[line] = line.seal(b"".join(frames))
        return blobs

    def _turns(self, lines: list[Line]) -> list[tuple[Line, int, bytes]]:
        """Line, place by id, and frame, message by message, the lines taking turns."""
        parts = [messages(self.load, line.streams, raw=line.raw) for line in lines]
        return [
            (line, message.id - FIRST_ID, framed(message.payload))
            for turn in zip_longest(*parts)
            for line, message in zip(lines, turn, strict=True)
            if message is not None
        ]

    def _flood(self, blobs: dict[Line, bytes]) -> int:
        """Offer every line all that is left for it, as fast as the sockets take it."""
        left = {line: memoryview(blob) for line, blob in blobs.items()}
        both = selectors.EVENT_READ | selectors.EVENT_WRITE
        with selectors.DefaultSelector() as selector:
            for line in left:
                selector.register(line.sock, both, line)
            while left:
                for key, mask in selector.select():
                    line = key.data
                    sock = line.sock
                    if mask & selectors.EVENT_READ:
                        self._hear(line)
                    if not line.open:
                        selector.unregister(sock)
                        del left[line]
                    elif mask & selectors.EVENT_WRITE:
                        sent = sock.send(left[line][:CHUNK], socket.MSG_DONTWAIT)
                        left[line] = left[line][sent:]
                        if not left[line]:
                            selector.unregister(sock)
                            del left[line]
        return sum(map(len, blobs.values()))

    def _pace(self, turns: list[tuple[Line, int, bytes]]) -> int:
        """Send message by message, each when it is due."""
        self.times = times = array("q", bytes(8 * len(turns)))
        clock, interval = time.monotonic_ns, 1e9 / self.load.rate
        nbytes, start = 0, clock()
        for number, (line, place, frame) in enumerate(turns):
            due = start + int(number * interval)
            while (early := due - clock()) > 0:
                if early > SLACK:
                    time.sleep((early - SLACK) / 1e9)
            times[place] = clock()
            sealed = line.seal(frame)
            line.sock.sendall(sealed)
            nbytes += len(sealed)
            if not number % LOOK_EVERY and self._look(0):
                self._answer_between()
        return nbytes

    def _answer_between(self) -> None:
        """Send what was held: where messages go one by one, nothing is broken into."""
        for line in self._lines:
            if line.held:
                line.release()
                line.held = True


def listed(symbol: str) -> dict[str, Any]:
    """A symbol's entry in exchangeInfo: the fields that readers of it insist on."""
    return {
        "symbol": symbol,
        "status": "TRADING",
        "baseAsset": symbol.removesuffix("USDT"),
        "baseAssetPrecision": 8,
        "quoteAsset": "USDT",
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": ["LIMIT", "MARKET"],
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": "0.01000000",
                "maxPrice": "1000000.00000000",
                "tickSize": "0.01000000",
            },
            {
                "filterType": "LOT_SIZE",
                "minQty": "0.00001000",
                "maxQty": "9000.00000000",
                "stepSize": "0.00001000",
            },
        ],
        "permissions": ["SPOT"],
        "permissionSets": [["SPOT"]],
    }


def main() -> None:
    load, times = Load(**json.loads(sys.argv[1])), Path(sys.argv[2])
    pin(1)
    server = Server(load)
    authority = None if server.authority is None else server.authority.decode()
    print(json.dumps({"port": server.port, "authority": authority}), flush=True)
    sent = server.run()
    times.write_bytes(server.times.tobytes())
    print(json.dumps(attrs.asdict(sent)), flush=True)
    server.serve_on()


if __name__ == "__main__":
    main()
