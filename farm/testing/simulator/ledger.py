"""What has traded in a simulated market: the candles of each interval, and of the day so far."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from farm.testing.simulator.candles import MINUTE, Candle, CandleSeries, series
from farm.testing.simulator.instruments import Instrument
from farm.testing.simulator.matching import Fill

__all__ = ["DAY", "Ledger"]

DAY = 1440 * MINUTE


@attrs.define(eq=False)
class Ledger:
    """One symbol's trades. ``intervals``: nanoseconds by the venue's name.

    The day starts with the market and never rolls: simulated markets are shorter than one.
    ``last_lots``: the size of the latest trade.
    """

    instrument: Instrument
    intervals: Mapping[str, int]
    opens_at_first_trade: bool
    candles: dict[str, CandleSeries] = attrs.Factory(dict)
    opened: int = 0
    last_lots: int = 0
    _day: CandleSeries | None = None

    def open(self, now: int) -> None:
        """The market opens."""
        self.opened = now
        self.candles = {name: self._series(period, now) for name, period in self.intervals.items()}
        self._day = self._series(DAY, now)

    def _series(self, period: int, now: int) -> CandleSeries:
        return series(
            period,
            now,
            self.instrument.start,
            opens_at_first_trade=self.opens_at_first_trade,
            worth=self.instrument.worth,
        )

    def add(self, fill: Fill, trade_id: int, taker_buys: bool) -> None:
        for candles in self.candles.values():
            candles.add(fill, trade_id, taker_buys)
        assert self._day is not None, "the market is not open"
        self._day.add(fill, trade_id, taker_buys)
        self.last_lots = fill.lots

    @property
    def day(self) -> Candle:
        """Everything since the opening."""
        assert self._day is not None, "the market is not open"
        return self._day.current
