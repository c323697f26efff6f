"""Bybit's markets, against what its documents say."""

from __future__ import annotations

import pytest

from farm.exchanges.bybit.markets import INVERSE, LINEAR, MARKETS, OPTION, SPOT
from farm.exchanges.rules import MarketRules
from farm.types import Market

INTERVALS = dict(zip(
    ["1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d", "1w", "1M"],
    ["1", "3", "5", "15", "30", "60", "120", "240", "360", "720", "D", "W", "M"],
    strict=True,
))  # fmt: skip

OF_ALL = {
    "trade": "publicTrade.X",
    "quote": "orderbook.1.X",
    "book": "orderbook.200.X",
    "book:50": "orderbook.50.X",
    "book:200": "orderbook.200.X",
    "book:1000": "orderbook.1000.X",
    "ticker": "tickers.X",
    **{f"kline:{ours}": f"kline.{theirs}.X" for ours, theirs in INTERVALS.items()},
}
TOPICS = {
    SPOT: OF_ALL | {"book:full": "orderbook.full.X"},
    LINEAR: OF_ALL | {"book:full": "orderbook.full.X", "liquidation": "allLiquidation.X"},
    INVERSE: OF_ALL | {"liquidation": "allLiquidation.X"},
    OPTION: {
        "trade": "publicTrade.X",
        "book": "orderbook.100.X",
        "book:25": "orderbook.25.X",
        "book:100": "orderbook.100.X",
        "ticker": "tickers.X",
    },
}

markets = pytest.mark.parametrize("rules", TOPICS, ids=lambda rules: rules.key)


@markets
def test_the_topics_are_the_documented_ones(rules: MarketRules) -> None:
    names = {spec: rules.streams.stream("X", spec).name for spec in rules.streams.specs}
    assert names == TOPICS[rules]
    assert rules.streams.market_specs == []


@markets
def test_the_address_names_the_market(rules: MarketRules) -> None:
    assert rules.paths == {"": f"/v5/public/{rules.market.value}"}
    assert rules.snapshot_params == (("category", rules.market.value),)


@markets
def test_no_documented_limit_is_passed(rules: MarketRules) -> None:
    assert rules.request_characters == 21_000
    assert rules.connect_rate.limit / rules.connect_rate.period <= 500 / 300
    assert rules.rest_rate.limit / rules.rest_rate.period <= 600 / 5
    assert rules.ping_interval == 20  # as advised
    assert SPOT.topics_per_request == 10
    assert OPTION.streams_per_connection <= 2000


def test_four_markets() -> None:
    assert MARKETS == {
        Market.SPOT: SPOT,
        Market.LINEAR: LINEAR,
        Market.INVERSE: INVERSE,
        Market.OPTION: OPTION,
    }
