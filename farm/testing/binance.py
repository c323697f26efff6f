"""A fake Binance: the WebSocket and REST sides of the market data of spot, USD-M and COIN-M.

Documents: binance-spot-api-docs ``web-socket-streams.md`` and ``rest-api.md``, and
developers.binance.com for derivatives; what a market does differently is data in
:class:`~farm.testing.markets.BinanceRules`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection
from typing import Any
from weakref import WeakKeyDictionary

import trio

from farm.testing.binance_market import BinanceMarket
from farm.testing.binance_requests import (
    ABSENT,
    Address,
    InvalidRequest,
    parse_address,
    parse_request,
)
from farm.testing.binance_rest import BinanceRest
from farm.testing.clock import Pace
from farm.testing.connection import Connection
from farm.testing.faults.script import FaultScript
from farm.testing.floor import PushFilter
from farm.testing.hiding import shown_on_binance
from farm.testing.limits import RateWindow, WeightWindow
from farm.testing.markets import BINANCE_SPOT, BinanceRules, Route
from farm.testing.network import MemoryNetwork
from farm.testing.rest import Request, Response
from farm.testing.server import FakeExchange
from farm.testing.simulator.binance.contract_info import contract_info_text
from farm.testing.source import Push, Source
from farm.testing.time_units import in_microseconds
from farm.testing.venue import Refusal
from farm.testing.wall_clock import WallClock
from farm.types import Exchange

__all__ = ["FakeBinance"]

_NO_LIMIT = 1 << 62


class FakeBinance(FakeExchange):
    """One market of Binance, as :class:`~farm.testing.server.FakeExchange` describes.

    Args:
        rules: which market it is (``BINANCE_SPOT``, ``BINANCE_USDM``, ``BINANCE_COINM``) and what
            that allows.
        weights: the budget of REST weight; USD-M and COIN-M share one where both are given the
            same. None is a budget of its own.
    """

    def __init__(
        self,
        source: Source,
        *,
        rules: BinanceRules = BINANCE_SPOT,
        symbols: Collection[str] | str | None = None,
        pace: Pace | None = None,
        hold_for_snapshots: bool = True,
        tls: bool = False,
        filter: PushFilter | None = None,  # noqa: A002
        empty_books: bool = False,
        weights: WeightWindow | None = None,
        network: MemoryNetwork | None = None,
        faults: FaultScript | None = None,
        wall_clock: WallClock | None = None,
    ) -> None:
        super().__init__(
            source,
            Exchange.BINANCE,
            rules.market,
            symbols=symbols,
            pace=pace,
            hold_for_snapshots=hold_for_snapshots,
            tls=tls,
            filter=filter,
            max_age=rules.max_age,
            network=network,
            faults=faults,
            wall_clock=wall_clock,
        )
        self.rules = rules
        self.weights = WeightWindow(rules.weight_per_minute) if weights is None else weights
        self._empty_books = empty_books
        self._connects = RateWindow(rules.connections_per_5_minutes, 300.0)
        self._messages: WeakKeyDictionary[Connection, RateWindow] = WeakKeyDictionary()
        self._routes: WeakKeyDictionary[Connection, Route] = WeakKeyDictionary()
        self.begin_market()

    # --- the script ------------------------------------------------------------------------------

    def announce_shutdown(self) -> None:
        """Tells every connection that the server is about to go away."""
        now = self.clock.now or time.time_ns()
        push = Push(now, "!serverShutdown", f'{{"e":"serverShutdown","E":{now // 1_000_000}}}')
        for connection in self.connections:
            form = {"combined": connection.combined, "microseconds": connection.microseconds}
            connection.send_text(self.envelope(push, **form))

    def on_listed(self, symbol: str) -> None:
        self._tell_terms(symbol, "TRADING")

    def on_delisting(self, symbol: str) -> None:
        self._tell_terms(symbol, self.rules.delisted_status)

    def _tell_terms(self, symbol: str, status: str | None) -> None:
        if self.rules.delisted_status is None or status is None:
            return
        now = self.clock.now or time.time_ns()
        item = self._listing.instrument(symbol)
        text = contract_info_text(item, now, status, brackets=False)
        self.deliver(Push(now, "!contractInfo", text), _NO_LIMIT)

    # --- market ----------------------------------------------------------------------------------

    def begin_market(self) -> None:
        super().begin_market()
        self._market = BinanceMarket(self.rules, self._listing, empty_books=self._empty_books)
        self._rest_side = BinanceRest(
            self.rules, self._listing, self._market, self.clock, self.weights
        )

    def take(self, push: Push) -> None:
        self._market.take(push)

    def is_diff(self, push: Push) -> bool:
        return self._market.is_diff(push.stream)

    def awaits_snapshot(self, symbol: str) -> bool:
        asked = symbol in self._rest_side.asked
        return not asked and self._market.follows(self.subscribed(), symbol)

    def shown(self, push: Push, hidden: Collection[str]) -> Push | None:
        return shown_on_binance(push, hidden)

    def envelope(self, push: Push, *, combined: bool, microseconds: bool) -> str:
        text = in_microseconds(push.text, push.time) if microseconds else push.text
        return f'{{"stream":"{push.stream}","data":{text}}}' if combined else text

    # --- connections -----------------------------------------------------------------------------

    def judge(self, connection: Connection, target: str) -> Refusal | None:  # noqa: ARG002
        if not self._connects.admit(trio.current_time()):
            return Refusal(429, headers=[(b"retry-after", b"300")])
        try:
            parse_address(target, self.rules)
        except InvalidRequest as error:
            return Refusal(error.code, error.message.encode())
        return None

    def welcome(self, connection: Connection, target: str) -> None:
        self._messages[connection] = RateWindow(self.rules.messages_per_second, 1.0)
        address = parse_address(target, self.rules)
        self._adopt(connection, address)
        for stream in address.streams:
            self.subscribe(connection, stream)

    def _adopt(self, connection: Connection, address: Address) -> None:
        connection.combined = address.combined
        connection.microseconds = address.microseconds
        self._routes[connection] = address.route

    def subscribe(self, connection: Connection, stream: str) -> None:
        """A stream of another route is taken, and mute."""
        if not self._routes[connection].carries(stream):
            connection.mute.add(stream)
        super().subscribe(connection, stream)

    def on_frame(self, connection: Connection) -> None:
        """Pings, pongs and texts all count: more than so many a second close with 1008."""
        if not self._messages[connection].admit(trio.current_time()):
            connection.close(1008, "Too many requests")

    async def keep_alive(self, connection: Connection) -> None:
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
        self.reply(connection, json.dumps(reply, separators=(",", ":"), ensure_ascii=False))

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
        return await self._rest_side.answer(request)


def _property(connection: Connection, method: str, params: list[Any]) -> bool | None:
    if not params or params[0] != "combined":
        raise InvalidRequest(0, "Unknown property")
    if method == "GET_PROPERTY":
        return connection.combined
    if len(params) != 2 or not isinstance(params[1], bool):
        raise InvalidRequest(1, "Invalid value type: expected Boolean")
    connection.combined = params[1]
    return None
