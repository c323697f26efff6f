"""The connection actor: one run of it is one connection, one *epoch* of its streams.

It opens the socket, numbers what it reads and puts it into the parser's mailbox, and executes the
commands that the protocol core asks for. It never waits for a slow reader: its pongs would stop
and the venue would cut it.
"""

from __future__ import annotations

import logging
import math
import ssl
from collections import deque
from collections.abc import Callable
from typing import NoReturn

import attrs
import trio

from farm.actors.mailbox import Mailbox
from farm.actors.snapshots import SnapshotFetcher
from farm.actors.supervisor import Health
from farm.errors import ConnectionLost, HandshakeRefused
from farm.exchanges.session import (
    Closed,
    Command,
    FetchSnapshot,
    ForgetSnapshot,
    Frames,
    Input,
    Lost,
    Opened,
    Reconnect,
    Rotate,
    SendText,
    SnapshotAsked,
    SnapshotReply,
    Tick,
)
from farm.exchanges.streams import REST_ROUTE, Stream
from farm.net.budget import Budget
from farm.net.websocket import OpenStream, WebSocket, WebSocketOptions, open_websocket
from farm.types import Nanoseconds

__all__ = ["ConnectionActor", "ConnectionCounters", "is_droppable", "lose_inputs"]

log = logging.getLogger("farm.connection")

TICK = 1.0
"""Seconds between two looks at the clock on behalf of the protocol core."""

REFUSAL_PAUSES = {429: 60.0, 418: 120.0, 403: 600.0}
"""Seconds to open no connection to a venue after such an answer to a handshake, where it names
none itself: as for REST calls."""

LONGEST_PAUSE = 3 * 86_400.0
"""Seconds; no ban is known to be longer, whatever a header says."""


@attrs.define
class ConnectionCounters:
    """What a connection has seen, over all its epochs."""

    frames: int = 0
    nbytes: int = 0
    connects: int = 0
    last_frame: Nanoseconds | None = None


@attrs.define
class Wiring:
    """What a connection is connected with; the pipeline makes all of it."""

    mailbox: Mailbox[Input]
    commands: trio.MemoryReceiveChannel[Command]
    connect_budget: Budget
    control_budget: Budget
    fetcher: SnapshotFetcher | None
    wall_clock: Callable[[], Nanoseconds]
    ssl_context: ssl.SSLContext | None = None
    options: WebSocketOptions = attrs.field(factory=WebSocketOptions)
    open_stream: OpenStream | None = None
    on_rotate: Callable[[str], None] = lambda _reason: None


