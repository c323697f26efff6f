"""The tables of the configuration: what may be set, what it means, and what is set by itself.

What concerns one value alone stands in its field's metadata, in keywords of JSON Schema, which
:mod:`farm.config.schema` publishes as they are. The rest stands in the table's ``_rules``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import attrs

from farm.config.rules import (
    LEAST_LATENCY_BUDGET,
    SYMBOL_PATTERN,
    address_faults,
    budget_faults,
    detail_faults,
    market_faults,
    market_stream_faults,
    pairing_faults,
    share_faults,
    stream_faults,
    symbol_faults,
)
from farm.config.structure import Table
from farm.errors import ConfigError
from farm.exchanges.instruments import is_pattern
from farm.exchanges.registry import MARKETS, rules_of
from farm.exchanges.rules import MarketRules
from farm.exchanges.share import SHARE_PATTERN, Share
from farm.exchanges.streams import ANY_SYMBOL, Stream
from farm.types import Exchange, Market, NumberMode

__all__ = [
    "ClusterConfig",
    "CollectorConfig",
    "Endpoints",
    "FarmConfig",
    "InstrumentsConfig",
    "StorageConfig",
    "SupervisionConfig",
]

MIB = 1 << 20

SCHEMES = {"ws": ("ws", "wss"), "rest": ("http", "https")}


# The constructors accept more than the attributes hold, and these say so to a type checker. The
# conversion itself is done by the hooks that read a document, when a `Table` is made.
def _exchange(value: Exchange | str) -> Exchange:
    return cast("Exchange", value)


def _market(value: Market | str) -> Market:
    return cast("Market", value)


def _numbers(value: NumberMode | str) -> NumberMode:
    return cast("NumberMode", value)


def _path(value: Path | str | None) -> Path | None:
    return cast("Path | None", value)


def _texts(value: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    return cast("tuple[str, ...]", value)


def _collectors(
    value: list[CollectorConfig] | tuple[CollectorConfig, ...],
) -> tuple[CollectorConfig, ...]:
    return cast("tuple[CollectorConfig, ...]", value)


def _base_url(value: str | None) -> str | None:
    if isinstance(value, str) and not value.endswith("//"):
        return value.removesuffix("/")  # the venue's path is appended
    return value


def _says(description: str, **schema: Any) -> dict[str, Any]:
    """A field's metadata: what it means and its bounds, in the keywords of JSON Schema."""
    return {"description": description, **schema}


def _address(description: str, name: str) -> dict[str, Any]:
    return _says(description, pattern=rf"^({'|'.join(SCHEMES[name])})://[^/?#\s]+")


@attrs.frozen
class Endpoints(Table):
    """Addresses to use in place of the venue's own; None keeps the venue's.

    ``ca_file`` holds authorities (PEM) to trust besides the system's, for tests and proxies.
    """

    ws: str | None = attrs.field(
        default=None,
        converter=_base_url,
        metadata=_address("WebSocket base address, to which the venue's path is added.", "ws"),
    )
    rest: str | None = attrs.field(
        default=None,
        converter=_base_url,
        metadata=_address("REST base address, to which the venue's path is added.", "rest"),
    )
    ca_file: Path | None = attrs.field(
        default=None,
        converter=_path,
        metadata=_says("PEM file of more authorities to trust, relative to this file."),
    )

    @classmethod
    def _rules(cls, good: Mapping[str, Any]) -> Iterator[ConfigError]:
        for name, schemes in SCHEMES.items():
            if (url := good.get(name)) is not None:
                yield from address_faults(name, url, schemes)


