"""The REST side of a fake Binance: its list, its clock, depth snapshots and open interest."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping

import trio

from farm.testing.binance_listing import amended, exchange_info, open_interest
from farm.testing.binance_market import BinanceMarket
from farm.testing.clock import MarketClock
from farm.testing.limits import OK, TOO_MANY, WeightWindow
from farm.testing.listing import Listing
from farm.testing.markets import BinanceRules
from farm.testing.rest import Request, Response

__all__ = ["BinanceRest"]


class BinanceRest:
    """Answers requests under the rules of a market.

    ``asked``: symbols whose depth was asked for.
    """

    def __init__(
        self,
        rules: BinanceRules,
        listing: Listing,
        market: BinanceMarket,
        clock: MarketClock,
        weights: WeightWindow,
    ) -> None:
        self.asked: set[str] = set()
        self._rules = rules
        self._listing = listing
        self._market = market
        self._clock = clock
        self._weights = weights
        self._answers: Mapping[str, Callable[[Request], Awaitable[Response]]] = {
            "/ping": self._ping,
            "/time": self._time,
            "/exchangeInfo": self._exchange_info,
            "/depth": self._depth,
            **({"/openInterest": self._open_interest} if rules.open_interest else {}),
        }

    async def answer(self, request: Request) -> Response:
        name = request.path.removeprefix(self._rules.rest_prefix)
        answer = self._answers.get(name)
        if answer is None or not request.path.startswith(self._rules.rest_prefix):
            return Response("", 404)
        now = trio.current_time()
        status = self._weights.judge(self._weight(name, request), now)
        response = await answer(request) if status == OK else self._refusal(status, now)
        response.headers.append(("x-mbx-used-weight-1m", str(self._weights.used)))
        return response

    def now_ms(self) -> int:
        """Market time, or the world's before the market opened; ms since the epoch."""
        return (self._clock.now or time.time_ns()) // 1_000_000

    def _refusal(self, status: int, now: float) -> Response:
        wait = [("retry-after", str(self._weights.retry_after(now)))]
        if status == TOO_MANY:
            return _error(status, -1003, "Too much request weight used.", wait)
        return _error(status, -1003, "Way too much request weight used; IP banned.", wait)

    def _weight(self, name: str, request: Request) -> int:
        if name == "/depth":
            limit = self._limit(request) or 0
            fitting = [weight for most, weight in self._rules.depth_weights if limit <= most]
            return fitting[0]
        return self._rules.exchange_info_weight if name == "/exchangeInfo" else 1

    def _limit(self, request: Request) -> int | None:
        """The depth asked for, at most what the venue gives; None where it is no number."""
        text = request.query.get("limit", str(self._rules.usual_depth))
        if not text.isdecimal() or int(text) == 0:
            return None
        return min(int(text), self._rules.depth_weights[-1][0])

    # --- answers ---------------------------------------------------------------------------------

    async def _ping(self, request: Request) -> Response:  # noqa: ARG002
        return Response("{}")

    async def _time(self, request: Request) -> Response:  # noqa: ARG002
        return Response(f'{{"serverTime":{self.now_ms()}}}')

    async def _exchange_info(self, request: Request) -> Response:  # noqa: ARG002
        market = self._rules.market
        recorded = self._market.replies.get("/exchangeInfo")
        if recorded is not None:
            return Response(amended(recorded, market, self._listing))
        seen, limit = list(self._market.symbols()), self._rules.weight_per_minute
        return Response(exchange_info(market, self._listing, seen, self.now_ms(), limit))

    async def _open_interest(self, request: Request) -> Response:
        symbol = request.query.get("symbol", "")
        if (refusal := self._no_symbol(symbol)) is not None:
            return refusal
        told = self._market.replies.get(f"/openInterest?symbol={symbol}")
        return Response(told or open_interest(self._listing.instrument(symbol), self.now_ms()))

    async def _depth(self, request: Request) -> Response:
        symbol, limit = request.query.get("symbol", ""), self._limit(request)
        if symbol and limit is None:
            return _error(400, -1100, "Illegal characters found in parameter 'limit'.")
        if (refusal := self._no_symbol(symbol)) is not None:
            return refusal
        assert limit is not None
        if not self._has_limit(request):
            return _error(400, -4021, "Invalid depth limit.")
        self.asked.add(symbol)
        self._clock.notify()
        book = self._market.book(symbol)
        if book.update_id is not None:
            book.event_ms = book.event_ms or self.now_ms()
            book.engine_ms = book.engine_ms or book.event_ms
            return Response(book.snapshot(limit))
        # The market has not come to the symbol's snapshot: who waits gets it as of that instant.
        waiting = self._market.wait(symbol, limit)
        while not waiting.text:
            if self._clock.finished.is_set():
                return _error(503, -1001, "Internal error; unable to process your request.")
            await self._clock.wait_change()
        return Response(waiting.text)

    def _has_limit(self, request: Request) -> bool:
        text = request.query.get("limit")
        limits = self._rules.depth_limits
        return text is None or limits is None or int(text) in limits

    def _no_symbol(self, symbol: str) -> Response | None:
        if not symbol:
            return _error(
                400,
                -1102,
                "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.",
            )
        return None if self._listing.trades(symbol) else _error(400, -1121, "Invalid symbol.")


def _error(
    status: int, code: int, message: str, headers: list[tuple[str, str]] | None = None
) -> Response:
    return Response(
        json.dumps({"code": code, "msg": message}, separators=(",", ":")), status, headers or []
    )
