"""Following a market's listing: what is listed, on which terms, and every change of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NoReturn

import attrs
import trio

from farm.actors.supervisor import Health
from farm.entities import Instrument
from farm.errors import ConnectionLost, RestError
from farm.exchanges.instruments import Changes, ListingPage, compare_listings, parse_listing
from farm.exchanges.rules import MarketRules
from farm.net.rest import RestClient
from farm.threads import RunSync, in_thread
from farm.types import Nanoseconds, NumberMode, Symbol

__all__ = ["InstrumentWatcher"]

log = logging.getLogger("farm.instruments")

LEAST_PAUSE = 10.0  # seconds between two listings, however urgently the next one is wanted


@attrs.define
class _Fetched:
    """A listing as it comes in, page by page; ``time`` is when its last page did."""

    listing: dict[Symbol, Instrument] = attrs.field(factory=dict)
    malformed: list[str] = attrs.field(factory=list)
    unread: list[Symbol] = attrs.field(factory=list)
    pages: int = 0
    time: Nanoseconds = 0


class InstrumentWatcher:
    """Fetches the listing of a market every `refresh` seconds, whole, and tells what changed.

    `on_change` is called within the actor, the first time with all instruments as listed; an error
    of it is a crash, and the same changes come again. ``listing`` is what was told so far: each
    instrument as of when its terms came to hold. ``first`` is set once there is a listing.
    ``malformed`` names what could not be read of the last one; those symbols keep their terms.

    A listing is taken whole or not at all. One that is suddenly empty, or has lost more than half
    of its symbols, is a venue in trouble more often than the truth: it is believed only when the
    next one has the same symbols. So is a single symbol that is missing: it keeps its terms until
    it is missing in the next listing as well, which is asked for soon.

    `extra_params` are added to the requests: the listing is fetched once for each, and united
    (Bybit lists the options of one base coin at a time, and contracts before their launch apart).
    """

    def __init__(
        self,
        name: str,
        rules: MarketRules,
        client: RestClient,
        numbers: NumberMode,
        wall_clock: Callable[[], Nanoseconds],
        refresh: float,
        on_change: Callable[[Changes], None],
        *,
        extra_params: Sequence[Mapping[str, str | int]] = ({},),
        run_sync: RunSync = in_thread,
    ) -> None:
        self.name = name
        self.listing: dict[Symbol, Instrument] = {}
        self.first = trio.Event()
        self.malformed: list[str] = []
        self._rules = rules
        self._client = client
        self._numbers = numbers
        self._wall_clock = wall_clock
        self._refresh = refresh
        self._on_change = on_change
        self._extra_params = extra_params
        self._run_sync = run_sync  # a listing takes tens of milliseconds to parse
        self._wanted = trio.Event()
        self._doubted: frozenset[Symbol] | None = None
        self._missing: set[Symbol] = set()

    async def run(self, health: Health) -> NoReturn:
        """Follow the listing; ConnectionLost where it can't be had or can't be read."""
        while True:
            self._wanted = trio.Event()  # what is wanted from here on, this listing may lack
            fetched = await self._fetch()
            self._note_malformed(fetched)
            if self._believes(fetched.listing):
                self._take(fetched)
                health.ready()
                await self._pause(self._refresh)
            else:
                await self._pause(LEAST_PAUSE)

    def refresh_now(self) -> None:
        """The listing has changed, or may have: fetch it as soon as it may be."""
        self._wanted.set()

    async def _pause(self, seconds: float) -> None:
        least = min(LEAST_PAUSE, seconds)
        await trio.sleep(least)
        with trio.move_on_after(seconds - least):
            await self._wanted.wait()

    # ------------------------------------------------------------------------------------ fetching
    async def _fetch(self) -> _Fetched:
        fetched = _Fetched()
        for extra in self._extra_params:
            cursor: str | None = None
            followed: set[str] = set()
            while True:
                page = await self._page(extra, cursor, fetched.pages)
                fetched.pages += 1
                fetched.listing |= {item.symbol: item for item in page.instruments}
                fetched.malformed += page.malformed
                fetched.unread += page.unread
                cursor = page.next_cursor
                # Bybit may name a page after the last one; it is empty.
                if cursor is None or not (page.instruments or page.malformed):
                    break
                if cursor in followed:
                    self._unreadable(f"its pages go in a circle, by the cursor {cursor!r}")
                followed.add(cursor)
        if fetched.malformed and not fetched.listing:
            self._unreadable(f"none of its entries can be: {fetched.malformed[0]}")
        for symbol in fetched.unread:
            if symbol in self.listing:
                fetched.listing.setdefault(symbol, self.listing[symbol])
        fetched.time = self._wall_clock()
        return fetched

    async def _page(
        self, extra: Mapping[str, str | int], cursor: str | None, number: int
    ) -> ListingPage:
        rules = self._rules.instruments
        params = dict(rules.params) | dict(extra)
        if cursor is not None:
            params["cursor"] = cursor
        try:
            reply = await self._client.get(rules.path, params, weight=rules.weight)
        except RestError as error:
            raise ConnectionLost(f"no listing: {error}") from error
        time = self._wall_clock()
        parse = partial(parse_listing, self._rules, reply.body, time, self._numbers, page=number)
        try:
            page: ListingPage = await self._run_sync(parse)
        except ValueError as error:
            self._unreadable(str(error), error)
        return page

    def _unreadable(self, reason: str, cause: Exception | None = None) -> NoReturn:
        log.error("%s: the listing cannot be read: %s", self.name, reason)
        raise ConnectionLost(f"the listing cannot be read: {reason}") from cause

    def _note_malformed(self, fetched: _Fetched) -> None:
        """Name entries that can't be read once, not with every listing."""
        for entry in fetched.malformed:
            if entry not in self.malformed:
                log.warning("%s: an entry of the listing cannot be read: %s", self.name, entry)
        self.malformed = fetched.malformed

    # ------------------------------------------------------------------------------------- judging
    def _believes(self, listing: Mapping[Symbol, Instrument]) -> bool:
        kept = sum(symbol in listing for symbol in self.listing)
        if listing and kept * 2 >= len(self.listing):
            self._doubted = None
            return True
        before, self._doubted = self._doubted, frozenset(listing)
        if before == self._doubted:
            self._missing = set(self.listing) - set(listing)  # for the second time
            return True
        log.warning(
            "%s: a listing of %d symbols, which has %d of the %d known, is not believed at once",
            self.name,
            len(listing),
            kept,
            len(self.listing),
        )
        return False

    def _take(self, fetched: _Fetched) -> None:
        """Tell what changed. What did not is kept as it was: its terms hold since then."""
        old = self.listing
        missing = [s for s in old if s not in fetched.listing and s not in self._missing]
        fetched.listing |= {symbol: old[symbol] for symbol in missing}
        changes = compare_listings(old, fetched.listing, fetched.time)
        news = {item.symbol for item in (*changes.listed, *changes.changed)}
        self.listing = {
            symbol: item if symbol in news else old[symbol]
            for symbol, item in fetched.listing.items()
        }
        if changes or not self.first.is_set():
            try:
                self._on_change(changes)
            except Exception:
                self.listing = old  # they were not told, so they come again
                raise
        self._missing = set(missing)  # for the first time
        if missing:
            self._wanted.set()
        self.first.set()
