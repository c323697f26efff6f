"""What is right and wrong in values that already have the right type.

Each rule yields the faults it finds; paths are seen from the table that holds the values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from farm.config.words import did_you_mean, listed, near, shown, stream_specs_help
from farm.errors import ConfigError
from farm.exchanges.instruments import is_pattern
from farm.exchanges.registry import MARKETS
from farm.exchanges.rules import MarketRules
from farm.exchanges.share import Share
from farm.exchanges.streams import REST_ROUTE
from farm.types import Exchange, Market

__all__ = [
    "LEAST_LATENCY_BUDGET",
    "SYMBOL_PATTERN",
    "address_faults",
    "bound_faults",
    "budget_faults",
    "detail_faults",
    "market_faults",
    "market_stream_faults",
    "pairing_faults",
    "share_faults",
    "stream_faults",
    "symbol_faults",
]

SYMBOL_PATTERN = r"^[^\sa-z/\\@=\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2060\ufeff]+$"
"""A symbol of these venues: any script, no ASCII lower case, nothing invisible, no separator."""

LEAST_LATENCY_BUDGET = 0.001
"""Seconds; Trio's waits are counted in milliseconds, so less could not be kept."""


def bound_faults(name: str, value: Any, schema: Mapping[Any, Any]) -> Iterator[ConfigError]:
    """The bounds that a value breaks, of those that stand in its field's metadata."""
    if "minimum" in schema and value is not None and value < schema["minimum"]:
        yield ConfigError(name, f"{shown(value)} is too small: at least {schema['minimum']}")
    if "maximum" in schema and value is not None and value > schema["maximum"]:
        yield ConfigError(name, f"{shown(value)} is too large: at most {schema['maximum']}")
    if "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
        yield ConfigError(name, f"{shown(value)} is not above {schema['exclusiveMinimum']}")
    if "minItems" in schema and len(value) < schema["minItems"]:
        yield ConfigError(name, f"is empty: at least {schema['minItems']} is needed")
    if schema.get("uniqueItems"):
        firsts: dict[Any, int] = {}
        for index, item in enumerate(value):
            if (first := firsts.setdefault(item, index)) < index:
                yield ConfigError(
                    f"{name}[{index}]", f"{shown(item)} stands twice, first at {name}[{first}]"
                )


def symbol_faults(symbols: Iterable[str]) -> Iterator[ConfigError]:
    """Symbols that no venue can have; whether one is listed only the venue knows."""
    for index, symbol in enumerate(symbols):
        if not symbol.strip():
            fault = "is blank: name a symbol, such as 'BTCUSDT'"
        elif not re.fullmatch(SYMBOL_PATTERN, symbol):
            upper = "".join(c.upper() if c.isascii() else c for c in symbol)
            likely = "".join(c for c in upper if re.fullmatch(SYMBOL_PATTERN, c))
            hint = f"; did you mean {shown(likely)}?" if likely else ""
            fault = f"is no symbol: upper case, no whitespace, none of / \\ @ ={hint}"
        else:
            continue
        yield ConfigError(f"symbols[{index}]", f"{shown(symbol)} {fault}")


def budget_faults(seconds: float) -> Iterator[ConfigError]:
    """A latency budget that is finer than waits are."""
    if 0 < seconds < LEAST_LATENCY_BUDGET:
        message = f"{seconds:g} is too small: at least {LEAST_LATENCY_BUDGET:g}, or 0 for none"
        yield ConfigError("latency_budget", message)


def share_faults(shard: str | None) -> Iterator[ConfigError]:
    """What is no share of a farm's feeds."""
    if shard is not None:
        try:
            Share.parse(shard)
        except ValueError as error:
            yield ConfigError("shard", str(error))


def market_faults(exchange: Exchange, market: Market) -> Iterator[ConfigError]:
    """A market that the exchange does not have, or that farm does not speak."""
    if (exchange, market) not in MARKETS:
        spoken = listed(m.value for e, m in MARKETS if e is exchange)
        message = f"farm does not collect {market.value!r} of {exchange.value}; possible: {spoken}"
        yield ConfigError("market", message)


def stream_faults(specs: Iterable[str], rules: MarketRules) -> Iterator[ConfigError]:
    """Streams that the market does not offer, and two words for one feed."""
    first_by_feed: dict[str, str] = {}
    for index, spec in enumerate(specs):
        if spec not in rules.streams.specs:
            yield ConfigError(f"streams[{index}]", _no_such_stream(spec, rules))
            continue
        first = first_by_feed.setdefault(rules.streams.stream("S", spec).spec, spec)
        if first != spec:
            yield ConfigError(
                f"streams[{index}]",
                f"{spec!r} is the same feed as {first!r} on {rules.key}: keep one of them",
            )


