"""The rules of a market as data: addresses, limits, streams. Markets differ by nothing else."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from farm.exchanges.streams import StreamTable
from farm.types import Exchange, Market

__all__ = ["InstrumentRules", "MarketRules", "PollRules", "Rate"]


@attrs.frozen
class Rate:
    """At most ``limit`` in any ``period`` seconds."""

    limit: int
    period: float


@attrs.frozen
class InstrumentRules:
    """Where a market lists its instruments: ``params`` go with every request, ``page`` is the
    most of one answer (None: all come in one); ``by_base``: for one base coin at a time."""

    path: str
    weight: int
    params: tuple[tuple[str, str | int], ...] = ()
    page: int | None = None
    by_base: bool = False


@attrs.frozen
class PollRules:
    """A feed that is polled by REST: the path, its weight, and the seconds between two polls."""

    path: str
    weight: int
    every: float


@attrs.frozen
class MarketRules:
    """What a market's documents say about its public market data.

    ``paths``: the WebSocket path of each route (one route, ``""``, on most markets);
    ``topics_per_request``: names in one subscribe request; ``request_characters``: length of all
    names subscribed on one connection; ``ping_interval``: seconds between the client's own
    application pings, None where the server pings; ``silence``: seconds without anything at all
    (pings and pongs included) after which a connection is dead; ``max_age``: seconds after which
    the venue ends a connection; ``weight_pool``: markets of one name share one REST budget an
    address; ``snapshot_weights``: levels of a REST snapshot, and the price of so many;
    ``snapshot_limit``: levels asked for where the user says nothing, ``snapshot_choices``: those
    that may be asked for (empty: any); ``universe``: how rows of whole-market streams mark their
    market (Binance ``st``); ``lists_subscriptions``: the venue says on request what it holds;
    ``microseconds``: times can be had in microseconds;
    ``answers_by_topic``: replies name topics and no request.
    """

    exchange: Exchange
    market: Market
    ws_url: str
    paths: Mapping[str, str] = attrs.field(hash=False)
    rest_url: str
    streams: StreamTable
    streams_per_connection: int
    topics_per_request: int
    control_rate: Rate
    connect_rate: Rate
    rest_rate: Rate
    weight_pool: str
    silence: float
    instruments: InstrumentRules
    request_characters: int | None = None
    ping_interval: float | None = None
    max_age: float | None = None
    used_weight_header: str | None = None
    snapshot_path: str = ""
    snapshot_params: tuple[tuple[str, str | int], ...] = ()
    snapshot_weights: tuple[tuple[int, int], ...] = ()
    snapshot_limit: int = 0
    snapshot_choices: tuple[int, ...] = ()
    poll: PollRules | None = None
    universe: int | None = None
    lists_subscriptions: bool = False
    microseconds: bool = False
    answers_by_topic: bool = False

    @property
    def key(self) -> str:
        """``binance/spot``."""
        return f"{self.exchange.value}/{self.market.value}"

    def snapshot_weight(self, levels: int) -> int:
        """What a snapshot of so many levels costs; KeyError beyond what the venue gives."""
        for most, weight in self.snapshot_weights:
            if levels <= most:
                return weight
        raise KeyError(levels)
