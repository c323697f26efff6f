"""Which streams go on which connections, within the venue's limits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from farm.exchanges.rules import MarketRules
from farm.exchanges.streams import REST_ROUTE, Stream
from farm.types import Symbol

__all__ = ["plan_connections"]


def plan_connections(
    streams: Iterable[Stream], rules: MarketRules, existing: Sequence[Sequence[Stream]] = ()
) -> list[list[Stream]]:
    """Split `streams` into one list for each connection that is needed.

    A connection carries streams of one route. The streams of a symbol stay together where they
    fit, because a book is checked against the quotes of its own connection. A name asked for twice
    is taken once. With `existing` connections, the first lists are what is to be added to each of
    those, in their order (they may be empty), and what they carry already is left out.
    """
    carried = {stream.name for connection in existing for stream in connection}
    groups: dict[tuple[str, Symbol], dict[str, Stream]] = {}
    for stream in streams:
        if stream.name not in carried:
            group = groups.setdefault((stream.route, stream.symbol), {})
            group.setdefault(stream.name, stream)
    connections = [_Connection(rules, connection) for connection in existing]
    latest: dict[str, _Connection] = {}  # by route: where the next group goes, if it fits
    for (route, _), group in groups.items():
        together = list(group.values())
        place = latest.get(route) or _with_room(connections, route, together)
        if place is None or not place.fits(together):
            place = None
            for part in _split(together, rules):
                place = _Connection(rules)
                connections.append(place)
                place.add(part)
        else:
            place.add(together)
        assert place is not None
        latest[route] = place
    return [connection.added for connection in connections]


class _Connection:
    """A connection as it fills up."""

    def __init__(self, rules: MarketRules, streams: Sequence[Stream] = ()) -> None:
        self.added: list[Stream] = []
        self._rules = rules
        self._count = len(streams)
        self._characters = _characters(streams)
        self.route = streams[0].route if streams else None

    def fits(self, streams: Sequence[Stream]) -> bool:
        rules = self._rules
        if streams[0].route == REST_ROUTE:
            return True  # no socket, no limit but the weight, which paces it
        if self._count + len(streams) > rules.streams_per_connection:
            return False
        most = rules.request_characters
        return most is None or self._characters + _characters(streams) + 1 <= most

    def add(self, streams: Sequence[Stream]) -> None:
        self.added += streams
        self._count += len(streams)
        self._characters += _characters(streams)
        self.route = streams[0].route


def _characters(streams: Iterable[Stream]) -> int:
    """Each name travels with two quotes and a comma (but for the last), all within brackets."""
    return sum(len(stream.name) + 3 for stream in streams)


def _with_room(
    connections: Iterable[_Connection], route: str, streams: Sequence[Stream]
) -> _Connection | None:
    return next((c for c in connections if c.route == route and c.fits(streams)), None)


def _split(streams: Sequence[Stream], rules: MarketRules) -> list[list[Stream]]:
    parts: list[list[Stream]] = []
    connection = _Connection(rules)
    for stream in streams:
        if not parts or not connection.fits([stream]):
            connection = _Connection(rules)
            parts.append([])
        connection.add([stream])
        parts[-1].append(stream)
    return parts
