"""What all fake exchanges share: ports, connections, subscriptions, the clock and the script."""

from __future__ import annotations

import math
import ssl
from abc import abstractmethod
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import TypeVar

import attrs
import trio

from farm.testing.clock import Flood, MarketClock, Pace
from farm.testing.connection import Connection, Refusal, reset_socket, text_frame
from farm.testing.floor import PushFilter, TradingFloor
from farm.testing.listing import Listing
from farm.testing.port import HOST, Port
from farm.testing.rest import Request, Response, serve_http
from farm.testing.source import Push, Source
from farm.testing.tls import make_contexts
from farm.types import Exchange, Market

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


class FakeExchange(TradingFloor):
    """A venue on loopback; see :func:`open_fake`. Subclasses speak its protocol.

    Args:
        source: where the market's texts come from.
        symbols: what is traded; None asks the source, and where that doesn't say, every symbol is.
        pace: :class:`~farm.testing.clock.Recorded` or :class:`~farm.testing.clock.Flood`.
        hold_for_snapshots: stand at a recorded REST snapshot until it is asked for, as long as a
            client follows the diffs of its symbol; clients that never ask need False.
        tls: serve TLS under an authority that :attr:`ssl_context` trusts.
        filter: which pushes are sent to which connection, None for all; it may be set at any time.
        empty_books: a book of which the source has not told is empty; otherwise it is unknown, and
            who asks for it waits until the source comes to it.

    For tests to compare: ``connections_accepted``, ``connections_refused``, ``subscribe_log``
    (every text received), ``rest_log``, ``sent`` (frames queued by stream, over all connections).
    """

    def __init__(
        self,
        source: Source,
        exchange: Exchange,
        market: Market,
        *,
        symbols: Collection[str] | None,
        pace: Pace | None,
        hold_for_snapshots: bool,
        tls: bool,
        filter: PushFilter | None,  # noqa: A002
        max_age: float | None,
    ) -> None:
        super().__init__(Listing(exchange, market, source, symbols), filter)
        self.connections_accepted = 0
        self.connections_refused = 0
        self.subscribe_log: list[ControlMessage] = []
        self.rest_log: list[RestCall] = []
        self.clock = MarketClock(source, self, pace or Flood(), hold=hold_for_snapshots)
        self.ssl_context: ssl.SSLContext | None = None
        server_context: ssl.SSLContext | None = None
        if tls:
            server_context, self.ssl_context = make_contexts(HOST)
        self._max_age = math.inf if max_age is None else max_age
        self._ws = Port(self._serve_ws, server_context)
        self._rest = Port(self._serve_rest, server_context)
        self._nursery: trio.Nursery | None = None
        self._connections: dict[Connection, None] = {}
        self._rest_streams: dict[trio.abc.Stream, None] = {}
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
        for connection in self.subscribers(stream) if stream else self._connections:
            connection.send_frame(frame)

    def refuse_subscription(self, stream: str) -> None:
        """Requests that name this stream fail from now on."""
        self._refused_streams.add(stream)

    def list_symbol(self, symbol: str) -> None:
        """Lists a symbol from now on: it stands in the venue's list, and what the source tells of
        it is sent."""
        self._listing.add(symbol)
        self.on_listed(symbol)

    def delist_symbol(self, symbol: str, status: str | None = None) -> None:
        """Delists a symbol from now on: its subscriptions stay, and are silent.

        It leaves the venue's list, or with a `status`, in the venue's word, stays there under it.
        """
        self.on_delisting(symbol)
        self._listing.remove(symbol, status)

    # --- the market ------------------------------------------------------------------------------

    def subscribe(self, connection: Connection, stream: str) -> None:
        super().subscribe(connection, stream)
        self.clock.notify()

    def unsubscribe(self, connection: Connection, stream: str) -> None:
        super().unsubscribe(connection, stream)
        self.clock.notify()

    @abstractmethod
    def take(self, push: Push) -> None:
        """Books and replies take note of a push."""

    @abstractmethod
    def awaits_snapshot(self, symbol: str) -> bool:
        """Whether a client follows the diffs of a symbol but never asked for its snapshot."""

    def on_listed(self, symbol: str) -> None:
        """Tells clients that a symbol has been listed, where the venue does."""

    def on_delisting(self, symbol: str) -> None:
        """Tells clients that a symbol is about to be delisted, where the venue does."""

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
    async def keep_alive(self, connection: Connection) -> None:
        """Pings, deadlines: runs beside a connection as long as that lasts."""

    async def heartbeat(self, connection: Connection) -> None:
        """Runs beside a connection, which is cut when it is too old."""
        with trio.move_on_after(self._max_age) as life:
            await self.keep_alive(connection)
        if life.cancelled_caught:
            connection.reset()

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
