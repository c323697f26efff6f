"""Which streams go on which connections, within the venue's limits."""

from __future__ import annotations

from collections.abc import Iterable

from farm.exchanges.rules import MarketRules
from farm.exchanges.streams import Stream
from farm.types import Symbol

__all__ = ["plan_connections"]


def plan_connections(streams: Iterable[Stream], rules: MarketRules) -> list[list[Stream]]:
    """Split `streams` into one list for each connection that is needed.

    The streams of a symbol stay together where they fit, because a book is checked against the
    quotes of its own connection. A name asked for twice is taken once.
    """
    by_symbol: dict[Symbol, dict[str, Stream]] = {}
    for stream in streams:
        by_symbol.setdefault(stream.symbol, {}).setdefault(stream.name, stream)
    connections: list[list[Stream]] = []
    for group in by_symbol.values():
        together = list(group.values())
        if connections and _fits(connections[-1] + together, rules):
            connections[-1].extend(together)
        else:
            connections.extend(_split(together, rules))
    return connections


def _fits(streams: list[Stream], rules: MarketRules) -> bool:
    if len(streams) > rules.streams_per_connection:
        return False
    if rules.request_characters is None:
        return True
    # Each name travels with two quotes and a comma (but for the last), all within brackets.
    return sum(len(stream.name) + 3 for stream in streams) + 1 <= rules.request_characters


def _split(streams: list[Stream], rules: MarketRules) -> list[list[Stream]]:
    parts: list[list[Stream]] = [[]]
    for stream in streams:
        if parts[-1] and not _fits([*parts[-1], stream], rules):
            parts.append([])
        parts[-1].append(stream)
    return parts
