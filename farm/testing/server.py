"""What all fake exchanges share: ports, connections, subscriptions, the clock and the script."""

from __future__ import annotations

import ssl
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import TypeVar

import attrs
import trio

from farm.testing.clock import Flood, MarketClock, Pace
from farm.testing.connection import Connection, Refusal, reset_socket, text_frame
from farm.testing.port import HOST, Port
from farm.testing.rest import Request, Response, serve_http
from farm.testing.source import Push, Source, symbols_of
from farm.testing.tls import make_contexts

__all__ = ["ControlMessage", "FakeExchange", "RestCall", "open_fake"]


@attrs.define
class ControlMessage:
    """A text that a client sent. ``time``: seconds on Trio's clock."""

    time: float
    connection: str
    text: str


@attrs.define
class RestCall:
    """A REST request that was answered. ``time``: when it came, seconds on Trio's clock."""

    time: float
    target: str
    status: int


class FakeExchange(ABC):
    """A venue on loopback; see :func:`open_fake`. Subclasses speak its protocol.

    Args:
        source: where the market's texts come from.
        symbols: what is traded; None asks the source, and where that doesn't say, every symbol is.
        pace: :class:`~farm.testing.clock.Recorded` or :class:`~farm.testing.clock.Flood`.
        hold_for_snapshots: stand at a recorded REST snapshot until it is asked for, as long as a
            client follows the diffs of its symbol; clients that never ask need False.
        tls: serve TLS under an authority that :attr:`ssl_context` trusts.

    For tests to compare: ``connections_accepted``, ``connections_refused``, ``subscribe_log``
    (every text received), ``rest_log``, ``sent`` (frames queued by stream, over all connections).
    """

    def __init__(
        self,
        source: Source,
        *,
        symbols: Collection[str] | None = None,
        pace: Pace | None = None,
        hold_for_snapshots: bool = True,
        tls: bool = False,
    ) -> None:
        self.symbols = symbols_of(source) if symbols is None else symbols
        self.connections_accepted = 0
        self.connections_refused = 0
        self.subscribe_log: list[ControlMessage] = []
        self.rest_log: list[RestCall] = []
        self.sent: Counter[str] = Counter()
        self.clock = MarketClock(source, self, pace or Flood(), hold=hold_for_snapshots)
        self.ssl_context: ssl.SSLContext | None = None
        server_context: ssl.SSLContext | None = None
        if tls:
            server_context, self.ssl_context = make_contexts(HOST)
        self._ws = Port(self._serve_ws, server_context)
        self._rest = Port(self._serve_rest, server_context)
        self._nursery: trio.Nursery | None = None
        self._connections: dict[Connection, None] = {}
        self._rest_streams: dict[trio.abc.Stream, None] = {}
        self._subscribers: dict[str, dict[Connection, None]] = {}
        self._refused_streams: set[str] = set()
        self._names = 0

    # --- addresses -------------------------------------------------------------------------------

    @property
    def ws_url(self) -> str:
        return f"ws{'s' if self.ssl_context else ''}://{HOST}:{self._ws.number}"

    @property
    def rest_url(self) -> str:
        return f"http{'s' if self.ssl_context else ''}://{HOST}:{self._rest.number}"

    @property
    def finished(self) -> trio.Event:
        """Set when the source has ended and its last push is queued."""
        return self.clock.finished

    @property
    def connections(self) -> list[Connection]:
        """The connections that are open now, oldest first."""
        return [connection for connection in self._connections if connection.is_open]

    # --- the script ------------------------------------------------------------------------------

    def break_connections(self) -> None:
        """Resets every connection, REST included; the ports stay open."""
        for connection in list(self._connections):
            connection.reset()
        for stream in list(self._rest_streams):
            reset_socket(stream)

    def kill(self) -> None:
        """The server dies: resets every connection and refuses new ones until :meth:`revive`."""
        self._ws.stop()
        self._rest.stop()
        self.break_connections()

    async def revive(self) -> None:
        """Listens again on the same ports. What clients were subscribed to is forgotten."""
        assert self._nursery is not None, "the exchange is not open"
        for port in (self._ws, self._rest):
            await self._nursery.start(port.serve, self._nursery)

    def inject(self, stream: str | None, raw_text: str) -> None:
        """Sends one raw text frame to the subscribers of a stream, or to everyone."""
        frame = text_frame(raw_text.encode())
        for connection in self._subscribers.get(stream, ()) if stream else self._connections:
            connection.send_frame(frame)

    def refuse_subscription(self, stream: str) -> None:
        """Requests that name this stream fail from now on."""
        self._refused_streams.add(stream)

    # --- subscriptions ---------------------------------------------------------------------------

    def subscribe(self, connection: Connection, stream: str) -> None:
        connection.streams[stream] = None
        self._subscribers.setdefault(stream, {})[connection] = None
        self.clock.notify()

    def unsubscribe(self, connection: Connection, stream: str) -> None:
        connection.streams.pop(stream, None)
        subscribers = self._subscribers.get(stream, {})
        subscribers.pop(connection, None)
        if not subscribers:
            self._subscribers.pop(stream, None)
        self.clock.notify()

    def subscribed(self) -> Collection[str]:
        return self._subscribers.keys()

    def trades(self, symbol: str) -> bool:
        """Whether a symbol is listed here."""
        return self.symbols is None or symbol in self.symbols

    # --- the market ------------------------------------------------------------------------------

    def deliver(self, push: Push, limit: int) -> list[Connection]:
        frames: dict[bool, bytes] = {}
        congested: list[Connection] = []
        for connection in self._subscribers.get(push.stream, ()):
            if not connection.is_open:
                continue
            combined = connection.combined
            if combined not in frames:
                frames[combined] = text_frame(self.envelope(push, combined=combined).encode())
            connection.send_frame(frames[combined])
            self.sent[push.stream] += 1
            if connection.queued >= limit:
                congested.append(connection)
        return congested

    @abstractmethod
    def take(self, push: Push) -> None:
        """Books and replies take note of a push."""

    @abstractmethod
    def awaits_snapshot(self, symbol: str) -> bool:
        """Whether a client follows the diffs of a symbol but never asked for its snapshot."""

    def envelope(self, push: Push, *, combined: bool) -> str:  # noqa: ARG002
        """A push as a frame's text."""
        return push.text

    # --- the protocol ----------------------------------------------------------------------------

    @abstractmethod
    def refuse(self, connection: Connection, target: str) -> Refusal | None: ...

    @abstractmethod
    def opened(self, connection: Connection, target: str) -> None: ...

    @abstractmethod
    def on_frame(self, connection: Connection) -> None: ...

    @abstractmethod
    def on_request(self, connection: Connection, text: str) -> None:
        """A client's text, already logged."""

    @abstractmethod
    async def heartbeat(self, connection: Connection) -> None: ...

    @abstractmethod
    async def answer(self, request: Request) -> Response:
        """Answers a REST request."""

    def on_text(self, connection: Connection, text: str) -> None:
        self.subscribe_log.append(ControlMessage(trio.current_time(), connection.name, text))
        self.on_request(connection, text)

    # --- serving ---------------------------------------------------------------------------------

    async def start(self, nursery: trio.Nursery) -> None:
        """Opens the ports and starts the market; everything lives in `nursery`."""
        self._nursery = nursery
        await self.revive()
        nursery.start_soon(self.clock.run)

    def close(self) -> None:
        """Gives the ports back."""
        self._ws.close()
        self._rest.close()

    async def _serve_ws(self, stream: trio.abc.Stream) -> None:
        self._names += 1
        connection = Connection(self, stream, f"c{self._names}")
        self._connections[connection] = None
        try:
            await connection.run()
        finally:
            del self._connections[connection]
            for name in list(connection.streams):
                self.unsubscribe(connection, name)

    async def _serve_rest(self, stream: trio.abc.Stream) -> None:
        self._rest_streams[stream] = None
        try:
            await serve_http(stream, self._logged_answer)
        finally:
            del self._rest_streams[stream]

    async def _logged_answer(self, request: Request) -> Response:
        came = trio.current_time()
        response = await self.answer(request)
        self.rest_log.append(RestCall(came, request.target, response.status))
        return response


E = TypeVar("E", bound=FakeExchange)


@asynccontextmanager
async def open_fake(exchange: E) -> AsyncIterator[E]:
    """Opens a fake exchange for the length of the block; at its end no task or socket is left.

    An error of the block comes out as it is, not in a group.
    """
    try:
        async with trio.open_nursery() as nursery:
            await exchange.start(nursery)
            yield exchange
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if len(group.exceptions) == 1:
            raise group.exceptions[0] from group.exceptions[0].__cause__
        raise
    finally:
        exchange.close()
