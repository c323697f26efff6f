"""Binance spot, written by hand as its documentation and the recordings show it.

Update ids: each changed level takes one id. Diffs and bookTicker share them, so a bookTicker
whose ``u`` is a diff's final ``u`` is the top of the book after that diff.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby

import attrs

from farm.testing.simulator.candles import MINUTE, SECOND, Candle, CandleSeries, series
from farm.testing.simulator.decimals import fixed
from farm.testing.simulator.instruments import Instrument
from farm.testing.simulator.matching import MatchingBook, MatchResult
from farm.testing.simulator.writer import MILLISECOND, Timer
from farm.testing.source import Push, depth_reply

__all__ = ["BINANCE_INTERVALS", "BinanceSpotWriter"]

BINANCE_INTERVALS = {
    "1s": SECOND,
    "1m": MINUTE,
    "3m": 3 * MINUTE,
    "5m": 5 * MINUTE,
    "15m": 15 * MINUTE,
    "30m": 30 * MINUTE,
    "1h": 60 * MINUTE,
    "2h": 120 * MINUTE,
    "4h": 240 * MINUTE,
    "6h": 360 * MINUTE,
    "8h": 480 * MINUTE,
    "12h": 720 * MINUTE,
    "1d": 1440 * MINUTE,
}
"""Nanoseconds by interval; those whose start is a multiple of their length since the epoch."""

_DECIMALS = 8
_PARTIAL_DEPTHS = (5, 10, 20)
_SNAPSHOT_LEVELS = 5000


@attrs.define(eq=False)
class _Diff:
    """Levels changed since the last diff of one speed."""

    stream: str
    first_id: int
    dirty: dict[tuple[bool, int], None] = attrs.Factory(dict)


class BinanceSpotWriter:
    """Trades, aggregate trades, bookTicker, diffs, partial books and candles of one symbol."""

    def __init__(
        self, instrument: Instrument, book: MatchingBook, seed: str, intervals: Iterable[str]
    ) -> None:
        rng = random.Random(f"{seed}:ids")
        self._instrument = instrument
        self._book = book
        self._symbol = instrument.symbol
        self._name = instrument.symbol.lower()
        self._update_id = rng.randrange(40_000_000_000, 90_000_000_000)
        self._trade_id = rng.randrange(1_000_000_000, 6_000_000_000)
        self._agg_id = self._trade_id // 2
        self._price_units = instrument.price_step * 10 ** (_DECIMALS - instrument.price_decimals)
        self._size_units = instrument.size_step * 10 ** (_DECIMALS - instrument.size_decimals)
        self._intervals = {name: BINANCE_INTERVALS[name] for name in intervals}
        self._candles: dict[str, CandleSeries] = {}
        first = self._update_id + 1
        self._fast = _Diff(f"{self._name}@depth@100ms", first)
        self._slow = _Diff(f"{self._name}@depth", first)
        self._top: tuple[int, int, int, int] = (0, 0, 0, 0)
        self.timers = (
            Timer(100 * MILLISECOND, self._depth_speaker(self._fast, "@100ms")),
            Timer(1000 * MILLISECOND, self._depth_speaker(self._slow, "")),
            Timer(SECOND, self._say_candles),
        )

    def opening(self, now: int) -> Iterator[Push]:
        mid = self._instrument.start
        for name, period in self._intervals.items():
            self._candles[name] = series(period, now, mid, opens_at_first_trade=True)
        self._top = self._read_top()
        text = self._partial(_SNAPSHOT_LEVELS)
        yield Push(now, depth_reply(self._symbol), text, silent=True)

    def on_order(self, now: int, result: MatchResult) -> Iterator[Push]:
        yield from self._say_trades(now, result)
        for level in result.touched:
            self._update_id += 1
            self._fast.dirty[level] = None
            self._slow.dirty[level] = None
        if (top := self._read_top()) != self._top:
            self._top = top
            bid, bid_lots, ask, ask_lots = top
            yield Push(
                now,
                f"{self._name}@bookTicker",
                f'{{"u":{self._update_id},"s":"{self._symbol}","b":"{self._price(bid)}",'
                f'"B":"{self._size(bid_lots)}","a":"{self._price(ask)}",'
                f'"A":"{self._size(ask_lots)}"}}',
            )

    # --- trades ----------------------------------------------------------------------------------

    def _say_trades(self, now: int, result: MatchResult) -> Iterator[Push]:
        ms = now // MILLISECOND
        maker = "false" if result.taker_buys else "true"
        ends = f'"T":{ms},"m":{maker},"M":true}}'
        for price, group in groupby(result.fills, key=lambda fill: fill.price):
            fills = list(group)
            first_id = self._trade_id + 1
            for fill in fills:
                self._trade_id += 1
                for candles in self._candles.values():
                    candles.add(fill, self._trade_id, result.taker_buys)
                yield Push(
                    now,
                    f"{self._name}@trade",
                    f'{{"e":"trade","E":{ms},"s":"{self._symbol}","t":{self._trade_id},'
                    f'"p":"{self._price(price)}","q":"{self._size(fill.lots)}",{ends}',
                )
            self._agg_id += 1
            total = self._size(sum(fill.lots for fill in fills))
            yield Push(
                now,
                f"{self._name}@aggTrade",
                f'{{"e":"aggTrade","E":{ms},"s":"{self._symbol}","a":{self._agg_id},'
                f'"p":"{self._price(price)}","q":"{total}","f":{first_id},"l":{self._trade_id},'
                f"{ends}",
            )

    # --- book ------------------------------------------------------------------------------------

    def _depth_speaker(self, diff: _Diff, suffix: str) -> Callable[[int], Iterator[Push]]:
        def say(now: int) -> Iterator[Push]:
            if not diff.dirty:
                return
            bids = self._changes(diff, is_bid=True)
            asks = self._changes(diff, is_bid=False)
            yield Push(
                now,
                diff.stream,
                f'{{"e":"depthUpdate","E":{now // MILLISECOND},"s":"{self._symbol}",'
                f'"U":{diff.first_id},"u":{self._update_id},"b":[{bids}],"a":[{asks}]}}',
            )
            diff.first_id = self._update_id + 1
            diff.dirty.clear()
            for depth in _PARTIAL_DEPTHS:
                yield Push(now, f"{self._name}@depth{depth}{suffix}", self._partial(depth))

        return say

    def _changes(self, diff: _Diff, *, is_bid: bool) -> str:
        prices = sorted((price for side, price in diff.dirty if side is is_bid), reverse=is_bid)
        return self._levels(prices, self._book.side(is_bid).totals)

    def _partial(self, depth: int) -> str:
        bids = self._levels(self._book.bids.top(depth), self._book.bids.totals)
        asks = self._levels(self._book.asks.top(depth), self._book.asks.totals)
        return f'{{"lastUpdateId":{self._update_id},"bids":[{bids}],"asks":[{asks}]}}'

    def _levels(self, prices: Iterable[int], totals: dict[int, int]) -> str:
        return ",".join(
            f'["{self._price(price)}","{self._size(totals.get(price, 0))}"]' for price in prices
        )

    def _read_top(self) -> tuple[int, int, int, int]:
        bids, asks = self._book.bids, self._book.asks
        return bids.best, bids.totals[bids.best], asks.best, asks.totals[asks.best]

    # --- candles ---------------------------------------------------------------------------------

    def _say_candles(self, now: int) -> Iterator[Push]:
        """Closed candles at their end; the running one each second (1s) or each two seconds."""
        for name, candles in self._candles.items():
            if candles.end <= now:
                yield self._candle(now, name, candles, candles.roll(), closed=True)
            elif candles.changed and now // SECOND % 2 == 0:
                candles.changed = False
                yield self._candle(now, name, candles, candles.current, closed=False)

    def _candle(
        self, now: int, interval: str, candles: CandleSeries, candle: Candle, *, closed: bool
    ) -> Push:
        start, end = candle.start // MILLISECOND, (candle.start + candles.period) // MILLISECOND - 1
        taker = self._size(candle.taker_volume), self._turnover(candle.taker_turnover)
        return Push(
            now,
            f"{self._name}@kline_{interval}",
            f'{{"e":"kline","E":{now // MILLISECOND},"s":"{self._symbol}","k":{{"t":{start},'
            f'"T":{end},"s":"{self._symbol}","i":"{interval}","f":{candle.first_id},'
            f'"L":{candle.last_id},"o":"{self._price(candle.open)}",'
            f'"c":"{self._price(candle.close)}","h":"{self._price(candle.high)}",'
            f'"l":"{self._price(candle.low)}","v":"{self._size(candle.volume)}",'
            f'"n":{candle.trades},"x":{"true" if closed else "false"},'
            f'"q":"{self._turnover(candle.turnover)}","V":"{taker[0]}","Q":"{taker[1]}",'
            '"B":"0"}}',
        )

    # --- numbers ---------------------------------------------------------------------------------

    def _price(self, ticks: int) -> str:
        return fixed(ticks * self._price_units, _DECIMALS)

    def _size(self, lots: int) -> str:
        return fixed(lots * self._size_units, _DECIMALS)

    def _turnover(self, product: int) -> str:
        return fixed(product * self._price_units * self._size_units // 10**_DECIMALS, _DECIMALS)
