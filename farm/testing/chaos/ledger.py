"""The account of a run: every trade was delivered once, or lies inside a recorded gap."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence

import attrs

from farm import Gap
from farm.testing.chaos.truth import TrueTrade, Truth
from farm.types import Nanoseconds, Symbol

__all__ = ["Account", "Balance"]

MOST_LISTED = 5
"""Trades of one kind that are named of each symbol."""


@attrs.frozen
class Balance:
    """``owed`` trades of a run, of which so many were ``delivered``, ``recorded`` in a gap, or
    ``unprovable``: eaten at the venue, where nothing proves that there was anything."""

    owed: int
    delivered: int
    recorded: int
    unprovable: int
    violations: list[str]


@attrs.define(eq=False)
class Account:
    """Draws the balance of one run.

    ``feeds``: by what names gaps speak of a symbol's trades; ``unknown``: symbols of which farm
    says that it can't know whether their trades are complete. ``eaten``: trades that no client
    could get whole, by symbol and id. ``moments``: when the client's wall clock showed a time, in
    seconds on Trio's clock. ``slack``: seconds by which a gap may begin or end beside a trade in
    it, for so long did the venue hold things back. ``until``: what came later need not have come.
    """

    truth: Truth
    delivered: Counter[tuple[Symbol, str]]
    gaps: Sequence[Gap]
    feeds: dict[Symbol, set[str]]
    unknown: set[Symbol]
    eaten: set[tuple[Symbol, str]]
    moments: Callable[[Nanoseconds], list[float]]
    slack: float
    until: float

    def unstored(
        self, stored: Collection[tuple[Symbol, str]], gaps: Sequence[Gap]
    ) -> list[TrueTrade]:
        """Trades that were delivered, and neither stored nor in a gap that was."""
        found = []
        for symbol, number in self.delivered.keys() - set(stored):
            trade = self.truth.trades[symbol][number]
            own = (gap for gap in gaps if gap.feed in self.feeds.get(symbol, ()))
            if not any(self._holds(gap, trade) for gap in own):
                found.append(trade)
        return found

    def balance(self) -> Balance:
        """Look at every trade."""
        owed = delivered = recorded = unprovable = 0
        found: list[str] = []
        for symbol, trades in self.truth.trades.items():
            gaps = [gap for gap in self.gaps if gap.feed in self.feeds.get(symbol, ())]
            missing, twice = [], []
            for trade in self._owed(symbol, trades.values()):
                owed += 1
                times = self.delivered[symbol, trade.id]
                if times:
                    delivered += 1
                    if times > 1:
                        twice.append(trade)
                elif any(self._holds(gap, trade) for gap in gaps):
                    recorded += 1
                elif self._is_unprovable(symbol, trade):
                    unprovable += 1
                else:
                    missing.append(trade)
            found += _listed(f"{symbol}: neither delivered nor in a gap", missing)
            found += _listed(f"{symbol}: delivered more than once", twice)
        return Balance(owed, delivered, recorded, unprovable, found)

    def _owed(self, symbol: Symbol, trades: Iterable[TrueTrade]) -> list[TrueTrade]:
        """From the first that was delivered, for nothing is promised before."""
        listed = list(trades)
        for place, trade in enumerate(listed):
            if self.delivered[symbol, trade.id]:
                return [later for later in listed[place:] if later.moment <= self.until]
        return []

    def _holds(self, gap: Gap, trade: TrueTrade) -> bool:
        if gap.first_id is not None and gap.last_id is not None and trade.id.isdecimal():
            return gap.first_id <= int(trade.id) <= gap.last_id
        starts = self.moments(gap.start_time) if gap.start_time is not None else [-math.inf]
        ends = self.moments(gap.end_time) if gap.end_time is not None else [math.inf]
        return min(starts) - self.slack <= trade.moment <= max(ends) + self.slack

    def _is_unprovable(self, symbol: Symbol, trade: TrueTrade) -> bool:
        return symbol in self.unknown and (symbol, trade.id) in self.eaten


def _listed(what: str, trades: Sequence[TrueTrade]) -> list[str]:
    if not trades:
        return []
    named = ", ".join(f"{trade.id} at {trade.moment:.3f} s" for trade in trades[:MOST_LISTED])
    return [f"{what}: {len(trades)} trades ({named}{', …' if len(trades) > MOST_LISTED else ''})"]