@attrs.frozen
class CollectorConfig(Table):
    """What to collect on one market: each of ``streams`` for each of ``symbols``.

    Symbols are the venue's own names; :func:`stream_specs_help` tells what a market offers.
    """

    exchange: Exchange = attrs.field(
        converter=_exchange, metadata=_says("The venue to collect from.")
    )
    market: Market = attrs.field(converter=_market, metadata=_says("A market of the venue."))
    symbols: tuple[str, ...] = attrs.field(
        default=(),
        converter=_texts,
        metadata=_says(
            "Instruments by the venue's own names, such as BTCUSDT; *USDT means all that match.",
            uniqueItems=True,
            items={"pattern": SYMBOL_PATTERN},
        ),
    )
    streams: tuple[str, ...] = attrs.field(
        default=("trade",),
        converter=_texts,
        metadata=_says(
            "What to collect of each symbol: trade, quote, book, kline:1m and so on.",
            minItems=1,
            uniqueItems=True,
        ),
    )
    market_streams: tuple[str, ...] = attrs.field(
        default=(),
        converter=_texts,
        metadata=_says(
            "What to collect of the whole market in one stream: mark_price, liquidation and so on.",
            uniqueItems=True,
        ),
    )
    endpoints: Endpoints = attrs.field(
        default=Endpoints(), metadata=_says("Addresses to use in place of the venue's own.")
    )
    lanes: int = attrs.field(
        default=1,
        metadata=_says(
            "Connections that carry the same streams; the first copy of an event counts.",
            minimum=1,
            maximum=4,
        ),
    )
    time_unit: Literal["millisecond", "microsecond"] = attrs.field(
        default="millisecond",
        metadata=_says("Precision to ask the venue's times in; microsecond on Binance spot only."),
    )
    snapshot_levels: int | None = attrs.field(
        default=None,
        metadata=_says("Levels a side of book snapshots by REST; the more, the dearer.", minimum=1),
    )
    poll_seconds: float | None = attrs.field(
        default=None,
        metadata=_says("Seconds between two polls of a symbol's open interest.", minimum=1),
    )
    rotate_seconds: float | None = attrs.field(
        default=None,
        metadata=_says(
            "Age at which a connection is replaced live; by itself before the venue's limit.",
            minimum=1,
        ),
    )
    latency_budget: float = attrs.field(
        default=0.0,
        metadata=_says(
            "Seconds that a message of a busy line may wait to be read with others.",
            minimum=0,
            maximum=1,
            anyOf=[{"const": 0}, {"minimum": LEAST_LATENCY_BUDGET}],
        ),
    )

    @property
    def rules(self) -> MarketRules:
        """The rules of its market."""
        return rules_of(self.exchange, self.market)

    def streams_of(self, symbols: Iterable[str] | None = None) -> list[Stream]:
        """Every stream of every symbol (default: those that are named), as the market's rules make
        them, symbol by symbol."""
        table = self.rules.streams
        names = self.symbols if symbols is None else symbols
        return [table.stream(symbol, spec) for symbol in names for spec in self.streams]

    def streams_of_market(self) -> list[Stream]:
        """The streams of the whole market."""
        return [self.rules.streams.market_stream(spec) for spec in self.market_streams]

    @classmethod
    def _rules(cls, good: Mapping[str, Any]) -> Iterator[ConfigError]:
        symbols, specs = good.get("symbols", ()), good.get("streams", ())
        market_specs = good.get("market_streams", ())
        if not symbols and not market_specs and {"symbols", "market_streams"} <= good.keys():
            yield ConfigError("symbols", "is empty: name symbols, or market_streams")
        yield from symbol_faults(symbols)
        yield from budget_faults(good.get("latency_budget", 0.0))
        if "exchange" in good and "market" in good:
            key = good["exchange"], good["market"]
            yield from market_faults(*key)
            if rules := MARKETS.get(key):
                yield from stream_faults(specs, rules)
                yield from market_stream_faults(market_specs, specs if symbols else (), rules)
                own = good.get("endpoints", Endpoints())
                given = {"ws": own.ws, "rest": own.rest}
                yield from pairing_faults(given, symbols, specs, rules)
                yield from detail_faults(good, rules)


@attrs.frozen
class SupervisionConfig(Table):
    """How failures are met; durations are seconds.

    Network trouble backs off and never counts as a crash. An actor that crashes more than
    ``intensity`` times in ``period`` is given up: ``raise`` then ends the farm, ``park`` stops
    that actor alone.
    """

    backoff_initial: float = attrs.field(
        default=0.5,
        metadata=_says("Bound of the first wait before a reconnect.", exclusiveMinimum=0),
    )
    backoff_cap: float = attrs.field(
        default=30.0,
        metadata=_says("Bound of every wait, at least backoff_initial.", exclusiveMinimum=0),
    )
    healthy_after: float = attrs.field(
        default=60.0,
        metadata=_says("Seconds of health after which backoff starts over.", exclusiveMinimum=0),
    )
    intensity: int = attrs.field(
        default=5, metadata=_says("Crashes of one actor allowed within period.", minimum=0)
    )
    period: float = attrs.field(
        default=60.0, metadata=_says("Seconds over which crashes count.", exclusiveMinimum=0)
    )
    escalate: Literal["raise", "park"] = attrs.field(
        default="raise", metadata=_says("What giving an actor up does: end the farm, or park it.")
    )
    drain_seconds: float = attrs.field(
        default=10.0, metadata=_says("Grace of each stage on shutdown; 0 is none.", minimum=0)
    )

    @classmethod
    def _rules(cls, good: Mapping[str, Any]) -> Iterator[ConfigError]:
        initial, cap = good.get("backoff_initial"), good.get("backoff_cap")
        if initial is not None and cap is not None and cap < initial:
            yield ConfigError("backoff_cap", f"{cap} is below backoff_initial, which is {initial}")


