"""A shard whose venue is in its own memory: ``python -m benchmarks.shard_replay REPLAY …``.

The real shard with all of its line, from the WebSocket on: but its connections read frames that
were made beforehand, so that no server takes a core. They begin at a SIGUSR1, when each stream has
had one message. REPLAY is a :class:`Replay` as JSON; what follows are a shard's descriptors.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any, TypeVar, cast

import attrs
import trio

from benchmarks.book_payloads import Depth, Diff, recorded_depth
from benchmarks.server import listed
from benchmarks.server_line import Line, framed
from benchmarks.server_load import Load, greeting, messages, symbols_named
from farm.cluster.lifeline import watch_lifeline
from farm.cluster.logs import log_to_parent
from farm.cluster.shard import run_shard
from farm.groups import raise_sole_leaf
from farm.net.reading import READ_BYTES
from farm.pipeline import Environment
from farm.types import Market

__all__ = ["BOOKS", "TRADES_AND_QUOTES", "Replay", "Venue"]

TRADES_AND_QUOTES = ("trade", "bookTicker")
BOOKS = ("depth@100ms",)
"""The venue's names of the streams of a symbol."""

MOST = 10
"""Symbols that the venue lists."""

RECORDED = 800
"""Diffs that are taken in turn."""

MOST_LEVELS = 500
"""Of a diff that is made here."""

_FIRST_UPDATE = 1_000
"""Of a book, by the message that greets: its snapshot is of the one before."""

T = TypeVar("T")


def _names(given: Iterable[str]) -> tuple[str, ...]:
    return tuple(given)


@attrs.frozen
class Replay:
    """What every connection, each of which has one symbol, is to read: ``of_each`` messages of each
    of these streams. When one has read them all it says so by a file in ``directory``."""

    streams: tuple[str, ...] = attrs.field(converter=_names)
    of_each: int
    directory: str

    @property
    def events(self) -> int:
        """Events of a connection, greetings and snapshots left out."""
        return self.of_each * len(self.streams)


class Venue:
    """Opens connections that are answered from memory; they begin to read when ``go`` is set."""

    def __init__(self, replay: Replay) -> None:
        self.replay = replay
        self.go = trio.Event()
        self.cpu = 0.0
        self._numbers = count(1)

    def begin(self) -> None:
        """Let the connections read."""
        self.cpu = time.process_time()
        self.go.set()

    async def open_stream(self, host: str, port: int) -> trio.abc.Stream:  # noqa: ARG002
        """A connection, whatever it is to: a WebSocket, or REST."""
        await trio.lowlevel.checkpoint()
        return _Connection(self)

    def ended(self) -> None:
        """A connection has read everything, and what it read was processed."""
        told = {"ended": time.monotonic(), "cpu": time.process_time() - self.cpu}
        path = Path(self.replay.directory) / f"{os.getpid()}-{next(self._numbers)}"
        path.write_text(json.dumps(told))
        path.rename(path.with_suffix(".json"))

    def answer(self, path: str) -> bytes:
        """What REST has."""
        if path.endswith("/exchangeInfo"):
            return json.dumps({"symbols": [listed(name) for name in symbols_named(MOST)]}).encode()
        if not path.endswith("/depth"):
            return b"{}"
        depth = _depth()
        sides = {"bids": _texts(depth.bids), "asks": _texts(depth.asks)}
        return json.dumps({"lastUpdateId": _FIRST_UPDATE - 1} | sides).encode()


