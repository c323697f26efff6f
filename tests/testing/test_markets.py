"""The published limits, so that nobody loosens them by accident."""

from __future__ import annotations

import pytest

from farm.testing import (
    BINANCE_COINM,
    BINANCE_RULES,
    BINANCE_SPOT,
    BINANCE_USDM,
    BYBIT_RULES,
    BinanceRules,
)
from farm.types import Market


def test_binance_spot() -> None:
    rules = BINANCE_SPOT
    assert (rules.messages_per_second, rules.streams_per_connection) == (5, 1024)
    assert rules.connections_per_5_minutes == 300
    assert (rules.ping_interval, rules.pong_timeout) == (20, 60)
    assert rules.weight_per_minute == 6000
    assert dict(rules.depth_weights) == {100: 5, 500: 25, 1000: 50, 5000: 250}


@pytest.mark.parametrize(
    ("rules", "prefix"), [(BINANCE_USDM, "/fapi/v1"), (BINANCE_COINM, "/dapi/v1")]
)
def test_binance_futures(rules: BinanceRules, prefix: str) -> None:
    assert rules.rest_prefix == prefix
    assert (rules.messages_per_second, rules.streams_per_connection) == (10, 200)
    assert rules.connections_per_5_minutes == 300
    assert (rules.ping_interval, rules.pong_timeout) == (180, 600)
    assert rules.weight_per_minute == 2400
    assert dict(rules.depth_weights) == {50: 2, 100: 5, 500: 10, 1000: 20}
    assert rules.exchange_info_weight == 1


def test_binance_markets_and_their_age() -> None:
    assert set(BINANCE_RULES) == {Market.SPOT, Market.USDM, Market.COINM}
    assert {rules.max_age for rules in BINANCE_RULES.values()} == {86_400}
    assert BINANCE_SPOT.exchange_info_weight == 20


PUBLIC = [
    "a@trade", "a@bookTicker", "!bookTicker", "a@depth", "a@depth@100ms", "a@depth@500ms",
    "a@depth@0ms", "a@depth5", "a@depth20@500ms", "a@rpiDepth@500ms", "币usdt@trade",
]  # fmt: skip
MARKET = [
    "a@aggTrade", "a@kline_1m", "a_perpetual@continuousKline_1h", "a@markPrice", "a@markPrice@1s",
    "!markPrice@arr", "!markPrice@arr@1s", "a@miniTicker", "!miniTicker@arr", "a@ticker",
    "!ticker@arr", "a@forceOrder", "!forceOrder@arr", "!contractInfo", "!assetIndex@arr",
    "a@assetIndex", "a@compositeIndex", "tradingSession",
]  # fmt: skip


def test_each_stream_of_usdm_has_one_route_and_legacy_is_public() -> None:
    carried = {
        route.prefix: [name for name in (*PUBLIC, *MARKET) if route.carries(name)]
        for route in BINANCE_USDM.routes
    }
    assert carried == {"/public": PUBLIC, "/market": MARKET, "/private": [], "": PUBLIC}


def test_the_other_markets_have_one_route_for_everything() -> None:
    for rules in (BINANCE_SPOT, BINANCE_COINM):
        [route] = rules.routes
        assert route.prefix == ""
        assert all(route.carries(name) for name in (*PUBLIC, *MARKET))


def test_bybit() -> None:
    per_request = {market: rules.args_per_request for market, rules in BYBIT_RULES.items()}
    assert per_request == {
        Market.SPOT: 10, Market.LINEAR: None, Market.INVERSE: None, Market.OPTION: None
    }  # fmt: skip
    for rules in BYBIT_RULES.values():
        assert (rules.args_length, rules.idle_timeout) == (21_000, 600)
        assert rules.requests_per_5_seconds == 600
        assert (rules.connections_per_5_minutes, rules.concurrent_connections) == (500, 1000)
        assert rules.max_age is None
    depths = {market: rules.depths for market, rules in BYBIT_RULES.items()}
    assert depths == {
        Market.SPOT: ("1", "50", "200", "1000", "full"),
        Market.LINEAR: ("1", "50", "200", "1000", "full"),
        Market.INVERSE: ("1", "50", "200", "1000"),
        Market.OPTION: ("25", "100"),
    }
    connections = {rules.args_per_connection for rules in BYBIT_RULES.values()}
    assert connections == {None, 2000}
    assert BYBIT_RULES[Market.OPTION].args_per_connection == 2000
