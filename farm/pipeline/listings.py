"""The venues' listings: one watcher a market, whose news go to the rosters and to the hub."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from itertools import count

import trio

from farm.actors.instruments import LEAST_PAUSE, InstrumentWatcher
from farm.actors.supervisor import Health, Supervisor
from farm.batch import Batch, Origin
from farm.bundle import Bundle
from farm.config import InstrumentsConfig
from farm.entities import ContractInfo, Instrument
from farm.exchanges.instruments import Changes
from farm.exchanges.rules import MarketRules
from farm.pipeline.environment import Environment, Settings
from farm.pipeline.roster import Roster
from farm.pipeline.venues import Venues
from farm.types import Symbol

__all__ = ["Listings", "NewsActor"]

log = logging.getLogger("farm.pipeline")

NEWS_ROOM = 1_000
"""Bundles of instruments that wait to be published; more would be a crash of their watcher, to whom
the same changes come again."""


class Listings:
    """Follows the listing of every market that is collected, and publishes the instruments of the
    symbols that are."""

    def __init__(
        self,
        config: InstrumentsConfig,
        settings: Settings,
        environment: Environment,
        rosters: Sequence[Roster],
    ) -> None:
        self._config = config
        self._settings = settings
        self._environment = environment
        self._rosters = rosters
        self._watchers: dict[tuple[str, str | None], InstrumentWatcher] = {}
        self._coins: dict[tuple[str, str | None], list[dict[str, str]]] = {}
        self._connections: Supervisor | None = None
        self._changes: trio.Nursery | None = None
        self._ending = False
        self._serial = count(1)
        self._news, self.news = trio.open_memory_channel[Bundle](NEWS_ROOM)

    @property
    def watchers(self) -> list[InstrumentWatcher]:
        """The watchers, one for each market and address."""
        return list(self._watchers.values())

    async def open(self, connections: Supervisor, changes: trio.Nursery, venues: Venues) -> None:
        """Start the watchers, and wait a while for their first listings. What follows from a
        change takes its time in `changes`."""
        self._connections, self._changes = connections, changes
        if not self._config.check:
            return
        for roster in self._rosters:
            await self._watch(roster, venues)
        with trio.move_on_after(self._config.start_seconds):
            for watcher in self._watchers.values():
                await watcher.first.wait()
        for (market, _), watcher in self._watchers.items():
            if not watcher.first.is_set():
                log.warning("%s: no list of instruments yet; symbols are not checked", market)

    def stop(self) -> None:
        """Follow no change any more."""
        self._ending = True

    def close(self) -> None:
        """Nothing more will be published."""
        self._news.close()

    def publish(self, roster: Roster, symbols: Sequence[Symbol]) -> None:
        """Publish the instruments of these symbols."""
        known = [roster.listing[symbol] for symbol in symbols if symbol in roster.listing]
        self._publish(roster.collector.rules, known)

    def take_note(self, bundle: Bundle) -> None:
        """A venue told of a listing or of a change of status: look at its list."""
        for batch in bundle.batches:
            if batch.kind is ContractInfo:
                market = f"{bundle.origin.exchange.value}/{bundle.origin.market.value}"
                for (key, _), watcher in self._watchers.items():
                    if key == market:
                        watcher.refresh_now()

    async def _watch(self, roster: Roster, venues: Venues) -> None:
        """Have the market of a roster watched, where there is a listing to watch."""
        collector = roster.collector
        rules, endpoints = collector.rules, collector.endpoints
        if endpoints.ws is not None and endpoints.rest is None:
            return  # the venue's own list says nothing about another server
        key = (rules.key, endpoints.rest)
        if key in self._watchers or not collector.symbols:
            return
        watcher = InstrumentWatcher(
            f"{rules.key}#instruments",
            rules,
            await venues.client(collector),
            self._settings.numbers,
            self._environment.wall_clock,
            self._config.refresh_seconds,
            partial(self._changed, key),
            extra_params=self._base_coins(key) if rules.instruments.by_base else [{}],
            run_sync=self._environment.run_sync,
        )
        self._watchers[key] = watcher
        assert self._connections is not None
        self._connections.add(watcher)

    async def prepare(self, roster: Roster, names: Sequence[str]) -> None:
        """Have what is to be added listed, where there is a list for each base coin: wait a while
        for those that were not asked for before."""
        key = (roster.key, roster.collector.endpoints.rest)
        watcher = self._watchers.get(key)
        if watcher is None or not roster.collector.rules.instruments.by_base:
            return
        asked = self._coins.setdefault(key, [])
        new = [p for coin in _base_coins(names) if (p := {"baseCoin": coin}) not in asked]
        if not new:
            return
        asked += new
        watcher.refresh_now()
        with trio.move_on_after(LEAST_PAUSE + self._config.start_seconds):
            while not all(_is_listed(params, watcher) for params in new):  # noqa: ASYNC110
                await trio.sleep(0.1)  # until the next list, which comes when it comes
        for params in new:
            if not _is_listed(params, watcher):
                asked.remove(params)  # there is none, as far as we know: don't ask on and on

    def _base_coins(self, key: tuple[str, str | None]) -> list[dict[str, str]]:
        """The base coins of what is collected, each of which has a list of its own; it grows."""
        names = [name for roster in self._rosters_of(key) for name in roster.collector.symbols]
        coins = self._coins[key] = [{"baseCoin": coin} for coin in _base_coins(names)]
        return coins

    def _rosters_of(self, key: tuple[str, str | None]) -> list[Roster]:
        return [r for r in self._rosters if (r.key, r.collector.endpoints.rest) == key]

    def _changed(self, key: tuple[str, str | None], changes: Changes) -> None:
        for roster in self._rosters_of(key):
            roster.listing = self._watchers[key].listing
            if roster.started and not self._ending:
                assert self._changes is not None
                self._changes.start_soon(self._follow, roster, changes)

    async def _follow(self, roster: Roster, changes: Changes) -> None:
        before = set(roster.symbols)
        await roster.follow(changes)
        concerned = before | set(roster.symbols)
        self._publish(
            roster.collector.rules,
            [item for item in changes.instruments if item.symbol in concerned],
        )

    def _publish(self, rules: MarketRules, instruments: Sequence[Instrument]) -> None:
        if not instruments:
            return
        origin = Origin(rules.exchange, rules.market, f"{rules.key}#instruments", 1)
        rows = list(instruments)
        batch = Batch(
            Instrument,
            rows=rows,
            origins=[(origin, len(rows))],
            numbers=self._settings.numbers,
        )
        time = rows[-1].receive_time
        self._news.send_nowait(Bundle(origin, next(self._serial), time, [batch]))


class NewsActor:
    """Publishes what listings say, until they have ended."""

    name = "instruments"

    def __init__(
        self, news: trio.MemoryReceiveChannel[Bundle], publish: Callable[[Bundle], Awaitable[None]]
    ) -> None:
        self._news = news
        self._publish = publish
        self._in_hand: Bundle | None = None

    async def run(self, health: Health) -> None:
        """Publish until the channel ends."""
        health.ready()
        while True:
            if self._in_hand is None:
                try:
                    self._in_hand = await self._news.receive()
                except trio.EndOfChannel:
                    return
            await self._publish(self._in_hand)
            self._in_hand = None


def _is_listed(params: dict[str, str], watcher: InstrumentWatcher) -> bool:
    return any(item.base == params["baseCoin"] for item in watcher.listing.values())


def _base_coins(names: Iterable[str]) -> list[str]:
    return sorted({name.partition("-")[0] for name in names})
