"""The rules of the markets: what must hold for any of them."""

from __future__ import annotations

import pytest

from farm.exchanges.rules import MarketRules
from farm.exchanges.streams import REST_ROUTE
from farm.types import Exchange
from tests.exchanges.feeding import (
    ALL_RULES,
    BINANCE_COINM,
    BINANCE_SPOT,
    BINANCE_USDM,
    BYBIT,
    BYBIT_LINEAR,
    BYBIT_OPTION,
)

each = pytest.mark.parametrize("rules", ALL_RULES, ids=lambda rules: rules.key)


def test_the_key_names_exchange_and_market() -> None:
    assert [rules.key for rules in ALL_RULES] == [
        "binance/spot",
        "binance/usdm",
        "binance/coinm",
        "bybit/spot",
        "bybit/linear",
        "bybit/inverse",
        "bybit/option",
    ]


@each
def test_addresses_and_limits_are_usable(rules: MarketRules) -> None:
    assert rules.ws_url.startswith("wss://")
    assert all(path.startswith("/") for path in rules.paths.values())
    assert len(set(rules.paths.values())) == len(rules.paths) >= 1
    assert rules.rest_url.startswith("https://")
    for rate in (rules.control_rate, rules.connect_rate, rules.rest_rate):
        assert rate.limit > 0
        assert rate.period > 0
    assert 0 < rules.topics_per_request <= rules.streams_per_connection
    # All requests of a full connection leave before the first counts as unanswered.
    requests = -(-rules.streams_per_connection // rules.topics_per_request)
    assert requests / rules.control_rate.limit * rules.control_rate.period < 15


@each
def test_silence_outlasts_whatever_keeps_the_line_alive(rules: MarketRules) -> None:
    server_ping = 20.0 if rules is BINANCE_SPOT else 180.0  # Bybit waits for ours
    assert rules.silence > 2 * (rules.ping_interval or server_ping)


@each
def test_every_stream_has_a_way_to_come(rules: MarketRules) -> None:
    streams = [rules.streams.stream("BTCUSDT", spec) for spec in rules.streams.specs]
    streams += [rules.streams.market_stream(spec) for spec in rules.streams.market_specs]
    routes = {stream.route for stream in streams}
    assert routes == {*rules.paths} | ({REST_ROUTE} if rules.poll is not None else set())


@each
def test_who_needs_snapshots_by_rest_says_where_they_are(rules: MarketRules) -> None:
    streams = [rules.streams.stream("BTCUSDT", spec) for spec in rules.streams.specs]
    needed = any(s.procedure is not None and s.procedure.needs_rest for s in streams)
    assert needed == bool(rules.snapshot_path)
    assert needed == bool(rules.snapshot_limit)
    assert needed == bool(rules.snapshot_weights)
    if needed:
        assert 0 < rules.snapshot_weight(rules.snapshot_limit) <= rules.rest_rate.limit


@pytest.mark.parametrize(
    ("rules", "prices"),
    [
        (
            BINANCE_SPOT,
            {1: 5, 100: 5, 101: 25, 500: 25, 501: 50, 1000: 50, 1001: 250, 5000: 250},
        ),
        (BINANCE_USDM, {5: 2, 50: 2, 51: 5, 100: 5, 101: 10, 500: 10, 501: 20, 1000: 20}),
        (BINANCE_COINM, {5: 2, 50: 2, 51: 5, 100: 5, 101: 10, 500: 10, 501: 20, 1000: 20}),
        (BYBIT_LINEAR, {200: 1, 10_000: 1}),
    ],
    ids=lambda value: getattr(value, "key", ""),
)
def test_the_documents_name_these_prices_of_a_snapshot(
    rules: MarketRules, prices: dict[int, int]
) -> None:
    assert {levels: rules.snapshot_weight(levels) for levels in prices} == prices
    with pytest.raises(KeyError):
        rules.snapshot_weight(max(prices) + 1)


def test_a_market_without_snapshots_has_no_price_for_them() -> None:
    with pytest.raises(KeyError):
        BYBIT_OPTION.snapshot_weight(1)


def test_futures_share_one_budget_of_weight_and_spot_has_its_own() -> None:
    """fapi and dapi have one budget of 2,400 a minute since 2026-06-30."""
    assert BINANCE_USDM.weight_pool == BINANCE_COINM.weight_pool != BINANCE_SPOT.weight_pool
    assert BINANCE_USDM.rest_rate == BINANCE_COINM.rest_rate
    assert len({rules.weight_pool for rules in BYBIT}) == 1


@each
def test_rows_of_both_futures_markets_are_told_apart(rules: MarketRules) -> None:
    assert rules.universe == {BINANCE_USDM: 1, BINANCE_COINM: 2}.get(rules)


@each
def test_what_can_be_asked_of_a_venue(rules: MarketRules) -> None:
    assert rules.lists_subscriptions is (rules.exchange is Exchange.BINANCE)
    assert rules.microseconds is (rules is BINANCE_SPOT)
    assert rules.answers_by_topic is (rules is BYBIT_OPTION)


def test_some_markets_give_snapshots_of_some_depths_only() -> None:
    choices = {rules.key: rules.snapshot_choices for rules in ALL_RULES if rules.snapshot_choices}
    futures = (5, 10, 20, 50, 100, 500, 1000)
    assert choices == {
        "binance/usdm": futures,
        "binance/coinm": futures,
        "bybit/spot": (10_000,),
        "bybit/linear": (10_000,),
    }