def market_stream_faults(
    specs: Iterable[str], symbol_specs: Iterable[str], rules: MarketRules
) -> Iterator[ConfigError]:
    """Streams of the whole market that it does not offer, or that carry a feed twice."""
    table = rules.streams
    feeds = {table.stream("S", spec).spec for spec in symbol_specs if spec in table.specs}
    for index, spec in enumerate(specs):
        place = f"market_streams[{index}]"
        if spec not in table.market_specs:
            offered = listed(table.market_specs) or "none"
            hint = did_you_mean(near(spec, table.market_specs))
            message = f"{rules.key} has no stream of the whole market {shown(spec)}{hint}"
            yield ConfigError(place, f"{message} it offers {offered}")
            continue
        feed = table.market_stream(spec).spec
        if feed in feeds:
            message = f"{spec!r} is collected already, by streams or by another word for it"
            yield ConfigError(place, message)
        feeds.add(feed)


def detail_faults(good: Mapping[str, Any], rules: MarketRules) -> Iterator[ConfigError]:
    """Settings of a collector that its market does not know."""
    if good.get("time_unit") == "microsecond" and not rules.microseconds:
        yield ConfigError("time_unit", f"{rules.key} has no microseconds; binance/spot has")
    rotate = good.get("rotate_seconds")
    if rotate is not None and rules.max_age is not None and rotate >= rules.max_age:
        message = f"{rotate:g} is too large: {rules.key} ends a connection after {rules.max_age:g}"
        yield ConfigError("rotate_seconds", message)
    if good.get("poll_seconds") is not None and rules.poll is None:
        yield ConfigError("poll_seconds", f"{rules.key} has nothing to poll")
    for index, symbol in enumerate(good.get("symbols", ())):
        if rules.instruments.by_base and is_pattern(symbol.partition("-")[0]):
            message = f"{symbol!r} names no base coin: {rules.key} lists each coin by itself"
            yield ConfigError(f"symbols[{index}]", f"{message}; write it as 'BTC-*'")
    levels = good.get("snapshot_levels")
    if levels is not None:
        most = rules.snapshot_weights[-1][0] if rules.snapshot_weights else 0
        if not most:
            yield ConfigError("snapshot_levels", f"{rules.key} has no book snapshots by REST")
        elif levels > most:
            yield ConfigError("snapshot_levels", f"{levels} is too large: at most {most}")
        elif rules.snapshot_choices and levels not in rules.snapshot_choices:
            possible = ", ".join(map(str, rules.snapshot_choices))
            yield ConfigError("snapshot_levels", f"{levels} is none of {rules.key}'s: {possible}")


def pairing_faults(
    addresses: Mapping[str, str | None],
    symbols: Iterable[str],
    specs: Iterable[str],
    rules: MarketRules,
) -> Iterator[ConfigError]:
    """A book of one server can't be joined with snapshots of another, let alone live ones; nor can
    patterns be looked up elsewhere, or feeds be polled."""
    missing = [name for name, address in addresses.items() if address is None]
    if len(missing) != 1:
        return
    table = rules.streams
    streams = [table.stream("X", spec) for spec in specs if spec in table.specs]
    reason = ""
    if any(stream.procedure is not None and stream.procedure.needs_rest for stream in streams):
        reason = f"a book of {rules.key} needs ws and rest of the same server"
    elif any(stream.route == REST_ROUTE for stream in streams):
        reason = f"open interest of {rules.key} is polled: it needs ws and rest of the same server"
    elif any(is_pattern(symbol) for symbol in symbols):
        reason = "a pattern of symbols needs ws and rest of the same server"
    if reason:
        yield ConfigError(f"endpoints.{missing[0]}", f"missing: {reason}")


def _no_such_stream(spec: str, rules: MarketRules) -> str:
    head, _, detail = spec.partition(":")
    family = [known for known in rules.streams.specs if known.partition(":")[0] == head]
    if family:  # the head is right, so only the detail can be mistyped
        likely = near(detail, [known.partition(":")[2] for known in family])
        hint, offered = did_you_mean(likely and f"{head}:{likely}"), listed(family)
    else:
        hint = did_you_mean(near(spec, rules.streams.specs))
        offered = stream_specs_help(rules.exchange, rules.market)
    return f"{rules.key} has no stream {shown(spec)}{hint} it offers {offered}"


def address_faults(name: str, url: str, schemes: tuple[str, ...]) -> Iterator[ConfigError]:
    """What keeps `url` from being a base address, to which a venue's path can be added."""
    if fault := _address_fault(url, schemes):
        yield ConfigError(name, f"{shown(url)} {fault}")


def _address_fault(url: str, schemes: tuple[str, ...]) -> str | None:
    if any(c.isspace() or not c.isprintable() for c in url):
        return "holds whitespace or control characters"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port  # both may raise
    except ValueError as error:
        return f"is no address: {error}"
    if parts.scheme not in schemes:
        return f"must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}"
    if not host:
        return f"names no host: write it as {schemes[-1]}://HOST[:PORT]"
    if "@" in parts.netloc or "?" in url or "#" in url:
        return "must be a base address: no user, query or fragment"
    return None
