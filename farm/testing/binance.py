"""A fake Binance: the WebSocket and REST sides of its market data, spot for now.

Documents: binance-spot-api-docs ``web-socket-streams.md`` and ``rest-api.md``; what a market does
differently is data in :class:`~farm.testing.markets.BinanceRules`.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Collection
from typing import Any
from weakref import WeakKeyDictionary

import attrs
import trio

from farm.testing.binance_requests import (
    ABSENT,
    InvalidRequest,
    parse_address,
    parse_request,
)
from farm.testing.clock import Pace
from farm.testing.connection import Connection, Refusal
from farm.testing.limits import RateWindow, WeightWindow
from farm.testing.markets import BINANCE_SPOT, BinanceRules
from farm.testing.rest import Request, Response
from farm.testing.server import FakeExchange
from farm.testing.simulator.instruments import Instrument, instrument
from farm.testing.source import Push, Source, reply_symbol
from farm.testing.venue_book import DiffBook
from farm.types import Exchange

__all__ = ["FakeBinance"]


_LISTED = ("BTCUSDT", "ETHUSDT", "SOLUSDT")


@attrs.define(eq=False)
class _Waiting:
    """A depth request that came before the snapshot did."""

    limit: int
    text: str = ""


class FakeBinance(FakeExchange):
    """Binance as :class:`~farm.testing.server.FakeExchange` describes, under ``rules``."""

    def __init__(
        self,
        source: Source,
        *,
        rules: BinanceRules = BINANCE_SPOT,
        symbols: Collection[str] | None = None,
        pace: Pace | None = None,
        hold_for_snapshots: bool = True,
        tls: bool = False,
    ) -> None:
        super().__init__(
            source, symbols=symbols, pace=pace, hold_for_snapshots=hold_for_snapshots, tls=tls
        )
        self.rules = rules
        self._instruments: Collection[Instrument] = getattr(source, "instruments", ())
        self._diff = re.compile(f"(.+?)(?:{rules.diff_stream})")
        self._books: dict[str, DiffBook] = {}
        self._asked: set[str] = set()
        self._waiting: dict[str, list[_Waiting]] = {}
        self._replies: dict[str, str] = {}
        self._connects = RateWindow(rules.connections_per_5_minutes, 300.0)
        self._messages: WeakKeyDictionary[Connection, RateWindow] = WeakKeyDictionary()
        self._weights = WeightWindow(rules.weight_per_minute)

    # --- market ----------------------------------------------------------------------------------

    def take(self, push: Push) -> None:
        if (symbol := reply_symbol(push.stream)) is not None:
            book = self._book(symbol)
            book.take_snapshot(push.text)
            for waiting in self._waiting.pop(symbol, ()):
                waiting.text = book.snapshot(waiting.limit)
        elif push.stream.startswith("/"):
            self._replies[push.stream] = push.text
        elif (symbol := self._diff_symbol(push.stream)) is not None:
            self._book(symbol).take_diff(push.text)

    def awaits_snapshot(self, symbol: str) -> bool:
        followed = (self._diff_symbol(stream) for stream in self.subscribed())
        return symbol not in self._asked and symbol in followed

    def envelope(self, push: Push, *, combined: bool) -> str:
        return f'{{"stream":"{push.stream}","data":{push.text}}}' if combined else push.text

    def _book(self, symbol: str) -> DiffBook:
        return self._books.setdefault(symbol, DiffBook())

    def _diff_symbol(self, stream: str) -> str | None:
        match = self._diff.fullmatch(stream)
        return match[1].upper() if match else None

    # --- connections -----------------------------------------------------------------------------

    def refuse(self, connection: Connection, target: str) -> Refusal | None:  # noqa: ARG002
        if not self._connects.admit(trio.current_time()):
            self.connections_refused += 1
            return Refusal(429, headers=[(b"retry-after", b"300")])
        try:
            parse_address(target)
        except InvalidRequest as error:
            self.connections_refused += 1
            return Refusal(error.code, error.message.encode())
        return None

    def opened(self, connection: Connection, target: str) -> None:
        self.connections_accepted += 1
        self._messages[connection] = RateWindow(self.rules.messages_per_second, 1.0)
        connection.combined, streams = parse_address(target)
        for stream in streams:
            self.subscribe(connection, stream)

    def on_frame(self, connection: Connection) -> None:
        """Pings, pongs and texts all count: more than so many a second close with 1008."""
        if not self._messages[connection].admit(trio.current_time()):
            connection.close(1008, "Too many requests")

    async def heartbeat(self, connection: Connection) -> None:
        while True:
            await trio.sleep(self.rules.ping_interval)
            if trio.current_time() - connection.last_pong > self.rules.pong_timeout:
                connection.close(1008, "Pong timeout")
                return
            connection.ping(str(time.time_ns() // 1_000_000).encode())

    # --- control messages ------------------------------------------------------------------------

    def on_request(self, connection: Connection, text: str) -> None:
        request_id: Any = ABSENT
        try:
            request, request_id = parse_request(text)
            result = self._execute(connection, request)
        except InvalidRequest as error:
            reply = {"code": error.code, "msg": error.message}
            if request_id is not ABSENT:
                reply["id"] = request_id
        else:
            reply = {"result": result, "id": None if request_id is ABSENT else request_id}
        connection.send_text(json.dumps(reply, separators=(",", ":"), ensure_ascii=False))

    def _execute(self, connection: Connection, request: dict[str, Any]) -> Any:
        method = request["method"]
        params = request.get("params", [])
        if not isinstance(params, list):
            raise InvalidRequest(2, "Invalid request: params must be an array")
        if method == "LIST_SUBSCRIPTIONS":
            return list(connection.streams)
        if method in ("SET_PROPERTY", "GET_PROPERTY"):
            return _property(connection, method, params)
        if not params or not all(isinstance(name, str) for name in params):
            raise InvalidRequest(2, "Invalid request: params must be an array of stream names")
        if method == "UNSUBSCRIBE":
            for stream in params:
                self.unsubscribe(connection, stream)
            return None
        for stream in params:
            if stream in self._refused_streams:
                raise InvalidRequest(2, f"Invalid request: unknown stream {stream}")
        if len({*connection.streams, *params}) > self.rules.streams_per_connection:
            raise InvalidRequest(2, "Invalid request: too many streams")
        for stream in params:
            self.subscribe(connection, stream)
        return None

    # --- REST ------------------------------------------------------------------------------------

    async def answer(self, request: Request) -> Response:
        name = request.path.removeprefix(self.rules.rest_prefix)
        known = name in ("/ping", "/time", "/exchangeInfo", "/depth")
        if not request.path.startswith(self.rules.rest_prefix) or not known:
            return Response("", 404)
        limit = self._limit(request)
        now = trio.current_time()
        if not self._weights.spend(self._weight(name, limit), now):
            wait = self._weights.retry_after(now)
            return self._weighed(
                _error(429, -1003, "Too much request weight used.", [("retry-after", str(wait))])
            )
        if name == "/depth":
            return self._weighed(await self._depth(request, limit))
        if name == "/exchangeInfo":
            return self._weighed(Response(self._replies.get(name) or self._exchange_info()))
        if name == "/time":
            return self._weighed(Response(f'{{"serverTime":{self._now_ms()}}}'))
        return self._weighed(Response("{}"))

    def _weighed(self, response: Response) -> Response:
        response.headers.append(("x-mbx-used-weight-1m", str(self._weights.used)))
        return response

    def _weight(self, name: str, limit: int | None) -> int:
        if name == "/depth":
            weights = [w for most, w in self.rules.depth_weights if (limit or 0) <= most]
            return weights[0]
        return 20 if name == "/exchangeInfo" else 1

    def _limit(self, request: Request) -> int | None:
        """The depth asked for, at most what the venue gives; None where it is no number."""
        text = request.query.get("limit", "100")
        if not text.isdecimal() or int(text) == 0:
            return None
        return min(int(text), self.rules.depth_weights[-1][0])

    async def _depth(self, request: Request, limit: int | None) -> Response:
        symbol = request.query.get("symbol", "")
        if not symbol:
            return _error(
                400,
                -1102,
                "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.",
            )
        if limit is None:
            return _error(400, -1100, "Illegal characters found in parameter 'limit'.")
        if not self.trades(symbol):
            return _error(400, -1121, "Invalid symbol.")
        self._asked.add(symbol)
        self.clock.notify()
        book = self._book(symbol)
        if book.update_id is not None:
            return Response(book.snapshot(limit))
        # The market has not come to the symbol's snapshot: who waits gets it as of that instant.
        waiting = _Waiting(limit)
        self._waiting.setdefault(symbol, []).append(waiting)
        while not waiting.text:
            if self.finished.is_set():
                return _error(503, -1001, "Internal error; unable to process your request.")
            await self.clock.wait_change()
        return Response(waiting.text)

    def _exchange_info(self) -> str:
        listed = {listed.symbol: listed for listed in self._instruments}
        names = self.symbols or {*_LISTED, *self._books}
        for name in sorted(set(names) - set(listed)):
            listed[name] = instrument(Exchange.BINANCE, self.rules.market, name)
        symbols = ",".join(_symbol_text(item) for item in listed.values())
        return (
            f'{{"timezone":"UTC","serverTime":{self._now_ms()},"rateLimits":['
            '{"rateLimitType":"REQUEST_WEIGHT","interval":"MINUTE","intervalNum":1,'
            f'"limit":{self.rules.weight_per_minute}}}],"exchangeFilters":[],'
            f'"symbols":[{symbols}]}}'
        )

    def _now_ms(self) -> int:
        return (self.clock.now or time.time_ns()) // 1_000_000


def _property(connection: Connection, method: str, params: list[Any]) -> bool | None:
    if not params or params[0] != "combined":
        raise InvalidRequest(0, "Unknown property")
    if method == "GET_PROPERTY":
        return connection.combined
    if len(params) != 2 or not isinstance(params[1], bool):
        raise InvalidRequest(1, "Invalid value type: expected Boolean")
    connection.combined = params[1]
    return None


def _error(
    status: int, code: int, message: str, headers: list[tuple[str, str]] | None = None
) -> Response:
    return Response(
        json.dumps({"code": code, "msg": message}, separators=(",", ":")), status, headers or []
    )


def _symbol_text(item: Instrument) -> str:
    tick, lot = (f"{float(step):.8f}" for step in (item.tick, item.lot))
    return (
        f'{{"symbol":"{item.symbol}","status":"TRADING","baseAsset":"{item.base}",'
        f'"baseAssetPrecision":8,"quoteAsset":"{item.quote}","quotePrecision":8,'
        f'"quoteAssetPrecision":8,"baseCommissionPrecision":8,'
        '"quoteCommissionPrecision":8,"orderTypes":["LIMIT","LIMIT_MAKER","MARKET"],'
        '"isSpotTradingAllowed":true,"isMarginTradingAllowed":false,"filters":['
        f'{{"filterType":"PRICE_FILTER","minPrice":"{tick}","maxPrice":"1000000.00000000",'
        f'"tickSize":"{tick}"}},{{"filterType":"LOT_SIZE","minQty":"{lot}",'
        f'"maxQty":"9000.00000000","stepSize":"{lot}"}}],"permissions":[],'
        '"permissionSets":[["SPOT"]]}'
    )
