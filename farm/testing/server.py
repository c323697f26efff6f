"""What all fake exchanges share: subscriptions, the clock and the script."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import TypeVar

import attrs
import trio

from farm.testing.clock import Flood, MarketClock, Pace
from farm.testing.connection import Connection
from farm.testing.faults.script import FaultScript
from farm.testing.floor import PushFilter
from farm.testing.listing import Listing
from farm.testing.network import MemoryNetwork
from farm.testing.serving import RestCall, ServedFloor
from farm.testing.source import Push, Source
from farm.testing.wall_clock import WallClock
from farm.testing.wire import text_frame
from farm.types import Exchange, Market

__all__ = ["ControlMessage", "FakeExchange", "RestCall", "open_fake"]


@attrs.define
class ControlMessage:
    """A text that a client sent. ``time``: seconds on Trio's clock."""

    time: float
    connection: str
    text: str


class FakeExchange(ServedFloor):
    """A venue on loopback; see :func:`open_fake`. Subclasses speak its protocol.

    It may be opened again, on the same addresses: the source is iterated anew then, the script
    begins anew, and so do ``clock`` and ``finished``. Logs and counts go on.

    Args:
        source: where the market's texts come from.
        symbols: what is traded, a text for one; None asks the source, and where that doesn't say,
            every symbol is.
        pace: :class:`~farm.testing.clock.Recorded` or :class:`~farm.testing.clock.Flood`.
        hold_for_snapshots: stand at a recorded REST snapshot until it is asked for, as long as a
            client follows the diffs of its symbol; clients that never ask need False.
        tls: serve TLS under an authority that :attr:`ssl_context` trusts.
        filter: which pushes are sent to which connection, None for all; it may be set at any time.
        empty_books: a book of which the source has not told is empty; otherwise it is unknown, and
            who asks for it waits until the source comes to it.
        network: where it lives, None for the machine's loopback.
        faults: what goes wrong, counted from the opening.
        wall_clock: the client's clock, for faults that make it jump.

    For tests to compare: ``connections_accepted``, ``connections_refused``, ``subscribe_log``
    (every text received), ``rest_log``, ``sent`` (frames by stream, over all connections, whatever
    faults make of them), ``fault_log``, ``streams_followed`` (to which there has been a
    subscription).

    Raises:
        ValueError: the source says that it is of another exchange or market.
    """

    clock: MarketClock

    def __init__(
        self,
        source: Source,
        exchange: Exchange,
        market: Market,
        *,
        symbols: Collection[str] | str | None,
        pace: Pace | None,
        hold_for_snapshots: bool,
        tls: bool,
        filter: PushFilter | None,  # noqa: A002
        max_age: float | None,
        network: MemoryNetwork | None = None,
        faults: FaultScript | None = None,
        wall_clock: WallClock | None = None,
    ) -> None:
        _check_origin(source, exchange, market)
        listed = [symbols] if isinstance(symbols, str) else symbols
        super().__init__(
            Listing(exchange, market, source, listed),
            filter,
            tls=tls,
            network=network,
            faults=faults,
            wall_clock=wall_clock,
        )
        self.exchange = exchange
        self.market = market
        self.subscribe_log: list[ControlMessage] = []
        self.streams_followed: set[str] = set()
        self._source = source
        self._pace = pace or Flood()
        self._hold = hold_for_snapshots
        self._was_opened = False
        self._max_age = math.inf if max_age is None else max_age
        self._refused_streams: set[str] = set()

    @property
    def finished(self) -> trio.Event:
        """Set when the source has ended and its last push is queued."""
        return self.clock.finished

    # --- the script ------------------------------------------------------------------------------

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

    def begin_market(self) -> None:
        """The market begins, with nothing known of it yet. Subclasses begin their books here, and
        call it when they are made."""
        self.clock = MarketClock(self._source, self, self._pace, hold=self._hold)

    def subscribe(self, connection: Connection, stream: str) -> None:
        super().subscribe(connection, stream)
        self.streams_followed.add(stream)
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

    def on_text(self, connection: Connection, text: str) -> None:
        self.subscribe_log.append(ControlMessage(trio.current_time(), connection.name, text))
        self.on_request(connection, text)

    # --- serving ---------------------------------------------------------------------------------

    async def start(self, nursery: trio.Nursery) -> None:
        """Opens the ports and starts the market and the script; everything lives in `nursery`.

        Raises:
            ValueError: the exchange cannot have one of the script's faults.
        """
        if self._was_opened:
            self.begin_market()
        self._was_opened = True
        await super().start(nursery)
        nursery.start_soon(self.clock.run)


def _check_origin(source: Source, exchange: Exchange, market: Market) -> None:
    """A market is not told in another's words. Sources need not say whose they are."""
    told_exchange = getattr(source, "exchange", None) or exchange
    told_market = getattr(source, "market", None) or market
    if (told_exchange, told_market) != (exchange, market):
        raise ValueError(
            f"the source is of {told_exchange.value}/{told_market.value}, and this exchange is "
            f"{exchange.value}/{market.value}"
        )


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