class ConnectionActor:
    """One socket of a venue.

    `silence` is the number of seconds without anything at all from the venue, pings and pongs
    included, after which the connection is taken for dead. `rotate_after` is its age in seconds at
    which another is asked for, by ``Wiring.on_rotate``.
    """

    def __init__(
        self,
        name: str,
        url: str,
        wiring: Wiring,
        *,
        silence: float,
        rotate_after: float = math.inf,
    ) -> None:
        self.name = name
        self.counters = ConnectionCounters()
        self._url = url
        self._wiring = wiring
        self._silence = silence
        self._rotate_after = rotate_after
        self._urgent: deque[str] = deque()  # texts to be sent, pings before the others
        self._texts: deque[str] = deque()
        self._has_texts = trio.Event()
        self._epoch = 0
        self._serial = 0
        self._ordinal = 0
        self._announced = False
        self._fetching: dict[Stream, trio.CancelScope] = {}

    async def run(self, health: Health) -> None:
        """Live for one epoch; raises ConnectionLost at its end, for it always ends by weather."""
        wiring = self._wiring
        if self._announced:  # we crashed in telling of the last end; the next may be far off
            self._tell_closed("the connection actor crashed")
        await wiring.connect_budget.acquire()
        self._epoch += 1
        self._ordinal = 0
        self._fetching.clear()
        self._urgent.clear()
        self._texts.clear()
        reason: str | None = None  # why it ended, unless we ended it ourselves
        try:
            async with open_websocket(
                self._url,
                self._on_read,
                ssl_context=wiring.ssl_context,
                options=wiring.options,
                wall_clock=wiring.wall_clock,
                open_stream=wiring.open_stream,
            ) as socket:
                self._announce(wiring.wall_clock())
                self.counters.connects += 1
                health.ready()
                log.info("%s: connected, epoch %d", self.name, self._epoch)
                lost = await self._serve(socket)
            raise lost
        except HandshakeRefused as refused:
            pause = refused.retry_after
            if pause is None:
                pause = REFUSAL_PAUSES.get(refused.code or 0)
            if pause is not None:
                wiring.connect_budget.pause(min(pause, LONGEST_PAUSE))
            raise
        except ConnectionLost as lost:
            reason = str(lost)
            raise
        except Exception:
            reason = "the connection actor crashed"
            raise
        finally:
            if self._announced:
                self._tell_closed(reason)

    async def _serve(self, socket: WebSocket) -> ConnectionLost:
        """Do what is to be done until the connection has ended; why it did."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._execute, socket, nursery)
            nursery.start_soon(self._write, socket)
            nursery.start_soon(self._watch, socket)
            lost = await socket.wait_closed()
            nursery.cancel_scope.cancel()
        return lost

    def _tell_closed(self, reason: str | None) -> None:
        """The epoch has ended, for this reason; for None it was by us."""
        now = self._wiring.wall_clock()
        self.put(Closed(self._epoch, now, reason or "closed by us", reason is None))
        self._announced = False

    def _announce(self, time: Nanoseconds) -> None:
        if not self._announced:
            self._announced = True
            self.put(Opened(self._epoch, time, trio.current_time()))

    def _on_read(self, frames: list[bytes], time: Nanoseconds) -> None:
        """All messages of one socket read; called by the reader, so it must not wait."""
        self._announce(time)
        nbytes = sum(map(len, frames))
        first, self._ordinal = self._ordinal, self._ordinal + len(frames)
        self.counters.frames += len(frames)
        self.counters.nbytes += nbytes
        self.counters.last_frame = time
        self.put(Frames(self._epoch, time, first, frames, nbytes))

    def put(self, item: Input) -> None:
        """Hand an input to the parser, numbered: all inputs of a connection go this way."""
        self._serial += 1
        item.serial = self._serial
        self._wiring.mailbox.put(item)

    async def _execute(self, socket: WebSocket, nursery: trio.Nursery) -> NoReturn:
        """Take commands; what is to be sent waits for its turn in `_write`."""
        while True:
            command = await self._wiring.commands.receive()
            if command.epoch != self._epoch:
                continue  # it was meant for a connection that is gone
            match command:
                case SendText():
                    (self._urgent if command.urgent else self._texts).append(command.text)
                    self._has_texts.set()
                case FetchSnapshot():
                    self._fetch_soon(command, nursery)
                case ForgetSnapshot():
                    if (scope := self._fetching.pop(command.stream, None)) is not None:
                        scope.cancel()
                case Reconnect():
                    nursery.start_soon(socket.close, 1000, command.reason)
                case Rotate():
                    self._wiring.on_rotate(command.reason)

    async def _write(self, socket: WebSocket) -> NoReturn:
        """Send texts as the venue's limit allows, urgent ones first; nobody else writes texts."""
        while True:
            while not self._urgent and not self._texts:
                self._has_texts = trio.Event()
                await self._has_texts.wait()
            await self._wiring.control_budget.acquire()
            text = (self._urgent or self._texts).popleft()
            try:
                await socket.send_text(text)
            except ConnectionLost:
                await trio.sleep_forever()  # `_serve` ends this with the reason

    def _fetch_soon(self, command: FetchSnapshot, nursery: trio.Nursery) -> None:
        """Books ask again while they have no answer; the task that is at it goes on."""
        fetcher = self._wiring.fetcher
        assert fetcher is not None, f"{self.name} has no REST endpoint"
        if command.stream in self._fetching:
            fetcher.update(command)
        else:
            scope = self._fetching[command.stream] = trio.CancelScope()
            nursery.start_soon(self._fetch, command, fetcher, scope)

    async def _fetch(
        self, command: FetchSnapshot, fetcher: SnapshotFetcher, scope: trio.CancelScope
    ) -> None:
        stream, clock = command.stream, self._wiring.wall_clock

        def on_sent() -> None:
            self.put(SnapshotAsked(self._epoch, clock(), stream))

        with scope:
            body = await fetcher.fetch(command, on_sent)
            if self._fetching.get(stream) is not scope:
                return  # forgotten, when the answer was already on its way to this task
            del self._fetching[stream]
            ordinal, self._ordinal = self._ordinal, self._ordinal + 1
            self.put(SnapshotReply(self._epoch, clock(), ordinal, stream, body, len(body)))

    async def _watch(self, socket: WebSocket) -> None:
        """Tell the core of the time, ask for another connection before the venue ends this one, and
        end it where nothing comes any more."""
        opened, may_rotate = trio.current_time(), True
        while True:
            await trio.sleep(TICK)
            now = trio.current_time()
            if may_rotate and now - opened >= self._rotate_after:
                may_rotate = False
                self._wiring.on_rotate(f"it is {now - opened:.0f} s old")
            if now - socket.last_receive > self._silence:
                await socket.close(1000, f"nothing came for {self._silence:g} s")
                return
            self.put(Tick(self._epoch, self._wiring.wall_clock(), now))


def is_droppable(item: Input) -> bool:
    """Frames may be dropped, with a record; what tells of the connection itself may not.

    Ticks may too, for the next one says it again: else they gather while nobody reads. So do the
    answers of feeds that are polled, which are their frames.
    """
    return isinstance(item, Frames | Tick) or _is_polled(item)


def _is_polled(item: Input) -> bool:
    return isinstance(item, SnapshotReply) and item.stream.route == REST_ROUTE


def lose_inputs(loss: Input | None, item: Input, quarantined: bool) -> Input:
    """Fold inputs that will not be parsed into one :class:`~farm.exchanges.session.Lost`."""
    edge = "connection>parser" if not quarantined else "parser"
    if isinstance(item, Lost):
        frames, start, end = item.frames, item.start, item.end
    else:
        frames = len(item.frames) if isinstance(item, Frames) else int(_is_polled(item))
        start = end = item.time
    if isinstance(loss, Lost):
        frames += loss.frames
        start = loss.start
    return Lost(item.epoch, frames, start, end, edge, quarantined, 0, item.serial)
