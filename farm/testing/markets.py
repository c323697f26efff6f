"""What each market of the fake venues allows and how it answers: data, not subclasses.

Figures and documents: binance-spot-api-docs (``web-socket-streams.md``, ``rest-api.md``),
developers.binance.com for derivatives, and bybit-exchange/docs (``v5/ws/connect``). Tests loosen
or tighten them with ``attrs.evolve``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import attrs

from farm.testing.bybit_replies import CommandReplies, PlainReplies, Replies
from farm.types import Market

__all__ = [
    "BINANCE_COINM",
    "BINANCE_RULES",
    "BINANCE_SPOT",
    "BINANCE_USDM",
    "BYBIT_RULES",
    "BinanceRules",
    "BybitRules",
    "Route",
]

_DAY = 86_400.0


@attrs.frozen
class Route:
    """A part of a stream host. ``prefix``: what its addresses start with, ``""`` for none.

    ``streams``: a pattern of the streams that it delivers, None for all. Others are acknowledged
    and listed there, and silent.
    """

    prefix: str
    streams: str | None = None

    def carries(self, stream: str) -> bool:
        return self.streams is None or re.fullmatch(self.streams, stream) is not None


@attrs.frozen
class BinanceRules:
    """What one Binance market allows; times in seconds, lengths in characters.

    ``depth_weights``: request weight by the greatest limit it covers. ``depth_limits``: those that
    a depth request may name, None for any up to the greatest; ``usual_depth``: of one that names
    none. ``diff_stream``: a pattern of what follows the symbol in the name of a diff stream.
    ``time_units``: values of ``timeUnit`` in an address. ``max_age``: of a connection, which is
    then cut. ``delisted_status``: what ``!contractInfo`` says of a delisted contract, None where
    there is no such stream. None switches a limit off.
    """

    market: Market
    rest_prefix: str
    messages_per_second: int | None
    streams_per_connection: int
    connections_per_5_minutes: int | None
    ping_interval: float
    pong_timeout: float
    weight_per_minute: int
    depth_weights: Sequence[tuple[int, int]]
    diff_stream: str
    routes: Sequence[Route] = (Route(""),)
    exchange_info_weight: int = 20
    usual_depth: int = 100
    depth_limits: Sequence[int] | None = None
    timed_depth: bool = False
    named_depth: bool = False
    open_interest: bool = False
    time_units: Sequence[str] = ()
    address_length: int | None = 8_004
    max_age: float | None = _DAY
    delisted_status: str | None = None


BINANCE_SPOT = BinanceRules(
    market=Market.SPOT,
    rest_prefix="/api/v3",
    messages_per_second=5,
    streams_per_connection=1024,
    connections_per_5_minutes=300,
    ping_interval=20.0,
    pong_timeout=60.0,
    weight_per_minute=6000,
    depth_weights=((100, 5), (500, 25), (1000, 50), (5000, 250)),
    diff_stream=r"@depth(@100ms)?",
    time_units=("MILLISECOND", "MICROSECOND"),
)

# What USD-M delivers by which route; a stream of another route is silent there.
_PUBLIC = r".+@(trade|bookTicker|depth(5|10|20)?(@(0|100|250|500)ms)?|rpiDepth@500ms)|!bookTicker"
_MARKET = (
    r".+@(aggTrade|kline_.+|continuousKline_.+|markPrice(@1s)?|miniTicker|ticker|forceOrder"
    r"|compositeIndex|assetIndex)"
    r"|!(markPrice@arr(@1s)?|miniTicker@arr|ticker@arr|forceOrder@arr|assetIndex@arr|contractInfo)"
    r"|tradingSession"
)
_PRIVATE = r"(?!)"

_FUTURES = BinanceRules(
    market=Market.USDM,
    rest_prefix="/fapi/v1",
    messages_per_second=10,
    streams_per_connection=200,
    connections_per_5_minutes=300,
    ping_interval=180.0,
    pong_timeout=600.0,
    weight_per_minute=2400,
    depth_weights=((50, 2), (100, 5), (500, 10), (1000, 20)),
    diff_stream=r"@depth(@(0|100|250|500)ms)?",
    exchange_info_weight=1,
    usual_depth=500,
    depth_limits=(5, 10, 20, 50, 100, 500, 1000),
    timed_depth=True,
    open_interest=True,
    delisted_status="SETTLING",
)

BINANCE_USDM = attrs.evolve(
    _FUTURES,
    routes=(
        Route("/public", _PUBLIC),
        Route("/market", _MARKET),
        Route("/private", _PRIVATE),
        Route("", _PUBLIC),
    ),
)

BINANCE_COINM = attrs.evolve(
    _FUTURES, market=Market.COINM, rest_prefix="/dapi/v1", named_depth=True
)

BINANCE_RULES: Mapping[Market, BinanceRules] = {
    rules.market: rules for rules in (BINANCE_SPOT, BINANCE_USDM, BINANCE_COINM)
}
"""The rules of each market that the fake speaks."""


@attrs.frozen
class BybitRules:
    """What one Bybit category allows and how it answers; times in seconds, None is no limit.

    ``acknowledges_anything``: topics that don't exist are acknowledged too, and silent.
    ``paged``: whether ``instruments-info`` comes in pages; ``usual_coin``: the base coin of those
    that it lists where a request names none, None for all.
    """

    market: Market
    args_per_request: int | None
    replies: Replies
    depths: tuple[str, ...] = ("1", "50", "200", "1000")
    other_kinds: tuple[str, ...] = ("publicTrade", "tickers")
    acknowledges_anything: bool = False
    args_length: int = 21_000
    args_per_connection: int | None = None
    idle_timeout: float = 600.0
    max_age: float | None = None
    connections_per_5_minutes: int | None = 500
    concurrent_connections: int | None = 1000
    requests_per_5_seconds: int | None = 600
    paged: bool = True
    usual_coin: str | None = None


_PERPETUAL_KINDS = ("publicTrade", "tickers", "allLiquidation", "priceLimit")

BYBIT_RULES: Mapping[Market, BybitRules] = {
    Market.SPOT: BybitRules(
        Market.SPOT,
        args_per_request=10,
        replies=PlainReplies(acknowledgement="subscribe", always_req_id=False),
        depths=("1", "50", "200", "1000", "full"),
        paged=False,
    ),
    Market.LINEAR: BybitRules(
        Market.LINEAR,
        args_per_request=None,
        replies=PlainReplies(acknowledgement="", always_req_id=True),
        depths=("1", "50", "200", "1000", "full"),
        other_kinds=_PERPETUAL_KINDS,
    ),
    Market.INVERSE: BybitRules(
        Market.INVERSE,
        args_per_request=None,
        replies=PlainReplies(acknowledgement="", always_req_id=True),
        other_kinds=_PERPETUAL_KINDS,
    ),
    Market.OPTION: BybitRules(
        Market.OPTION,
        args_per_request=None,
        replies=CommandReplies(),
        depths=("25", "100"),
        acknowledges_anything=True,
        args_per_connection=2000,
        usual_coin="BTC",
    ),
}
"""The rules of each category that the fake speaks."""
