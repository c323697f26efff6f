"""The roster: which symbols and streams a collector has, and on which lines they are."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence

from farm.config import CollectorConfig, ConfigErrors
from farm.config.rules import stream_faults
from farm.entities import Instrument
from farm.errors import ConfigError, UnknownFeed, UnknownSymbol
from farm.exchanges.instruments import (
    Changes,
    Resolution,
    UnknownName,
    is_pattern,
    other_names,
    resolve_symbols,
)
from farm.exchanges.plan import plan_connections
from farm.exchanges.streams import Stream
from farm.monitor.feeds import FeedCounters
from farm.pipeline.line import Line
from farm.pipeline.sources import Sources
from farm.types import Symbol

__all__ = ["Roster"]

log = logging.getLogger("farm.pipeline")


class Roster:
    """What one collector of a running farm collects; it can change while it runs.

    `place` is the collector's path in the configuration, for messages; `rosters` are those of all
    collectors. ``listing`` are the market's instruments, empty where
    they are not known (yet, or by the user's choice). ``started``: what it collects was opened.
    """

    def __init__(
        self,
        place: str,
        collector: CollectorConfig,
        sources: Sources,
        feeds: FeedCounters,
        rosters: Sequence[Roster],
    ) -> None:
        self.collector = collector
        self.symbols: dict[Symbol, None] = {}
        self.specs = list(collector.streams)
        self.listing: Mapping[Symbol, Instrument] = {}
        self.lines: list[Line] = []
        self.started = False
        self.place = place
        self._rosters = rosters
        self._delisted: set[Symbol] = set()
        self._sources = sources
        self._feeds = feeds
        self._patterns = [name for name in collector.symbols if is_pattern(name)]
        self._checked = False

    @property
    def key(self) -> str:
        """``binance/spot``."""
        return self.collector.rules.key

    # ---------------------------------------------------------------------------------- the start
    async def start(self) -> None:
        """Open the lines. Where there is a listing the names are looked up in it first.

        ConfigErrors for unknown names, and for a pattern that means symbols which another collector
        has.
        """
        names: list[Symbol] = [n for n in self.collector.symbols if not is_pattern(n)]
        if self.listing:
            found = self._resolve(self.collector.symbols)
            self._refuse(found.unknown)
            names, self._checked = found.symbols, True
            self._see_free(self._streams(names))
        self.started = True
        self.symbols |= dict.fromkeys(names)
        await self._open([*self._streams(names), *self.collector.streams_of_market()])

    async def follow(self, changes: Changes) -> None:
        """The listing has changed: new symbols that a pattern means come in, delisted ones go."""
        if not self._checked:
            await self._check_late()
            return
        news = {item.symbol: item for item in (*changes.listed, *changes.changed) if item.trading}
        found = resolve_symbols(self._patterns, news).symbols if news else []
        back = [symbol for symbol in news if symbol in self._delisted]
        wanted = [s for s in dict.fromkeys((*found, *back)) if s not in self.symbols]
        if wanted:
            log.info("%s: listed now: %s", self.key, ", ".join(wanted))
            await self._add_free(wanted)
        gone = [item.symbol for item in changes.delisted if item.symbol in self.symbols]
        if gone:
            log.warning("%s: delisted: %s", self.key, ", ".join(gone))
            self._delisted |= set(gone)
            self._remove(gone, "the venue lists it no longer")

    async def _check_late(self) -> None:
        """The listing came after the start: what is not in it was asked for in vain."""
        self._checked = True
        found = self._resolve(self.collector.symbols)
        for name in found.unknown:
            log.error("%s: %s", self.place, _not_listed(name, self.key))
            if name.pattern in self.symbols:
                self._remove([name.pattern], _not_listed(name, self.key))
        wanted = [symbol for symbol in found.symbols if symbol not in self.symbols]
        if wanted:
            await self._add_free(wanted)

    async def _add_free(self, symbols: Iterable[Symbol]) -> None:
        """Collect those of which no other collector has anything: nobody is there to be told."""
        taken = self._of_others()
        free = []
        for symbol in symbols:
            owners = sorted({taken[s.feed] for s in self._streams([symbol]) if s.feed in taken})
            if owners:
                log.warning("%s: %s is collected by %s", self.place, symbol, ", ".join(owners))
            else:
                free.append(symbol)
        await self._add(free)

    # ------------------------------------------------------------------------------------ changes
    async def add_symbols(self, names: Sequence[str]) -> list[Symbol]:
        """Collect more symbols (patterns allowed), each of the streams that the others have; those
        that are new. UnknownSymbol; ConfigErrors where another collector has them."""
        self._sources.see_open()
        symbols = list(names)
        if self.listing:
            found = self._resolve(names)
            if found.unknown:
                raise UnknownSymbol("; ".join(_not_listed(n, self.key) for n in found.unknown))
            symbols = found.symbols
        elif any(is_pattern(name) for name in names):
            raise UnknownSymbol(f"{self.key}: there is no listing to look {list(names)} up in")
        new = [symbol for symbol in symbols if symbol not in self.symbols]
        self._see_free(self._streams(new))
        await self._add(new)
        return new

    def remove_symbols(self, symbols: Iterable[Symbol]) -> None:
        """Collect these no longer. UnknownSymbol for one that is not collected."""
        self._sources.see_open()
        gone = list(dict.fromkeys(symbols))
        for symbol in gone:
            if symbol not in self.symbols:
                raise UnknownSymbol(f"{symbol!r} is not collected on {self.key}")
        self._remove(gone, "removed")

    async def add_streams(self, specs: Iterable[str]) -> None:
        """Collect more streams of every symbol. ConfigErrors for what the market does not offer, or
        is collected already: under another word, or by another collector."""
        self._sources.see_open()
        wanted = [spec for spec in dict.fromkeys(specs) if spec not in self.specs]
        together = [*self.specs, *wanted]
        faults = list(stream_faults(together, self.collector.rules))
        if faults:
            raise ConfigErrors(faults)
        table = self.collector.rules.streams
        streams = [table.stream(s, spec) for s in self.symbols for spec in wanted]
        self._see_free(streams)
        self.specs += wanted
        await self._open(streams)

    def remove_streams(self, specs: Iterable[str]) -> None:
        """Collect these streams of no symbol any longer. UnknownFeed for one that is not."""
        self._sources.see_open()
        gone = list(dict.fromkeys(specs))
        for spec in gone:
            if spec not in self.specs:
                raise UnknownFeed(f"{spec!r} is not collected on {self.key}; it has {self.specs}")
        self.specs = [spec for spec in self.specs if spec not in gone]
        table = self.collector.rules.streams
        self._drop({table.stream(s, spec).name for s in self.symbols for spec in gone}, "removed")

    # ------------------------------------------------------------------------------------ helpers
    def _of_others(self) -> dict[str, str]:
        """What the other rosters collect, by feed, and which of them does."""
        return {
            stream.feed: other.place
            for other in self._rosters
            if other is not self
            for line in other.lines
            for stream in line.planned.values()
        }

    def _streams(self, symbols: Iterable[Symbol]) -> list[Stream]:
        table = self.collector.rules.streams
        return [table.stream(symbol, spec) for symbol in symbols for spec in self.specs]

    async def _add(self, symbols: Collection[Symbol]) -> None:
        self.symbols |= dict.fromkeys(symbols)
        self._delisted -= set(symbols)
        await self._open(self._streams(symbols))

    async def _open(self, streams: Iterable[Stream]) -> None:
        """Put streams on lines that have room, and open new ones for the rest."""
        self.lines = [line for line in self.lines if not line.full]
        existing = [list(line.planned.values()) for line in self.lines]
        planned = plan_connections(streams, self.collector.rules, existing)
        for line, added in zip(self.lines, planned, strict=False):
            if added:
                self._sources.add(line, added)
        for added in planned[len(existing) :]:
            self.lines.append(await self._sources.open_line(self.collector, added))

    def _remove(self, symbols: Iterable[Symbol], reason: str) -> None:
        gone = list(symbols)
        for symbol in gone:
            del self.symbols[symbol]
        # The trades of options on one coin are one stream: the others may still want it.
        kept = {stream.name for stream in self._streams(self.symbols)}
        self._drop({stream.name for stream in self._streams(gone)} - kept, reason)

    def _drop(self, names: set[str], reason: str) -> None:
        for line in self.lines:
            streams = [line.planned[name] for name in names & line.planned.keys()]
            for stream in streams:
                for feed in stream.feeds:
                    self._feeds.expect(feed).ended = reason
            if streams:
                self._sources.remove(line, streams)

    def _resolve(self, names: Sequence[str]) -> Resolution:
        also = other_names(self.collector.rules, self.specs, self.listing)
        return resolve_symbols(names, self.listing, also)

    def _refuse(self, unknown: Iterable[UnknownName]) -> None:
        faults = [
            ConfigError(f"{self.place}.symbols[{name.index}]", _not_listed(name, self.key))
            for name in unknown
        ]
        if faults:
            raise ConfigErrors(faults)

    def _see_free(self, streams: Iterable[Stream]) -> None:
        taken = self._of_others()
        for stream in streams:
            if (owner := taken.get(stream.feed)) is not None:
                raise ConfigErrors(
                    [
                        ConfigError(
                            f"{self.place}.symbols",
                            f"{stream.symbol!r} is among them, whose {stream.spec} is collected by "
                            f"{owner} already",
                        )
                    ]
                )


def _not_listed(name: UnknownName, market: str) -> str:
    if is_pattern(name.pattern):
        return f"{name.pattern!r} matches no symbol that trades on {market}"
    hint = f"; did you mean {', '.join(map(repr, name.near))}?" if name.near else ""
    return f"{name.pattern!r} is not listed on {market}{hint}"