@attrs.frozen
class StorageConfig(Table):
    """When rows go to disk: as soon as one of the three bounds is reached."""

    flush_rows: int = attrs.field(default=250_000, metadata=_says("Rows of one file.", minimum=1))
    flush_bytes: int = attrs.field(
        default=32 * MIB, metadata=_says("Bytes in memory, before compression.", minimum=1)
    )
    flush_seconds: float = attrs.field(
        default=60.0,
        metadata=_says("Seconds that a row may wait for its file.", exclusiveMinimum=0),
    )


@attrs.frozen
class InstrumentsConfig(Table):
    """How the venues' lists of instruments are used; durations are seconds.

    With ``check`` unknown symbols are refused at the start, and listings and delistings are
    followed. A collector with an own ``endpoints.ws`` and no ``endpoints.rest`` has no list.
    """

    check: bool = attrs.field(
        default=True, metadata=_says("Check symbols against the venue's list, and follow it.")
    )
    refresh_seconds: float = attrs.field(
        default=600.0, metadata=_says("Time between two looks at the list.", exclusiveMinimum=0)
    )
    start_seconds: float = attrs.field(
        default=10.0,
        metadata=_says("How long the start waits for the list before it goes on.", minimum=0),
    )


@attrs.frozen
class ClusterConfig(Table):
    """How the processes of a farm are watched, where there are several; durations are seconds.

    A process that ends, hangs or outgrows its limit is replaced; one that fails more than
    ``intensity`` times in ``period`` is parked, with an alarm, and the others go on.
    """

    heartbeat_seconds: float = attrs.field(
        default=0.25,
        metadata=_says("Time between two signs of life.", exclusiveMinimum=0, maximum=10),
    )
    hang_seconds: float = attrs.field(
        default=5.0,
        metadata=_says(
            "Silence after which a process is ended, at least 4 times heartbeat_seconds.",
            exclusiveMinimum=0,
        ),
    )
    memory_limit: int | None = attrs.field(
        default=None,
        metadata=_says(
            "Bytes of memory (resident) beyond which a process is replaced; without it there is "
            "no limit.",
            minimum=64 * MIB,
        ),
    )
    pin_cpus: bool = attrs.field(
        default=False, metadata=_says("Keep each process on a core of its own.")
    )
    spare: bool = attrs.field(
        default=True,
        metadata=_says("Keep a process ready to take the place of one that fails."),
    )
    intensity: int = attrs.field(
        default=5, metadata=_says("Failures of one process allowed within period.", minimum=0)
    )
    period: float = attrs.field(
        default=60.0, metadata=_says("Seconds over which failures count.", exclusiveMinimum=0)
    )

    @classmethod
    def _rules(cls, good: Mapping[str, Any]) -> Iterator[ConfigError]:
        heartbeat, hang = good.get("heartbeat_seconds"), good.get("hang_seconds")
        if heartbeat is not None and hang is not None and hang < 4 * heartbeat:
            yield ConfigError(
                "hang_seconds",
                f"{hang:g} is too small: at least 4 times heartbeat_seconds, which is "
                f"{heartbeat:g}",
            )


