"""The tables of the configuration: what may be set, what it means, and what is set by itself.

What concerns one value alone stands in its field's metadata, in keywords of JSON Schema, which
:mod:`farm.config.schema` publishes as they are. The rest stands in the table's ``_rules``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import cycle
from pathlib import Path
from typing import Any, Literal, cast

import attrs

from farm.config.rules import (
    SYMBOL_PATTERN,
    address_faults,
    market_faults,
    pairing_faults,
    stream_faults,
    symbol_faults,
)
from farm.config.structure import Table
from farm.errors import ConfigError
from farm.exchanges.registry import MARKETS, rules_of
from farm.exchanges.streams import Stream
from farm.types import Exchange, Market, NumberMode

__all__ = ["CollectorConfig", "Endpoints", "FarmConfig", "StorageConfig", "SupervisionConfig"]

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
        converter=_texts,
        metadata=_says(
            "Instruments by the venue's own names, such as BTCUSDT.",
            minItems=1,
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
    endpoints: Endpoints = attrs.field(
        default=Endpoints(), metadata=_says("Addresses to use in place of the venue's own.")
    )

    def streams_of(self) -> list[Stream]:
        """Every stream of every symbol, as the market's rules make them."""
        table = rules_of(self.exchange, self.market).streams
        return [table.stream(symbol, spec) for symbol in self.symbols for spec in self.streams]

    @classmethod
    def _rules(cls, good: Mapping[str, Any]) -> Iterator[ConfigError]:
        yield from symbol_faults(good.get("symbols", ()))
        if "exchange" in good and "market" in good:
            key = good["exchange"], good["market"]
            yield from market_faults(*key)
            if rules := MARKETS.get(key):
                yield from stream_faults(good.get("streams", ()), rules)
                own = good.get("endpoints", Endpoints())
                given = {"ws": own.ws, "rest": own.rest}
                yield from pairing_faults(given, good.get("streams", ()), rules)


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
class FarmConfig(Table):
    """A whole farm. Sizes are bytes; without ``data`` nothing is stored."""

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

    @classmethod
    def _rules(cls, good: Mapping[str, Any]) -> Iterator[ConfigError]:
        owners: dict[tuple[Exchange, Market, str], tuple[int, str]] = {}
        for index, collector in enumerate(good.get("collectors", ())):
            taken: dict[tuple[str, int], list[str]] = {}
            # Streams come symbol by symbol; what was written (`book`) may differ from their spec.
            for stream, spec in zip(collector.streams_of(), cycle(collector.streams), strict=False):
                key = (stream.exchange, stream.market, stream.name)
                owner, there = owners.setdefault(key, (index, spec))
                if owner != index:
                    word = repr(spec) if spec == there else f"{spec!r} (there {there!r})"
                    taken.setdefault((stream.symbol, owner), []).append(word)
            for (symbol, owner), words in taken.items():
                yield ConfigError(
                    f"collectors[{index}].symbols[{collector.symbols.index(symbol)}]",
                    f"{symbol!r} is collected by collectors[{owner}] already: {', '.join(words)}",
                )
