"""The roster: which symbols and streams a collector has, and on which lines they are."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

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
from farm.exchanges.share import Share
from farm.exchanges.streams import Stream
from farm.monitor.feeds import FeedCounters
from farm.pipeline.line_source import LineSource, PlannedLine
from farm.types import Symbol

__all__ = ["Roster"]

log = logging.getLogger("farm.pipeline")


class Roster:
    """What one collector of a running farm collects; it can change while it runs.

    `place` is the collector's path in the configuration, for messages; `rosters` are those of all
    collectors. ``listing`` are the market's instruments, empty where
    they are not known (yet, or by the user's choice). ``started``: what it collects was opened.

    With a `share`, streams of other shares are not opened here, and ``symbols`` are those that have
    a stream in ours. The others are remembered: they are removed as they were added, and one may
    come here by a stream that is added later.
    """

    def __init__(
        self,
        place: str,
        collector: CollectorConfig,
        sources: LineSource[Any],
        feeds: FeedCounters,
        rosters: Sequence[Roster],
        share: Share | None = None,
    ) -> None:
        self.collector = collector
        self.symbols: dict[Symbol, None] = {}
        self.specs = list(collector.streams)
        self.listing: Mapping[Symbol, Instrument] = {}
        self.lines: list[PlannedLine] = []
        self.started = False
        self.place = place
        self._rosters = rosters
        self._share = share
        self._elsewhere: dict[Symbol, None] = {}  # asked for, without a stream in our share
        self._delisted: set[Symbol] = set()
        self._sources = sources
        self._feeds = feeds
        self._patterns = [name for name in collector.symbols if is_pattern(name)]
        self._checked = False

    @property
    def key(self) -> str:
        """``binance/spot``."""
        return self.collector.rules.key

    def claims(self) -> Iterator[Stream]:
        """What it collects, also in other shares: whether another may is judged alike in all."""
        for line in self.lines:
            yield from line.planned.values()
        if self._share is not None and self.started:
            yield from self._streams((*self.symbols, *self._elsewhere))
            yield from self.collector.streams_of_market()

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
        self._enter(names)
        await self._open([*self._streams(names), *self.collector.streams_of_market()])
        if all(roster.started and not roster.lines for roster in self._rosters):
            self._say_idle()

    async def follow(self, changes: Changes) -> None:
        """The listing has changed: new symbols that a pattern means come in, delisted ones go."""
        if not self._checked:
            await self._check_late()
            return
        news = {item.symbol: item for item in (*changes.listed, *changes.changed) if item.trading}
        found = resolve_symbols(self._patterns, news).symbols if news else []
        back = [symbol for symbol in news if symbol in self._delisted]
        wanted = [s for s in dict.fromkeys((*found, *back)) if not self._is_known(s)]
        if ours := [symbol for symbol in wanted if self._is_ours(symbol)]:
            log.info("%s: listed now: %s", self.key, ", ".join(ours))
        if wanted:
            await self._add_free(wanted)
        gone = [item.symbol for item in changes.delisted if self._is_known(item.symbol)]
        if ours := [symbol for symbol in gone if symbol in self.symbols]:
            log.warning("%s: delisted: %s", self.key, ", ".join(ours))
        if gone:
            self._delisted |= set(gone)
            self._remove(gone, "the venue lists it no longer")

    async def _check_late(self) -> None:
        """The listing came after the start: what is not in it was asked for in vain."""
        self._checked = True
        found = self._resolve(self.collector.symbols)
        for name in found.unknown:
            log.error("%s: %s", self.place, _not_listed(name, self.key))
            if self._is_known(name.pattern):
                self._remove([name.pattern], _not_listed(name, self.key))
        wanted = [symbol for symbol in found.symbols if not self._is_known(symbol)]
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
        that are new here. UnknownSymbol; ConfigErrors where another collector has them."""
        self._sources.see_open()
        symbols = list(names)
        if self.listing:
            found = self._resolve(names)
            if found.unknown:
                raise UnknownSymbol("; ".join(_not_listed(n, self.key) for n in found.unknown))
            symbols = found.symbols
        elif any(is_pattern(name) for name in names):
            raise UnknownSymbol(f"{self.key}: there is no listing to look {list(names)} up in")
        new = [symbol for symbol in symbols if not self._is_known(symbol)]
        self._see_free(self._streams(new))
        await self._add(new)
        return [symbol for symbol in new if symbol in self.symbols]

    def remove_symbols(self, symbols: Iterable[Symbol]) -> None:
        """Collect these no longer. UnknownSymbol for one that is not collected."""
        self._sources.see_open()
        gone = list(dict.fromkeys(symbols))
        for symbol in gone:
            if not self._is_known(symbol):
                raise UnknownSymbol(f"{symbol!r} is not collected on {self.key}")
        self._remove(gone, "removed")

    async def add_streams(self, specs: Iterable[str]) -> list[Symbol]:
        """Collect more streams of every symbol; the symbols that are new here by that, as they had
        streams in other shares alone. ConfigErrors for what the market does not offer, or is
        collected already: under another word, or by another collector."""
        self._sources.see_open()
        wanted = [spec for spec in dict.fromkeys(specs) if spec not in self.specs]
        together = [*self.specs, *wanted]
        faults = list(stream_faults(together, self.collector.rules))
        if faults:
            raise ConfigErrors(faults)
        table = self.collector.rules.streams
        strangers = list(self._elsewhere)
        symbols = (*self.symbols, *strangers)
        streams = [table.stream(symbol, spec) for symbol in symbols for spec in wanted]
        self._see_free(streams)
        self.specs += wanted
        self._enter(strangers)
        await self._open(streams)
        return [symbol for symbol in strangers if symbol in self.symbols]

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
        self._enter(list(self.symbols))

    # ------------------------------------------------------------------------------------ helpers
    def _of_others(self) -> dict[str, str]:
        """What the other rosters collect, by feed, and which of them does."""
        return {
            stream.feed: other.place
            for other in self._rosters
            if other is not self
            for stream in other.claims()
        }

    def _is_known(self, symbol: Symbol) -> bool:
        """Whether it is asked for, here or in another share."""
        return symbol in self.symbols or symbol in self._elsewhere

    def _is_ours(self, symbol: Symbol) -> bool:
        """Whether a stream of it is in our share."""
        return self._share is None or any(map(self._share.has, self._streams([symbol])))

    def _enter(self, symbols: Iterable[Symbol]) -> None:
        """Note that these are asked for: as ours, or as those of other shares."""
        for symbol in symbols:
            ours = self._is_ours(symbol)
            self._forget(symbol)
            (self.symbols if ours else self._elsewhere)[symbol] = None

    def _forget(self, symbol: Symbol) -> None:
        self.symbols.pop(symbol, None)
        self._elsewhere.pop(symbol, None)

    def _say_idle(self) -> None:
        """No container is to be started again and again for that."""
        if self._share is not None:
            log.warning("share %s has nothing to collect so far; it waits", self._share)

    def _streams(self, symbols: Iterable[Symbol]) -> list[Stream]:
        table = self.collector.rules.streams
        return [table.stream(symbol, spec) for symbol in symbols for spec in self.specs]

    async def _add(self, symbols: Collection[Symbol]) -> None:
        self._enter(symbols)
        self._delisted -= set(symbols)
        await self._open(self._streams(symbols))

    async def _open(self, streams: Iterable[Stream]) -> None:
        """Put the streams of our share on lines that have room, and open new ones for the rest."""
        if self._share is not None:
            streams = filter(self._share.has, streams)
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
            self._forget(symbol)
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
