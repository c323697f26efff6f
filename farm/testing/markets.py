"""What each market of the fake venues allows and how it answers: data, not subclasses.

Figures and documents: binance-spot-api-docs (``web-socket-streams.md``, ``rest-api.md``) and
bybit-exchange/docs (``v5/ws/connect``). Tests loosen or tighten them with ``attrs.evolve``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from farm.types import Market

__all__ = ["BINANCE_SPOT", "BYBIT_RULES", "BinanceRules", "BybitRules"]


@attrs.frozen
class BinanceRules:
    """What one Binance market allows; times in seconds.

    ``depth_weights``: request weight by the greatest limit it covers. None switches a limit off.
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
)


@attrs.frozen
class BybitRules:
    """What one Bybit category allows and how it answers; times in seconds, None is no limit.

    ``acknowledgement``: the ``ret_msg`` of success. ``always_req_id``: a ``req_id`` stands in
    replies even when the request had none.
    """

    market: Market
    args_per_request: int | None
    acknowledgement: str
    always_req_id: bool
    depths: tuple[str, ...] = ("1", "50", "200", "1000")
    other_kinds: tuple[str, ...] = ("publicTrade", "tickers")
    args_length: int = 21_000
    idle_timeout: float = 600.0


BYBIT_RULES: Mapping[Market, BybitRules] = {
    Market.SPOT: BybitRules(
        Market.SPOT, args_per_request=10, acknowledgement="subscribe", always_req_id=False
    ),
    Market.LINEAR: BybitRules(
        Market.LINEAR,
        args_per_request=None,
        acknowledgement="",
        always_req_id=True,
        other_kinds=("publicTrade", "tickers", "allLiquidation", "priceLimit"),
    ),
}
"""The rules of each category that the fake speaks."""
