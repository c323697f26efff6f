"""The farm as a user holds it: open it, subscribe, read books, ask how it is."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar, overload

import trio

from farm.actors.hub import Filter
from farm.actors.lifecycle import ROOM, LifecycleEvents
from farm.api.conflatable import WHOLE_BOOKS, see_conflatable
from farm.api.subscription import Subscription
from farm.cluster.open import cluster_sources
from farm.config import FarmConfig, load_config
from farm.entities import (
    EVENT_KINDS,
    Event,
    Gap,
    Instrument,
    OrderBook,
    SpentIds,
    data_type_of,
)
from farm.errors import AmbiguousSymbol, LocalProtocolError, UnknownFeed, UnknownSymbol
from farm.exchanges.streams import Stream
from farm.groups import raise_sole
from farm.monitor.stats import FarmStats
from farm.pipeline import Environment, Pipeline, Settings
from farm.pipeline.line_source import BookView, PlannedLine
from farm.pipeline.roster import Roster
from farm.pipeline.stats import collect_stats
from farm.types import Exchange, Market, Symbol

__all__ = ["Farm", "open_farm", "open_replay"]

E1 = TypeVar("E1", bound=Event)
E2 = TypeVar("E2", bound=Event)
En = TypeVar("En", bound=Enum)

_ALWAYS = frozenset({Gap, Instrument, SpentIds})
"""Kinds that no stream is for: they come with any."""


class Farm:
    """A running farm; :func:`open_farm` makes it."""

    def __init__(self, pipeline: Pipeline, guard: trio.CancelScope, subscriber_bytes: int) -> None:
        self._pipeline = pipeline
        self._guard = guard
        self._subscriber_bytes = subscriber_bytes
        self._names = 0

    @overload
    def subscribe(
        self,
        kind: type[E1],
        /,
        *,
        symbols: Iterable[Symbol] | Symbol | None = ...,
        exchange: Exchange | str | None = ...,
        market: Market | str | None = ...,
        max_bytes: int | None = ...,
        conflate: bool = ...,
    ) -> Subscription[E1]: ...
    @overload
    def subscribe(
        self,
        kind: type[E1],
        other: type[E2],
        /,
        *,
        symbols: Iterable[Symbol] | Symbol | None = ...,
        exchange: Exchange | str | None = ...,
        market: Market | str | None = ...,
        max_bytes: int | None = ...,
        conflate: bool = ...,
    ) -> Subscription[E1 | E2]: ...
    @overload
    def subscribe(
        self,
        *kinds: type[Event],
        symbols: Iterable[Symbol] | Symbol | None = ...,
        exchange: Exchange | str | None = ...,
        market: Market | str | None = ...,
        max_bytes: int | None = ...,
        conflate: bool = ...,
    ) -> Subscription[Any]: ...
    def subscribe(
        self,
        *kinds: type[Any],
        symbols: Iterable[Symbol] | Symbol | None = None,
        exchange: Exchange | str | None = None,
        market: Market | str | None = None,
        max_bytes: int | None = None,
        conflate: bool = False,
    ) -> Subscription[Any]:
        """Batches of these kinds, of all symbols or of some, to be opened by ``async with``::

            async with farm.subscribe(Trade, symbols=["BTCUSDT"]) as batches:
                async for batch in batches:
                    print(batch.columns["price"].mean())

        The queue holds `max_bytes` of payload (default: the configuration's
        ``subscriber_bytes``); beyond it the oldest batches become gaps: see
        :class:`~farm.api.subscription.Subscription`.

        With `conflate` the queue holds the latest row of each feed instead, a newer one taking its
        place: for kinds of which each message is the newest state (quotes, tickers, mark prices,
        open interest, books that come whole), whose reader wants that and not the way to it.

        TypeError for no kinds, or what is none; UnknownFeed where no configured stream gives such a
        kind; UnknownSymbol; AmbiguousSymbol where a symbol is collected on several markets and
        neither `exchange` nor `market` say which; ValueError for what can't be conflated.
        """
        self._see_open()
        where = _enum(Exchange, exchange), _enum(Market, market)
        wanted = self._kinds(kinds)
        names = _symbols(symbols)
        if max_bytes is not None and max_bytes < 1:
            raise ValueError(f"max_bytes must be 1 or more, not {max_bytes!r}")
        for symbol in names:
            self._market_of(symbol, where)
        for kind in wanted - _ALWAYS:
            self._see_collected(kind, names, where)
        books = None
        if conflate:
            if max_bytes is not None:
                raise ValueError("max_bytes has no meaning with conflate: one row a feed waits")
            streams = [s for name in names or {None} for s in self._streams(name, *where)]
            see_conflatable(wanted, streams)
            books = WHOLE_BOOKS  # also of what is added later
        self._names += 1
        return Subscription(
            self._pipeline,
            Filter(wanted, names if symbols is not None else None, *where, books),
            f"subscriber {self._names}",
            self._subscriber_bytes if max_bytes is None else max_bytes,
            conflate=conflate,
        )

    def book(
        self,
        symbol: Symbol,
        *,
        exchange: Exchange | str | None = None,
        market: Market | str | None = None,
        depth: int | None = None,
    ) -> OrderBook:
        """A copy of a book as it stands, its best `depth` levels a side (None: all).

        Look at its ``verdict`` before you trade on it. Where several streams carry books of the
        symbol, the deepest one is read. Errors as :meth:`subscribe`.
        """
        self._see_open()
        if depth is not None and (not isinstance(depth, int) or depth < 1):
            raise ValueError(f"depth must be a whole number of 1 or more, not {depth!r}")
        where = _enum(Exchange, exchange), _enum(Market, market)
        self._market_of(symbol, where)
        feeds = {stream.feed for stream in self._streams(symbol, *where)}
        books = [book for book in self._books() if book.stream.feed in feeds]
        if not books:
            raise UnknownFeed(f"no book of {symbol!r} is collected; add 'book' to its streams")
        return max(books, key=_depth).book(depth)

    def instrument(
        self,
        symbol: Symbol,
        *,
        exchange: Exchange | str | None = None,
        market: Market | str | None = None,
    ) -> Instrument:
        """The terms of a symbol as they are now: tick size, lot size, status and so on.

        UnknownSymbol where no listing of a collected market has it (or none came yet);
        AmbiguousSymbol where several have.
        """
        where = _enum(Exchange, exchange), _enum(Market, market)
        found = {
            roster.key: roster.listing[symbol]
            for roster in self._rosters(*where)
            if symbol in roster.listing
        }
        if not found:
            raise UnknownSymbol(f"no listing{_on(where)} has {symbol!r}")
        if len(found) > 1:
            raise AmbiguousSymbol(symbol, sorted(found))
        return next(iter(found.values()))

    # ------------------------------------------------------------------------- what is collected
    async def add_symbols(
        self,
        symbols: Iterable[Symbol] | Symbol,
        *,
        exchange: Exchange | str | None = None,
        market: Market | str | None = None,
        collector: int | None = None,
    ) -> list[Symbol]:
        """Collect more symbols, each of the streams that the others have; patterns such as
        ``*USDT`` are allowed. The symbols that are new.

        `exchange`, `market`, or `collector`, its place in the configuration, say whose they are to
        be, where there are several. Other streams are not touched. UnknownSymbol for names that the
        venue does not list; ConfigErrors where another collector has them; UnknownFeed where it is
        not clear which collector is meant.
        """
        self._see_open()
        names = sorted(_symbols(symbols))
        roster, listings = self._roster(exchange, market, collector), self._pipeline.listings
        assert listings is not None
        await listings.prepare(roster, names)
        new = await roster.add_symbols(names)
        listings.publish(roster, new)
        return new

    def remove_symbols(
        self,
        symbols: Iterable[Symbol] | Symbol,
        *,
        exchange: Exchange | str | None = None,
        market: Market | str | None = None,
        collector: int | None = None,
    ) -> None:
        """Collect these symbols no longer. Errors as :meth:`add_symbols`."""
        self._see_open()
        self._roster(exchange, market, collector).remove_symbols(sorted(_symbols(symbols)))

    async def add_streams(
        self,
        streams: Iterable[str] | str,
        *,
        exchange: Exchange | str | None = None,
        market: Market | str | None = None,
        collector: int | None = None,
    ) -> None:
        """Collect more streams (``kline:1m``) of every symbol of a collector.

        ConfigErrors for what the market does not offer; UnknownFeed as :meth:`add_symbols`.
        """
        self._see_open()
        roster, listings = self._roster(exchange, market, collector), self._pipeline.listings
        assert listings is not None
        listings.publish(roster, await roster.add_streams(_words(streams)))

    def remove_streams(
        self,
        streams: Iterable[str] | str,
        *,
        exchange: Exchange | str | None = None,
        market: Market | str | None = None,
        collector: int | None = None,
    ) -> None:
        """Collect these streams no longer. UnknownFeed for one that is not collected."""
        self._see_open()
        self._roster(exchange, market, collector).remove_streams(_words(streams))

    def stats(self) -> FarmStats:
        """What every feed and connection did until now."""
        return collect_stats(self._pipeline)

    def lifecycle(self, room: int = ROOM) -> AbstractContextManager[LifecycleEvents]:
        """What happens to the farm's actors from now on, to be opened by ``with``::

            with farm.lifecycle() as events:
                async for event in events:
                    print(event.actor, event.what.value, event.error)

        At most `room` events wait for a reader; of more the oldest are dropped, and ``missed``
        counts them. It ends when the farm does.
        """
        return self._pipeline.events(room)

    async def wait(self) -> None:
        """Wait until the farm has ended."""
        await self._pipeline.finished.wait()

    def stop(self) -> None:
        """Close all connections; what was received is still delivered and stored."""
        self._pipeline.stop()

    def abort(self) -> None:
        """End everything at once: what is queued is lost, files stay whole."""
        self._guard.cancel()

    # ------------------------------------------------------------------------------------- look-ups
    def _books(self) -> Sequence[BookView]:
        sources = self._pipeline.sources
        return [] if sources is None else sources.books()

    def _lines(self) -> Sequence[PlannedLine]:
        sources = self._pipeline.sources
        return [] if sources is None else sources.lines

    def _streams(
        self, symbol: Symbol | None, exchange: Exchange | None, market: Market | None
    ) -> list[Stream]:
        return [
            stream
            for line in self._lines()
            if exchange in (None, line.rules.exchange) and market in (None, line.rules.market)
            for stream in line.streams()
            if symbol is None or stream.carries(symbol)
        ]

    def _rosters(self, exchange: Exchange | None, market: Market | None) -> list[Roster]:
        return [
            roster
            for roster in self._pipeline.rosters
            if exchange in (None, roster.collector.exchange)
            and market in (None, roster.collector.market)
        ]

    def _roster(
        self, exchange: Exchange | str | None, market: Market | str | None, collector: int | None
    ) -> Roster:
        """The one collector that is meant."""
        where = _enum(Exchange, exchange), _enum(Market, market)
        place = None if collector is None else f"collectors[{collector}]"
        found = [roster for roster in self._rosters(*where) if place in (None, roster.place)]
        if len(found) != 1:
            names = ", ".join(f"{r.place} {r.key}" for r in self._pipeline.rosters) or "none"
            raise UnknownFeed(
                f"{len(found)} collectors match{_on(where)}; name one by exchange=, market= or "
                f"collector=: {names}"
            )
        return found[0]

    def _market_of(self, symbol: Symbol, where: tuple[Exchange | None, Market | None]) -> None:
        """See that exactly one market carries the symbol."""
        streams = self._streams(symbol, *where)
        markets = sorted({f"{s.exchange.value}/{s.market.value}" for s in streams})
        if not markets:
            known = sorted({stream.symbol for stream in self._streams(None, *where)})[:20]
            raise UnknownSymbol(
                f"{symbol!r} is not collected{_on(where)}; these are: {', '.join(known) or 'none'}"
            )
        if len(markets) > 1:
            raise AmbiguousSymbol(symbol, markets)

    @staticmethod
    def _kinds(kinds: tuple[type[Any], ...]) -> frozenset[type[Event]]:
        if not kinds:
            names = ", ".join(kind.__name__ for kind in EVENT_KINDS.values())
            raise TypeError(f"subscribe to what? The kinds are {names}")
        for kind in kinds:
            data_type_of(kind)
        return frozenset(kinds)

    def _see_collected(
        self,
        kind: type[Event],
        symbols: frozenset[Symbol],
        where: tuple[Exchange | None, Market | None],
    ) -> None:
        for symbol in symbols or {None}:
            if not any(s.gives(data_type_of(kind)) for s in self._streams(symbol, *where)):
                specs = sorted({stream.spec for stream in self._streams(symbol, *where)})
                raise UnknownFeed(
                    f"no stream of {symbol or 'any symbol'}{_on(where)} gives {kind.__name__}; "
                    f"collected: {', '.join(specs) or 'nothing'}"
                )

    def _see_open(self) -> None:
        if self._pipeline.finished.is_set():
            raise LocalProtocolError("the farm has ended")


@asynccontextmanager
async def open_farm(
    config: FarmConfig | Mapping[str, Any] | str | Path, *, environment: Environment | None = None
) -> AsyncIterator[Farm]:
    """Run a farm for as long as the context lasts.

    `config` is a :class:`~farm.config.FarmConfig`, its table as a mapping, or the path of a TOML
    file. Connections come about in the background; leaving the context closes them and waits, a
    grace period for each stage (``supervision.drain_seconds``), for what was received to be
    delivered and stored. An error of the body comes out as it is.

    Symbols are looked up in the venues' lists of instruments first, which takes a moment (at most
    ``instruments.start_seconds``). ConfigError, for unknown symbols too; DataDirectoryError;
    RestartsExceeded where an actor crashed too often.
    """
    config = load_config(config)
    environment = environment or Environment()
    pipeline = Pipeline(
        Settings.of(config),
        config,
        make_sources=cluster_sources(config, environment),
        environment=environment,
    )
    async with _running(pipeline) as guard:
        yield Farm(pipeline, guard, config.subscriber_bytes)


@asynccontextmanager
async def open_replay(
    path: Path,
    settings: Settings | None = None,
    *,
    market: tuple[Exchange, Market] | None = None,
    environment: Environment | None = None,
) -> AsyncIterator[Farm]:
    """Run a recording through the same line: parser, books and, with ``settings.data``, storage.

    It plays as fast as it is taken; ``farm.wait()`` waits for its end. `market` is needed where
    the file does not say which it is of. RecordingError for what can't be read.
    """
    settings = settings or Settings()
    pipeline = Pipeline(settings, recording=(path, market), environment=environment)
    async with _running(pipeline) as guard:
        yield Farm(pipeline, guard, settings.mailbox_bytes)


@asynccontextmanager
async def _running(pipeline: Pipeline) -> AsyncIterator[trio.CancelScope]:
    if not trio.lowlevel.in_trio_run():
        raise RuntimeError(
            "a farm runs in Trio: begin with trio.run(main), or, in a notebook, %autoawait trio"
        )
    try:
        async with trio.open_nursery() as nursery:
            guard = trio.CancelScope()
            await nursery.start(_run_guarded, pipeline, guard)
            guard.shield = True  # from now on a cancellation from outside first drains
            try:
                yield guard
            finally:
                await _wind_up(pipeline, guard)
    except BaseExceptionGroup as group:
        raise_sole(group)


async def _run_guarded(
    pipeline: Pipeline, guard: trio.CancelScope, *, task_status: trio.TaskStatus[None]
) -> None:
    """Run within `guard`, which ends it at once."""
    with guard:
        await pipeline.run(task_status)


async def _wind_up(pipeline: Pipeline, guard: trio.CancelScope) -> None:
    """Stop and drain. Interrupted in this (a second Ctrl-C), give up what is left."""
    pipeline.stop()
    stages = 3  # sources, stages, sinks: each has its grace within; and so it is in each shard
    grace = 2 * stages * pipeline.settings.supervision.drain_seconds + 10.0
    try:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + grace):
            await pipeline.finished.wait()
    finally:
        guard.cancel()


def _depth(book: BookView) -> float:
    return math.inf if book.stream.depth is None else book.stream.depth


def _symbols(symbols: Iterable[Symbol] | Symbol | None) -> frozenset[Symbol]:
    if symbols is None:
        return frozenset()
    names = frozenset([symbols] if isinstance(symbols, str) else symbols)
    if not names:
        raise ValueError("no symbols are asked for; leave symbols out to get them all")
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"a symbol is text, not {name!r}")
    return names


def _words(words: Iterable[str] | str) -> list[str]:
    return [words] if isinstance(words, str) else list(words)


def _on(where: tuple[Exchange | None, Market | None]) -> str:
    """Which part of the farm was asked, for messages."""
    asked = [part.value for part in where if part is not None]
    return f" on {'/'.join(asked)}" if asked else ""


def _enum(kind: type[En], value: En | str | None) -> En | None:
    if value is None or isinstance(value, kind):
        return value
    try:
        return kind(value)
    except ValueError:
        names = ", ".join(repr(member.value) for member in kind)
        raise ValueError(f"{value!r} is no {kind.__name__.lower()}; these are: {names}") from None
