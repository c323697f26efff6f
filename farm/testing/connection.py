"""The server's end of one WebSocket connection.

Handshake and control frames are wsproto's; text frames are written here, many in one send,
because a market in flood sends tens of thousands a second.
"""

from __future__ import annotations

import math
from collections import deque

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Pong,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.utilities import RemoteProtocolError

from farm.testing.venue import Venue
from farm.testing.wire import reset_socket, text_frame

__all__ = ["Connection"]

_CHUNK = 1 << 16
_FIRST_FRAGMENT, _FRAGMENT = 0x01, 0x00
# Between two pieces of a message that never ends: time passes, on a virtual clock too.
_BREATH = 0.001
# How long a client may take to shake hands, and to answer a close.
_HANDSHAKE_DEADLINE = 10.0
_CLOSE_DEADLINE = 5.0


class Connection:
    """One client. ``streams``: what it is subscribed to, in the order it asked; ``mute``: those of
    them that say nothing here.

    ``target``: the address that it opened, path and query. ``combined`` and ``microseconds``:
    Binance's wrapped form, and times that count these. ``last_pong`` and ``last_text``: when they
    last came, on Trio's clock.
    """

    def __init__(self, venue: Venue, stream: trio.abc.Stream, name: str) -> None:
        self.name = name
        self.target = ""
        self.streams: dict[str, None] = {}
        self.mute: set[str] = set()
        self.combined = False
        self.microseconds = False
        self.last_pong = -math.inf
        self.last_text = -math.inf
        self.queued = 0
        self._venue = venue
        self._stream = stream
        self._protocol = WSConnection(ConnectionType.SERVER)
        self._outbox: deque[bytes] = deque()
        self._work = trio.Event()
        self._room = trio.Event()
        self._open = False
        self._ending = False
        self._half_open = False
        self._mute_until: float | None = None
        self._deaf_until: float | None = None
        self._nursery: trio.Nursery | None = None
        self._scope = trio.CancelScope()
        self._parts: list[str] = []

    # --- what the exchange does with it ----------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Between the handshake's answer and the first close frame of either side."""
        return self._open

    @property
    def is_half_open(self) -> bool:
        """Whether it was left half open."""
        return self._half_open

    def send_text(self, text: str) -> None:
        self.send_frame(text_frame(text.encode()))

    def send_frame(self, frame: bytes) -> None:
        """Queues a frame made by :func:`text_frame`; a connection that is closing drops it."""
        if self._open:
            self._put(frame)

    def ping(self, payload: bytes = b"") -> None:
        if self._open:
            self._put(self._protocol.send(Ping(payload)))

    def close(self, code: int, reason: str) -> None:
        """Sends what is queued, then the close frame, then waits a while for the client's."""
        if self._open:
            self._open = False
            self._put(self._protocol.send(CloseConnection(code, reason)))
            self._scope.deadline = trio.current_time() + _CLOSE_DEADLINE

    def reset(self) -> None:
        """Cuts the line without a word: the client sees a TCP reset."""
        self._open = False
        reset_socket(self._stream)
        self._scope.cancel()

    def stall(self, seconds: float) -> None:
        """Sends nothing for so long, while it reads on."""
        self._mute_until = max(self._mute_until or 0.0, trio.current_time() + seconds)

    def stop_reading(self, seconds: float) -> None:
        """Takes in nothing that arrives within so long until it is over."""
        self._deaf_until = max(self._deaf_until or 0.0, trio.current_time() + seconds)

    def leave_half_open(self) -> None:
        """From now on it neither sends nor reads nor ends, until the exchange does."""
        self._open = False
        self._half_open = True
        self._scope.deadline = math.inf
        self._outbox.clear()
        self._room.set()
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    def send_endlessly(self, payload: bytes) -> None:
        """Sends the beginning of a text message, and then more of it until the client ends the
        connection. Nothing else is sent any more."""
        if self._open and self._nursery is not None:
            self._open = False
            self._room.set()
            head = text_frame(payload)
            self._put(bytes([_FIRST_FRAGMENT]) + head[1:])
            self._nursery.start_soon(self._send_fragments)

    async def wait_room(self, below: int) -> None:
        """Until fewer than `below` bytes are queued, or the connection has ended."""
        while self.queued >= below and self._open:
            self._room = trio.Event()
            await self._room.wait()

    # --- its life --------------------------------------------------------------------------------

    async def run(self) -> None:
        """From the handshake to the end of the line, whichever side ends it."""
        self._scope.deadline = trio.current_time() + _HANDSHAKE_DEADLINE
        try:
            with self._scope:
                try:
                    async with trio.open_nursery() as nursery:
                        self._nursery = nursery
                        nursery.start_soon(self._write)
                        await self._read(nursery)
                        nursery.cancel_scope.cancel()
                except* (trio.BrokenResourceError, trio.ClosedResourceError):
                    pass  # the client went away, or the exchange reset the line
                if self._half_open:
                    await trio.sleep_forever()
        finally:
            self._open = False
            self._room.set()
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
                await trio.aclose_forcefully(self._stream)

    async def _read(self, nursery: trio.Nursery) -> None:
        while data := await self._stream.receive_some(_CHUNK):
            while (until := self._deaf_until) is not None:
                await trio.sleep_until(until)
                if self._deaf_until == until:
                    self._deaf_until = None
            if self._ending:
                continue  # the last word is queued
            try:
                self._protocol.receive_data(bytes(data))
                for event in self._protocol.events():
                    self._handle(event, nursery)
            except RemoteProtocolError as error:
                self._reject(error)
            if self._protocol.state is ConnectionState.CLOSED and not self._ending:
                return

    def _reject(self, error: RemoteProtocolError) -> None:
        """Answers a request that is no WebSocket handshake with an HTTP error."""
        self._ending = True
        if error.event_hint is not None:
            self._put(self._protocol.send(error.event_hint))
        self._work.set()

    def _handle(self, event: Event, nursery: trio.Nursery) -> None:
        if isinstance(event, Request):
            self._answer_handshake(event, nursery)
            return
        self._venue.on_frame(self)
        if isinstance(event, Ping):
            if self._open and not self._venue.leaves_ping(self):
                self._put(self._protocol.send(event.response()))
        elif isinstance(event, Pong):
            self.last_pong = trio.current_time()
        elif isinstance(event, CloseConnection):
            # Either the client's close or, the state being OPEN, wsproto's verdict on its frame.
            if self._protocol.state in (ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING):
                self._open = False
                self._put(self._protocol.send(event.response()))
                self._ending = True
        elif isinstance(event, TextMessage | BytesMessage):
            self._assemble(event)

    def _assemble(self, event: TextMessage | BytesMessage) -> None:
        if not self._open:
            return
        if not isinstance(event, TextMessage):
            self.close(1003, "text only")
            return
        self._parts.append(event.data)
        if event.message_finished:
            text = "".join(self._parts)
            self._parts.clear()
            self.last_text = trio.current_time()
            self._venue.on_text(self, text)

    def _answer_handshake(self, request: Request, nursery: trio.Nursery) -> None:
        self.target = request.target
        refusal = self._venue.refuse(self, request.target)
        if refusal is not None:
            head = RejectConnection(
                status_code=refusal.status,
                headers=[*refusal.headers, (b"content-length", b"%d" % len(refusal.body))],
                has_body=True,
            )
            self._put(self._protocol.send(head) + self._protocol.send(RejectData(refusal.body)))
            self._ending = True
            return
        self._put(self._protocol.send(AcceptConnection()))
        self._scope.deadline = math.inf
        self._open = True
        self.last_pong = self.last_text = trio.current_time()
        nursery.start_soon(self._venue.heartbeat, self)
        self._venue.opened(self, request.target)

    # --- writing ---------------------------------------------------------------------------------

    def _put(self, data: bytes) -> None:
        self._outbox.append(data)
        self.queued += len(data)
        self._work.set()

    async def _write(self) -> None:
        """The only task that writes, so frames never interleave."""
        while True:
            if not self._outbox:
                if self._ending:
                    self._scope.cancel()
                self._work = trio.Event()
                await self._work.wait()
            while (until := self._mute_until) is not None:
                await trio.sleep_until(until)
                if self._mute_until == until:
                    self._mute_until = None
            chunk: list[bytes] = []
            size = 0
            while self._outbox and size < _CHUNK:
                chunk.append(self._outbox.popleft())
                size += len(chunk[-1])
            await self._stream.send_all(b"".join(chunk))
            self.queued -= size
            self._room.set()

    async def _send_fragments(self) -> None:
        fragment = bytes([_FRAGMENT]) + text_frame(b"0" * _CHUNK)[1:]
        while not self._ending:
            self._put(fragment)
            while self.queued:
                self._room = trio.Event()
                await self._room.wait()
            await trio.sleep(_BREATH)
