"""The rules of a market as data: addresses, limits, streams. Markets differ by nothing else."""

from __future__ import annotations

import attrs

from farm.exchanges.streams import StreamTable
from farm.types import Exchange, Market

__all__ = ["MarketRules", "Rate"]


@attrs.frozen
class Rate:
    """At most ``limit`` in any ``period`` seconds."""

    limit: int
    period: float


@attrs.frozen
class MarketRules:
    """What a market's documents say about its public market data.

    ``topics_per_request``: names in one subscribe request; ``request_characters``: length of all
    names subscribed on one connection; ``ping_interval``: seconds between the client's own
    application pings, None where the server pings; ``silence``: seconds without anything at all
    (pings and pongs included) after which a connection is dead; ``snapshot_limit`` and
    ``snapshot_weight``: levels asked for in a REST snapshot, and its price in the weight budget.
    """

    exchange: Exchange
    market: Market
    ws_url: str
    ws_path: str
    rest_url: str
    streams: StreamTable
    streams_per_connection: int
    topics_per_request: int
    control_rate: Rate
    connect_rate: Rate
    rest_rate: Rate
    silence: float
    request_characters: int | None = None
    ping_interval: float | None = None
    used_weight_header: str | None = None
    snapshot_path: str = ""
    snapshot_limit: int = 0
    snapshot_weight: int = 0

    @property
    def key(self) -> str:
        """``binance/spot``."""
        return f"{self.exchange.value}/{self.market.value}"
