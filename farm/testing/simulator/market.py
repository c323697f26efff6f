"""A seeded market: random orders on real order books, told in a venue's own words.

Determinism: the same arguments give the same pushes, byte for byte. Every symbol draws from
generators of its own, so a symbol tells the same story whatever else is traded.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Collection, Iterable, Iterator

import attrs

from farm.testing.simulator.candles import SECOND
from farm.testing.simulator.flow import OrderFlow
from farm.testing.simulator.instruments import Instrument, instrument
from farm.testing.simulator.matching import MatchingBook
from farm.testing.simulator.venues import VENUES, Venue
from farm.testing.simulator.writer import VenueWriter
from farm.testing.source import Push
from farm.types import Exchange, Market

__all__ = ["MarketSimulator"]

DEFAULT_START = 1_786_320_000 * SECOND
"""2026-08-10 00:00:00 UTC."""

# The market of a stranger, of whom only streams of the whole market tell.
_STRANGER_RATE = 10.0
_STRANGER_LEVELS = 50


class MarketSimulator:
    """A source: several symbols of one market, each a limit order book moved by random orders.

    Args:
        symbols: a text for one. Their instruments come from a table; unknown names get one derived
            from the seed.
        seed: everything follows from it.
        rate: orders a second for each symbol, at Poisson times.
        start: the market time of the opening, nanoseconds since the epoch.
        seconds: how long the market lasts; None for ever.
        levels: about how many price levels each side of a book has.
        intervals: candle intervals in the venue's spelling (Binance ``1m``, Bybit ``1``), a text
            for one.

    Raises:
        ValueError: a market that is not simulated, no symbols, a rate that isn't positive, an
            unknown interval.
    """

    def __init__(
        self,
        exchange: Exchange,
        market: Market,
        symbols: Iterable[str] | str,
        *,
        seed: int = 0,
        rate: float = 100.0,
        start: int = DEFAULT_START,
        seconds: float | None = None,
        levels: int = 300,
        intervals: Iterable[str] | str | None = None,
    ) -> None:
        if (exchange, market) not in VENUES:
            raise ValueError(f"{exchange.value}/{market.value} is not simulated")
        self.exchange = exchange
        self.market = market
        names = [symbols] if isinstance(symbols, str) else symbols
        self.instruments = tuple(instrument(exchange, market, name, seed) for name in names)
        if not self.instruments:
            raise ValueError("no symbols")
        if not 0 < rate < float("inf"):
            raise ValueError(f"rate must be a positive number, not {rate}")
        if levels < 50:
            raise ValueError(f"a book has 50 levels or more, not {levels}")
        self._venue = VENUES[exchange, market]
        told = self._venue.usual_intervals if intervals is None else intervals
        self._intervals = (told,) if isinstance(told, str) else tuple(told)
        if unknown := [name for name in self._intervals if name not in self._venue.intervals]:
            raise ValueError(f"unknown candle interval {unknown[0]!r}")
        self._seed = seed
        self._rate = rate
        self._start = start
        self._end = None if seconds is None else start + round(seconds * SECOND)
        self._levels = levels
        self._books: dict[str, MatchingBook] = {}

    @property
    def symbols(self) -> Collection[str]:
        return [listed.symbol for listed in self.instruments]

    def book(self, symbol: str) -> MatchingBook:
        """The engine's own book in the latest iteration, as of the last push it gave.

        With several symbols, and on Binance's futures, the engine may already stand at its next
        push.
        """
        return self._books[symbol]

    def __iter__(self) -> Iterator[Push]:
        stories = [self._symbol_market(listed).pushes() for listed in self.instruments]
        stories += [self._stranger(name).pushes() for name in self._venue.strangers]
        merged: Iterator[Push] = heapq.merge(*stories, key=lambda push: push.time)
        return self._venue.whole_market(merged)

    def _symbol_market(self, listed: Instrument) -> _SymbolMarket:
        market = _open_market(
            self._venue, listed, self._seed, self._levels, self._intervals, self._rate
        )
        self._books[listed.symbol] = market.flow.book
        return attrs.evolve(market, start=self._start, end=self._end)

    def _stranger(self, symbol: str) -> _SymbolMarket:
        venue = VENUES[self._venue.strangers[symbol]]
        listed = instrument(venue.exchange, venue.market, symbol, self._seed)
        market = _open_market(venue, listed, self._seed, _STRANGER_LEVELS, (), _STRANGER_RATE)
        return attrs.evolve(market, start=self._start, end=self._end)


def _open_market(
    venue: Venue,
    listed: Instrument,
    number: int,
    levels: int,
    intervals: Iterable[str],
    rate: float,
) -> _SymbolMarket:
    seed = f"{number}:{venue.exchange.value}:{venue.market.value}:{listed.symbol}"
    flow = OrderFlow(listed, random.Random(f"{seed}:orders"), levels)
    writer = venue.writer(venue.market, listed, flow.book, seed, intervals)
    return _SymbolMarket(flow, writer, random.Random(f"{seed}:times"), rate)


@attrs.define(eq=False)
class _SymbolMarket:
    """One symbol from ``start`` to ``end``, None for without end, in nanoseconds."""

    flow: OrderFlow
    writer: VenueWriter
    clock: random.Random
    rate: float
    start: int = 0
    end: int | None = None

    def pushes(self) -> Iterator[Push]:
        self.flow.open_book()
        yield from self.writer.opening(self.start)
        for timer in self.writer.timers:
            timer.start(self.start)
        now = self.start
        while True:
            now += 1 + int(self.clock.expovariate(self.rate) * SECOND)
            yield from self._timers_until(now if self.end is None else min(now, self.end))
            if self.end is not None and now >= self.end:
                return
            yield from self.writer.on_order(now, self.flow.step())

    def _timers_until(self, now: int) -> Iterator[Push]:
        timers = self.writer.timers
        while (timer := min(timers, key=lambda timer: timer.due)).due <= now:
            yield from timer.say(timer.due)
            timer.due += timer.period
