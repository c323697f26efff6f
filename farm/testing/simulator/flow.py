"""Random order flow: what traders do to the book, from a seeded generator."""

from __future__ import annotations

import random

import attrs

from farm.testing.simulator.instruments import Instrument
from farm.testing.simulator.matching import MatchingBook, MatchResult

__all__ = ["OrderFlow"]

# Levels that a side keeps whatever happens, and levels that a single market order may clear.
_FLOOR = 25
_REACH = 4


@attrs.define(eq=False)
class OrderFlow:
    """Limit, market and cancel orders, balanced so that the book keeps its size.

    ``levels``: about how many price levels each side starts with and keeps.
    """

    instrument: Instrument
    rng: random.Random
    levels: int
    book: MatchingBook = attrs.Factory(MatchingBook)

    def open_book(self) -> None:
        """Fills both sides round the start price."""
        for is_bid in (True, False):
            step = -1 if is_bid else 1
            price = self.instrument.start + (0 if is_bid else 1)
            for _ in range(self.levels):
                self.book.limit(is_bid, max(price, 1), self._size())
                price += step * self.rng.randint(1, self.instrument.spacing * 2)

    def step(self) -> MatchResult:
        """One order of one trader, matched."""
        is_bid = self.rng.random() < 0.5
        own, other = self.book.side(is_bid), self.book.side(not is_bid)
        if min(len(own.prices), len(other.prices)) <= _FLOOR:
            return self._rest(len(self.book.bids.prices) <= len(self.book.asks.prices))
        draw = self.rng.random()
        if draw < 0.10:
            reachable = sum(other.totals[price] for price in other.top(_REACH))
            return self.book.market(is_bid, min(self._size(), reachable))
        if draw < 0.14:
            return self.book.limit(is_bid, other.best, self._size())
        if draw < (0.64 if len(self.book.orders) > self.levels * 3 else 0.40):
            return self._cancel()
        return self._rest(is_bid)

    def _rest(self, is_bid: bool) -> MatchResult:
        """A passive order: inside the spread, near the best price or anywhere in the book."""
        own, other = self.book.side(is_bid), self.book.side(not is_bid)
        if self.rng.random() < 0.5:
            depth = int(self.rng.expovariate(1 / (self.instrument.spacing * 12)))
        else:
            depth = self.rng.randrange(self.instrument.spacing * self.levels)
        spread = abs(other.best - own.best)
        ahead = self.rng.randrange(spread) if spread > 1 and self.rng.random() < 0.3 else 0
        price = own.best + (ahead - depth if is_bid else depth - ahead)
        return self.book.limit(is_bid, max(price, 1), self._size())

    def _cancel(self) -> MatchResult:
        order = self.rng.choice(self.book.orders)
        return self.book.cancel(order)

    def _size(self) -> int:
        return 1 + int(self.rng.expovariate(1 / self.instrument.typical))
