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
from farm.exchanges.registry import MARKETS
from farm.exchanges.rules import MarketRules
from farm.exchanges.streams import BookProcedure
from farm.types import Exchange, Market

__all__ = [
    "SYMBOL_PATTERN",
    "address_faults",
    "bound_faults",
    "market_faults",
    "stream_faults",
    "symbol_faults",
]

SYMBOL_PATTERN = r"^[^\sa-z/\\@=\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2060\ufeff]+$"
"""A symbol of these venues: any script, no ASCII lower case, nothing invisible, no separator."""


def bound_faults(name: str, value: Any, schema: Mapping[Any, Any]) -> Iterator[ConfigError]:
    """The bounds that a value breaks, of those that stand in its field's metadata."""
    if "minimum" in schema and value < schema["minimum"]:
        yield ConfigError(name, f"{shown(value)} is too small: at least {schema['minimum']}")
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


def market_faults(exchange: Exchange, market: Market) -> Iterator[ConfigError]:
    """A market that the exchange does not have, or that farm does not speak."""
    if (exchange, market) not in MARKETS:
        spoken = listed(m.value for e, m in MARKETS if e is exchange)
        message = f"farm does not collect {market.value!r} of {exchange.value}; possible: {spoken}"
        yield ConfigError("market", message)


def stream_faults(specs: Iterable[str], rules: MarketRules) -> Iterator[ConfigError]:
    """Streams that the market does not offer, and two words for one stream."""
    first_by_name: dict[str, str] = {}
    for index, spec in enumerate(specs):
        if spec not in rules.streams.specs:
            yield ConfigError(f"streams[{index}]", _no_such_stream(spec, rules))
            continue
        first = first_by_name.setdefault(rules.streams.stream("S", spec).name, spec)
        if first != spec:
            yield ConfigError(
                f"streams[{index}]",
                f"{spec!r} is the same stream as {first!r} on {rules.key}: keep one of them",
            )


def pairing_faults(
    addresses: Mapping[str, str | None], specs: Iterable[str], rules: MarketRules
) -> Iterator[ConfigError]:
    """A book of one server can't be joined with snapshots of another, let alone live ones."""
    table = rules.streams
    needs_both = any(
        table.stream("X", spec).procedure is BookProcedure.SNAPSHOT_BY_REST
        for spec in specs
        if spec in table.specs
    )
    missing = [name for name, address in addresses.items() if address is None]
    if needs_both and len(missing) == 1:
        message = f"missing: a book of {rules.key} needs ws and rest of the same server"
        yield ConfigError(f"endpoints.{missing[0]}", message)


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
