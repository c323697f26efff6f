"""A fake Bybit v5: the public WebSocket and REST sides of its market data, spot and linear.

Documents: bybit-exchange/docs ``v5/ws/connect`` and ``v5/websocket/public``; what a category does
differently is data in :class:`~farm.testing.markets.BybitRules`. Failure texts are those that
live sockets answer.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import trio

from farm.testing.clock import Pace
from farm.testing.connection import Connection, Refusal
from farm.testing.markets import BYBIT_RULES, BybitRules
from farm.testing.rest import Request, Response
from farm.testing.server import FakeExchange
from farm.testing.simulator.bybit_texts import BYBIT_INTERVALS, orderbook_text
from farm.testing.simulator.instruments import Instrument, instrument
from farm.testing.source import Push, Source
from farm.testing.venue_book import TopicBook
from farm.types import Exchange, Market

__all__ = ["FakeBybit"]


_LISTED = ("BTCUSDT", "ETHUSDT", "SOLUSDT")


class FakeBybit(FakeExchange):
    """One category of Bybit, as :class:`~farm.testing.server.FakeExchange` describes."""

    def __init__(
        self,
        source: Source,
        market: Market = Market.LINEAR,
        *,
        rules: BybitRules | None = None,
        symbols: Collection[str] | None = None,
        pace: Pace | None = None,
        tls: bool = False,
    ) -> None:
        super().__init__(source, symbols=symbols, pace=pace, tls=tls)
        self.rules = BYBIT_RULES[market] if rules is None else rules
        self._instruments: Collection[Instrument] = getattr(source, "instruments", ())
        self._books: dict[str, TopicBook] = {}
        self._replies: dict[str, str] = {}
        self._last_ping: WeakKeyDictionary[Connection, float] = WeakKeyDictionary()

    @property
    def market(self) -> Market:
        return self.rules.market

    # --- market ----------------------------------------------------------------------------------

    def take(self, push: Push) -> None:
        if push.stream.startswith("orderbook."):
            self._books.setdefault(push.stream, TopicBook()).take(push.text)
        elif push.stream.startswith("/"):
            self._replies[push.stream] = push.text

    def awaits_snapshot(self, symbol: str) -> bool:  # noqa: ARG002
        """Never: snapshots come over the socket."""
        return False

    # --- connections -----------------------------------------------------------------------------

    def refuse(self, connection: Connection, target: str) -> Refusal | None:  # noqa: ARG002
        if urlsplit(target).path == f"/v5/public/{self.market.value}":
            return None
        self.connections_refused += 1
        return Refusal(404)

    def opened(self, connection: Connection, target: str) -> None:  # noqa: ARG002
        self.connections_accepted += 1
        self._last_ping[connection] = trio.current_time()

    def on_frame(self, connection: Connection) -> None:
        """Control frames are free here, and do not keep a connection alive."""

    async def heartbeat(self, connection: Connection) -> None:
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
            self._reply(connection, {}, "", f"Failed to decode incoming data:{error}")
            return
        operation = request.get("op")
        if operation == "ping":
            self._last_ping[connection] = trio.current_time()
            self._reply(connection, request, "ping", success="pong")
        elif operation in ("subscribe", "unsubscribe"):
            args = request.get("args")
            if not isinstance(args, list) or not all(isinstance(topic, str) for topic in args):
                self._reply(connection, request, operation, "error:params error")
            elif operation == "subscribe":
                self._subscribe_all(connection, request, args)
            else:
                for topic in args:
                    self.unsubscribe(connection, topic)
                self._reply(connection, request, operation)
        else:
            self._reply(connection, request, str(operation or ""), "error:invalid op")

    def _subscribe_all(
        self, connection: Connection, request: dict[str, Any], args: list[str]
    ) -> None:
        """All topics of a request or, where one of them is bad, none; snapshots after the reply."""
        failure = self._failure(connection, args)
        self._reply(connection, request, "subscribe", failure)
        if failure:
            return
        for topic in args:
            book = self._books.get(topic)
            if book is not None and book.update_id is not None:
                connection.send_text(
                    orderbook_text(self.market, topic, "snapshot", book.ts, book.cts, book.data())
                )
                self.sent[topic] += 1
            self.subscribe(connection, topic)

    def _failure(self, connection: Connection, args: list[str]) -> str:
        if not args:
            return "error:params error"
        most = self.rules.args_per_request
        if most is not None and len(args) > most:
            return f"args size >{most}"
        if sum(map(len, (*connection.streams, *args))) > self.rules.args_length:
            return f"args length >{self.rules.args_length}"
        seen = set(connection.streams)
        for topic in args:
            if topic in self._refused_streams or not self._exists(topic):
                return f"error:handler not found,topic:{topic}"
            if topic in seen:
                return f"error:already subscribed,topic:{topic}"
            seen.add(topic)
        return ""

    def _exists(self, topic: str) -> bool:
        kind, _, rest = topic.partition(".")
        setting, _, symbol = rest.rpartition(".")
        if not symbol or symbol != symbol.upper() or not self.trades(symbol):
            return False
        if kind == "orderbook":
            return setting in self.rules.depths
        if kind == "kline":
            return setting in BYBIT_INTERVALS or setting in ("W", "M")
        return kind in self.rules.other_kinds and not setting

    def _reply(
        self,
        connection: Connection,
        request: dict[str, Any],
        operation: str,
        failure: str = "",
        success: str | None = None,
    ) -> None:
        message = failure or (self.rules.acknowledgement if success is None else success)
        reply: dict[str, Any] = {
            "success": not failure,
            "ret_msg": message,
            "conn_id": connection.name,
        }
        if "req_id" in request or self.rules.always_req_id:
            reply["req_id"] = request.get("req_id", "")
        reply["op"] = operation
        connection.send_text(json.dumps(reply, separators=(",", ":"), ensure_ascii=False))

    # --- REST ------------------------------------------------------------------------------------

    async def answer(self, request: Request) -> Response:
        now = self.clock.now or time.time_ns()
        if request.path == "/v5/market/time":
            seconds = now // 1_000_000_000
            return self._result(now, f'{{"timeSecond":"{seconds}","timeNano":"{now}"}}')
        if request.path == "/v5/market/instruments-info":
            return self._instruments_info(now, request)
        return Response("", 404)

    def _instruments_info(self, now: int, request: Request) -> Response:
        category = request.query.get("category")
        if category != self.market.value:
            return Response(
                '{"retCode":10001,"retMsg":"params error: category is illegal","result":{},'
                f'"retExtInfo":{{}},"time":{now // 1_000_000}}}'
            )
        if (recorded := self._replies.get(f"/instruments-info?category={category}")) is not None:
            return Response(recorded)
        wanted = request.query.get("symbol")
        items = [item for item in self._listed() if wanted in (None, item.symbol)]
        limit = request.query.get("limit", "500")
        cursor = request.query.get("cursor", "")
        size = min(int(limit), 1000) if limit.isdecimal() and int(limit) else 500
        start = int(cursor) if cursor.isdecimal() else 0
        if self.market is Market.SPOT:  # unpaged
            size, start = len(items), 0
        rows = ",".join(self._instrument_text(item) for item in items[start : start + size])
        following = ""
        if self.market is not Market.SPOT:
            more = str(start + size) if start + size < len(items) else ""
            following = f',"nextPageCursor":"{more}"'
        return self._result(now, f'{{"category":"{category}","list":[{rows}]{following}}}')

    def _listed(self) -> list[Instrument]:
        listed = {item.symbol: item for item in self._instruments}
        seen = {book.symbol for book in self._books.values() if book.symbol}
        for name in sorted(set(self.symbols or {*_LISTED, *seen}) - set(listed)):
            listed[name] = instrument(Exchange.BYBIT, self.market, name)
        return list(listed.values())

    def _instrument_text(self, item: Instrument) -> str:
        names = f'"baseCoin":"{item.base}","quoteCoin":"{item.quote}"'
        if self.market is Market.SPOT:
            return (
                f'{{"symbol":"{item.symbol}",{names},"innovation":"0","status":"Trading",'
                f'"lotSizeFilter":{{"basePrecision":"{item.lot}","minOrderQty":"{item.lot}"}},'
                f'"priceFilter":{{"tickSize":"{item.tick}"}}}}'
            )
        return (
            f'{{"symbol":"{item.symbol}","contractType":"LinearPerpetual","status":"Trading",'
            f'{names},"launchTime":"1584230400000","deliveryTime":"0","deliveryFeeRate":"",'
            f'"priceScale":"{item.price_decimals}","priceFilter":{{"minPrice":"{item.tick}",'
            f'"maxPrice":"1999999.80","tickSize":"{item.tick}"}},"lotSizeFilter":'
            f'{{"minOrderQty":"{item.lot}","qtyStep":"{item.lot}"}},"settleCoin":"{item.quote}"}}'
        )

    def _result(self, now: int, result: str) -> Response:
        return Response(
            f'{{"retCode":0,"retMsg":"OK","result":{result},"retExtInfo":{{}},'
            f'"time":{now // 1_000_000}}}'
        )