@attrs.frozen
class FarmConfig(Table):
    """A whole farm. Sizes are bytes; without ``data`` nothing is stored.

    Without ``processes`` a library runs all within the process that opens the farm, and ``farm
    run`` takes one for each core.
    """

    collectors: tuple[CollectorConfig, ...] = attrs.field(
        converter=_collectors,
        metadata=_says("What to collect, one [[collectors]] table or more.", minItems=1),
    )
    numbers: NumberMode = attrs.field(
        default=NumberMode.FLOAT,
        converter=_numbers,
        metadata=_says("How prices and quantities are held; decimal is exact."),
    )
    data: Path | None = attrs.field(
        default=None,
        converter=_path,
        metadata=_says("Directory to store in, relative to this file; without it nothing is."),
    )
    mailbox_bytes: int = attrs.field(
        default=64 * MIB, metadata=_says("Bound of each queue between two stages.", minimum=1)
    )
    subscriber_bytes: int = attrs.field(
        default=64 * MIB, metadata=_says("Bound of each subscriber's queue.", minimum=1)
    )
    supervision: SupervisionConfig = attrs.field(
        default=SupervisionConfig(), metadata=_says("How failures are met.")
    )
    storage: StorageConfig = attrs.field(
        default=StorageConfig(), metadata=_says("When rows go to disk.")
    )
    instruments: InstrumentsConfig = attrs.field(
        default=InstrumentsConfig(), metadata=_says("How lists of instruments are used.")
    )
    processes: int | None = attrs.field(
        default=None,
        metadata=_says(
            "Processes over which connections are spread; 1 runs all within yours.",
            minimum=1,
            maximum=256,
        ),
    )
    cluster: ClusterConfig = attrs.field(
        default=ClusterConfig(), metadata=_says("How several processes are watched.")
    )
    shard: str | None = attrs.field(
        default=None,
        metadata=_says(
            "The share of the feeds to collect here, of several farms of one configuration: 2/8 "
            "is the second of eight.",
            pattern=SHARE_PATTERN,
        ),
    )

    @property
    def share(self) -> Share | None:
        """What ``shard`` means; None: everything is collected here."""
        return None if self.shard is None else Share.parse(self.shard)

    @classmethod
    def _rules(cls, good: Mapping[str, Any]) -> Iterator[ConfigError]:
        yield from share_faults(good.get("shard"))
        owners: _Owners = {}
        for index, collector in enumerate(good.get("collectors", ())):
            yield from _shared_market_streams(index, collector, owners)
            yield from _shared_symbols(index, collector, owners)
            if "instruments" in good and not good["instruments"].check:
                yield from _lost_patterns(index, collector)


_Owners: TypeAlias = dict[tuple[Exchange, Market, str, str], tuple[int, str]]
"""Which collector has a feed first, and by which word; `SOME_SYMBOL` stands for any at all."""

SOME_SYMBOL = ""


def _key(stream: Stream, symbol: str) -> tuple[Exchange, Market, str, str]:
    return stream.exchange, stream.market, symbol, stream.spec


def _shared_symbols(
    index: int, collector: CollectorConfig, owners: _Owners
) -> Iterator[ConfigError]:
    """Feeds that another collector has already; each of a symbol's by the word it was written."""
    taken: dict[tuple[int, int], list[str]] = {}
    known: set[str] = set()
    for place, symbol in enumerate(collector.symbols):
        for stream, spec in zip(collector.streams_of([symbol]), collector.streams, strict=True):
            if stream.feed in known:
                continue  # the trades of options on one coin come in one stream
            known.add(stream.feed)
            whole = owners.get(_key(stream, ANY_SYMBOL))
            owners.setdefault(_key(stream, SOME_SYMBOL), (index, repr(spec)))
            owner, word = whole or owners.setdefault(
                _key(stream, stream.symbol), (index, repr(spec))
            )
            if owner != index:
                there = f" (there {word})" if word != repr(spec) else ""
                taken.setdefault((place, owner), []).append(f"{spec!r}{there}")
    for (place, owner), words in taken.items():
        yield ConfigError(
            f"collectors[{index}].symbols[{place}]",
            f"{collector.symbols[place]!r} is collected by collectors[{owner}] already: "
            f"{', '.join(words)}",
        )


def _shared_market_streams(
    index: int, collector: CollectorConfig, owners: _Owners
) -> Iterator[ConfigError]:
    """Streams of a whole market of which another collector has all or some already."""
    streams = zip(collector.streams_of_market(), collector.market_streams, strict=True)
    for place, (stream, spec) in enumerate(streams):
        some = owners.get(_key(stream, SOME_SYMBOL))
        owner, _ = some or owners.setdefault(
            _key(stream, ANY_SYMBOL), (index, f"{spec!r} of the whole market")
        )
        if owner != index:
            yield ConfigError(
                f"collectors[{index}].market_streams[{place}]",
                f"{spec!r} is collected by collectors[{owner}] already",
            )


def _lost_patterns(index: int, collector: CollectorConfig) -> Iterator[ConfigError]:
    """Patterns that would stand for nothing, as no list is looked at."""
    for place, symbol in enumerate(collector.symbols):
        if is_pattern(symbol):
            yield ConfigError(
                f"collectors[{index}].symbols[{place}]",
                f"{symbol!r} stands for symbols that are looked up in the venue's list: "
                "it needs instruments.check",
            )