class _Connection(trio.abc.Stream):
    """The client's end. What it sends is answered by a server's line, which has this for its
    socket."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._line = Line(cast("socket.socket", self), venue.answer)
        self._sent = b""
        self._unread = bytearray()
        self._frames: bytes | None = None
        self._place = 0
        self._news = trio.Event()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        self._sent = bytes(data)
        if self._line.open and self._sent:
            self._line.read()
        if self._frames is None and len(self._line.streams) == len(self._venue.replay.streams):
            hello, self._frames = _made(self._venue.replay, self._line)
            self._unread += hello
        self._news.set()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        while self._line.open:
            if self._unread:
                data = bytes(self._unread[:max_bytes])
                del self._unread[: len(data)]
                return data
            if self._frames is not None and self._venue.go.is_set():
                if self._place < len(self._frames):
                    return self._next(self._frames)
                self._frames = b""
                if self._place:
                    self._place = 0
                    self._venue.ended()
                self._news = trio.Event()
            elif self._frames is not None:
                await self._venue.go.wait()
                continue
            else:
                self._news = trio.Event()
            await self._news.wait()
        return b""

    def _next(self, frames: bytes) -> bytes:
        start = self._place
        self._place = min(start + READ_BYTES, len(frames))
        return frames[start : self._place]

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        self._line.close()
        await trio.lowlevel.checkpoint()

    # What a line does with its socket.
    def recv(self, _size: int) -> bytes:
        return self._sent

    def sendall(self, data: bytes) -> None:
        self._unread += data

    def close(self) -> None:
        self._news.set()


# ------------------------------------------------------------------------------------------ frames
def _made(replay: Replay, line: Line) -> tuple[bytes, bytes]:
    """What greets each stream of a connection, and all that follows."""
    symbol = line.streams[0].partition("@")[0].upper()
    if replay.streams == BOOKS:
        texts = _diffs(symbol, replay.of_each + 1)
        return framed(next(texts)), b"".join(map(framed, texts))
    load = Load([symbol], replay.events, kinds=list(replay.streams), greet=True)
    hello = [greeting(load, stream, raw=line.raw) for stream in line.streams]
    rest = messages(load, line.streams, raw=line.raw)
    return _framed(hello), _framed(rest)


def _framed(made: Any) -> bytes:
    return b"".join(framed(message.payload) for message in made)


def _diffs(symbol: str, number: int) -> Iterator[bytes]:
    """Recorded diffs without a hole; where they end the book becomes what it was, and they begin
    again."""
    depth = _depth()
    changes = [*depth.diffs, *_back(depth)]
    for update in range(number):
        bids, asks = ([], []) if not update else changes[(update - 1) % len(changes)]
        name = _FIRST_UPDATE + update
        data = {"e": "depthUpdate", "E": 1723108800000, "s": symbol, "U": name, "u": name}
        data |= {"b": _texts(bids), "a": _texts(asks)}
        stream = f"{symbol.lower()}@{BOOKS[0]}"
        yield json.dumps({"stream": stream, "data": data}, separators=(",", ":")).encode()


def _back(depth: Depth) -> Iterator[Diff]:
    """Diffs after all others that give the book with which they began: first what was touched goes,
    so that the sides never cross."""
    bids = {price for changes, _ in depth.diffs for price, _ in changes}
    asks = {price for _, changes in depth.diffs for price, _ in changes}
    for prices in _pieces(sorted(bids)):
        yield [(price, 0.0) for price in prices], []
    for prices in _pieces(sorted(asks)):
        yield [], [(price, 0.0) for price in prices]
    for piece in _pieces([level for level in depth.bids if level[0] in bids]):
        yield piece, []
    for piece in _pieces([level for level in depth.asks if level[0] in asks]):
        yield [], piece


def _pieces(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """In pieces as long as a diff may be."""
    for start in range(0, len(values), MOST_LEVELS):
        yield values[start : start + MOST_LEVELS]


def _depth() -> Depth:
    return recorded_depth(Market.SPOT, RECORDED)[0]


def _texts(levels: Any) -> list[list[str]]:
    return [[f"{price:.8f}", f"{quantity:.8f}"] for price, quantity in levels]


# ------------------------------------------------------------------------------------- the process
def main() -> None:
    replay, link, lifeline = sys.argv[1:]
    log_to_parent()
    trio.run(_main, Replay(**json.loads(replay)), int(link), int(lifeline))


async def _main(replay: Replay, link: int, lifeline: int) -> None:
    parent_lost, token = trio.Event(), trio.lowlevel.current_trio_token()
    watch_lifeline(lifeline, lambda: token.run_sync_soon(parent_lost.set))
    venue = Venue(replay)
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(socket.socket(fileno=link)))
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(_begin_at_signal, venue)
            environment = Environment(open_stream=venue.open_stream)
            await run_shard(stream, environment=environment, parent_lost=parent_lost)
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise_sole_leaf(group)


async def _begin_at_signal(
    venue: Venue, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.open_signal_receiver(signal.SIGUSR1) as signals:
        task_status.started()
        async for _ in signals:
            venue.begin()


if __name__ == "__main__":
    main()
