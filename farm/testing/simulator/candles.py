"""Candles of a simulated market, in integer ticks and lots."""

from __future__ import annotations

from collections.abc import Callable
from operator import mul

import attrs

from farm.testing.simulator.matching import Fill

__all__ = ["MINUTE", "SECOND", "Candle", "CandleSeries", "Worth", "series"]

SECOND = 1_000_000_000
MINUTE = 60 * SECOND

Worth = Callable[[int, int], int]
"""The turnover of so many lots at a price in ticks."""


@attrs.define
class Candle:
    """One candle; prices in ticks, ``volume`` in lots, ``turnover`` as the series counts worth.

    ``first_id`` and ``last_id`` are -1 while no trade fell into it.
    """

    start: int
    open: int
    high: int
    low: int
    close: int
    volume: int = 0
    turnover: int = 0
    taker_volume: int = 0
    taker_turnover: int = 0
    first_id: int = -1
    last_id: int = -1
    trades: int = 0


@attrs.define(eq=False)
class CandleSeries:
    """The candles of one interval; ``changed`` until the current one has been told."""

    period: int
    current: Candle
    opens_at_first_trade: bool
    worth: Worth = mul
    changed: bool = False

    @property
    def end(self) -> int:
        """Where the next candle starts."""
        return self.current.start + self.period

    def add(self, fill: Fill, trade_id: int, taker_buys: bool) -> None:
        candle = self.current
        if candle.trades == 0:
            candle.first_id = trade_id
            if self.opens_at_first_trade:
                candle.open = candle.high = candle.low = fill.price
        candle.high = max(candle.high, fill.price)
        candle.low = min(candle.low, fill.price)
        candle.close = fill.price
        candle.last_id = trade_id
        candle.trades += 1
        worth = self.worth(fill.price, fill.lots)
        candle.volume += fill.lots
        candle.turnover += worth
        if taker_buys:
            candle.taker_volume += fill.lots
            candle.taker_turnover += worth
        self.changed = True

    def roll(self) -> Candle:
        """Closes the current candle, returns it and opens the next at its close."""
        done = self.current
        self.current = Candle(self.end, done.close, done.close, done.close, done.close)
        self.changed = False
        return done


def series(
    period: int, now: int, price: int, *, opens_at_first_trade: bool, worth: Worth = mul
) -> CandleSeries:
    """A series whose first candle holds the instant `now`."""
    first = Candle(now - now % period, price, price, price, price)
    return CandleSeries(period, first, opens_at_first_trade, worth)
