"""The account of a run: all that was owed was delivered, or lies inside a recorded gap."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import attrs

from farm import Gap, Quote, Trade
from farm.testing.chaos.truth import Told, TrueTrade, Truth
from farm.types import Nanoseconds, Symbol

__all__ = ["Account", "Balance"]

MOST_LISTED = 5
"""Events of one kind that are named of each symbol."""


@attrs.frozen
class Balance:
    """``owed`` events of a run, of which so many were ``delivered``, ``recorded`` in a gap, or
    ``unprovable``: eaten at the venue, where nothing proves that there was anything. ``quiet``:
    gaps of a length of time in which nothing is missing, for nothing happened."""

    owed: int
    delivered: int
    recorded: int
    unprovable: int
    violations: list[str]
    quiet: int = 0


@attrs.define
class _Page:
    """What became of what one symbol was owed."""

    owed: int = 0
    delivered: int = 0
    twice: list[Told] = attrs.field(factory=list)
    recorded: list[Told] = attrs.field(factory=list)
    unprovable: list[Told] = attrs.field(factory=list)
    missing: list[Told] = attrs.field(factory=list)


@attrs.define(eq=False)
class Account:
    """Draws the balance of one run.

    ``feeds``: by what names gaps speak of a symbol's events; ``unknown``: symbols of which farm
    says that it can't know whether their events are complete, ``complete``: of which it says that
    they are. ``eaten``: events that no client could get anything of, by symbol and id. ``moments``:
    when the client's wall clock showed a time, in seconds on Trio's clock. ``slack``: seconds by
    which a gap may begin or end beside an event in it, for so long did the venue hold things back.
    ``until``: what came later need not have come. ``since``: the moment from which on the venue
    had promised a symbol's events. ``own``: edges of losses that are the reader's own. ``kind``:
    trades, which are delivered once, or quotes, of which a venue may tell again.
    """

    truth: Truth
    delivered: Counter[tuple[Symbol, str]]
    gaps: Sequence[Gap]
    feeds: Mapping[Symbol, Collection[str]]
    unknown: Collection[Symbol]
    eaten: Collection[tuple[Symbol, str]]
    moments: Callable[[Nanoseconds], list[float]]
    slack: float
    until: float
    since: Mapping[Symbol, float] = attrs.field(factory=dict)
    complete: Collection[Symbol] = ()
    own: Collection[str] = ()
    kind: type[Trade] | type[Quote] = Trade

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
        """Look at every event."""
        found: list[str] = []
        pages, quiet = [], 0
        for symbol in self._told:
            page = self._page(symbol)
            pages.append(page)
            found += self._listed(f"{symbol}: neither delivered nor in a gap", page.missing)
            if self.kind is Trade:
                found += self._listed(f"{symbol}: delivered more than once", page.twice)
            if symbol in self.complete:
                found += self._listed(
                    f"{symbol}: called complete without", self._lacking(symbol, page)
                )
            quiet += self._quiet(symbol, page)
        return Balance(
            sum(page.owed for page in pages),
            sum(page.delivered for page in pages),
            sum(len(page.recorded) for page in pages),
            sum(len(page.unprovable) for page in pages),
            found,
            quiet,
        )

    def behind(self, latest: Mapping[Symbol, float]) -> list[str]:
        """What came after the last event of each symbol that was delivered, which the venue told
        at such a moment, and does not explain itself."""
        found: list[str] = []
        for symbol, moment in latest.items():
            later = [told for told in self._owed(symbol) if told.moment > moment]
            newer = [told for told in later if not self._is_excused(symbol, told)]
            found += self._listed(f"{symbol}: the last one delivered is older than", newer)
        return found

    @property
    def _told(self) -> Mapping[Symbol, Mapping[str, Told]]:
        return self.truth.trades if self.kind is Trade else self.truth.quotes

    def _page(self, symbol: Symbol) -> _Page:
        page, gaps = _Page(), self._gaps(symbol)
        owed = self._owed(symbol)
        came = [told.moment for told in owed if self.delivered[symbol, told.id]]
        for told in owed:
            page.owed += 1
            times = self.delivered[symbol, told.id]
            if times:
                page.delivered += 1
                if times > 1:
                    page.twice.append(told)
            elif any(self._holds(gap, told) for gap in gaps):
                page.recorded.append(told)
            elif (symbol, told.id) in self.eaten and (
                symbol in self.unknown or not came or not came[0] < told.moment < came[-1]
            ):  # ids prove something of what lies between two that came
                page.unprovable.append(told)
            else:
                page.missing.append(told)
        return page

    def _owed(self, symbol: Symbol) -> list[Told]:
        """From the first that was delivered or promised, for nothing is owed before."""
        listed = list(self._told.get(symbol, {}).values())
        since = self.since.get(symbol, math.inf)
        for place, told in enumerate(listed):
            if told.moment >= since or self.delivered[symbol, told.id]:
                return [later for later in listed[place:] if later.moment <= self.until]
        return []

    def _gaps(self, symbol: Symbol) -> list[Gap]:
        return [gap for gap in self.gaps if gap.feed in self.feeds.get(symbol, ())]

    def _is_excused(self, symbol: Symbol, told: Told) -> bool:
        if (symbol, told.id) in self.eaten:
            return True
        return any(self._holds(gap, told) for gap in self._gaps(symbol))

    def _lacking(self, symbol: Symbol, page: _Page) -> Iterable[Told]:
        """What is missing though not by the reader's own fault."""
        own = [gap for gap in self._gaps(symbol) if gap.edge in self.own]
        for told in (*page.recorded, *page.missing):
            if not any(self._holds(gap, told) for gap in own):
                yield told

    def _quiet(self, symbol: Symbol, page: _Page) -> int:
        lost = (*page.recorded, *page.unprovable)
        timed = (gap for gap in self._gaps(symbol) if gap.first_id is None)
        return sum(not any(self._holds(gap, told) for told in lost) for gap in timed)

    def _holds(self, gap: Gap, told: Told) -> bool:
        if gap.first_id is not None and gap.last_id is not None and told.id.isdecimal():
            return gap.first_id <= int(told.id) <= gap.last_id
        starts = self.moments(gap.start_time) if gap.start_time is not None else [-math.inf]
        ends = self.moments(gap.end_time) if gap.end_time is not None else [math.inf]
        return min(starts) - self.slack <= told.moment <= max(ends) + self.slack

    def _listed(self, what: str, events: Iterable[Told]) -> list[str]:
        events = list(events)
        if not events:
            return []
        named = ", ".join(f"{event.id} at {event.moment:.3f} s" for event in events[:MOST_LISTED])
        count = f"{len(events)} {self.kind.__name__.lower()}s"
        return [f"{what}: {count} ({named}{', …' if len(events) > MOST_LISTED else ''})"]
