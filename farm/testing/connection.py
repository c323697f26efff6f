"""The server's end of one WebSocket connection.

Handshake and control frames are wsproto's; text frames are written here, many in one send,
because a market in flood sends tens of thousands a second.
"""

from __future__ import annotations

import math
import socket
import struct
from collections import deque
from typing import Protocol

import attrs
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

__all__ = ["Connection", "Refusal", "Venue", "reset_socket", "text_frame"]

_CHUNK = 1 << 16
# How long a client may take to shake hands, and to answer a close.
_HANDSHAKE_DEADLINE = 10.0
_CLOSE_DEADLINE = 5.0


@attrs.define
class Refusal:
    """An HTTP answer in place of a WebSocket."""

    status: int
    body: bytes = b""
    headers: list[tuple[bytes, bytes]] = attrs.Factory(list)


class Venue(Protocol):
    """What a connection asks of its exchange."""

    def refuse(self, connection: Connection, target: str) -> Refusal | None:
        """The answer to a handshake that gets no WebSocket; None accepts it."""

    def opened(self, connection: Connection, target: str) -> None:
        """The handshake is answered; subscribe what the address names."""

    def on_frame(self, connection: Connection) -> None:
        """Any frame arrived, control frames included."""

    def on_text(self, connection: Connection, text: str) -> None:
        """A whole text message arrived."""

    async def heartbeat(self, connection: Connection) -> None:
        """Runs beside the connection: pings, deadlines."""


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
        self._scope = trio.CancelScope()
        self._parts: list[str] = []

    # --- what the exchange does with it ----------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Between the handshake's answer and the first close frame of either side."""
        return self._open

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
                        nursery.start_soon(self._write)
                        await self._read(nursery)
                        nursery.cancel_scope.cancel()
                except* (trio.BrokenResourceError, trio.ClosedResourceError):
                    pass  # the client went away, or the exchange reset the line
        finally:
            self._open = False
            self._room.set()
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
                await trio.aclose_forcefully(self._stream)

    async def _read(self, nursery: trio.Nursery) -> None:
        while data := await self._stream.receive_some(_CHUNK):
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
        if isinstance(event, Ping) and self._open:
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
            chunk: list[bytes] = []
            size = 0
            while self._outbox and size < _CHUNK:
                chunk.append(self._outbox.popleft())
                size += len(chunk[-1])
            await self._stream.send_all(b"".join(chunk))
            self.queued -= size
            self._room.set()


def text_frame(payload: bytes) -> bytes:
    """A whole, unmasked text frame (RFC 6455, 5.2)."""
    size = len(payload)
    if size < 126:
        return b"\x81" + size.to_bytes(1) + payload
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2) + payload
    return b"\x81\x7f" + size.to_bytes(8) + payload


def reset_socket(stream: trio.abc.Stream) -> None:
    """Closes the socket under a stream so that the peer gets a TCP reset."""
    while isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    if isinstance(stream, trio.SocketStream) and stream.socket.fileno() >= 0:
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.socket.close()
