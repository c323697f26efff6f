"""A fake Bybit v5: the public WebSocket and REST sides of the market data of a category.

Documents: bybit-exchange/docs ``v5/ws/connect`` and ``v5/websocket/public``; what a category does
differently is data in :class:`~farm.testing.markets.BybitRules`. Failure texts are those that
live sockets answer.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import trio

from farm.testing.bybit_market import BybitMarket, is_book_delta
from farm.testing.bybit_rest import BybitRest
from farm.testing.clock import Pace
from farm.testing.connection import Connection
from farm.testing.faults.script import FaultScript
from farm.testing.floor import PushFilter
from farm.testing.hiding import shown_on_bybit
from farm.testing.limits import RateWindow, RequestWindow
from farm.testing.markets import BYBIT_RULES, BybitRules
from farm.testing.network import MemoryNetwork
from farm.testing.rest import Request, Response
from farm.testing.server import FakeExchange
from farm.testing.simulator.bybit.speech import BYBIT_INTERVALS
from farm.testing.source import Push, Source
from farm.testing.venue import Refusal
from farm.testing.wall_clock import WallClock
from farm.types import Exchange, Market

__all__ = ["FakeBybit"]


class FakeBybit(FakeExchange):
    """One category of Bybit, as :class:`~farm.testing.server.FakeExchange` describes.

    Args:
        market: which category it is, where `rules` don't say.
        requests: the budget of REST requests, which fakes share that are given the same. None is
            a budget of its own.
    """

    def __init__(
        self,
        source: Source,
        market: Market = Market.LINEAR,
        *,
        rules: BybitRules | None = None,
        symbols: Collection[str] | str | None = None,
        pace: Pace | None = None,
        tls: bool = False,
        filter: PushFilter | None = None,  # noqa: A002
        empty_books: bool = False,
        requests: RequestWindow | None = None,
        network: MemoryNetwork | None = None,
        faults: FaultScript | None = None,
        wall_clock: WallClock | None = None,
    ) -> None:
        self.rules = BYBIT_RULES[market] if rules is None else rules
        super().__init__(
            source,
            Exchange.BYBIT,
            self.rules.market,
            symbols=symbols,
            pace=pace,
            hold_for_snapshots=True,
            tls=tls,
            filter=filter,
            max_age=self.rules.max_age,
            network=network,
            faults=faults,
            wall_clock=wall_clock,
        )
        self.requests = (
            RequestWindow(self.rules.requests_per_5_seconds) if requests is None else requests
        )
        self._empty_books = empty_books
        self._connects = RateWindow(self.rules.connections_per_5_minutes, 300.0)
        self._last_ping: WeakKeyDictionary[Connection, float] = WeakKeyDictionary()
        self.begin_market()

    # --- market ----------------------------------------------------------------------------------

    def begin_market(self) -> None:
        super().begin_market()
        self._market = BybitMarket(empty_books=self._empty_books)
        self._rest_side = BybitRest(
            self.rules, self._listing, self._market, self.clock, self.requests
        )

    def take(self, push: Push) -> None:
        self._market.take(self._market.renumbered(push))

    def deliver(self, push: Push, limit: int) -> list[Connection]:
        return super().deliver(self._market.renumbered(push), limit)

    def is_diff(self, push: Push) -> bool:
        return is_book_delta(push)

    def begin_anew(self) -> None:
        self._market.begin_anew()

    def shown(self, push: Push, hidden: Collection[str]) -> Push | None:
        return shown_on_bybit(push, hidden)

    def awaits_snapshot(self, symbol: str) -> bool:  # noqa: ARG002
        """Never: snapshots come over the socket."""
        return False

    def on_delisting(self, symbol: str) -> None:
        """The full book of a delisted symbol ends with ``u`` 1 and empty sides."""
        topic, now = f"orderbook.full.{symbol}", self._rest_side.now()
        ms = now // 1_000_000
        text = (
            f'{{"topic":"{topic}","ts":{ms},"type":"delta","data":{{"s":"{symbol}","b":[],"a":[],'
            f'"u":1,"seq":1}},"cts":{ms}}}'
        )
        self.deliver(Push(now, topic, text), 1 << 62)

    # --- connections -----------------------------------------------------------------------------

    def judge(self, connection: Connection, target: str) -> Refusal | None:  # noqa: ARG002
        if urlsplit(target).path != f"/v5/public/{self.market.value}":
            return Refusal(404)
        if self._is_full() or not self._connects.admit(trio.current_time()):
            return Refusal(403)
        return None

    def _is_full(self) -> bool:
        most = self.rules.concurrent_connections
        return most is not None and len(self.connections) >= most

    def welcome(self, connection: Connection, target: str) -> None:  # noqa: ARG002
        self._last_ping[connection] = trio.current_time()

    def on_frame(self, connection: Connection) -> None:
        """Control frames are free here, and do not keep a connection alive."""

    async def keep_alive(self, connection: Connection) -> None:
        """Cuts a client that sends no JSON ping: the venue wants one every 20 s."""
        while True:
            due = self._last_ping[connection] + self.rules.idle_timeout
            if trio.current_time() >= due:
                connection.reset()
                return
            await trio.sleep_until(due)

    # --- control messages ------------------------------------------------------------------------

    def on_request(self, connection: Connection, text: str) -> None:
        try:
            request = json.loads(text)
            if not isinstance(request, dict):
                raise TypeError("expect {")
        except (ValueError, TypeError, RecursionError) as error:
            self._fail(connection, {}, "", f"Failed to decode incoming data:{error}")
            return
        operation = request.get("op")
        if operation == "ping":
            self._last_ping[connection] = trio.current_time()
            now_ms = self._rest_side.now() // 1_000_000
            if not self.leaves_ping(connection):
                connection.send_text(self.rules.replies.pong(connection.name, request, now_ms))
        elif operation in ("subscribe", "unsubscribe"):
            args = request.get("args")
            if not isinstance(args, list) or not all(isinstance(topic, str) for topic in args):
                self._fail(connection, request, operation, "error:params error")
            elif operation == "subscribe":
                self._subscribe_all(connection, request, args)
            else:
                for topic in args:
                    self.unsubscribe(connection, topic)
                self._acknowledge(connection, request, args)
        else:
            self._fail(connection, request, str(operation or ""), "error:invalid op")

    def _subscribe_all(
        self, connection: Connection, request: dict[str, Any], args: list[str]
    ) -> None:
        """All topics of a request or, where one of them is bad, none; snapshots after the reply."""
        failure = self._failure(connection, args)
        if failure:
            self._fail(connection, request, "subscribe", failure)
            return
        self._acknowledge(connection, request, args)
        now = self._rest_side.now()
        for topic in args:
            self.subscribe(connection, topic)
            text = self._market.snapshot(topic, now // 1_000_000)
            first = None if text is None else Push(now, topic, text)
            if first is not None and self._listing.hidden:
                first = self.shown(first, self._listing.hidden)
            if first is not None:
                self.deliver_first(connection, first)

    def _failure(self, connection: Connection, args: list[str]) -> str:
        rules = self.rules
        if not args:
            return "error:params error"
        if rules.args_per_request is not None and len(args) > rules.args_per_request:
            return f"args size >{rules.args_per_request}"
        everything = (*connection.streams, *args)
        if rules.args_per_connection is not None and len(everything) > rules.args_per_connection:
            return f"args size >{rules.args_per_connection}"
        if sum(map(len, everything)) > rules.args_length:
            return f"args length >{rules.args_length}"
        seen = set(connection.streams)
        for topic in args:
            if topic in self._refused_streams or not self._exists(topic):
                return f"error:handler not found,topic:{topic}"
            if topic in seen:
                return f"error:already subscribed,topic:{topic}"
            seen.add(topic)
        return ""

    def _exists(self, topic: str) -> bool:
        """Whether a topic is known; where anything is acknowledged, it may still be silent."""
        if self.rules.acknowledges_anything:
            return True
        kind, _, rest = topic.partition(".")
        if kind in self.rules.other_kinds:
            return self._is_symbol(rest)
        setting, _, symbol = rest.partition(".")
        if kind == "orderbook":
            return setting in self.rules.depths and self._is_symbol(symbol)
        known = setting in BYBIT_INTERVALS or setting in ("W", "M")
        return kind == "kline" and known and self._is_symbol(symbol)

    def _is_symbol(self, text: str) -> bool:
        return text != "" and text == text.upper() and self.trades(text)

    def _acknowledge(
        self, connection: Connection, request: dict[str, Any], args: list[str]
    ) -> None:
        text = self.rules.replies.done(connection.name, request, request["op"], args)
        self.reply(connection, text)

    def _fail(
        self, connection: Connection, request: dict[str, Any], operation: str, message: str
    ) -> None:
        text = self.rules.replies.failed(connection.name, request, operation, message)
        self.reply(connection, text)

    # --- REST ------------------------------------------------------------------------------------

    async def answer(self, request: Request) -> Response:
        return self._rest_side.answer(request)
