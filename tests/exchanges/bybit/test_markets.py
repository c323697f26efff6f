"""Bybit's markets, against what its documents say."""

from __future__ import annotations

import pytest

from farm.exchanges.bybit.markets import LINEAR, MARKETS, SPOT
from farm.exchanges.rules import MarketRules
from farm.types import Market

INTERVALS = dict(zip(
    ["1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d", "1w", "1M"],
    ["1", "3", "5", "15", "30", "60", "120", "240", "360", "720", "D", "W", "M"],
    strict=True,
))  # fmt: skip

markets = pytest.mark.parametrize("rules", [SPOT, LINEAR], ids=lambda rules: rules.key)


@markets
def test_the_topics_are_the_documented_ones(rules: MarketRules) -> None:
    assert MARKETS == {Market.SPOT: SPOT, Market.LINEAR: LINEAR}
    names = {spec: rules.streams.stream("BTCUSDT", spec).name for spec in rules.streams.specs}
    assert names == {
        "trade": "publicTrade.BTCUSDT",
        "quote": "orderbook.1.BTCUSDT",
        "book": "orderbook.200.BTCUSDT",
        "book:50": "orderbook.50.BTCUSDT",
        "book:200": "orderbook.200.BTCUSDT",
        "book:1000": "orderbook.1000.BTCUSDT",
        **{f"kline:{ours}": f"kline.{theirs}.BTCUSDT" for ours, theirs in INTERVALS.items()},
    }


@markets
def test_the_address_names_the_market(rules: MarketRules) -> None:
    assert rules.ws_path == f"/v5/public/{rules.market.value}"


@markets
def test_no_documented_limit_is_passed(rules: MarketRules) -> None:
    assert rules.request_characters == 21_000
    assert rules.connect_rate.limit / rules.connect_rate.period <= 500 / 300
    assert rules.rest_rate.limit / rules.rest_rate.period <= 600 / 5
    assert rules.ping_interval == 20  # as advised
    assert SPOT.topics_per_request == 10
