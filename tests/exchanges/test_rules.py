"""The rules of the markets: what must hold for any of them."""

from __future__ import annotations

import pytest

from farm.exchanges.rules import MarketRules
from farm.exchanges.streams import BookProcedure
from tests.exchanges.feeding import ALL_RULES, BINANCE_SPOT


def test_the_key_names_exchange_and_market() -> None:
    assert [rules.key for rules in ALL_RULES] == ["binance/spot", "bybit/spot", "bybit/linear"]


@pytest.mark.parametrize("rules", ALL_RULES, ids=lambda rules: rules.key)
def test_addresses_and_limits_are_usable(rules: MarketRules) -> None:
    assert rules.ws_url.startswith("wss://")
    assert rules.ws_path.startswith("/")
    assert rules.rest_url.startswith("https://")
    for rate in (rules.control_rate, rules.connect_rate, rules.rest_rate):
        assert rate.limit > 0
        assert rate.period > 0
    assert 0 < rules.topics_per_request <= rules.streams_per_connection
    # All requests of a full connection leave before the first counts as unanswered.
    requests = -(-rules.streams_per_connection // rules.topics_per_request)
    assert requests / rules.control_rate.limit * rules.control_rate.period < 15


@pytest.mark.parametrize("rules", ALL_RULES, ids=lambda rules: rules.key)
def test_silence_outlasts_whatever_keeps_the_line_alive(rules: MarketRules) -> None:
    server_ping = 20.0  # of Binance spot; Bybit waits for ours
    assert rules.silence > 2 * (rules.ping_interval or server_ping)


@pytest.mark.parametrize("rules", ALL_RULES, ids=lambda rules: rules.key)
def test_who_needs_snapshots_by_rest_says_where_they_are(rules: MarketRules) -> None:
    streams = [rules.streams.stream("BTCUSDT", spec) for spec in rules.streams.specs]
    needed = any(stream.procedure is BookProcedure.SNAPSHOT_BY_REST for stream in streams)
    assert needed == bool(rules.snapshot_path)
    assert needed == bool(rules.snapshot_limit)
    assert needed == bool(rules.snapshot_weight)
    assert rules.snapshot_weight <= rules.rest_rate.limit


def test_binance_documents_these_prices_of_a_snapshot() -> None:
    price = {100: 5, 500: 25, 1000: 50, 5000: 250}
    assert price[BINANCE_SPOT.snapshot_limit] == BINANCE_SPOT.snapshot_weight
