"""The REST side of a fake Bybit: its clock, its list and full books."""

from __future__ import annotations

import time

import trio

from farm.testing.bybit_listing import amended_rows, instrument_row
from farm.testing.bybit_market import BybitMarket
from farm.testing.clock import MarketClock
from farm.testing.limits import RequestWindow
from farm.testing.listing import Listing
from farm.testing.markets import BybitRules
from farm.testing.rest import Request, Response
from farm.testing.simulator.instruments import Instrument

__all__ = ["BybitRest"]

_USUAL_PAGE = 500
_BIGGEST_PAGE = 1000
_TRADING = "Trading"


class BybitRest:
    """Answers requests under the rules of a category."""

    def __init__(
        self,
        rules: BybitRules,
        listing: Listing,
        market: BybitMarket,
        clock: MarketClock,
        requests: RequestWindow,
    ) -> None:
        self._rules = rules
        self._listing = listing
        self._market = market
        self._clock = clock
        self._requests = requests
        self._answers = {
            "/v5/market/time": self._time,
            "/v5/market/instruments-info": self._instruments_info,
            "/v5/market/full_orderbook": self._full_orderbook,
        }

    def answer(self, request: Request) -> Response:
        if not self._requests.admit(trio.current_time()):
            return Response("403, access too frequent, please try again later", 403)
        answer = self._answers.get(request.path)
        return Response("", 404) if answer is None else answer(request)

    def now(self) -> int:
        """Market time, or the world's before the market opened; ns since the epoch."""
        return self._clock.now or time.time_ns()

    # --- answers ---------------------------------------------------------------------------------

    def _time(self, request: Request) -> Response:  # noqa: ARG002
        now = self.now()
        return self._result(f'{{"timeSecond":"{now // 1_000_000_000}","timeNano":"{now}"}}')

    def _full_orderbook(self, request: Request) -> Response:
        symbol = request.query.get("symbol", "")
        if not self._is_category(request) or "full" not in self._rules.depths:
            return self._failure("params error: category is illegal")
        book = None
        if self._listing.trades(symbol):
            book = self._market.full_book(symbol, self.now() // 1_000_000)
        return self._failure("params error: symbol invalid") if book is None else self._result(book)

    def _instruments_info(self, request: Request) -> Response:
        category = self._rules.market.value
        if not self._is_category(request):
            return self._failure("params error: category is illegal")
        recorded = self._market.replies.get(f"/instruments-info?category={category}")
        if recorded is not None:
            return Response(amended_rows(recorded, self._rules.market, self._listing))
        items = [item for item in self._listed() if self._is_wanted(item, request)]
        limit, cursor = request.query.get("limit", ""), request.query.get("cursor", "")
        size = min(int(limit), _BIGGEST_PAGE) if limit.isdecimal() and int(limit) else _USUAL_PAGE
        start = int(cursor) if cursor.isdecimal() else 0
        following = f',"nextPageCursor":"{start + size if start + size < len(items) else ""}"'
        if not self._rules.paged:
            size, start, following = len(items), 0, ""
        rows = ",".join(self._row(item) for item in items[start : start + size])
        return self._result(f'{{"category":"{category}","list":[{rows}]{following}}}')

    def _listed(self) -> list[Instrument]:
        return self._listing.instruments(self._market.symbols())

    def _row(self, item: Instrument) -> str:
        return instrument_row(self._rules.market, item, self._status(item))

    def _status(self, item: Instrument) -> str:
        return self._listing.statuses.get(item.symbol, _TRADING)

    def _is_wanted(self, item: Instrument, request: Request) -> bool:
        """By symbol, base coin and status; without a symbol the list is of what trades."""
        symbol = request.query.get("symbol")
        if symbol is not None:
            return item.symbol == symbol
        coin = request.query.get("baseCoin", self._rules.usual_coin)
        status = request.query.get("status", _TRADING)
        return coin in (None, item.base) and self._status(item) == status

    def _is_category(self, request: Request) -> bool:
        return request.query.get("category") == self._rules.market.value

    def _result(self, result: str) -> Response:
        return Response(
            f'{{"retCode":0,"retMsg":"OK","result":{result},"retExtInfo":{{}},'
            f'"time":{self.now() // 1_000_000}}}'
        )

    def _failure(self, message: str) -> Response:
        return Response(
            f'{{"retCode":10001,"retMsg":"{message}","result":{{}},'
            f'"retExtInfo":{{}},"time":{self.now() // 1_000_000}}}'
        )
