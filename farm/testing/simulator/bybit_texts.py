"""Bybit v5 spot and linear, written by hand as its documentation and the recordings show it.

The markets order the keys of a message differently, spell numbers differently (spot trims zeros)
and name trades differently (spot numbers, linear UUIDs).
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterable, Iterator

import attrs

from farm.testing.simulator.candles import MINUTE, SECOND, Candle, CandleSeries, series
from farm.testing.simulator.decimals import fixed, trimmed
from farm.testing.simulator.instruments import Instrument
from farm.testing.simulator.matching import BookSide, MatchingBook, MatchResult
from farm.testing.simulator.writer import MILLISECOND, Timer
from farm.testing.source import Push
from farm.types import Market

__all__ = ["BYBIT_INTERVALS", "BybitWriter", "orderbook_text"]

BYBIT_INTERVALS = {
    "1": MINUTE,
    "3": 3 * MINUTE,
    "5": 5 * MINUTE,
    "15": 15 * MINUTE,
    "30": 30 * MINUTE,
    "60": 60 * MINUTE,
    "120": 120 * MINUTE,
    "240": 240 * MINUTE,
    "360": 360 * MINUTE,
    "720": 720 * MINUTE,
    "D": 1440 * MINUTE,
}
"""Nanoseconds by interval; those whose start is a multiple of their length since the epoch."""

_TOP_REPEAT = 3 * SECOND
# Push periods by depth, from the documentation of orderbook.
_DEPTHS = {50: 20 * MILLISECOND, 200: 100 * MILLISECOND, 1000: 200 * MILLISECOND}


def orderbook_text(market: Market, topic: str, kind: str, ts: int, cts: int, data: str) -> str:
    """A message of ``orderbook.*`` round its ``data`` object; spot has ``ts`` before ``type``."""
    if market is Market.SPOT:
        head = f'{{"topic":"{topic}","ts":{ts},"type":"{kind}"'
    else:
        head = f'{{"topic":"{topic}","type":"{kind}","ts":{ts}'
    return f'{head},"data":{data},"cts":{cts}}}'


@attrs.define(eq=False)
class _Window:
    """The best levels of one depth as clients know them; ``update_id`` is private to the depth."""

    depth: int
    topic: str
    update_id: int
    bids: dict[int, int] = attrs.Factory(dict)
    asks: dict[int, int] = attrs.Factory(dict)
    dirty: bool = False
    told: int = 0


class BybitWriter:
    """Trades, order books of every depth and candles of one symbol."""

    def __init__(
        self,
        market: Market,
        instrument: Instrument,
        book: MatchingBook,
        seed: str,
        intervals: Iterable[str],
    ) -> None:
        self._market = market
        self._instrument = instrument
        self._symbol = instrument.symbol
        self._book = book
        self._ids = random.Random(f"{seed}:ids")
        self._seq = self._ids.randrange(100_000_000_000, 900_000_000_000)
        self._trade_number = 0
        self._spot_id = 2_280_000_000_000_000_000 + self._ids.randrange(10**10)
        self._last_price = instrument.start
        self._rising = True
        self._engine_time = 0
        self._intervals = {name: BYBIT_INTERVALS[name] for name in intervals}
        self._candles: dict[str, CandleSeries] = {}
        self._top = self._window(1)
        self._windows = [self._window(depth) for depth in _DEPTHS]
        self.timers = (
            Timer(10 * MILLISECOND, self._say_top),
            *(
                Timer(_DEPTHS[window.depth], self._window_speaker(window))
                for window in self._windows
            ),
            Timer(SECOND, self._say_candles),
        )

    def opening(self, now: int) -> Iterator[Push]:
        for name, period in self._intervals.items():
            price = self._instrument.start
            self._candles[name] = series(period, now, price, opens_at_first_trade=False)
        self._engine_time = now
        for window in (self._top, *self._windows):
            window.bids = _best(self._book.bids, window.depth)
            window.asks = _best(self._book.asks, window.depth)
            window.told = now
            push = self._book_push(now, window, "snapshot", window.bids, window.asks)
            yield attrs.evolve(push, silent=True)

    def on_order(self, now: int, result: MatchResult) -> Iterator[Push]:
        self._seq += self._ids.randint(1, 40)
        self._engine_time = now
        self._top.dirty = True
        for window in self._windows:
            window.dirty = True
        if result.fills:
            yield self._trades(now, result)

    # --- trades ----------------------------------------------------------------------------------

    def _trades(self, now: int, result: MatchResult) -> Push:
        """All trades of one taker order stand in one message, in match order."""
        ms = now // MILLISECOND
        rows = []
        for fill in result.fills:
            self._trade_number += 1
            for candles in self._candles.values():
                candles.add(fill, self._trade_number, result.taker_buys)
            rows.append(self._trade_row(ms, fill.price, fill.lots, result.taker_buys))
        topic = f"publicTrade.{self._symbol}"
        data = ",".join(rows)
        if self._market is Market.SPOT:
            text = f'{{"topic":"{topic}","ts":{ms},"type":"snapshot","data":[{data}]}}'
        else:
            text = f'{{"topic":"{topic}","type":"snapshot","ts":{ms},"data":[{data}]}}'
        return Push(now, topic, text)

    def _trade_row(self, ms: int, price: int, lots: int, taker_buys: bool) -> str:
        side = "Buy" if taker_buys else "Sell"
        value, size = self._price(price), self._size(lots)
        direction = self._direction(price)
        if self._market is Market.SPOT:
            self._spot_id += self._ids.randint(1, 3)
            return (
                f'{{"i":"{self._spot_id}","T":{ms},"p":"{value}","v":"{size}","S":"{side}",'
                f'"seq":{self._seq},"s":"{self._symbol}","BT":false,"RPI":false}}'
            )
        trade_id = uuid.UUID(int=self._ids.getrandbits(128), version=5)
        return (
            f'{{"T":{ms},"s":"{self._symbol}","S":"{side}","v":"{size}","p":"{value}",'
            f'"L":"{direction}","i":"{trade_id}","BT":false,"RPI":false,"seq":{self._seq}}}'
        )

    def _direction(self, price: int) -> str:
        same = price == self._last_price
        if not same:
            self._rising = price > self._last_price
        self._last_price = price
        return ("Zero" if same else "") + ("PlusTick" if self._rising else "MinusTick")

    # --- book ------------------------------------------------------------------------------------

    def _window(self, depth: int) -> _Window:
        return _Window(
            depth, f"orderbook.{depth}.{self._symbol}", self._ids.randrange(10**7, 10**8)
        )

    def _say_top(self, now: int) -> Iterator[Push]:
        """Depth 1 sends snapshots alone: a changed top under the next ``u``, the same top every
        three seconds under the same ``u``."""
        window = self._top
        if window.dirty:
            window.dirty = False
            bids, asks = _best(self._book.bids, 1), _best(self._book.asks, 1)
            if bids != window.bids or asks != window.asks:
                window.bids, window.asks = bids, asks
                window.update_id += 1
                window.told = now
                yield self._book_push(now, window, "snapshot", bids, asks)
        if now - window.told >= _TOP_REPEAT:
            window.told = now
            yield self._book_push(now, window, "snapshot", window.bids, window.asks)

    def _window_speaker(self, window: _Window) -> Callable[[int], Iterator[Push]]:
        def say(now: int) -> Iterator[Push]:
            if not window.dirty:
                return
            window.dirty = False
            bids = _best(self._book.bids, window.depth)
            asks = _best(self._book.asks, window.depth)
            bid_changes, ask_changes = _changes(window.bids, bids), _changes(window.asks, asks)
            if bid_changes or ask_changes:
                window.bids, window.asks = bids, asks
                window.update_id += 1
                yield self._book_push(now, window, "delta", bid_changes, ask_changes)

        return say

    def _book_push(
        self, now: int, window: _Window, kind: str, bids: dict[int, int], asks: dict[int, int]
    ) -> Push:
        data = (
            f'{{"s":"{self._symbol}","b":[{self._levels(bids, is_bid=True)}],'
            f'"a":[{self._levels(asks, is_bid=False)}],'
            f'"u":{window.update_id},"seq":{self._seq}}}'
        )
        ts, cts = now // MILLISECOND, self._engine_time // MILLISECOND
        text = orderbook_text(self._market, window.topic, kind, ts, cts, data)
        return Push(now, window.topic, text)

    def _levels(self, levels: dict[int, int], *, is_bid: bool) -> str:
        return ",".join(
            f'["{self._price(price)}","{self._size(levels[price]) if levels[price] else "0"}"]'
            for price in sorted(levels, reverse=is_bid)
        )

    # --- candles ---------------------------------------------------------------------------------

    def _say_candles(self, now: int) -> Iterator[Push]:
        """The running candle when it changed; at its end one message with two rows, the closed
        candle and the one that opens at its close."""
        for name, candles in self._candles.items():
            rows = []
            if candles.end <= now:
                rows.append(self._candle(now, name, candles.period, candles.roll(), "true"))
            elif not candles.changed:
                continue
            candles.changed = False
            rows.append(self._candle(now, name, candles.period, candles.current, "false"))
            topic = f"kline.{name}.{self._symbol}"
            data, ms = ",".join(rows), now // MILLISECOND
            if self._market is Market.SPOT:
                text = f'{{"type":"snapshot","topic":"{topic}","data":[{data}],"ts":{ms}}}'
            else:
                text = f'{{"topic":"{topic}","data":[{data}],"ts":{ms},"type":"snapshot"}}'
            yield Push(now, topic, text)

    def _candle(self, now: int, interval: str, period: int, candle: Candle, confirm: str) -> str:
        decimals = self._instrument.price_decimals, self._instrument.size_decimals
        steps = self._instrument.price_step, self._instrument.size_step
        prices = (candle.open, candle.close, candle.high, candle.low)
        first, last, high, low = (trimmed(p * steps[0], decimals[0]) for p in prices)
        volume = trimmed(candle.volume * steps[1], decimals[1])
        turnover = trimmed(candle.turnover * steps[0] * steps[1], sum(decimals))
        start = candle.start // MILLISECOND
        return (
            f'{{"start":{start},"end":{start + period // MILLISECOND - 1},'
            f'"interval":"{interval}","open":"{first}","close":"{last}","high":"{high}",'
            f'"low":"{low}","volume":"{volume}","turnover":"{turnover}","confirm":{confirm},'
            f'"timestamp":{now // MILLISECOND}}}'
        )

    # --- numbers ---------------------------------------------------------------------------------

    def _price(self, ticks: int) -> str:
        return self._number(ticks * self._instrument.price_step, self._instrument.price_decimals)

    def _size(self, lots: int) -> str:
        return self._number(lots * self._instrument.size_step, self._instrument.size_decimals)

    def _number(self, units: int, decimals: int) -> str:
        spell = trimmed if self._market is Market.SPOT else fixed
        return spell(units, decimals)


def _best(side: BookSide, depth: int) -> dict[int, int]:
    return {price: side.totals[price] for price in side.top(depth)}


def _changes(known: dict[int, int], current: dict[int, int]) -> dict[int, int]:
    """What makes `known` into `current`: new and changed levels, and 0 for those that left."""
    changes = {price: lots for price, lots in current.items() if known.get(price) != lots}
    for price in known:
        if price not in current:
            changes[price] = 0
    return changes
